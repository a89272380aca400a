"""`UtteranceSpace`: any Unicode scalar text up to n characters."""

from typing import Any

import numpy as np
from gymnasium.spaces import Space

from superalign_env.errors import InvalidOption

_SAMPLE_ALPHABET = (
    "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 "
    ".,;:!?'\"-()[]{}<>|/\\\n\téßñçøžλπдж中文日本語한국어🙂🚀"
)


def flaw(text: object, max_length: int) -> str:
    """Return why a value is no utterance, or an empty string.

    Costs well under a microsecond for ASCII, a few for 4 kB of other text.
    """
    if type(text) is not str:
        return f"is a {type(text).__name__}, not a str"
    if len(text) > max_length:
        return f"has {len(text)} characters, more than {max_length}"
    if "\x00" in text:
        return "contains NUL"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return f"contains a lone surrogate at character {error.start}"
    return ""


class UtteranceSpace(Space[str]):
    """Gymnasium space of texts, for actions and observations.

    `gymnasium.spaces.Text` takes a finite alphabet and checks every character in
    Python; this space takes every Unicode text without NUL and lone surrogates.

    Args:
        max_length: longest text, in characters (code points).
        seed: for `sample`.
    """

    def __init__(self, max_length: int = 4096, *, seed: int | None = None) -> None:
        if max_length < 1:
            raise InvalidOption(
                f"an utterance needs room for at least 1 character, not {max_length}"
            )
        self.max_length = max_length
        super().__init__(shape=None, dtype=None, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Text has no fixed numeric form."""
        return False

    def contains(self, x: object) -> bool:
        """Whether x is a text of this space."""
        return not flaw(x, self.max_length)

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Return a short text of mixed scripts; masks mean nothing here."""
        length = int(self.np_random.integers(0, min(self.max_length, 48) + 1))
        picks = self.np_random.integers(0, len(_SAMPLE_ALPHABET), size=length)
        return "".join(_SAMPLE_ALPHABET[i] for i in np.asarray(picks).tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UtteranceSpace) and other.max_length == self.max_length

    def __hash__(self) -> int:
        return hash(("UtteranceSpace", self.max_length))

    def __repr__(self) -> str:
        return f"UtteranceSpace({self.max_length})"
