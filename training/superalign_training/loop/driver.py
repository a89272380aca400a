"""The one driver: runs a list of stages, records each, and continues where it stopped.

A stage is a function from what it finds (`Bench`) to what it leaves (`Outcome`). The
driver owns resume, lock, seeds and status; no stage calls a stage. Every stage derives
its random numbers from (run seed, its name, generation, round) and starts from what lies
in the record, so a stage that was interrupted is done again from its inputs and ends as
if nothing had happened.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from superalign_env.canonical import content_hash
from superalign_env.errors import RecordError
from superalign_env.seeding import label, mix
from superalign_env.store import EpisodeWriter, Run, Stage
from superalign_env.types import Metric
from superalign_training.loop.chain import Chain
from superalign_training.loop.residents import Residents
from superalign_training.loop.stopping import sigterm_as_interrupt


class Watcher(Protocol):
    """Who is told how a run goes: a live table, a log, nobody."""

    def begin(self, stage: str, *, round: int, place: int, of: int) -> object:
        """A stage begins."""
        ...

    def step(self, done: int, total: int, numbers: Mapping[str, float]) -> object:
        """Something countable was done within the stage."""
        ...

    def end(self, metrics: Sequence[Metric]) -> object:
        """The stage is done and recorded."""
        ...

    def skip(self, stage: str, *, round: int, place: int, of: int) -> object:
        """The stage was done by an earlier process."""
        ...


class Bench(NamedTuple):
    """What a stage finds."""

    run: Run
    stage: str
    """Id of the stage in the record; episodes, events and metrics bear it."""
    round: int
    generation: int
    chain: Chain
    seed: int
    """Root of all random numbers of this stage; see `seed_of`."""
    signals_to: int
    """Id of the last signal that the stage may read."""
    writer: EpisodeWriter
    """Sink of every episode that the stage plays."""
    watcher: Watcher
    residents: Residents
    """Bases of adapters, in memory once for the whole run."""

    def seed_of(self, part: str) -> int:
        """Return the seed of one part of the stage: parts never share an episode's name."""
        return mix(self.seed, label(part))


class Outcome(NamedTuple):
    """What a stage leaves."""

    chain: Chain
    metrics: tuple[Metric, ...] = ()
    notes: Mapping[str, Any] = {}
    """Plain JSON values that belong to the stage alone."""


class Planned(NamedTuple):
    """One entry of the driver's list."""

    name: str
    do: Callable[[Bench], Outcome]
    round: int = 0
    generation: int = 0
    settings: Mapping[str, Any] = {}
    """Plain JSON values that shape the stage: it is skipped only under the same ones."""


class Interrupted(KeyboardInterrupt):
    """The run was stopped; everything written so far is kept."""


def drive(
    run: Run,
    plan: Sequence[Planned],
    *,
    first: Callable[[], Chain],
    watcher: Watcher,
) -> Chain:
    """Run the stages that are not done yet, in order.

    Args:
        run: opened for work.
        plan: all stages of the run; the same list every time.
        first: makes the chain that the first stage finds.
        watcher: is told how it goes.

    Returns:
        The chain that the last stage left.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the unfinished stage will be done again.
        RecordError: the record holds other stages than the plan.
    """
    done = _done(run, plan)
    run.set_status("running")
    residents = Residents()
    chain = Chain.from_plain(done[-1].outputs["chain"]) if done else first()
    try:
        with sigterm_as_interrupt():
            for place, planned in enumerate(plan):
                if place < len(done):
                    watcher.skip(
                        planned.name, round=planned.round, place=place, of=len(plan)
                    )
                    continue
                watcher.begin(planned.name, round=planned.round, place=place, of=len(plan))
                outcome = _one(run, planned, chain, watcher, residents)
                watcher.end(outcome.metrics)
                chain = outcome.chain
    except KeyboardInterrupt as error:
        run.set_status("interrupted")
        raise Interrupted(f"stopped; continue with --resume run_dir={run.path}") from error
    except BaseException:
        run.set_status("failed")
        raise
    run.set_status("done")
    return chain


def _one(
    run: Run, planned: Planned, chain: Chain, watcher: Watcher, residents: Residents
) -> Outcome:
    """Do and record one stage."""
    seed = mix(run.info.seed, label(planned.name), planned.generation, planned.round)
    begun = run.stages.begin(
        planned.name,
        generation=planned.generation,
        round=planned.round,
        inputs={"chain": chain.plain(), "settings": content_hash(planned.settings)},
        rng={"seed": seed},
    )
    try:
        with EpisodeWriter(run, stage=begun.id) as writer:
            outcome = planned.do(
                Bench(
                    run,
                    begun.id,
                    planned.round,
                    planned.generation,
                    chain,
                    seed,
                    begun.signals_to,
                    writer,
                    watcher,
                    residents,
                )
            )
    except BaseException as error:
        failed = isinstance(error, Exception)
        run.stages.finish(begun.id, status="failed" if failed else "interrupted")
        raise
    run.metrics.write(outcome.metrics, stage=begun.id)
    run.stages.finish(
        begun.id, outputs={"chain": outcome.chain.plain(), "notes": dict(outcome.notes)}
    )
    return outcome


def _done(run: Run, plan: Sequence[Planned]) -> list[Stage]:
    """Return the finished stages, and remove what unfinished ones left.

    Raises:
        RecordError: the record is of another plan.
    """
    for stage in run.stages.all():
        if stage.status != "done":
            run.stages.discard(stage.id)
    done = run.stages.all()
    if len(done) > len(plan):
        raise RecordError(
            f"{run.path} went further ({len(done)} stages) than these settings ask for "
            f"({len(plan)}); choose another run_dir"
        )
    for stage, planned in zip(done, plan, strict=False):
        same_place = (stage.name, stage.round, stage.generation) == (
            planned.name,
            planned.round,
            planned.generation,
        )
        if not same_place or stage.inputs["settings"] != content_hash(planned.settings):
            raise RecordError(
                f"{run.path} was made with other settings: they differ at its stage "
                f"{stage.id}; resume with the settings in its config.yaml, or choose another "
                "run_dir"
            )
    return done
