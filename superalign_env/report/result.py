"""What a run came to, in a sentence or two."""

from superalign_env.report import names
from superalign_env.report.document import Document
from superalign_env.report.readings import plane, verdict_of_generations
from superalign_env.types import Metric


def sentence(document: Document) -> str:
    """Return the result of a run in plain words: what it came to, not whether that is good."""
    said = _of_a_chain(document) or _of_self_play(document)
    if not said:
        done = sum(stage.status == "done" for stage in document.stages)
        many = {0: "No stage is", 1: "1 stage is"}.get(done, f"{done} stages are")
        said = f"{many} done; nothing has been measured on unseen cases yet."
    return said


def _of_a_chain(document: Document) -> str:
    verdicts = verdict_of_generations(document)
    if not verdicts:
        return ""
    accepted = [generation for generation, kept in verdicts.items() if kept]
    many = f"{len(accepted)} of {len(verdicts)} generations"
    was = "was" if len(verdicts) == 1 else "were"
    parts = [f"{many} {was} accepted."]
    drawn = plane(document)
    rungs = [r for r in drawn.rungs if r.generation in accepted and r.after]
    if rungs:
        first, last = rungs[0], rungs[-1]
        assert first.after is not None and last.after is not None
        now = f"{drawn.capability} {last.after.capability.value:.2f}, {drawn.risk} {last.after.risk.value:.2f}"
        if first is last:
            parts.append(f"{names.generation(last.generation, '+')} has {now}.")
        else:
            parts.append(
                f"From {names.generation(first.generation, '+')} to "
                f"{names.generation(last.generation, '+')} {drawn.capability} went from "
                f"{first.after.capability.value:.2f} to {last.after.capability.value:.2f}, "
                f"{drawn.risk} from {first.after.risk.value:.2f} to "
                f"{last.after.risk.value:.2f}."
            )
    found = sum(document.found.values())
    if found:
        parts.append(f"{found} hazards were found.")
    return " ".join(parts)


def _of_self_play(document: Document) -> str:
    final = _latest(document, "learner.balanced-accuracy", who="final")
    if final is None:
        return ""
    parts = [
        f"On unseen requests the learner is right on both sides in {names.interval(final)}"
    ]
    gain = _latest(document, "learner.improvement")
    if gain is not None:
        parts.append(f", {_signed(gain)} against what it began with")
    leads = {
        m.opponent: m
        for _, m in document.metrics
        if m.name == "learner.lead" and m.opponent
    }
    if leads:
        ahead = " and ".join(f"{_signed(m)} against {name}" for name, m in leads.items())
        parts.append(f"; {ahead}")
    return f"{''.join(parts)}."


def _latest(document: Document, name: str, **tags: str) -> Metric | None:
    found = [
        m for _, m in document.metrics if m.name == name and tags.items() <= m.tags.items()
    ]
    return found[-1] if found else None


def _signed(metric: Metric) -> str:
    plus = "+" if metric.value >= 0 else ""
    return f"{plus}{names.interval(metric)}"
