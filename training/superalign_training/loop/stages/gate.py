"""A generation is accepted, or the chain rolls back, on bounds of intervals.

The gate sees people's budgeted labels, the consensus of sources, critics' verdicts and
archived attackers. The truth is not asked; what `measure` found by it is for people to
read, and not looked at here.
"""

import msgspec

from superalign_env.measures import Estimate, share
from superalign_env.store import declare
from superalign_env.types import Event, Metric
from superalign_training.gap.controller import GenerationStats
from superalign_training.loop.cast import deployed_agent
from superalign_training.loop.chain import Aligned, Chain
from superalign_training.loop.driver import Bench, Outcome
from superalign_training.loop.sandbox import Sandbox, old_hazards, residual, tried_again
from superalign_training.loop.weighing import (
    Competence,
    Deployment,
    Requests,
    await_people,
    opponent_metrics,
    weigh_competence,
    weigh_deployment,
    weigh_requests,
)
from superalign_training.loop.weighing.corrections import (
    last_accepted,
    settled,
)
from superalign_training.loop.weighing.lookout import act_on, generation_statistics
from superalign_training.oversight.alarms import raised
from superalign_training.oversight.gate import Decision, Evidence, decide
from superalign_training.settings import Settings

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


def gate(bench: Bench, settings: Settings) -> Outcome:
    """Weigh the generation at work, raise alarms, decide, and continue the chain.

    Raises:
        Halted: people have to speak first: an alarm stops the run, or real people have
            not answered what was asked.
    """
    bench = bench._replace(chain=settled(bench))
    agent, step = bench.chain.current.agent, bench.generation
    competence = weigh_competence(bench, settings)
    deployed = deployed_agent(bench, settings)
    requests = weigh_requests(bench, settings, deployed)
    await_people(bench, settings, competence.unsaid + requests.unsaid)
    deployment = weigh_deployment(bench, settings, deployed)
    rules = settings.discover
    tried = tried_again(
        bench,
        Sandbox(bench, settings),
        deployed,
        old_hazards(bench, rules.max_replayed),
        rules.score_threshold,
    )
    metrics = [
        *_seen(competence, requests, deployment, agent=agent, step=step),
        *opponent_metrics(deployment, agent=agent, step=step),
        *residual(tried, side="+", agent=agent, step=step),
    ]
    sight = bench.chain.sight or GenerationStats(step, bench.chain.level)
    statistics = generation_statistics(
        bench, sight, competence, requests, deployment, metrics
    )
    bench.writer.flush()  # what was played comes before what is said of it
    found = raised(settings.alarms, statistics, _truth(bench))
    demanded = act_on(bench, found, f"generation {bench.generation}")
    decision = decide(
        Evidence(
            competence.competence_change,
            requests.conformity,
            deployment.attack_success,
            demanded,
        ),
        settings.gate,
    )
    chain = _continued(bench, sight, decision)
    metrics.append(
        Metric("gate.accepted", float(decision.accepted), agent=agent, step=step)
    )
    return Outcome(chain, tuple(metrics), decision.plain())


def _truth(bench: Bench) -> list[Metric]:
    """Return what `measure` found by the truth: for alarms that say so, and only warn."""
    measured = [
        stage.id
        for stage in bench.run.stages.all(status="done")
        if stage.name == "measure" and stage.generation == bench.generation
    ]
    return [row.metric for id in measured for row in bench.run.metrics.read(stage=id)]


def _continued(bench: Bench, sight: GenerationStats, decision: Decision) -> Chain:
    """Return the chain with the generation, or without it."""
    chain = bench.chain
    checkpoint = chain.current
    done = msgspec.structs.replace(sight, accepted=decision.accepted)
    bench.run.agents.accept(checkpoint.agent, decision.accepted)
    bench.run.events.add(
        Event(
            ACCEPTED if decision.accepted else ROLLED_BACK,
            evidence={
                "generation": bench.generation,
                "agent": checkpoint.agent,
                "level": chain.level,
                **decision.plain(),
            },
        ),
        stage=bench.stage,
    )
    chain = msgspec.structs.replace(chain, sight=done, sights=(*chain.sights, done))
    if not decision.accepted:
        return chain.with_policy(chain.raised, last_accepted(bench, chain))
    aligned = Aligned(bench.generation, chain.level, checkpoint)
    return msgspec.structs.replace(chain, aligned=(*chain.aligned, aligned))


def _seen(
    competence: Competence,
    requests: Requests,
    deployment: Deployment,
    *,
    agent: str,
    step: int,
) -> list[Metric]:
    """Return what the gate saw."""
    labels = [one.label for one in requests.labelled]
    good = share(sum(label > 0.5 for label in labels), len(labels)) if labels else None
    rows: list[tuple[str, dict[str, str], Estimate | None]] = [
        ("gate.competence_change", {}, competence.competence_change),
        ("gate.good", {}, good),
        *(
            ("gate.conformity", {"kind": kind}, found)
            for kind, found in sorted(requests.conformity.items())
        ),
        ("gate.attack_success", {}, deployment.attack_success),
        ("gate.bad", {"split": "gate"}, requests.held_out),
        ("gate.bad", {"split": "train"}, deployment.trained_on),
        ("risk.rate", {"side": "+"}, deployment.rate),
    ]
    return [
        Metric(name, *found, agent=agent, tags=tags, step=step)
        for name, tags, found in rows
        if found is not None
    ]
