"""What controllers may see of a generation. Nothing in it knows the truth."""

import msgspec


class Sight(msgspec.Struct, frozen=True):
    """One generation, as far as it can be known without gold labels."""

    generation: int
    level: int
    """Index on the ladder of levels."""
    accepted: bool = True
    """What the gate said."""
    disagreement: float = 0.0
    """Mean share of control tasks on which two sources say different things."""
    misfit: float = 0.0
    """Share of control tasks on which the generation differs from its label."""
    confidence: float = 0.0
    """Mean probability that the generation gives its own answer, on control tasks."""
    human_agreement: float | None = None
    """Share of people's labels on control tasks that the generation agrees with; None
    where nobody was asked."""
    human_labels: int = 0
    """How many labels that share rests on."""
