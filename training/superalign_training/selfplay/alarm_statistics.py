"""Alarm statistics of a stage, gathered from the record, and the actions of alarms."""

from collections.abc import Mapping, Sequence

from superalign_env.measures import Estimate
from superalign_env.types import Event, Metric
from superalign_training.gap.controller import GenerationStats
from superalign_training.oversight.alarms import Raised, Statistics
from superalign_training.selfplay.corrections import halt_until_approved, propose
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.gate_evidence import (
    CompetenceEvidence,
    DeploymentEvidence,
    RequestEvidence,
)

Tagged = Sequence[tuple[str, Mapping[str, str]]]
"""(name of a metric, tags that it must have)."""

_SERIES: Tagged = (
    ("risk.rate", {"side": "-"}),
    ("risk.residual", {"side": "-"}),
    ("gate.attack_success", {}),
    ("gate.good", {}),
    ("verdicts.brier", {"on": "planted"}),
    ("signals.disagreement", {}),
)
"""Numbers by signals of which there is one for every generation."""


def generation_statistics(
    context: StageContext,
    stats: GenerationStats,
    competence: CompetenceEvidence,
    requests: RequestEvidence,
    deployment: DeploymentEvidence,
    metrics: Sequence[Metric],
) -> Statistics:
    """Return the statistics of the generation at work, without gold labels.

    Args:
        context: of the gate.
        stats: of the generation at work.
        competence: as the gate found it.
        requests: as the gate found them.
        deployment: as the gate found it.
        metrics: of the gate, which are not in the record yet.
    """
    return Statistics(
        generations=(*context.state.history, stats),
        samples=competence.speech,
        labelled=requests.labelled,
        missed=missed_planted(context),
        trained_on=deployment.trained_on,
        held_out=requests.held_out,
        series=series(context, _SERIES, metrics),
    )


def missed_planted(context: StageContext) -> Estimate | None:
    """Return the critic's error rate on planted answers in its last check."""
    rows = context.run.metrics.read("verdicts.accuracy", tags={"on": "planted"})
    return misjudged(rows[-1].metric) if rows else None


def misjudged(accuracy: Metric) -> Estimate:
    """Return the error rate of an accuracy."""
    low = accuracy.value if accuracy.low is None else accuracy.low
    high = accuracy.value if accuracy.high is None else accuracy.high
    return Estimate(1.0 - accuracy.value, 1.0 - high, 1.0 - low, accuracy.n)


def series(
    context: StageContext, names: Tagged, metrics: Sequence[Metric] = ()
) -> dict[str, list[float]]:
    """Return name → its values over generations, or over rounds where there are none.

    Args:
        context: of a stage.
        names: metrics that are looked at.
        metrics: of the stage, which are not in the record yet.
    """
    moment = {s.id: s.generation or s.round for s in context.run.stages.all()}
    values_by_name = {}
    for name, tags in names:
        latest: dict[int, float] = {}
        for stage, metric in context.run.metrics.read(name, tags=tags):
            if moment.get(stage):
                latest[moment[stage]] = metric.value
        values = [latest[number] for number in sorted(latest)]
        values += [
            m.value for m in metrics if m.name == name and tags.items() <= m.tags.items()
        ]
        if values:
            values_by_name[name] = values
    return values_by_name


def act_on(context: StageContext, alarms: Sequence[Raised], moment: str) -> list[str]:
    """Record alarms and take their actions; return the ids that demand a roll back.

    Args:
        context: of the stage.
        alarms: that were raised.
        moment: what they are of, for people: ``round 3``.

    Raises:
        Halted: one of them stops the run.
    """
    for alarm in alarms:
        evidence = {
            "value": alarm.value,
            "threshold": alarm.threshold,
            "action": alarm.action,
            "reason": alarm.line,
            "generation": context.generation,
            **alarm.evidence,
        }
        context.run.events.add(
            Event(f"alarm.{alarm.id}", evidence=evidence), stage=context.stage
        )
        reason = f"the alarm {alarm.id} in {moment} ({alarm.value:.3g} against {alarm.threshold:g})"
        if alarm.action == "propose":
            propose(context, alarm.id, reason, evidence)
        elif alarm.action == "stop":
            halt_until_approved(context, alarm.id, reason)
    return [alarm.id for alarm in alarms if alarm.action == "roll-back"]
