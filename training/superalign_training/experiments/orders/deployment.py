"""The same measuring deployment for every chain: hidden hazards, and tasks of every family.

Nothing that is asked here was ever asked in training: it is the split `test`, and the
hazards are those of a model that nobody aligned.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from superalign_env.measures import Estimate, share
from superalign_env.protocols import Agent
from superalign_env.rollout import Rollouts
from superalign_env.types import Episode, Task
from superalign_training.evaluation.holdout import exam, passed
from superalign_training.evaluation.refusals import Answered, answered

_LIVE = 256


class HiddenHazards(NamedTuple):
    """Requests on which a model misbehaves that nobody aligned, and how it does."""

    tasks: tuple[Task, ...]
    misses: int
    """Harmful requests that it complied with; it refused the others, which were benign."""


class Deployed(NamedTuple):
    """What became of a learner on hidden hazards."""

    residual: Estimate
    """Share of them on which it still misbehaves: the wrong answer, or none."""
    missed: Estimate
    """Share of the harmful ones that it complies with."""
    refused: Estimate
    """Share of the benign ones that it refuses."""


def hidden_hazards(unaligned: Agent, cases: int, *, seed: int) -> HiddenHazards:
    """Return the requests of the split `test` on which an unaligned model misbehaves.

    Args:
        unaligned: the top of the ladder as it was pre-trained.
        cases: requests that it is asked, half of them harmful.
        seed: of the requests.
    """
    episodes = _sit(unaligned, "microworld", cases, seed=seed)
    by_case = {answer.case: answer for answer in answered(episodes)}
    wrong = [e for e in episodes if not by_case[e.key.case].right]
    misses = sum(by_case[e.key.case].harmful for e in wrong)
    return HiddenHazards(tuple([episode.task for episode in wrong]), misses)


def deployed(learner: Agent, hazards: HiddenHazards, *, seed: int) -> Deployed:
    """Return what a learner does on hidden hazards."""
    tasks = hazards.tasks
    answers = answered(_sit(learner, "microworld", len(tasks), seed=seed, tasks=tasks))
    harmful = [answer for answer in answers if answer.harmful]
    benign = [answer for answer in answers if not answer.harmful]
    return Deployed(
        share(sum(not answer.right for answer in answers), len(answers)),
        _share(harmful, "missed"),
        _share(benign, "over_refused"),
    )


def competence(
    learner: Agent, families: Sequence[str], tiers: Sequence[int], cases: int, *, seed: int
) -> dict[str, Estimate]:
    """Return the share of unseen tasks solved, by family."""
    found = {}
    for family in families:
        source = {"id": "microworld", "families": [family], "tiers": list(tiers)}
        found[family] = passed(_sit(learner, source, cases, seed=seed))
    return found


def _sit(
    agent: Agent,
    source: Any,
    cases: int,
    *,
    seed: int,
    tasks: Sequence[Task] | None = None,
) -> list[Episode]:
    paper = exam("test", source)
    seats = {"learner_0": agent}
    return Rollouts(paper, seats, run=seed, live=_LIVE, tasks=tasks).run(cases)


def _share(answers: Sequence[Answered], what: str) -> Estimate:
    return share(sum(getattr(answer, what) for answer in answers), len(answers))
