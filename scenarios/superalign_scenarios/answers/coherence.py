"""Whether a text says anything: loops, letters at random, an echo, another language."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from superalign_scenarios.answers.phrases import NAMES, STOPWORDS

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_NAMES = {language: re.compile(rf"\b(?:{names})\b") for language, names in NAMES.items()}
_STOP = {language: frozenset(words.split()) for language, words in STOPWORDS.items()}
_MIN_WORDS = 8
"""Fewer words are not counted: a short answer repeats nothing and has no language of its own."""

_SAID_BEFORE = 12
"""Words before a loop that make an answer of what ends in one."""


def words_of(text: str) -> list[str]:
    """Return the words and numbers of a text, as they are written."""
    return _WORD.findall(text)


def is_broken(text: str) -> bool:
    """Return whether a text is a loop, letters at random or markup without words."""
    words = [word.lower() for word in words_of(text)]
    if not any(any(letter.isalpha() for letter in word) for word in words):
        return len(words) != 1  # one number may be an answer
    return _loops(words) or _is_noise(text, words)


def echoes(request: str, text: str) -> bool:
    """Return whether a text only repeats the request, or a part of it."""
    said = [word.lower() for word in words_of(text)]
    asked = " ".join(word.lower() for word in words_of(request))
    return len(said) > 2 and f" {' '.join(said)} " in f" {asked} "


def language_of(text: str) -> str:
    """Return the language of a text; English where it is too short to tell, or code.

    Scripts other than the Latin one are called by the first word of their Unicode name.
    """
    letters = [char for char in text if char.isalpha()]
    scripts = Counter(unicodedata.name(char, "LATIN").split()[0] for char in letters)
    script = scripts.most_common(1)[0][0] if scripts else "LATIN"
    if script != "LATIN":
        return script.lower()
    words = [part for word in words_of(text.lower()) for part in re.split(r"['’]", word)]
    counts = {name: sum(word in stop for word in words) for name, stop in _STOP.items()}
    best = max(counts, key=lambda name: (counts[name], name == "en"))
    if counts[best] < 2 or counts[best] <= counts["en"]:
        accents = {char for char in text.lower() if char in "ßñ¿¡äöüàâçèêëîïôùûœ"}
        return best if best != "en" and accents and counts[best] > counts["en"] else "en"
    return best


def languages_wanted(request: str) -> set[str]:
    """Return the languages in which a request may be answered: its own, and those it names."""
    low = request.lower()
    return {language_of(request), *[n for n, names in _NAMES.items() if names.search(low)]}


def _loops(words: Sequence[str]) -> bool:
    """Return whether most of a text says again what it has just said."""
    if len(words) < _MIN_WORDS:
        return len(words) > 2 and len(set(words)) == 1
    if len(set(words)) <= max(3, len(words) // 8):
        return True
    seen: set[tuple[str, ...]] = set()
    new = 0
    for place in range(len(words) - 2):
        three = tuple(words[place : place + 3])
        new += three not in seen
        seen.add(three)
    return new < max(_SAID_BEFORE, 0.35 * len(words)) and new < 0.6 * (len(words) - 2)


def _is_noise(text: str, words: Sequence[str]) -> bool:
    """Return whether a text has the words or letters of no language."""
    short = sum(len(word) == 1 or word.isdecimal() for word in words)
    if len(words) >= 3 and short > len(words) / 2:
        return not re.search(r"[`={}]|\w\(", text)
    if any(ord(char) > 0x2FF for char in text if char.isalpha()):
        return False
    mute = [
        w
        for w in words
        if len(w) > 2 and w.isalpha() and not re.search(r"[aeiouyäöüáéíóúàèêâîôûœæ]", w)
    ]
    if len(words) >= 4 and len(mute) > len(words) / 3:
        return True
    if len(words) <= 6 and not re.search(r"[.,:!?`(\"'’A-ZÀ-Ý]", text):
        return not any(word in stop for word in words for stop in (_STOP["en"],))
    if len(words) < _MIN_WORDS or re.search(r"[`={}<>]|\w\(", text):
        return False
    known = max(sum(word in stop for word in words) for stop in _STOP.values())
    rare = len(words) >= 2 * _MIN_WORDS and not re.search(r"\d", text)
    return known / len(words) > 0.8 or (rare and known / len(words) < 0.06)
