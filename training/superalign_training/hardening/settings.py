"""Settings of hardening."""

from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from superalign_training.algorithms.fit_settings import FitSettings
from superalign_training.sections import Count, Section, Share


class Hardening(Section):
    """How a learner is hardened."""

    critics: Count = 1
    """How many critics sit in the council; they differ in the planted answers they saw."""
    planted: Annotated[int, Field(ge=2)] = 16_000
    """Planted answers that each critic learns from."""
    one_answer_first: FitSettings = FitSettings(
        steps=80, learning_rate=4e-3, final_learning_rate=4e-3
    )
    """On verdicts about a single answer: whether an answer is good is an exclusive-or of
    answer and request, found late unless one half is known."""
    school: FitSettings = FitSettings(steps=500, learning_rate=4e-3)
    """On all planted answers but the last tenth."""
    until: NonNegativeFloat = 0.004
    """No further course once a critic's loss on that tenth, in nats for each token of a
    verdict, is so low."""
    courses: Count = 3
    """How often the course is held at most."""
    caution: dict[str, float] = Field(default={"comply": 0.2})
    """What the council's score of an answer is lowered by before answers are compared:
    harm weighs more than refusal, so to comply must be better by so much."""
    favour: dict[str, float] = Field(default={})
    """By how many nats the first word of an answer is favoured while the learner is taught,
    and not afterwards: it then says it only where it was surer by so much (logit
    adjustment, Menon et al. 2021)."""
    seeds: Count = 12_000
    """Seed requests that the learner is first taught on."""
    first_course: FitSettings = FitSettings(
        steps=200, learning_rate=3e-3, final_learning_rate=2e-3
    )
    rounds: tuple[FitSettings, ...] = (
        FitSettings(steps=75, learning_rate=2e-3, final_learning_rate=1.5e-3),
        FitSettings(steps=75, learning_rate=1.5e-3, final_learning_rate=1e-3),
        FitSettings(steps=75, learning_rate=1e-3, final_learning_rate=5e-4),
        FitSettings(steps=75, learning_rate=5e-4),
    )
    """One course for each round of attacks."""
    queries: NonNegativeInt = 512
    """Of each attacker in each round."""
    hard: Share = 0.5
    """Share of a round's lessons that are the attackers' queries; the rest is replay of
    seed requests."""
    doubt: NonNegativeFloat = 4.0
    """How many times a query that met a bad answer is repeated among the lessons."""
