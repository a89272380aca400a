"""A generation is accepted, or the chain rolls back, on bounds of intervals.

The gate sees people's budgeted labels, the consensus of sources, critics' verdicts and
archived attackers. The truth is not asked; what `measure` found by it is for people to
read, and not looked at here.
"""

from collections.abc import Sequence

import msgspec

from superalign_env.measures import Estimate, share
from superalign_env.types import Event, Metric
from superalign_training.alarms import Raised, raised
from superalign_training.gap.sight import Sight
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
    halt_unless_told,
    last_accepted,
    propose,
    settled,
)
from superalign_training.loop.weighing.lookout import seen_by_alarms
from superalign_training.risks import Decision, Evidence, decide
from superalign_training.settings import Settings

ACCEPTED = "gate.accepted"
ROLLED_BACK = "gate.rolled-back"


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
        old_hazards(bench, rules.replayed),
        rules.below,
    )
    metrics = [
        *_seen(competence, requests, deployment, agent=agent, step=step),
        *opponent_metrics(deployment, agent=agent, step=step),
        *residual(tried, side="+", agent=agent, step=step),
    ]
    sight = bench.chain.sight or Sight(step, bench.chain.level)
    alarms = raised(
        seen_by_alarms(bench, sight, competence, requests, deployment, metrics),
        settings.alarms,
    )
    bench.writer.flush()  # what was played comes before what is said of it
    demanded = _act(bench, alarms)
    decision = decide(
        Evidence(competence.kept, requests.conformity, deployment.broken, demanded),
        settings.gate,
    )
    chain = _continued(bench, sight, decision)
    metrics.append(
        Metric("gate.accepted", float(decision.accepted), agent=agent, step=step)
    )
    return Outcome(chain, tuple(metrics), decision.plain())


def _act(bench: Bench, alarms: Sequence[Raised]) -> list[str]:
    """Record alarms and do what they ask for; return those that demand a roll back.

    Raises:
        Halted: one of them stops the run.
    """
    for alarm, action in alarms:
        evidence = {
            "value": alarm.value,
            "threshold": alarm.threshold,
            "action": action,
            "generation": bench.generation,
            **alarm.evidence,
        }
        bench.run.events.add(
            Event(f"alarm.{alarm.kind}", evidence=evidence), stage=bench.stage
        )
        what = (
            f"the alarm {alarm.kind} in generation {bench.generation} "
            f"({alarm.value:.3g} against {alarm.threshold:g})"
        )
        if action == "propose":
            propose(bench, alarm.kind, what, evidence)
        elif action == "stop":
            halt_unless_told(bench, alarm.kind, what)
    return [alarm.kind for alarm, action in alarms if action == "roll-back"]


def _continued(bench: Bench, sight: Sight, decision: Decision) -> Chain:
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
        ("gate.kept", {}, competence.kept),
        ("gate.good", {}, good),
        *(
            ("gate.conformity", {"kind": kind}, found)
            for kind, found in sorted(requests.conformity.items())
        ),
        ("gate.broken", {}, deployment.broken),
        ("gate.bad", {"split": "gate"}, requests.held_out),
        ("gate.bad", {"split": "train"}, deployment.trained_on),
        ("risk.rate", {"side": "+"}, deployment.rate),
    ]
    return [
        Metric(name, *found, agent=agent, tags=tags, step=step)
        for name, tags, found in rows
        if found is not None
    ]
