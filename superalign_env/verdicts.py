"""The word form and the JSON form of a `Verdict`, and the one parser of both.

Word form, for models with a few thousand parameters (D is a digit, value D/9)::

    score D sure D [fault KIND D [at WORDS end]]* [note WORDS]
"""

import json
import re
from functools import lru_cache
from typing import Any

from superalign_env.errors import InvalidVerdict
from superalign_env.plain_text import one_line
from superalign_env.types import Fault, Verdict

SCHEMA: dict[str, Any] = {
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
"""JSON schema of the JSON form."""

EXPECTED = "score D sure D [fault KIND D [at WORDS end]]* [note WORDS], or a JSON object"

_HEAD = re.compile(r"score (\d) sure (\d)(?: |$)")
_FAULT = re.compile(r"fault (\S+) (\d)(?: at (.*?) end)?(?: |$)")
_FENCED = re.compile(r"```(?:json)?\s*(\{.*\})\s*```", re.DOTALL)


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


@lru_cache(maxsize=1024)
def parse(text: str) -> Verdict:
    """Read a verdict in either form; a fenced JSON block is taken too.

    Raises:
        InvalidVerdict: with the expected form.
    """
    text = text.strip()
    if text.startswith("score"):
        return _parse_words(text)
    fenced = _FENCED.search(text)
    body = fenced[1] if fenced else text
    if body.startswith("{"):
        return _parse_json(body)
    raise InvalidVerdict(f"expected {EXPECTED}; got {one_line(text)!r}")


def _parse_words(text: str) -> Verdict:
    head = _HEAD.match(text)
    if head is None:
        raise InvalidVerdict(f"expected {EXPECTED}; got {one_line(text)!r}")
    faults: list[Fault] = []
    place = head.end()
    while match := _FAULT.match(text, place):
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
        faults = tuple(
            Fault(
                str(item["kind"]),
                str(item.get("span", "")),
                _unit(item.get("severity", 0.5)),
            )
            for item in raw.get("faults", ())
        )
        return Verdict(
            _unit(raw["score"]),
            _unit(raw.get("confidence", 1.0)),
            faults,
            str(raw.get("critique", "")),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidVerdict(
            f"expected {EXPECTED}; {type(error).__name__}: {error}"
        ) from error


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
