"""The driver: runs a list of stages, records each, and resumes after the last finished one.

A stage is a function from what it finds (`StageContext`) to what it leaves (`StageResult`). The
driver owns resume, lock, seeds and status; no stage calls a stage. Random numbers come from
(run seed, name, generation, round), so an interrupted stage is done again to the same end.
"""

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from superalign_env.canonical import content_hash
from superalign_env.errors import RecordError
from superalign_env.seeding import label, mix
from superalign_env.store import TRAINING, EpisodeWriter, Run, Stage
from superalign_env.types import Metric, Role
from superalign_training.algorithms.algorithm import OnStep
from superalign_training.selfplay.costs import CostContext, StageCounts, free
from superalign_training.selfplay.failures import MOST, Failures
from superalign_training.selfplay.model_cache import ModelCache
from superalign_training.selfplay.recorder import MetricRecorder, Sink
from superalign_training.selfplay.scenario_capabilities import Needs
from superalign_training.selfplay.state import CHECKPOINTS, RunState
from superalign_training.selfplay.stopping import sigterm_as_interrupt

if TYPE_CHECKING:  # torch takes seconds to import
    from superalign_training.policy import AnyPolicy


class Moment(NamedTuple):
    """Position in a run."""

    stage: str
    round: int
    generation: int
    place: int
    """Of the stage in the plan, from 0."""
    of: int
    """How many stages there are."""


class Watcher(Protocol):
    """Progress display of a run: a live table, a log, or none."""

    def begin(self, moment: Moment) -> object:
        """A stage begins."""
        ...

    def step(self, done: int, total: int, numbers: Mapping[str, float]) -> object:
        """Progress within the stage."""
        ...

    def end(self, metrics: Sequence[Metric]) -> object:
        """The stage is done and recorded."""
        ...

    def skip(self, moment: Moment, metrics: Sequence[Metric]) -> object:
        """The stage was done by an earlier process."""
        ...

    def wait(self, reason: str) -> object:
        """The stage waits for people; called again and again."""
        ...


class Stepping(Protocol):
    """An algorithm with an id and a number of steps, for progress."""

    @property
    def id(self) -> str:
        """As the registry knows it."""
        ...

    @property
    def steps(self) -> int:
        """How often it reports at most."""
        ...


class StageContext(NamedTuple):
    """Input of a stage."""

    run: Run
    stage: str
    """Id of the stage in the record; episodes, events and metrics bear it."""
    round: int
    generation: int
    state: RunState
    seed: int
    """Root of all random numbers of this stage; see `seed_of`."""
    signals_to: int
    """Id of the last signal that the stage may read."""
    writer: EpisodeWriter
    """Sink of every episode that the stage plays."""
    watcher: Watcher
    models: ModelCache
    """Bases of adapters, in memory once for the whole run."""
    failures: Failures
    """Is told of every episode that the stage plays."""
    recorder: MetricRecorder
    """Takes the metrics of optimiser updates; see `on_step`."""

    def seed_of(self, part: str) -> int:
        """Return the seed of one part of the stage; episodes of parts have different names."""
        return mix(self.seed, label(part))

    def on_step(
        self,
        role: Role,
        policy: "AnyPolicy",
        algorithm: Stepping,
        *,
        past: int = 0,
        total: int | None = None,
    ) -> OnStep:
        """Return the callback of an algorithm's updates: progress display and record.

        `past` steps of the stage were taken before; `total` is the algorithm's if absent.
        """
        record = self.recorder.on_step(role, policy, algorithm)

        def step(done: int, numbers: Mapping[str, float]) -> None:
            self.watcher.step(past + done, total or algorithm.steps, numbers)
            record(done, numbers)

        return step


class StageResult(NamedTuple):
    """Output of a stage."""

    state: RunState
    metrics: tuple[Metric, ...] = ()
    notes: Mapping[str, Any] = {}
    """Plain JSON values that belong to the stage alone."""


class PlannedStage(NamedTuple):
    """One entry of the driver's list."""

    name: str
    do: Callable[[StageContext], StageResult]
    round: int = 0
    generation: int = 0
    settings: Mapping[str, Any] = {}
    """Plain JSON values that shape the stage: it is skipped only under the same ones."""
    needs: Needs = Needs()
    cost: Callable[[CostContext], StageCounts] = free


class Interrupted(KeyboardInterrupt):
    """The run was stopped; everything written so far is kept."""


def drive(
    run: Run,
    plan: Sequence[PlannedStage],
    *,
    first_state: Callable[[], RunState],
    watcher: Watcher,
    failures: float = MOST,
    models: ModelCache | None = None,
    sink: Sink | None = None,
) -> RunState:
    """Run the remaining stages in order.

    Args:
        run: opened for work.
        plan: all stages of the run; the same list every time.
        first_state: makes the state that the first stage finds.
        watcher: is told how it goes.
        failures: share of a stage's episodes that may fail.
        models: models, and agents given as objects, that are in memory already.
        sink: is handed every metric that is recorded.

    Returns:
        The state that the last stage left.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the unfinished stage will be done again.
        RecordError: the record holds other stages than the plan.
        EpisodesFailed: an agent failed too often; the stage will be done again.
    """
    done, pending, unfinished = _progress_of(run, plan)
    total = len(done) + len(pending)
    if pending:  # else it has ended already, and nothing here can fail it
        run.set_status("running")
    models = models or ModelCache()
    state = RunState.from_plain(done[-1].outputs["state"]) if done else first_state()
    try:
        with sigterm_as_interrupt():
            for index, stage in enumerate(done):
                rows = run.metrics.read(stage=stage.id, without=TRAINING)
                watcher.skip(_moment(stage, index, total), [row.metric for row in rows])
            for index, planned in enumerate(pending, start=len(done)):
                watcher.begin(_moment(planned, index, total))
                driver = _Driver(run, watcher, models, failures, sink, again=unfinished)
                outcome = _run_stage(driver, planned, state)
                watcher.end(outcome.metrics)
                state, unfinished = outcome.state, ""
    except KeyboardInterrupt:
        run.set_status("interrupted")
        raise Interrupted(
            "stopped; go on with: superalign train "
            f"run_dir={shlex.quote(str(run.path))} --resume"
        ) from None  # its context still tells SIGTERM from Ctrl-C
    except BrokenPipeError:  # nobody reads what is said any more: no stage's fault
        run.set_status("interrupted" if pending else "done")
        raise
    except BaseException:
        run.set_status("failed")
        raise
    run.set_status("done")
    return state


def _moment(stage: Stage | PlannedStage, place: int, of: int) -> Moment:
    return Moment(stage.name, stage.round, stage.generation, place, of)


class _Driver(NamedTuple):
    """Arguments of the driver for every stage."""

    run: Run
    watcher: Watcher
    models: ModelCache
    failures: float
    sink: Sink | None
    again: str
    """Id of the unfinished stage that the next one takes the place of."""


def _run_stage(driver: _Driver, planned: PlannedStage, state: RunState) -> StageResult:
    """Run and record one stage."""
    run = driver.run
    driver.models.attach(run, driver.watcher.wait)
    seed = mix(run.info.seed, label(planned.name), planned.generation, planned.round)
    begun = run.stages.begin(
        planned.name,
        generation=planned.generation,
        round=planned.round,
        inputs={"state": state.plain(), "settings": content_hash(planned.settings)},
        rng={"seed": seed},
        again=driver.again or None,
    )
    if driver.again:
        run.sweep(CHECKPOINTS)
    since = time.perf_counter()
    failures = Failures(planned.name, driver.failures)
    recorder = MetricRecorder(run, begun, driver.sink)
    try:
        with EpisodeWriter(run, stage=begun.id) as writer, failures, recorder:
            outcome = planned.do(
                StageContext(
                    run,
                    begun.id,
                    planned.round,
                    planned.generation,
                    state,
                    seed,
                    begun.signals_to,
                    writer,
                    driver.watcher,
                    driver.models,
                    failures,
                    recorder,
                )
            )
            counts = failures.metrics(planned.round)
            outcome = outcome._replace(metrics=(*counts, *outcome.metrics))
    except BaseException as error:
        failed = isinstance(error, Exception)
        run.stages.finish(begun.id, status="failed" if failed else "interrupted")
        raise
    recorder.write(outcome.metrics)
    run.stages.finish(
        begun.id,
        outputs={"state": outcome.state.plain(), "notes": dict(outcome.notes)},
        seconds=time.perf_counter() - since,
    )
    return outcome


class _RunProgress(NamedTuple):
    done: list[Stage]
    ahead: Sequence[PlannedStage]
    unfinished: str
    """Id of the stage that was being done, and is next."""


def _progress_of(run: Run, plan: Sequence[PlannedStage]) -> _RunProgress:
    """Return the progress of a run; remove unfinished stages that are not next.

    Raises:
        RecordError: the record is of another plan.
    """
    stages = run.stages.all()
    finished = [stage for stage in stages if stage.status == "done"]
    names = [stage.id for stage in finished]
    inherited = names.index(run.info.inherited) + 1 if run.info.inherited else 0
    remaining = plan[place_of(plan, finished[inherited - 1]) + 1 :] if inherited else plan
    own_stages = finished[inherited:]
    if len(own_stages) > len(remaining):
        raise RecordError(
            f"{run.path} went further ({len(finished)} stages) than these settings ask for "
            f"({inherited + len(remaining)}); choose another run_dir"
        )
    for stage, planned in zip(own_stages, remaining, strict=False):
        same = stage.inputs["settings"] == content_hash(planned.settings)
        if not same or not _is(planned, stage):
            raise RecordError(
                f"{run.path} was made with other settings: they differ at its stage "
                f"{stage.id}; resume with the settings in its config.yaml, or go on with "
                "others in a fork: superalign fork"
            )
    pending = remaining[len(own_stages) :]
    unfinished = ""
    for stage in stages:
        if stage.status != "done":
            if pending and _is(pending[0], stage):
                unfinished = stage.id
            else:
                run.stages.discard(stage.id)
    return _RunProgress(finished, pending, unfinished)


def place_of(plan: Sequence[PlannedStage], stage: Stage) -> int:
    """Return the index of a stage in a plan.

    Raises:
        RecordError: nowhere.
    """
    for place, planned in enumerate(plan):
        if _is(planned, stage):
            return place
    raise RecordError(
        f"with these settings there is no stage {stage.name} of generation "
        f"{stage.generation}, round {stage.round}, to go on from; fork at another stage, or "
        "leave order, rounds and generations as they were up to there"
    )


def _is(planned: PlannedStage, stage: Stage) -> bool:
    return (planned.name, planned.round, planned.generation) == (
        stage.name,
        stage.round,
        stage.generation,
    )
