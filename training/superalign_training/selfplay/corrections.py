"""Decisions of people: taking a generation back, and continuing after an alarm.

A proposal is filed as a question and does nothing. It takes effect at the next stage that
looks (`apply_decisions`), once somebody said yes and nobody said no.
"""

import shlex
from typing import Any

import msgspec

from superalign_env.errors import Halted
from superalign_env.humans.authority import Ruling, proposal, ruling, simulated
from superalign_env.types import Event, Signal, role_of
from superalign_training.policy import Checkpoint
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.state import RunState

PROPOSED = "correction.proposed"
APPROVED = "correction.approved"
VETOED = "correction.vetoed"


def propose(context: StageContext, name: str, reason: str, evidence: dict[str, Any]) -> str:
    """File a proposal to take the generation at work back; return the question's id.

    Args:
        context: of the stage.
        name: of the reason, such as an alarm's.
        reason: for people to read.
        evidence: plain JSON values.
    """
    proposal_text = f"take generation {context.generation} back, because of {reason}"
    question = _file(context, f"{name}-{context.generation}", proposal_text)
    context.run.events.add(
        Event(
            PROPOSED,
            evidence={
                **evidence,
                "question": question,
                "generation": context.generation,
                "what": proposal_text,
            },
        ),
        stage=context.stage,
    )
    return question


def apply_decisions(context: StageContext) -> RunState:
    """Return the run state after people's decisions: approvals take effect, vetoes never.

    Signals count up to the begin of the stage, as everywhere.
    """
    state = context.state
    signals = context.run.signals.read(upto=context.signals_to)
    closed = {
        str(h.event.evidence["question"])
        for kind in (APPROVED, VETOED)
        for h in context.run.events.read(kind=kind)
    }
    for row in context.run.events.read(kind=PROPOSED):
        proposed = row.event.evidence
        question, generation = str(proposed["question"]), int(proposed["generation"])
        if question in closed:
            continue
        decision = _decision(context, question, signals)
        if decision == "open":
            continue
        kind = APPROVED if decision == "approved" else VETOED
        evidence = {
            "question": question,
            "generation": generation,
            "what": proposed["what"],
        }
        context.run.events.add(Event(kind, evidence=evidence), stage=context.stage)
        if decision == "approved":
            state = without_generation(context, state, generation)
    return state


def without_generation(context: StageContext, state: RunState, generation: int) -> RunState:
    """Return the run state without an accepted generation; its record stays."""
    gone = [aligned for aligned in state.aligned if aligned.generation == generation]
    for aligned in gone:
        context.run.agents.accept(aligned.checkpoint.agent, False)
    remaining = msgspec.structs.replace(
        state,
        aligned=tuple(
            aligned for aligned in state.aligned if aligned.generation != generation
        ),
        history=tuple(
            msgspec.structs.replace(stats, accepted=False)
            if stats.generation == generation
            else stats
            for stats in state.history
        ),
    )
    agents = {aligned.checkpoint.agent for aligned in gone}
    if remaining.current.agent in agents:
        return remaining.with_policy(
            remaining.generation_role, last_accepted(context, remaining)
        )
    return remaining


def last_accepted(context: StageContext, state: RunState) -> Checkpoint:
    """Return the newest aligned generation, or what the run began with."""
    if state.aligned:
        return state.aligned[-1].checkpoint
    plain = context.run.stages.all()[0].inputs["state"]
    return RunState.from_plain(plain).current


def halt_until_approved(context: StageContext, name: str, reason: str) -> None:
    """Stop the run until a person approves its continuation.

    Args:
        context: of the stage, which will be done again.
        name: of the reason, such as an alarm's.
        reason: for people to read.

    Raises:
        Halted: nobody has said yes, or somebody said no.
    """
    moment = (
        f"generation {context.generation}"
        if context.generation
        else f"round {context.round}"
    )
    proposal_text = f"let the run go on after {moment} in spite of {reason}"
    question = _file(context, f"go-on-{name}-{moment.replace(' ', '-')}", proposal_text)
    # Also later ones: the yes is given while the run stands still.
    decision = _decision(context, question, context.run.signals.read())
    if decision == "approved":
        return
    path = shlex.quote(str(context.run.path))
    if decision == "vetoed":
        raise Halted(
            f"{reason}; a person forbids to go on: take another way with "
            f"`superalign fork {path} run_dir=NEW --at NUMBER`"
        )
    raise Halted(
        f"{reason}; look at `superalign report {path}`, say yes to the question in "
        f"`superalign label {path} --as NAME`, then superalign train run_dir={path} --resume"
    )


def _file(context: StageContext, name: str, text: str) -> str:
    episode, turn = _shown(context)
    question = proposal(name, text, episode=episode, turn=turn, round=context.round)
    context.run.questions.ask([question])
    return question.id


def _decision(context: StageContext, question: str, signals: list[Signal]) -> Ruling:
    machines = simulated(context.run.annotators)
    machines |= {row.hash for row in context.run.agents.all()}
    return ruling(question, signals, machines=machines)


def _shown(context: StageContext) -> tuple[str, int]:
    """Return an answer of the generation from an earlier stage, which outlives a failed one."""
    run = context.run
    stages = [stage for stage in run.stages.all() if stage.id != context.stage]
    for stage in sorted(stages, key=lambda s: s.generation == context.generation)[::-1]:
        for name in reversed(
            run.episode_ids(stage=stage.id, seat=f"{context.state.generation_role}_0")
        ):
            for utterance in run.episode(name).utterances:
                if role_of(utterance.seat) == context.state.generation_role:
                    return name, utterance.turn
    return "", -1
