"""Whatever somebody's code raises, told with what made it raise."""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from superalign_env import game
from superalign_env.errors import ProtocolError
from superalign_env.plain_text import one_line
from superalign_env.types import Utterance

_OURS = (str(Path(__file__).parent), game.__file__)
"""Where the code lies that calls rules; what comes after it in a traceback is theirs."""


@contextmanager
def calling(place: str, said: Sequence[Utterance] = ()) -> Iterator[None]:
    """Turn what is raised inside into a `ProtocolError` that says who raised it, and when.

    Args:
        place: where in the play, ``case 3``.
        said: the words that were given to the rules.
    """
    try:
        yield
    except Exception as error:  # rules raise whatever comes
        words = " and ".join([f"{u.seat} said '{one_line(u.text, 60)}'" for u in said])
        after = f" after {words}" if words else ""
        raise ProtocolError(
            f"{_culprit(error)} raised {type(error).__name__}: {error}{after} ({place}). Rules "
            "and sources must bear any text; the error above is theirs"
        ) from error


def _culprit(error: Exception) -> str:
    """Return the name of the first function of theirs on the way to the error."""
    for frame in traceback.extract_tb(error.__traceback__):
        if not frame.filename.startswith(_OURS) and "contextlib" not in frame.filename:
            return frame.name
    return "what the rules returned"


def require(holds: bool, message: str, error: type[ProtocolError] = ProtocolError) -> None:
    """Raise unless something holds."""
    if not holds:
        raise error(message)


def require_kind(name: str, value: object, *kinds: type) -> None:
    """Raise unless what was given is of one of the kinds."""
    wanted = " or ".join([kind.__name__.replace("NoneType", "None") for kind in kinds])
    require(
        isinstance(value, kinds),
        f"{name} gave a {type(value).__name__} where the contract wants a {wanted}",
    )
