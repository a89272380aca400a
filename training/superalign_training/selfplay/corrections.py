"""What only people decide: taking a generation back, and going on after an alarm.

A proposal is filed as a question and does nothing. It takes effect at the next stage that
looks (`settled`), once somebody said yes and nobody said no.
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


def propose(context: StageContext, name: str, what: str, evidence: dict[str, Any]) -> str:
    """Propose to take the generation at work back; return the question's id.

    Args:
        context: of the stage.
        name: of the reason, such as an alarm's.
        what: for people to read.
        evidence: plain JSON values.
    """
    full = f"take generation {context.generation} back, because of {what}"
    question = _file(context, f"{name}-{context.generation}", full)
    context.run.events.add(
        Event(
            PROPOSED,
            evidence={
                **evidence,
                "question": question,
                "generation": context.generation,
                "what": full,
            },
        ),
        stage=context.stage,
    )
    return question


def settled(context: StageContext) -> RunState:
    """Return the run state after what people have decided since: yes takes effect, a veto never.

    Signals count up to the begin of the stage, as everywhere.
    """
    state = context.state
    signals = context.run.signals.read(upto=context.signals_to)
    closed = {
        str(h.event.evidence["question"])
        for kind in (APPROVED, VETOED)
        for h in context.run.events.read(kind=kind)
    }
    for happened in context.run.events.read(kind=PROPOSED):
        found = happened.event.evidence
        question, generation = str(found["question"]), int(found["generation"])
        if question in closed:
            continue
        said = _ruled(context, question, signals)
        if said == "open":
            continue
        kind = APPROVED if said == "approved" else VETOED
        evidence = {"question": question, "generation": generation, "what": found["what"]}
        context.run.events.add(Event(kind, evidence=evidence), stage=context.stage)
        if said == "approved":
            state = without(context, state, generation)
    return state


def without(context: StageContext, state: RunState, generation: int) -> RunState:
    """Return the run state without an accepted generation; who it was stays in the record."""
    gone = [one for one in state.aligned if one.generation == generation]
    for one in gone:
        context.run.agents.accept(one.checkpoint.agent, False)
    rest = msgspec.structs.replace(
        state,
        aligned=tuple(one for one in state.aligned if one.generation != generation),
        history=tuple(
            msgspec.structs.replace(stats, accepted=False)
            if stats.generation == generation
            else stats
            for stats in state.history
        ),
    )
    agents = {one.checkpoint.agent for one in gone}
    if rest.current.agent in agents:
        return rest.with_policy(rest.generation_role, last_accepted(context, rest))
    return rest


def last_accepted(context: StageContext, state: RunState) -> Checkpoint:
    """Return the newest aligned generation, or what the run began with."""
    if state.aligned:
        return state.aligned[-1].checkpoint
    first = context.run.stages.all()[0].inputs["state"]
    return RunState.from_plain(first).current


def halt_unless_told(context: StageContext, name: str, what: str) -> None:
    """Stop the run until a person says that it shall go on; do nothing once they said so.

    Args:
        context: of the stage, which will be done again.
        name: of the reason, such as an alarm's.
        what: for people to read.

    Raises:
        Halted: nobody has said yes, or somebody said no.
    """
    when = (
        f"generation {context.generation}"
        if context.generation
        else f"round {context.round}"
    )
    full = f"let the run go on after {when} in spite of {what}"
    question = _file(context, f"go-on-{name}-{when.replace(' ', '-')}", full)
    # Also later ones: the yes is given while the run stands still.
    said = _ruled(context, question, context.run.signals.read())
    if said == "approved":
        return
    path = shlex.quote(str(context.run.path))
    if said == "vetoed":
        raise Halted(
            f"{what}; a person forbids to go on: take another way with "
            f"`superalign fork {path} run_dir=NEW --at NUMBER`"
        )
    raise Halted(
        f"{what}; look at `superalign report {path}`, say yes to the question in "
        f"`superalign label {path} --as NAME`, then superalign train run_dir={path} --resume"
    )


def _file(context: StageContext, name: str, what: str) -> str:
    episode, turn = _shown(context)
    asked = proposal(name, what, episode=episode, turn=turn, round=context.round)
    context.run.questions.ask([asked])
    return asked.id


def _ruled(context: StageContext, question: str, signals: list[Signal]) -> Ruling:
    machines = simulated(context.run.annotators)
    machines |= {row.hash for row in context.run.agents.all()}
    return ruling(question, signals, machines=machines)


def _shown(context: StageContext) -> tuple[str, int]:
    """Return an answer of the generation, by an earlier stage: it stays if this one fails."""
    run = context.run
    stages = [stage for stage in run.stages.all() if stage.id != context.stage]
    for stage in sorted(stages, key=lambda s: s.generation == context.generation)[::-1]:
        for name in reversed(
            run.episode_ids(stage=stage.id, seat=f"{context.state.generation_role}_0")
        ):
            for said in run.episode(name).utterances:
                if role_of(said.seat) == context.state.generation_role:
                    return name, said.turn
    return "", -1
