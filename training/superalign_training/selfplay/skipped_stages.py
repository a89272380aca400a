"""Stages that a run skips for lack of a capability, a learner or data: one line each."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from superalign_env.types import Role
from superalign_training.oversight.alarms import missing_statistics
from superalign_training.selfplay.lineup import AgentReference
from superalign_training.selfplay.plan import entries, training_stage
from superalign_training.selfplay.playing import is_judged, stage_capabilities
from superalign_training.selfplay.scenario_capabilities import (
    ATTACKED,
    DEPLOYED,
    JUDGED,
    PLANTED,
    SUPERVISED,
    Needs,
    ScenarioCapabilities,
    league_roles,
    rated_pairings,
)
from superalign_training.selfplay.settings import Settings

_SOURCES: Mapping[str, str] = {
    "generations": "generations",
    "samples": "generations",
    "trained_on": "generations",
    "held_out": "generations",
    "labelled": "people's labels",
    "missed": "planted answers",
    "series": "four rounds",
    "probe": "a policy that learns",
}
"""Field of `Statistics` → what a run must have to know it."""


def skipped_stages(settings: Settings) -> list[str]:
    """Return the stages that a run skips, with the reason, one line each."""
    capabilities = stage_capabilities(settings)
    if settings.hardening is not None:
        return [
            "hardening teaches who judges and who answers by courses of its own: algorithms of "
            "train, attack, annotate and calibrate are left out",
            *alarms_off(settings, capabilities),
        ]
    lines = [*_lacking(settings, capabilities), *_idle_lines(settings, capabilities)]
    if settings.generations and capabilities.can(DEPLOYED) and not is_judged(settings):
        lines.append(
            f"discover and conform are left out: nobody judges what the {settings.generation_role} "
            f"says in the variant plain of {capabilities.scenario}"
        )
    lines += _late_lines(settings)
    return [
        *lines,
        *league_lines(settings, capabilities),
        *alarms_off(settings, capabilities),
    ]


def league_lines(settings: Settings, capabilities: ScenarioCapabilities) -> list[str]:
    """Return the parts of a league that a run skips, with the reason, one line each."""
    if not settings.league.share:
        return []
    lines = [
        f"the {role} has no past in the league: it improves itself"
        for role in settings.learning
        if settings.own(role)
    ]
    if not league_roles(settings, capabilities):
        lines.append("the league is left out: no two policies learn that could meet")
    elif not rated_pairings(settings, capabilities):
        lines.append(
            f"the league is not rated: {capabilities.scenario} does not say who wins (no beats); "
            "past checkpoints play all the same"
        )
    return lines


def known_after_rounds(settings: Settings, capabilities: ScenarioCapabilities) -> set[str]:
    """Return the available statistics after a round of a run."""
    statistics = {"probe", "truth"}
    examined = capabilities.can(PLANTED) and capabilities.judges in settings.learning
    if settings.budget and capabilities.can(JUDGED) and capabilities.has_gold:
        statistics.add("labelled")
    if examined and settings.judge.check_cases:
        statistics |= {"missed", "series"}
    if capabilities.can(ATTACKED) and capabilities.asks in settings.learning:
        statistics.add("series")
    return statistics


def alarms_off(settings: Settings, capabilities: ScenarioCapabilities) -> list[str]:
    """Return a line on the alarms without data in a run; empty without any."""
    statistics = known_after_rounds(settings, capabilities)
    if settings.generations:
        statistics |= {
            "generations",
            "samples",
            "missed",
            "trained_on",
            "held_out",
            "series",
        }
        statistics |= {"labelled"} if settings.signals.people else set()
    lacking = missing_statistics(settings.alarms, statistics)
    if not lacking:
        return []
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, fields in lacking.items():
        reasons = dict.fromkeys(_SOURCES.get(field, field) for field in fields)
        by_reason[" and ".join(reasons)].append(name)
    groups = (f"{', '.join(names)} (without {why})" for why, names in by_reason.items())
    return [f"alarms off for lack of data: {'; '.join(groups)}"]


def _lacking(settings: Settings, capabilities: ScenarioCapabilities) -> Iterator[str]:
    """Yield a line for each capability that the scenario lacks, with the stages that need it."""
    lacking: dict[Needs, dict[str, None]] = {}
    for entry in entries(settings, capabilities):
        if not capabilities.can(entry.stage.needs):
            lacking.setdefault(entry.stage.needs, {})[entry.name] = None
    for needs, missing in lacking.items():
        yield f"{_listed(list(missing))} left out: {capabilities.lacks(needs)}"


def _idle_lines(settings: Settings, capabilities: ScenarioCapabilities) -> Iterator[str]:
    """Yield a line for each role that does not learn, with the skipped stages."""
    for role, stages in _idle(settings, capabilities):
        holder = _name(settings.reference(role))
        yield f"{_listed(stages)} left out: the {role} ({holder}) does not learn"


def _idle(
    settings: Settings, capabilities: ScenarioCapabilities
) -> Iterator[tuple[Role, list[str]]]:
    """Yield untrained roles, with the stages that would train them."""
    for role in capabilities.roles:
        way = "" if settings.own(role) else training_stage(role, capabilities, settings)
        if role not in settings.learning:
            if way == "calibrate":
                yield role, ["judge", "calibrate"]
            elif way == "attack":
                yield role, ["attack"]
            elif role == capabilities.answers:
                yield role, [f"improve-{role}"]


def _listed(names: list[str]) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"


def _name(reference: AgentReference) -> str:
    return reference if isinstance(reference, str) else str(reference.get("id"))


def _late_lines(settings: Settings) -> Iterator[str]:
    """Yield a line for each role that cannot use late answers, or not all."""
    people = ", labels and vetoes included" if settings.budget else ""
    waits = settings.budget and settings.people.mode == "continue"
    for role in settings.learning:
        name = f"{role} ({_name(settings.reference(role))})"
        if settings.own(role):
            yield (
                f"late answers and examples do not reach the {name}: it improves itself by "
                f"what its plays are paid at once{people}"
            )
        elif (
            waits
            and settings.rl_algorithms(role)
            and (reason := unused_answers_reason(settings, role))
        ):
            yield (
                "late answers that are too old or cannot be weighed are stored, and the "
                f"{name} does not learn from them: {reason}"
            )


def unused_answers_reason(settings: Settings, role: Role) -> str:
    """Return why a role cannot learn from expired late answers.

    Empty where a stage teaches them: `supervise` who answers, `calibrate` who judges.
    """
    capabilities = stage_capabilities(settings)
    if settings.own(role):
        return "it improves itself by pay alone"
    same = [r for r in capabilities.roles if settings.holder(r) == settings.holder(role)]
    supervised = capabilities.answers in same and capabilities.can(SUPERVISED)
    judging = capabilities.judges in same and capabilities.can(PLANTED)
    if judging and settings.supervised_algorithms(capabilities.judges):
        return ""
    if supervised and settings.supervise is not None:
        return ""
    cure = "; set supervise={} to teach them as examples" if supervised else ""
    return f"it learns by pay alone{cure}"
