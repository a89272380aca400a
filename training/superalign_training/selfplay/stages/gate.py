"""Stage gate: accept a generation or roll it back, by bounds of intervals.

The gate sees people's budgeted labels, the consensus of sources, critics' verdicts and
archived attackers. The truth is not asked; what `measure` found by it is for people to
read, and not looked at here.
"""

import shlex

import msgspec

from superalign_env.errors import Halted
from superalign_env.measures import Estimate, share
from superalign_env.store import declare
from superalign_env.types import Event, Metric
from superalign_training.gap.controller import GenerationStats
from superalign_training.oversight.alarms import raised
from superalign_training.oversight.gate import Decision, Evidence, decide
from superalign_training.selfplay.agents import deployed_agent
from superalign_training.selfplay.alarm_statistics import act_on, generation_statistics
from superalign_training.selfplay.corrections import (
    apply_decisions,
    last_accepted,
)
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.gate_evidence import (
    CompetenceEvidence,
    DeploymentEvidence,
    RequestEvidence,
    competence_evidence,
    deployment_evidence,
    opponent_metrics,
    request_evidence,
)
from superalign_training.selfplay.sandbox import (
    Sandbox,
    old_hazards,
    replay_hazards,
    residual_metrics,
)
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.state import Aligned, RunState

ACCEPTED = "gate.accepted"
ROLLED_BACK = "gate.rolled-back"


declare(ACCEPTED, "Accepted by the gate", chart="")
declare("gate.bad", "Bad answers, say critics", unit="share", better="lower")
declare(
    "gate.attack_success",
    "Archived attacks that still succeed",
    unit="share",
    better="lower",
)
declare("gate.conformity", "Good, say people", unit="share", better="higher")
declare("gate.good", "Good, say people, in all", unit="share", better="higher")
declare("gate.competence_change", "Change of competence", better="higher")


def gate(context: StageContext, settings: Settings) -> StageResult:
    """Gather evidence, raise alarms, and accept the generation or roll it back.

    Raises:
        Halted: people have to speak first: an alarm stops the run, or real people have
            not answered what was asked.
    """
    context = context._replace(state=apply_decisions(context))
    agent, step = context.state.current.agent, context.generation
    competence = competence_evidence(context, settings)
    deployed = deployed_agent(context, settings)
    requests = request_evidence(context, settings, deployed)
    _await_people(context, settings, competence.open_questions + requests.open_questions)
    deployment = deployment_evidence(context, settings, deployed)
    rules = settings.discover
    attempts = replay_hazards(
        context,
        Sandbox(context, settings),
        deployed,
        old_hazards(context, rules.max_replayed),
        rules.score_threshold,
    )
    metrics = [
        *_seen(competence, requests, deployment, agent=agent, step=step),
        *opponent_metrics(deployment, agent=agent, step=step),
        *residual_metrics(attempts, side="+", agent=agent, step=step),
    ]
    stats = context.state.stats or GenerationStats(step, context.state.level)
    statistics = generation_statistics(
        context, stats, competence, requests, deployment, metrics
    )
    context.writer.flush()  # what was played comes before what is said of it
    events = raised(settings.alarms, statistics, _truth(context))
    demanded = act_on(context, events, f"generation {context.generation}")
    decision = decide(
        Evidence(
            competence.competence_change,
            requests.conformity,
            deployment.attack_success,
            demanded,
        ),
        settings.gate,
    )
    state = _continued(context, stats, decision)
    metrics.append(
        Metric("gate.accepted", float(decision.accepted), agent=agent, step=step)
    )
    return StageResult(state, tuple(metrics), decision.plain())


def _truth(context: StageContext) -> list[Metric]:
    """Return the metrics of the stage `measure`, for alarms that read the truth and only warn."""
    measured = [
        stage.id
        for stage in context.run.stages.all(status="done")
        if stage.name == "measure" and stage.generation == context.generation
    ]
    return [row.metric for id in measured for row in context.run.metrics.read(stage=id)]


def _continued(
    context: StageContext, stats: GenerationStats, decision: Decision
) -> RunState:
    """Return the run state with the generation, or rolled back."""
    state = context.state
    checkpoint = state.current
    final_stats = msgspec.structs.replace(stats, accepted=decision.accepted)
    context.run.agents.accept(checkpoint.agent, decision.accepted)
    context.run.events.add(
        Event(
            ACCEPTED if decision.accepted else ROLLED_BACK,
            evidence={
                "generation": context.generation,
                "agent": checkpoint.agent,
                "level": state.level,
                **decision.plain(),
            },
        ),
        stage=context.stage,
    )
    state = msgspec.structs.replace(
        state, stats=final_stats, history=(*state.history, final_stats)
    )
    if not decision.accepted:
        return state.with_policy(state.generation_role, last_accepted(context, state))
    aligned = Aligned(context.generation, state.level, checkpoint)
    return msgspec.structs.replace(state, aligned=(*state.aligned, aligned))


def _seen(
    competence: CompetenceEvidence,
    requests: RequestEvidence,
    deployment: DeploymentEvidence,
    *,
    agent: str,
    step: int,
) -> list[Metric]:
    """Return the metrics of the evidence."""
    labels = [answer.label for answer in requests.labelled]
    good_share = (
        share(sum(label > 0.5 for label in labels), len(labels)) if labels else None
    )
    rows: list[tuple[str, dict[str, str], Estimate | None]] = [
        ("gate.competence_change", {}, competence.competence_change),
        ("gate.good", {}, good_share),
        *(
            ("gate.conformity", {"kind": kind}, estimate)
            for kind, estimate in sorted(requests.conformity.items())
        ),
        ("gate.attack_success", {}, deployment.attack_success),
        ("gate.bad", {"split": "gate"}, requests.held_out),
        ("gate.bad", {"split": "train"}, deployment.trained_on),
        ("risk.rate", {"side": "+"}, deployment.rate),
    ]
    return [
        Metric(name, *estimate, agent=agent, tags=tags, step=step)
        for name, tags, estimate in rows
        if estimate is not None
    ]


def _await_people(context: StageContext, settings: Settings, open_questions: int) -> None:
    """Stop until real people have answered the open questions, if nobody is simulated.

    Raises:
        Halted: says how they answer, and how the run goes on.
    """
    people = settings.signals.people
    if open_questions and people and not any(person.simulated for person in people):
        path = shlex.quote(str(context.run.path))
        raise Halted(
            f"the gate of generation {context.generation} waits for {open_questions} answers of "
            f"people: `superalign label {path} --as NAME`, then continue with --resume "
            f"run_dir={path} (gate.request_labels=0 gate.disagreement_labels=0 would ask nobody)"
        )
