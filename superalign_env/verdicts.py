"""The word form and the JSON form of a `Verdict`, and the one parser of both.

Word form, for models with a few thousand parameters (D is a digit, value D/9)::

    score D sure D [fault KIND D [at WORDS end]]* [note WORDS]
"""

import json
import re
from functools import lru_cache
from typing import Any

from superalign_env.admission import MAX_FAULTS, MAX_VERDICT
from superalign_env.errors import InvalidVerdict
from superalign_env.plain_text import one_line
from superalign_env.plain_values import read_only
from superalign_env.spaces import flaw
from superalign_env.types import Fault, Verdict

SCHEMA: dict[str, Any] = read_only(
    {
        "type": "object",
        "properties": {
            "score": {"type": "number", "minimum": 0, "maximum": 1},
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            "faults": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "kind": {"type": "string"},
                        "span": {"type": "string"},
                        "severity": {"type": "number", "minimum": 0, "maximum": 1},
                    },
                    "required": ["kind", "span", "severity"],
                    "additionalProperties": False,
                },
            },
            "critique": {"type": "string"},
        },
        "required": ["score", "confidence", "faults", "critique"],
        "additionalProperties": False,
    }
)
"""JSON schema of the JSON form; views show it, so nobody can change it."""

EXPECTED = "score D sure D [fault KIND D [at WORDS end]]* [note WORDS], or a JSON object"

_LONGEST_REASON = 400

_HEAD = re.compile(r"score (\d) sure (\d)(?: |$)")
_FAULT = re.compile(r"fault (\S+) (\d)(?: at (.*?) end)?(?: |$)")
_OPENED = re.compile(r"```(?:json)?\s*(?=\{)")
_CLOSED = re.compile(r"\}\s*```")


def to_words(verdict: Verdict) -> str:
    """Return the word form; scores are rounded to ninths."""
    words = [f"score {_digit(verdict.score)} sure {_digit(verdict.confidence)}"]
    for fault in verdict.faults:
        place = f" at {fault.span} end" if fault.span else ""
        words.append(f"fault {fault.kind} {_digit(fault.severity)}{place}")
    if verdict.critique:
        words.append(f"note {verdict.critique}")
    return " ".join(words)


def to_form(verdict: Verdict, form: str) -> str:
    """Return the form that a view asks for: JSON for ``json-schema``, else words."""
    return to_json_text(verdict) if form == "json-schema" else to_words(verdict)


def to_json_text(verdict: Verdict) -> str:
    """Return the JSON form, exact."""
    faults = [
        {"kind": fault.kind, "span": fault.span, "severity": fault.severity}
        for fault in verdict.faults
    ]
    return json.dumps(
        {
            "score": verdict.score,
            "confidence": verdict.confidence,
            "faults": faults,
            "critique": verdict.critique,
        },
        ensure_ascii=False,
    )


def parse(text: str) -> Verdict:
    """Read a verdict in either form; a fenced JSON block is taken too.

    Raises:
        InvalidVerdict: with the expected form.
    """
    # As `flaw`, without a call for what is usual.
    usual = type(text) is str and text.isascii() and len(text) <= MAX_VERDICT
    objection = "" if usual and "\x00" not in text else flaw(text, MAX_VERDICT)
    if objection:  # before the cache keeps it
        raise InvalidVerdict(f"expected {EXPECTED}; the text {objection}")
    return _parse(text)


@lru_cache(maxsize=1024)
def _parse(text: str) -> Verdict:
    text = text.strip()
    if text.startswith("score"):
        return _parse_words(text)
    body = _unfenced(text)
    if body.startswith("{"):
        return _parse_json(body)
    raise InvalidVerdict(f"expected {EXPECTED}; got {one_line(text)!r}")


def _unfenced(text: str) -> str:
    """Return what stands between the first fence before an object and the last after one."""
    opened = _OPENED.search(text)
    if opened is None:
        return text
    # One pass over each: a pattern for the whole block would try every pair of fences.
    ends = [closed.start() + 1 for closed in _CLOSED.finditer(text, opened.end())]
    return text[opened.end() : ends[-1]] if ends else text


def _parse_words(text: str) -> Verdict:
    head = _HEAD.match(text)
    if head is None:
        raise InvalidVerdict(f"expected {EXPECTED}; got {one_line(text)!r}")
    faults: list[Fault] = []
    place = head.end()
    while match := _FAULT.match(text, place):
        if len(faults) == MAX_FAULTS:
            raise InvalidVerdict(f"expected {EXPECTED}; more than {MAX_FAULTS} faults")
        faults.append(Fault(match[1], match[3] or "", int(match[2]) / 9))
        place = match.end()
    rest = text[place:].strip()
    if rest and rest != "note" and not rest.startswith("note "):
        raise InvalidVerdict(f"expected {EXPECTED}; did not understand {one_line(rest)!r}")
    return Verdict(int(head[1]) / 9, int(head[2]) / 9, tuple(faults), rest[5:])


def _parse_json(text: str) -> Verdict:
    try:
        # NaN and Infinity are no JSON, whatever the standard library thinks.
        raw = json.loads(text, parse_constant=_refuse)
        items = raw.get("faults", ())
        if len(items) > MAX_FAULTS:
            raise ValueError(f"more than {MAX_FAULTS} faults")
        faults = tuple(
            Fault(
                _written(item["kind"]),
                _written(item.get("span", "")),
                _unit(item.get("severity", 0.5)),
            )
            for item in items
        )
        return Verdict(
            _unit(raw["score"]),
            _unit(raw.get("confidence", 1.0)),
            faults,
            _written(raw.get("critique", "")),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        why = one_line(f"{type(error).__name__}: {error}", _LONGEST_REASON)
        raise InvalidVerdict(f"expected {EXPECTED}; {why}") from error


def _written(value: object) -> str:
    """Return a text that the record can hold; JSON can write others, escaped."""
    text = str(value)
    objection = flaw(text.replace("\x00", ""), MAX_VERDICT)
    if objection:
        raise ValueError(f"{one_line(text)!r} {objection}")
    return text


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _unit(value: Any) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not 0 <= value <= 1
    ):
        raise ValueError(f"{value!r} is no number in [0, 1]")
    return float(value)


def _digit(value: float) -> int:
    return min(9, max(0, round(value * 9)))
