"""What a critic said, read."""

from typing import Any

from superalign_env.errors import InvalidVerdict
from superalign_env.types import Event, Fault, Utterance, Verdict
from superalign_env.verdicts import parse


def read_verdict(spoken: Utterance, about: int) -> tuple[Verdict | None, Event]:
    """Return the verdict, None when it cannot be parsed, and the event that records it.

    Args:
        spoken: the critic's utterance.
        about: turn of the answer that is judged.
    """
    try:
        verdict = parse(spoken.text)
    except InvalidVerdict as error:
        evidence = {"about": about, "why": str(error)}
        return None, Event("verdict.unparsable", spoken.seat, spoken.turn, evidence)
    evidence = {
        "about": about,
        "score": verdict.score,
        "confidence": verdict.confidence,
        "faults": _plain(verdict.faults) if verdict.faults else [],
    }
    return verdict, Event("verdict.given", spoken.seat, spoken.turn, evidence)


def _plain(faults: tuple[Fault, ...]) -> list[dict[str, Any]]:
    return [{"kind": f.kind, "span": f.span, "severity": f.severity} for f in faults]
