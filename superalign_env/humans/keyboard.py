"""Lines that people type, checked before they become answers, notes or turns."""

import unicodedata
from typing import TextIO

from superalign_env.errors import InvalidUtterance
from superalign_env.spaces import flaw

MAX_TYPED = 100_000
"""Characters of one line."""


def typed_line(source: TextIO | None) -> str | None:
    """Return the next line without its line break; None at the end of the input.

    Args:
        source: where lines are read from; None where the process has no input.

    Raises:
        InvalidUtterance: it cannot be recorded; the message says why. All of it was read.
    """
    if source is None or source.closed:
        return None
    line = part = source.readline(MAX_TYPED + 1)
    while len(part) > MAX_TYPED and not part.endswith("\n"):
        part = source.readline(MAX_TYPED + 1)  # what is too long is no other answer
    if not line:
        return None
    if why := refusal(line.rstrip("\r\n")):
        raise InvalidUtterance(f"not taken: it {why}; type it again")
    return line.rstrip("\r\n")


def refusal(text: str) -> str:
    """Return why a text of a person is not recorded; empty where it is."""
    if why := flaw(text, MAX_TYPED):
        return why
    for place, char in enumerate(text):
        if unicodedata.category(char) == "Cc" and char != "\t":
            return (
                f"contains the control character U+{ord(char):04X} at character {place} "
                "(arrow keys write some)"
            )
    return ""
