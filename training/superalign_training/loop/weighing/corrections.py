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
from superalign_training.loop.chain import Chain
from superalign_training.loop.driver import Bench
from superalign_training.policy import Checkpoint

PROPOSED = "correction.proposed"
APPROVED = "correction.approved"
VETOED = "correction.vetoed"


def propose(bench: Bench, name: str, what: str, evidence: dict[str, Any]) -> str:
    """Propose to take the generation at work back; return the question's id.

    Args:
        bench: of the stage.
        name: of the reason, such as an alarm's.
        what: for people to read.
        evidence: plain JSON values.
    """
    full = f"take generation {bench.generation} back, because of {what}"
    question = _file(bench, f"{name}-{bench.generation}", full)
    bench.run.events.add(
        Event(
            PROPOSED,
            evidence={
                **evidence,
                "question": question,
                "generation": bench.generation,
                "what": full,
            },
        ),
        stage=bench.stage,
    )
    return question


def settled(bench: Bench) -> Chain:
    """Return the chain after what people have decided since: yes takes effect, a veto never.

    Signals count up to the begin of the stage, as everywhere.
    """
    chain = bench.chain
    signals = bench.run.signals.read(upto=bench.signals_to)
    closed = {
        str(h.event.evidence["question"])
        for kind in (APPROVED, VETOED)
        for h in bench.run.events.read(kind=kind)
    }
    for happened in bench.run.events.read(kind=PROPOSED):
        found = happened.event.evidence
        question, generation = str(found["question"]), int(found["generation"])
        if question in closed:
            continue
        said = _ruled(bench, question, signals)
        if said == "open":
            continue
        kind = APPROVED if said == "approved" else VETOED
        evidence = {"question": question, "generation": generation, "what": found["what"]}
        bench.run.events.add(Event(kind, evidence=evidence), stage=bench.stage)
        if said == "approved":
            chain = without(bench, chain, generation)
    return chain


def without(bench: Bench, chain: Chain, generation: int) -> Chain:
    """Return the chain without an accepted generation; who it was stays in the record."""
    gone = [one for one in chain.aligned if one.generation == generation]
    for one in gone:
        bench.run.agents.accept(one.checkpoint.agent, False)
    rest = msgspec.structs.replace(
        chain,
        aligned=tuple(one for one in chain.aligned if one.generation != generation),
        sights=tuple(
            msgspec.structs.replace(sight, accepted=False)
            if sight.generation == generation
            else sight
            for sight in chain.sights
        ),
    )
    agents = {one.checkpoint.agent for one in gone}
    if rest.current.agent in agents:
        return rest.with_policy(rest.raised, last_accepted(bench, rest))
    return rest


def last_accepted(bench: Bench, chain: Chain) -> Checkpoint:
    """Return the newest aligned generation, or what the run began with."""
    if chain.aligned:
        return chain.aligned[-1].checkpoint
    first = bench.run.stages.all()[0].inputs["chain"]
    return Chain.from_plain(first).current


def halt_unless_told(bench: Bench, name: str, what: str) -> None:
    """Stop the run until a person says that it shall go on; do nothing once they said so.

    Args:
        bench: of the stage, which will be done again.
        name: of the reason, such as an alarm's.
        what: for people to read.

    Raises:
        Halted: nobody has said yes, or somebody said no.
    """
    when = f"generation {bench.generation}" if bench.generation else f"round {bench.round}"
    full = f"let the run go on after {when} in spite of {what}"
    question = _file(bench, f"go-on-{name}-{when.replace(' ', '-')}", full)
    # Also later ones: the yes is given while the run stands still.
    said = _ruled(bench, question, bench.run.signals.read())
    if said == "approved":
        return
    path = shlex.quote(str(bench.run.path))
    if said == "vetoed":
        raise Halted(
            f"{what}; a person forbids to go on: take another way with "
            f"`superalign fork {path} run_dir=NEW --at NUMBER`"
        )
    raise Halted(
        f"{what}; look at `superalign report {path}`, say yes to the question in "
        f"`superalign label {path} --as NAME`, then superalign train run_dir={path} --resume"
    )


def _file(bench: Bench, name: str, what: str) -> str:
    episode, turn = _shown(bench)
    asked = proposal(name, what, episode=episode, turn=turn, round=bench.round)
    bench.run.questions.ask([asked])
    return asked.id


def _ruled(bench: Bench, question: str, signals: list[Signal]) -> Ruling:
    machines = simulated(bench.run.annotators)
    machines |= {row.hash for row in bench.run.agents.all()}
    return ruling(question, signals, machines=machines)


def _shown(bench: Bench) -> tuple[str, int]:
    """Return an answer of the generation, by an earlier stage: it stays if this one fails."""
    run = bench.run
    stages = [stage for stage in run.stages.all() if stage.id != bench.stage]
    for stage in sorted(stages, key=lambda s: s.generation == bench.generation)[::-1]:
        for name in reversed(
            run.episode_ids(stage=stage.id, seat=f"{bench.chain.raised}_0")
        ):
            for said in run.episode(name).utterances:
                if role_of(said.seat) == bench.chain.raised:
                    return name, said.turn
    return "", -1
