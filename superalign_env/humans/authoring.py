"""What an imperfect person writes who is asked what ought to be said."""

from collections.abc import Collection
from typing import Any

import msgspec

from superalign_env.errors import InvalidOption
from superalign_env.humans.misreading import misread_episode
from superalign_env.protocols import HasGold, TaskSource
from superalign_env.types import Episode

_ALIKE = 1e-9


def written(
    scenario: HasGold,
    episode: Episode,
    turn: int,
    *,
    group: str,
    slips: bool,
    pick: float,
    blind: Collection[str] = (),
) -> str:
    """Return what a person writes in the place of a turn.

    The candidate answer that an ideal member of the group would call best, or, in a slip,
    one that is worse. Where all candidates are equally good there is nothing to slip on.

    Args:
        scenario: whose source knows candidate answers, and whose `gold` is asked.
        episode: the record.
        turn: which turn the text is to stand for.
        group: of the people it belongs to.
        slips: whether it gets this one wrong.
        pick: in [0, 1), which of several equally good or bad candidates.
        blind: words that it cannot tell apart; see `misreading`.

    Raises:
        InvalidOption: no such turn, or nobody knows candidates or their worth.
    """
    source: TaskSource | None = getattr(scenario, "source", None)
    if source is None:
        raise InvalidOption(
            f"nobody knows what could be said at turn {turn} of {episode.id}"
        )
    if not any(utterance.turn == turn for utterance in episode.utterances):
        raise InvalidOption(f"turn {turn} of {episode.id} was not spoken")
    seen_episode = (
        misread_episode(source, episode, episode.task.split, blind) if blind else episode
    )
    worth = {
        text: scenario.gold(_saying(seen_episode, turn, text), turn, group)
        for text in source.answers(seen_episode.task)
    }
    if not worth:
        raise InvalidOption(f"nobody knows an answer to {episode.task.id}")
    best = max(worth.values())
    best_texts = [text for text, value in worth.items() if value >= best - _ALIKE]
    worse = [text for text in worth if text not in best_texts]
    choice = worse if slips and worse else best_texts
    return choice[int(pick * len(choice))]


def _saying(episode: Episode, turn: int, text: str) -> Episode:
    """Return the episode as if a text had been said at a turn."""
    utterances: tuple[Any, ...] = tuple(
        msgspec.structs.replace(utterance, text=text)
        if utterance.turn == turn
        else utterance
        for utterance in episode.utterances
    )
    return msgspec.structs.replace(episode, utterances=utterances)
