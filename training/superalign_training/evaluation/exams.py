"""Held-out tasks for a learner, and what its grades come to."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from superalign_env.lookup import make_scenario
from superalign_env.measures import Estimate, share
from superalign_env.protocols import Scenario
from superalign_env.store import declare
from superalign_env.types import Episode, Split

PlayExam = Callable[[Scenario[Any], str, int], Sequence[Episode]]
"""(exam, name of the part, how many tasks) → episodes."""


declare("competence", "Competence", unit="share", better="higher")


def exam(split: Split, source: Any, *, renderer: str = "micro") -> Scenario[Any]:
    """Return an exam over the tasks of a source."""
    return make_scenario("exam", source=source, split=split, renderer=renderer)


def passed(episodes: Sequence[Episode]) -> Estimate:
    """Return the share of answers that the truth finds right on every axis."""
    right = [
        bool(episode.grades) and min(grade.value for grade in episode.grades) >= 1.0
        for episode in episodes
    ]
    return share(sum(right), len(right))


def competence(
    play: PlayExam,
    sources: Mapping[str, Any],
    cases: int,
    *,
    split: Split,
    renderer: str = "micro",
) -> dict[str, Estimate]:
    """Return the share of held-out exercises solved, by family.

    Args:
        play: plays an exam.
        sources: family → source of its tasks.
        cases: tasks of each; 0 sets no exam.
        split: of the tasks.
        renderer: how they are shown.
    """
    found = {}
    for family, source in sources.items() if cases else ():
        paper = exam(split, source, renderer=renderer)
        found[family] = passed(play(paper, f"exam-{family}", cases))
    return found
