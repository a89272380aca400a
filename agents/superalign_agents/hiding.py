"""Words that an agent does not get to see: the same weights with less information."""

import re
from collections.abc import Sequence
from functools import lru_cache

from msgspec.structs import replace

from superalign_env.errors import InvalidOption
from superalign_env.types import View


def read_words(words: Sequence[str]) -> tuple[str, ...]:
    """Return words that can be hidden.

    Raises:
        InvalidOption: one text instead of a list, or a word with white space or a marker.
    """
    if isinstance(words, str):
        raise InvalidOption(f"blind must be a list of words; did you mean [{words!r}]?")
    for word in words:
        if not isinstance(word, str) or not re.fullmatch(r"[^\s<>|]+", word):
            raise InvalidOption(f"blind hides whole words, and {word!r} is none")
    return tuple(words)


def without(view: View, words: tuple[str, ...]) -> View:
    """Return a view in whose text and messages these words do not occur.

    What it may choose from (`menu`) stays as it is.
    """
    messages = tuple(replace(m, content=hide(m.content, words)) for m in view.messages)
    return replace(view, text=hide(view.text, words), messages=messages)


def hide(text: str, words: tuple[str, ...]) -> str:
    """Return a text without these words and the space before each."""
    return _pattern(words).sub("", text) if words else text


@lru_cache(maxsize=64)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    listed = "|".join(map(re.escape, words))
    return re.compile(rf"(?:^| )(?:{listed})(?![\w'-])", re.MULTILINE)
