"""How a league is kept."""

from typing import Annotated

from pydantic import AfterValidator, NonNegativeFloat

from superalign_env.errors import UnknownId
from superalign_training.league.sampling import check_rule
from superalign_training.sections import Count, Section, Share


def _known(rule: str) -> str:
    """Let pydantic say where the wrong name stands."""
    try:
        return check_rule(rule)
    except UnknownId as error:
        raise ValueError(str(error)) from error


class LeagueSettings(Section):
    """Old checkpoints as opponents, and the matrix of who beats whom."""

    share: Share = 0.0
    """Share of cases that are played against past checkpoints of each other role; 0: none."""
    sampling: Annotated[str, AfterValidator(_known)] = "prioritised"
    """Which of them: `latest`, `uniform` or `prioritised`."""
    power: NonNegativeFloat = 2.0
    """Exponent of `prioritised`: 0 is uniform, large ones meet only the hardest."""
    most: Count = 8
    """Checkpoints that are met in one stage: those with the largest shares."""
    cases: Count = 64
    """Fixed cases of one cell of the matrix."""
