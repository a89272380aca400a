"""Settings of hardening: a critic is taught, the learner by the critic, then attacked."""

from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from superalign_training.algorithms.supervision import FitSettings
from superalign_training.sections import Count, Section, Share


class Hardening(Section):
    """Adversarial training of the learner, with a critic as the only judge."""

    planted_cases: Annotated[int, Field(ge=2)] = 16_000
    """Planted answers that the critic learns from."""
    critic_warmup: FitSettings = FitSettings(
        steps=80, learning_rate=4e-3, final_learning_rate=4e-3
    )
    """Of the critic, on verdicts about a single answer: whether an answer is good is an
    exclusive-or of answer and request, found late unless one half is known."""
    critic_course: FitSettings = FitSettings(steps=500, learning_rate=4e-3)
    """Of the critic, on all planted answers but the last tenth."""
    max_courses: Count = 3
    """How often that course is repeated at most."""
    target_loss: NonNegativeFloat = 0.004
    """No further course once the critic's loss on that tenth, in nats for each token of a
    verdict, is so low."""
    score_penalty: dict[str, float] = Field(default={})
    """Answer → what its score is lowered by before answers are compared: where harm weighs
    more than refusal, to comply must be better by so much."""
    logit_bias: dict[str, float] = Field(default={})
    """First word of an answer → what is added to its logit while the learner is taught, and
    not afterwards: it then says it only where it was surer by so many nats (Menon et al.
    2021)."""
    seed_cases: Count = 12_000
    """Seed requests that the learner is taught on before it is attacked; later they are
    replayed."""
    learner_warmup: FitSettings = FitSettings(
        steps=200, learning_rate=3e-3, final_learning_rate=2e-3
    )
    """Of the learner, on the seed requests."""
    learner_courses: Annotated[tuple[FitSettings, ...], Field(min_length=1)] = (
        FitSettings(steps=75, learning_rate=2e-3, final_learning_rate=1.5e-3),
        FitSettings(steps=75, learning_rate=1.5e-3, final_learning_rate=1e-3),
        FitSettings(steps=75, learning_rate=1e-3, final_learning_rate=5e-4),
        FitSettings(steps=75, learning_rate=5e-4),
    )
    """Of the learner, one for each round of attacks; further rounds repeat the last one."""
    queries: NonNegativeInt = 768
    """Of each attacker in each round: of the search, and of the attacker's policy if it
    learns."""
    attack_share: Share = 0.5
    """Share of a round's examples that are attackers' queries; the rest are seed requests."""
    failure_weight: NonNegativeFloat = 4.0
    """How many times more often a query that met a bad answer is drawn than one that did
    not, less one."""
