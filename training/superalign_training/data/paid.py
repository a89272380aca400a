"""Turns with settled rewards: the experience of a self-improving `Learner`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from superalign_env.rewards import ADDED, HumanPay, by_episode, paid, settle
from superalign_env.types import Episode, Paid, Seat, Signal, View
from superalign_training.data.rows import pay_by_turn

Shown = Callable[[Episode, Seat], Mapping[int, View]]
"""(episode, seat) → turn of the episode → what the seat was shown."""


class PaidExperience(NamedTuple):
    """Rollouts of a learner, with the settled reward of each turn."""

    play: Callable[[int, int], Sequence[Paid]]
    """(first case, how many cases) → every seat's turns in all members of those cases."""


def paid_episodes(
    episodes: Iterable[Episode],
    seats: Iterable[Seat],
    views_of: Shown,
    signals: Iterable[Signal] = (),
    *,
    rules: HumanPay = ADDED,
) -> list[Paid]:
    """Return the turns and settled rewards of seats, in the order of the episodes.

    Those in which an agent failed are left out, as in training rows, and so are seats that
    never spoke. What only the truth says (grades, events, what was planted, which
    queries were valid, parts that are not paid) is left out of the record.

    Args:
        episodes: finished ones.
        seats: whose.
        views_of: what a seat was shown.
        signals: what people said; signals about other episodes are ignored.
        rules: how it is paid.
    """
    signals_of = by_episode(signals)
    result = []
    names = list(seats)
    for episode in episodes:
        if episode.failed:
            continue
        pay = settle(
            episode.rewards,
            episode.weights,
            authors={utterance.turn: utterance.seat for utterance in episode.utterances},
            signals=signals_of.get(episode.id, ()),
            judged=episode.judged,
            rules=rules,
        )
        public = _public(episode)
        for seat in names:
            views = dict(views_of(episode, seat))
            if views:
                earned = pay_by_turn(pay, seat, sorted(views))
                result.append(Paid(public, seat, earned, views))
    return result


def _public(episode: Episode) -> Episode:
    rewards = [r for r in episode.rewards if paid(r, episode.weights) is not None]
    return replace(
        episode, grades=(), events=(), planted=(), queries=(), rewards=tuple(rewards)
    )
