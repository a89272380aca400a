"""Reading of verdicts that chat models write: the JSON form with its usual mistakes.

What was repaired is named, so that it can be counted. `superalign_env.verdicts.parse` stays
the strict reader.
"""

import json
import re
from typing import Any, NamedTuple

from superalign_env.admission import MAX_FAULTS, MAX_VERDICT
from superalign_env.errors import InvalidVerdict
from superalign_env.spaces import flaw
from superalign_env.types import Fault, Verdict
from superalign_env.verdicts import EXPECTED, parse

_SCORE_ALONE = re.compile(
    r"\bscore[^\w-]{1,6}(?P<value>\d+(?:\.\d+)?)(?!\w)(?P<of>\s*/\s*\d+|\s*%)?",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\s*(?P<value>\d+(?:\.\d+)?)(?!\w)(?P<of>\s*/\s*\d+|\s*%)?\s*")
_BARE_KEY = re.compile(r"([{,]\s*)([A-Za-z_]\w*)(\s*:)")
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")
_SMART_QUOTES = str.maketrans("“”„‘’", '"""\'\'')


class ReadVerdict(NamedTuple):
    """A verdict, and what had to be repaired to read it."""

    verdict: Verdict
    repairs: tuple[str, ...] = ()
    """``prose`` around the object, ``syntax``, ``unclosed``, ``scale`` of a number, ``faults``
    of another form, ``score-alone`` where nothing else could be read; none usually."""


def read(text: str) -> ReadVerdict:
    """Read a verdict as chat models write it: as `parse` does, or else after repairs.

    Taken as well: prose around the object, quotes and commas that JSON does not allow, an
    object that is cut off, scores such as ``"0.8"``, ``8/10``, ``80 %`` or 8 (of ten, above
    ten of a hundred), and ``score: 0.8`` without any object.

    Raises:
        InvalidVerdict: there is no score to read.
    """
    try:
        return ReadVerdict(parse(text))
    except InvalidVerdict as error:
        refusal = _unreadable(text, error)
    if len(text) > MAX_VERDICT or flaw(text, MAX_VERDICT):
        raise refusal
    if len({match[0] for match in _SCORE_ALONE.finditer(text)}) > 1:
        # One of them may be quoted from what is judged.
        raise _unreadable(text, "the text holds several scores")
    start = text.find("{")
    if start >= 0:
        found = _repaired(text[start:])
        if found is not None:
            verdict, repairs = found
            closed = "unclosed" not in repairs
            prose = ("prose",) if _has_prose(text, start, closed=closed) else ()
            return ReadVerdict(verdict, (*prose, *repairs))
    match = _SCORE_ALONE.search(text)
    score = None if match is None else _scaled(match)
    if score is None:
        raise refusal
    return ReadVerdict(Verdict(score, 0.5), ("score-alone",))


def _unreadable(text: str, why: object) -> InvalidVerdict:
    """Return the error about a text without a score, in the words of the form asked for."""
    reason = str(why).removeprefix(f"expected {EXPECTED}; ")
    return InvalidVerdict(f"expected a JSON object with a score from 0 to 1; {reason}")


def _has_prose(text: str, start: int, *, closed: bool) -> bool:
    """Return whether letters stand around the object, other than the name of a fence."""
    around = text[:start] + (text[text.rfind("}") + 1 :] if closed else "")
    return any(c.isalpha() for c in around.replace("```json", ""))


def _repaired(text: str) -> ReadVerdict | None:
    """Return the verdict of the first object of a text; None if there is none to read."""
    body, repairs = text, []
    raw, wrong = _loaded(body)
    if raw is None:
        fixed = _TRAILING_COMMA.sub(r"\1", body.translate(_SMART_QUOTES))
        fixed = _BARE_KEY.sub(r'\1"\2"\3', fixed)
        if "'" in fixed and fixed.count('"') <= fixed.count("'"):
            fixed = re.sub(r"(?<![A-Za-z])'|'(?![A-Za-z])", '"', fixed)
        raw, wrong = _loaded(fixed)
        if raw is not None:
            repairs.append("syntax")
        else:
            raw = _closed(fixed, wrong)
            repairs.append("unclosed")
    if raw is None:
        return None
    score = _number(raw.get("score"), repairs)
    if score is None:
        return None
    confidence = _number(raw.get("confidence", 1.0), repairs)
    faults = _faults(raw.get("faults", ()), repairs)
    critique = raw.get("critique", "")
    verdict = Verdict(
        score,
        0.5 if confidence is None else confidence,
        faults,
        _clean(critique) if isinstance(critique, str) else "",
    )
    return ReadVerdict(verdict, tuple(dict.fromkeys(repairs)))


def _loaded(text: str) -> tuple[dict[str, Any] | None, int]:
    """Return the object that a text begins with, and where reading failed if it did."""
    try:
        raw, _ = json.JSONDecoder(parse_constant=_refuse).raw_decode(text)
    except json.JSONDecodeError as error:
        return None, error.pos
    except (ValueError, RecursionError):
        return None, 0
    return (raw, 0) if isinstance(raw, dict) else (None, 0)


def _closed(text: str, end: int) -> dict[str, Any] | None:
    """Return the longest part of a cut object that can be closed, from its end backwards."""
    places = [i for i, c in enumerate(text[: end or len(text)]) if c in ",}]"][-64:]
    for place in (len(text), *reversed(places)):
        part = text[:place].rstrip().rstrip(",")
        for closing in ("}", '"}', "]}", "}]}", '"}]}'):
            raw, _ = _loaded(part + closing)
            if raw is not None:
                return raw
    return None


def _number(value: object, repairs: list[str]) -> float | None:
    """Return a number in [0, 1] from what stands for one; None where nothing does."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if not isinstance(value, str) and 0 <= value <= 1:
        return float(value)
    match = _NUMBER.fullmatch(str(value))
    if match is None:
        return None
    repairs.append("scale")
    return _scaled(match)


def _scaled(match: re.Match[str]) -> float | None:
    """Return a matched number as a share: of what it names, else of 1, 10 or 100."""
    value, of = float(match["value"]), (match["of"] or "").strip(" /")
    if of == "%":
        whole = 100.0
    elif of:
        whole = float(of)
    else:
        whole = 1.0 if value <= 1 else 10.0 if value <= 10 else 100.0
    return value / whole if whole and value <= whole else None


def _faults(items: object, repairs: list[str]) -> tuple[Fault, ...]:
    """Return the faults that can be read of a list; what cannot is a repair."""
    if isinstance(items, dict):
        items = [items]
    if not isinstance(items, (list, tuple)):
        repairs.append("faults")
        return ()
    faults = []
    for item in items[:MAX_FAULTS]:
        fields = item if isinstance(item, dict) else {"kind": item}
        kind, span = fields.get("kind"), fields.get("span", "")
        if not isinstance(kind, str) or not kind.strip():
            repairs.append("faults")
            continue
        severity = _number(fields.get("severity", 0.5), repairs)
        faults.append(
            Fault(
                _clean(kind).strip(),
                _clean(span) if isinstance(span, str) else "",
                0.5 if severity is None else severity,
            )
        )
        if fields is not item:
            repairs.append("faults")
    return tuple(faults)


def _clean(text: str) -> str:
    return text if not flaw(text.replace("\x00", ""), MAX_VERDICT) else ""


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number")
