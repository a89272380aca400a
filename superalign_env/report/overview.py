"""Head of a page: identity, result in a sentence or two, and cost of a run."""

from collections.abc import Iterable, Mapping
from typing import Any

from superalign_env.figures import Reading
from superalign_env.report import names
from superalign_env.report.document import Document
from superalign_env.report.generations import plane, verdict_of_generations
from superalign_env.report.html import Markup, badge, command, element, joined
from superalign_env.rounding import number
from superalign_env.types import Event, Metric


def sentence(document: Document) -> str:
    """Return the result of a run in a sentence or two."""
    result = _of_a_chain(document) or _of_self_play(document) or _of_rounds(document)
    if not result:
        done = sum(stage.status == "done" for stage in document.stages)
        many = {0: "No stage is", 1: "1 stage is"}.get(done, f"{done} stages are")
        result = f"{many} done; nothing has been measured on unseen cases yet."
    return " ".join([result, *unchanged(happened.event for happened in document.events)])


def unchanged(events: Iterable[Event]) -> list[str]:
    """Return a sentence for every training that left the weights as they were."""
    reasons = [
        str(event.evidence.get("reason", ""))
        for event in events
        if event.kind == "policy.unchanged"
    ]
    return [f"{reason[:1].upper()}{reason[1:]}." for reason in reasons if reason]


def _of_a_chain(document: Document) -> str:
    verdicts = verdict_of_generations(document)
    if not verdicts:
        return ""
    accepted = [generation for generation, kept in verdicts.items() if kept]
    many = f"{len(accepted)} of {len(verdicts)} generations"
    be = "was" if len(verdicts) == 1 else "were"
    parts = [f"{many} {be} accepted."]
    chain_plane = plane(document)
    rungs = [r for r in chain_plane.rungs if r.generation in accepted and r.after]
    if rungs:
        first, last = rungs[0], rungs[-1]
        assert first.after is not None and last.after is not None
        now = [_said(last.after.capability), _said(last.after.risk)]
        newest = names.generation(last.generation, "+")
        if first is last:
            parts.append(
                f"{newest} has {chain_plane.capability} {now[0]} and the {chain_plane.risk} is {now[1]}."
            )
        else:
            was = [_said(first.after.capability), _said(first.after.risk)]
            parts.append(
                f"From {names.generation(first.generation, '+')} to {newest}, "
                f"{chain_plane.capability} went from {was[0]} to {now[0]} and the {chain_plane.risk} "
                f"from {was[1]} to {now[1]}."
            )
    hazards = sum(document.found.values())
    if hazards:
        parts.append(f"{hazards} hazards were found.")
    parts.append(_alarms(document))
    return " ".join(parts)


def _said(reading: Reading) -> str:
    return names.bracketed(reading.value, reading.low, reading.high)


def _alarms(document: Document) -> str:
    kinds = {k: n for k, n in document.kinds.items() if k.startswith("alarm.")}
    if not kinds:
        return "No alarm went off."
    many = sum(kinds.values())
    kinds_listed = ", ".join(kind.partition(".")[2] for kind in kinds)
    return f"{many} {'alarm' if many == 1 else 'alarms'} went off: {kinds_listed}."


def _of_self_play(document: Document) -> str:
    final = _latest(document, "refusals.balanced-accuracy", who="final")
    if final is None:
        return _one_sided(document)
    parts = [
        f"On unseen requests the learner is right on both sides in {names.interval(final)}"
    ]
    gain = _latest(document, "improvement")
    if gain is not None:
        parts.append(f", {_signed(gain)} against what it began with")
    leads = {m.opponent: m for _, m in document.metrics if m.name == "lead" and m.opponent}
    if leads:
        ahead = " and ".join(f"{_signed(m)} against {name}" for name, m in leads.items())
        parts.append(f"; {ahead}")
    return f"{''.join(parts)}.{_attacked(document)}"


def _of_rounds(document: Document) -> str:
    """Return the rise of each seat's pay on unseen tasks, in any scenario."""
    gains = {m.tags.get("seat", ""): m for _, m in document.metrics if m.name == "pay.gain"}
    if not gains:
        return ""
    n = max(gain.n for gain in gains.values())
    rises = ", ".join(f"that of {seat} by {_signed(gain)}" for seat, gain in gains.items())
    return f"On {n} unseen tasks pay changed: {rises}."


def _one_sided(document: Document) -> str:
    """Return the counts of requests where one side was never asked."""
    one_sided = {
        truth: _latest(document, "requests.asked", who="final", truth=truth)
        for truth in ("harmful", "benign")
    }
    counts = [
        f"{number(count.value)} {truth}" for truth, count in one_sided.items() if count
    ]
    if not counts:
        return ""
    return (
        f"The learner was asked {' and '.join(counts)} requests: who is right on one side "
        "only may always say the same, so nothing follows."
    )


def _attacked(document: Document) -> str:
    """Return the success of a fresh attacker with its interval; empty where none was sent."""
    metrics_here = [
        _latest(document, "attack.harm", who=side, split="test", attacker="fresh")
        for side in ("final", "before")
    ]
    final, before = metrics_here
    if final is None:
        return ""
    was = f", {names.interval(before)} before training" if before else ""
    return (
        f" A fresh attacker finds harm with {names.interval(final)} of its last {final.n} "
        f"valid queries{was}."
    )


def _latest(document: Document, name: str, **tags: str) -> Metric | None:
    matching = [
        m for _, m in document.metrics if m.name == name and tags.items() <= m.tags.items()
    ]
    return matching[-1] if matching else None


def _signed(metric: Metric) -> str:
    plus = "+" if metric.value >= 0 else ""
    return f"{plus}{names.interval(metric)}"


Fact = tuple[str, Markup | str]
"""What something is called, and how much of it there is."""


def heading(document: Document) -> Markup:
    """Return title, result and facts of one run."""
    info = document.info
    return element(
        "header",
        element("p", f"superalign · {info.kind}", class_="kicker"),
        element("h1", info.id),
        element("p", sentence(document), class_="result"),
        fact_list("What was run", [*_identity(document), *_asked(document)]),
        fact_list("What came of it", [*_size(document), *_cost(document)]),
        element("p", "Read any episode with ", command("show", document.path, "EPISODE")),
        id="top",
    )


def fact_list(title: str, facts: list[Fact]) -> Markup:
    """Return facts as names and values that flow over the width."""
    return element(
        "dl",
        joined(
            element("div", element("dt", name), element("dd", value))
            for name, value in facts
        ),
        class_="facts",
        aria_label=title,
    )


def total(document: Document, field: str) -> int:
    """Return one cost over all stages."""
    return sum(getattr(cost, field) for cost in document.costs)


def _identity(document: Document) -> list[Fact]:
    info = document.info
    parent: list[Fact] = [("forked from", info.parent)] if info.parent else []
    return [
        *parent,
        ("status", badge(info.status)),
        ("seed", str(info.seed)),
        ("revision", element("code", info.revision[:12] or "unknown")),
    ]


def _asked(document: Document) -> list[Fact]:
    """Return the settings that a reader wants first, as far as the run has them."""
    settings = names.flat(document.info.config)
    chain = document.generations > 0
    return [
        (name, settings[key])
        for name, key, label in (
            ("scenario", "scenario", True),
            ("generations", "generations", chain),
            ("rounds", "rounds", True),
            ("order", "order", chain),
            ("gap controller", "gap.id", chain),
            ("competence by", "competence.algorithm.id", chain),
            ("conformity by", "conform.algorithm.id", chain),
            ("ladder", "levels", chain),
        )
        if label and settings.get(key, "None") != "None"
    ] + _by_role(document.info.config)


def _by_role(config: Mapping[str, Any]) -> list[Fact]:
    """Return the agents and the algorithms of each role."""
    facts: list[Fact] = []
    for name, key in (("lineup", "lineup"), ("trained by", "train")):
        roles = config.get(key)
        held_by = roles.items() if isinstance(roles, Mapping) else ()
        texts = [f"{role}: {_ids(agent_ids)}" for role, agent_ids in held_by if agent_ids]
        if texts:
            facts.append((name, ", ".join(texts)))
    return facts


def _ids(agent_ids: Any) -> str:
    """Return the ids of a role's agent or algorithms."""
    several = agent_ids if isinstance(agent_ids, list) else [agent_ids]
    return " + ".join(
        str(o.get("id")) if isinstance(o, Mapping) else str(o) for o in several
    )


def _size(document: Document) -> list[Fact]:
    verdicts = verdict_of_generations(document)
    facts: list[Fact] = []
    if verdicts:
        facts.append(("accepted", f"{sum(verdicts.values())} of {len(verdicts)}"))
    if document.found:
        facts.append(("hazards", str(sum(document.found.values()))))
    alarms = [n for kind, n in document.kinds.items() if kind.startswith("alarm.")]
    if alarms or verdicts:
        facts.append(("alarms", str(sum(alarms))))
    facts.append(("stages", str(len(document.stages))))
    return facts


def _cost(document: Document) -> list[Fact]:
    facts: list[Fact] = [
        (name, grouped(total(document, field)))
        for name, field in (
            ("episodes", "episodes"),
            ("utterances", "utterances"),
            ("tokens read", "prompt_tokens"),
            ("tokens written", "tokens"),
        )
        if total(document, field)
    ]
    budget = document.budget
    if budget.asked:
        facts.append(("people answered", f"{budget.answered} of {budget.asked}"))
    if document.seconds:
        facts.append(("time", duration(sum(document.seconds.values()))))
    return facts


def duration(seconds: float) -> str:
    """Return a time as one reads it: ``4.2 s``, ``3 min 12 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{names.number(round(seconds, 1))} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def grouped(count: int) -> str:
    """Return a count with thin spaces between thousands."""
    return f"{count:,}".replace(",", "\u2009")
