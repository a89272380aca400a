"""What people said, as far as a stage may learn from it."""

from collections.abc import Sequence
from typing import NamedTuple

from superalign_env.types import Role, Signal, role_of
from superalign_training.selfplay.driver import StageContext


def heard(context: StageContext) -> list[Signal]:
    """Return what people said before the stage began, and did not take back.

    Answers of the random slice are for evaluation and left out; a veto always counts.
    """
    said = context.run.signals.standing(upto=context.signals_to)
    drawn = random_slice(context)
    return [
        signal for signal in said if signal.kind == "veto" or signal.question not in drawn
    ]


def random_slice(context: StageContext) -> set[str]:
    """Return the questions whose answers are for evaluation, never for training."""
    return {q.id for q in context.run.questions.all() if q.slice == "random"}


class Vetoed(NamedTuple):
    """Words that people said must never be said again."""

    text: str
    answers: frozenset[str]
    """The task, and all that was said before them in their episode."""


def vetoed(context: StageContext, role: Role) -> list[Vetoed]:
    """Return what a role said and people vetoed before the stage began.

    It must not be imitated, wherever else it was said.
    """
    places: dict[str, set[int]] = {}
    for signal in context.run.signals.standing(kind="veto", upto=context.signals_to):
        places.setdefault(signal.episode, set()).add(signal.turn)
    known = _known(context, sorted(places))
    return [
        Vetoed(
            u.text,
            frozenset(
                [
                    episode.task.prompt,
                    *[other.text for other in episode.utterances if other.group < u.group],
                ]
            ),
        )
        for episode in context.run.named(known)
        for u in episode.utterances
        if u.turn in places[episode.id] and role_of(u.seat) == role
    ]


def _known(context: StageContext, names: Sequence[str]) -> list[str]:
    """Return the names of episodes that are there: proposals are vetoed, too."""
    known = set(context.run.episode_ids()) if names else set()
    return [name for name in names if name in known]
