"""Held-out tasks for a learner, and what its grades come to."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from superalign_env.errors import InvalidOption
from superalign_env.lookup import make_scenario
from superalign_env.measures import Estimate, share
from superalign_env.protocols import Scenario, TaskSource
from superalign_env.seeding import generator
from superalign_env.types import Episode, Split

PlayExam = Callable[[Scenario[Any], str, int], Sequence[Episode]]
"""(exam, name of the part, how many tasks) → episodes."""

_DRAWS = 16
"""Tasks of which one must have a gold answer before a chain begins."""


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


def require_gold(source: TaskSource) -> None:
    """Raise unless a few tasks of the training split have a gold answer.

    Raises:
        InvalidOption: none of them has.
    """
    rng = generator(0)
    if not any(source.gold(source.draw(rng, "train")).answer for _ in range(_DRAWS)):
        raise without_gold(source)


def without_gold(source: TaskSource) -> InvalidOption:
    """Return the error about tasks that no ceiling can be measured on."""
    return InvalidOption(
        f"{source.id} has no gold answers, so there is no ceiling to measure generations by; "
        "name tasks that have them: competence.source={id: rows, path: …}"
    )
