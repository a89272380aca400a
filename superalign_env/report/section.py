"""A part of a page, and how pictures and records stand in it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from superalign_env.report import names
from superalign_env.report.markup import Child, Markup, element, joined, listed


class Section(NamedTuple):
    """One part of a page."""

    id: str
    title: str
    body: Markup


def section(id: str, title: str, text: str, *parts: Child) -> Section:
    """Return a section that opens with a sentence or two."""
    said = element("p", text, class_="lead") if text else None
    return Section(id, title, joined((said, *parts)))


def picture(svg: str, caption: Child = None, *, wide: str = "") -> Markup:
    """Return a drawing of ours as a figure.

    Args:
        svg: from `superalign_env.figures`, which is the only place that draws.
        caption: below it.
        wide: what it is called, if it keeps its size and scrolls where a page is narrow.
    """
    said = None if caption is None else element("figcaption", caption)
    drawn = Markup(svg)
    if wide:
        drawn = element(
            "div", drawn, class_="scroll", tabindex="0", role="region", aria_label=wide
        )
    return element("figure", drawn, said, class_="wide" if wide else None)


def badge(word: str) -> Markup:
    """Return a word that says how something stands."""
    tone = _TONES.get(word, "")
    return element("span", word, class_=f"badge {tone}".strip())


def command(*words: str) -> Markup:
    """Return a command line that a reader may copy."""
    return element("code", " ".join(("superalign", *map(_quoted, words))))


def evidence(found: Mapping[str, Any], called: names.Names) -> Markup:
    """Return what an event says, as a list of names and values."""
    parts = []
    for key, value in names.flat(found).items():
        whole = found.get(key)
        said: Child = _short(called.within(value))
        if isinstance(whole, list) and _are_findings(whole):
            said = listed(_finding(one) for one in whole)
        elif isinstance(whole, list) and len(value) > _LONG:
            said = f"{len(whole)} entries"
        parts += [element("dt", called.within(_spelled(key))), element("dd", said)]
    return element("dl", *parts, class_="evidence")


def _spelled(key: str) -> str:
    """Return a dotted key as words."""
    return key.replace(".", ": ").replace("_", " ")


def _are_findings(found: list[Any]) -> bool:
    """Return whether these are conditions in words, as the gate writes them."""
    return bool(found) and all(isinstance(one, dict) and "words" in one for one in found)


def _finding(one: dict[str, Any]) -> Markup:
    met = one.get("met")
    mark = "" if met is None else "✓ " if met else "✗ "
    return joined((mark, str(one["words"])))


_TONES = {
    "accepted": "good",
    "done": "good",
    "trained": "good",
    "failed": "warn",
    "interrupted": "warn",
    "open": "warn",
    "rolled back": "warn",
    "stop": "warn",
    "roll-back": "warn",
}
_LONG = 400


def _short(value: str) -> str:
    try:
        return names.number(float(value))
    except ValueError:
        return value if len(value) <= _LONG else f"{value[: _LONG - 1]}…"


def _quoted(word: str) -> str:
    plain = word.replace("/", "").replace("-", "").replace("_", "").replace(".", "")
    return word if plain.isalnum() and word.isascii() else f"'{word}'"
