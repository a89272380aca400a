"""A run goes on elsewhere with other settings, from any of its stages or generations.

::

    from superalign_training.cli.forks import fork
    fork("runs/mine", "runs/direct", at=2, gap="direct").run(resume=True)
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from superalign_env.errors import InvalidOption, RecordDamaged, RecordError
from superalign_env.store import Run, Stage, fork_record
from superalign_training.policy import Checkpoint, Policy, require_unaltered
from superalign_training.selfplay.driver import PlannedStage, Watcher, place_of
from superalign_training.selfplay.plan import plan
from superalign_training.selfplay.run import KIND, SelfPlay
from superalign_training.selfplay.settings import Settings, read_settings
from superalign_training.selfplay.state import RunState, read_memory
from superalign_training.selfplay.watching.standings import ENDS


def fork(
    run_dir: Path | str,
    new_dir: Path | str,
    *,
    at: int | None = None,
    stage: str | None = None,
    watcher: Watcher | None = None,
    **settings: Any,
) -> SelfPlay:
    """Make a run folder that continues another run with other settings.

    What was done up to there is copied and stays as it was; every checkpoint is read and
    compared with its hash first. The other run is only read.

    Args:
        run_dir: folder of the run to go on from.
        new_dir: folder of the new one.
        at: after which generation; after which round in a run without generations. By
            default after the last one that is done.
        stage: after which stage, by id; instead of `at`.
        watcher: is told how it goes on.
        **settings: fields of `Settings` that differ from now on; a mapping replaces
            single keys of a section, unless it names another ``id``.

    Returns:
        The new run: ``.run(resume=True)`` continues it.

    Raises:
        RecordError: no such run, stage or generation, one that never ended, a folder that
            is taken, or settings under which there is no such stage.
        RecordDamaged: a checkpoint or memory is missing or was altered.
        InvalidOption: settings that make no sense.
    """
    with Run.open(run_dir, readonly=True) as source:
        plain = _updated(source.info.config, settings)
        return fork_of(
            source,
            read_settings({**plain, "run_dir": str(new_dir)}),
            at=at,
            stage=stage,
            watcher=watcher,
        )


def fork_of(
    source: Run,
    settings: Settings,
    *,
    at: int | None = None,
    stage: str | None = None,
    watcher: Watcher | None = None,
) -> SelfPlay:
    """Fork an opened run; all settings of the new one are given. See `fork`."""
    if source.info.kind != KIND:
        raise RecordError(f"{source.path} is a run of kind {source.info.kind}, not {KIND}")
    stage_before = _last(source, at) if stage is None else source.stages.get(stage)
    if stage_before.status == "done":  # if it is not, the store says so
        place_of(plan(settings), stage_before)
        _check(source, RunState.from_plain(stage_before.outputs["state"]))
    fork_record(
        source,
        settings.run_dir,
        stage=stage_before.id,
        config=settings.model_dump(mode="json"),
        seed=settings.seed,
    )
    return SelfPlay.of(settings, watcher)


def _last(source: Run, at: int | None) -> Stage:
    """Return the last stage of a generation or round that was finished.

    Raises:
        RecordError: there is none, or it was not finished.
    """
    done = [s for s in source.stages.all(status="done") if s.name not in ENDS]
    in_generations = any(stage.generation for stage in done)
    kind = "generation" if in_generations else "round"
    planned = plan(read_settings(source.info.config))
    finished = [
        n
        for n in _numbers(planned, in_generations)
        if _is_finished(planned, done, n, in_generations)
    ]
    if not finished:
        raise RecordError(
            f"{source.path} has finished no {kind} yet; fork after a stage with --stage "
            f"({', '.join(stage.id for stage in done) or 'none is done'})"
        )
    number = finished[-1] if at is None else at
    if number not in finished:
        raise RecordError(
            f"{source.path} has finished no {kind} {number}, but "
            f"{', '.join(map(str, finished))}; choose one of these, or a stage with --stage"
        )
    return [stage for stage in done if _number(stage, in_generations) == number][-1]


def _is_finished(
    planned: list[PlannedStage], finished: list[Stage], n: int, in_generations: bool
) -> bool:
    """Return whether every stage of a generation or round is done."""
    names = {
        (p.name, p.generation, p.round)
        for p in planned
        if p.name not in ENDS and _number(p, in_generations) == n
    }
    have = {(s.name, s.generation, s.round) for s in finished}
    return names <= have


def _numbers(planned: list[PlannedStage], in_generations: bool) -> list[int]:
    return sorted({_number(p, in_generations) for p in planned if p.name not in ENDS})


def _number(stage: Stage | PlannedStage, in_generations: bool) -> int:
    return stage.generation if in_generations else stage.round


def _check(source: Run, state: RunState) -> None:
    """Read everything that a run state names, and compare it with its hash.

    Raises:
        RecordDamaged: something is missing or was altered.
    """
    checked: set[str] = set()
    for checkpoint in _checkpoints(state):
        if checkpoint.path and checkpoint.path not in checked:
            checked.add(checkpoint.path)
            folder = source.path / checkpoint.path
            if not folder.is_dir():
                raise RecordDamaged(
                    f"the checkpoint {folder} is missing; restore it from a copy, or fork "
                    "at an earlier stage"
                )
            if checkpoint.own:
                require_unaltered(folder, checkpoint)
            else:
                Policy.load(folder, checkpoint)
    for memory in state.memories.values():
        read_memory(source.path, memory)


def _checkpoints(state: RunState) -> Iterator[Checkpoint]:
    yield from state.policies.values()
    yield from (aligned.checkpoint for aligned in state.aligned)
    if state.before is not None:
        yield state.before


def _updated(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with some changed, section by section.

    Raises:
        InvalidOption: keys of one algorithm, where a role has several.
    """
    full = dict(config)
    for key, value in changes.items():
        value_before = full.get(key)
        if isinstance(value_before, (list, tuple)) and isinstance(value, Mapping):
            value_before = _only(value_before, value, key)  # a role's algorithm
        same_kind = (
            isinstance(value_before, Mapping)
            and isinstance(value, Mapping)
            and value.get("id", value_before.get("id")) == value_before.get("id")
        )
        full[key] = (
            _updated(value_before, value)
            if same_kind and value_before is not None
            else value
        )
    return full


def _only(algorithms: Sequence[Any], change: Mapping[str, Any], role: str) -> Any:
    """Return the algorithm of a role that is changed; None if another takes its place."""
    if len(algorithms) == 1:
        return algorithms[0]
    if "id" not in change:
        raise InvalidOption(
            f"{role} has {len(algorithms)} algorithms; write all of them anew: "
            f"train={{{role}: [{{id: …, {', '.join(change)}: …}}, …]}}"
        )
    return None
