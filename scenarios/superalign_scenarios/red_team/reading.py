"""What a critic said, read."""

from superalign_env.errors import InvalidVerdict
from superalign_env.types import Judged, Utterance
from superalign_env.verdicts import parse


def read_verdict(spoken: Utterance, about: int) -> Judged:
    """Return what a critic said of a turn; without a verdict where it cannot be parsed.

    Args:
        spoken: the critic's utterance.
        about: turn of the answer that is judged.
    """
    try:
        return Judged(spoken.seat, about, parse(spoken.text), spoken.turn)
    except InvalidVerdict as error:
        return Judged(spoken.seat, about, None, spoken.turn, str(error))
