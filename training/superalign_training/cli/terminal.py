"""From settings to a run, or to several: what ``superalign train`` and ``fork`` do."""

import gc
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superalign_agents.devices import require_device
from superalign_env.cli.output import console, say, say_line, shown
from superalign_env.errors import InvalidOption, RecordError
from superalign_env.store import Run, begun, run_folder
from superalign_training.cli import composing
from superalign_training.cli.cost import Cost, cost_of, cost_table
from superalign_training.cli.spelling import with_run_dir
from superalign_training.loggers import make_loggers
from superalign_training.selfplay.checks import require_lineup
from superalign_training.selfplay.model_cache import ModelCache
from superalign_training.selfplay.settings import Settings, read_settings

if TYPE_CHECKING:
    from superalign_training.cli.sweeping import Result
    from superalign_training.selfplay.run import RunSummary


_KIND = "train"
"""Kind of the runs that are continued here."""

# PyTorch and TRL take seconds to import: everything that needs them is imported once the
# settings make sense, where it is used.


def launch(
    words: Sequence[str], *, resume: bool = False, dry: bool = False, measure: bool = False
) -> None:
    """Train with the settings that ``KEY=VALUE`` words describe.

    Args:
        words: in Hydra's grammar.
        resume: continue the run in ``run_dir``, with the settings that it recorded, or
            begin it where none was begun.
        dry: say what it would cost, and stop.
        measure: for that, measure how fast models are here.

    Raises:
        SuperalignError: settings that make no sense, or a run that broke.
        Interrupted: by Ctrl-C or SIGTERM.
    """
    settings = _settings(words, resume=resume)
    if resume and not begun(settings.run_dir):
        _say_beginning(settings.run_dir)
        resume = False
    elif resume and not dry and _is_finished(settings):
        _say_finished(settings)
        return
    for line in check(settings, resume=resume or dry, load=not dry):
        say_line(line)
    if dry:
        _say_plan(cost_of(settings, measure=measure))
    else:
        train(settings, resume=resume)


def launch_fork(
    source: Path,
    words: Sequence[str],
    *,
    at: int | None = None,
    stage: str | None = None,
    dry: bool = False,
    measure: bool = False,
    go_on: bool = True,
) -> None:
    """Fork a run and go on in the new folder.

    Args:
        source: folder of the run to go on from.
        words: what differs from now on, ``run_dir=NEW`` among it.
        at: after which generation, or round.
        stage: after which stage.
        dry: say what a whole run with these settings would cost, and stop.
        measure: for that, measure how fast models are here.
        go_on: whether to train; else the folder is made and that is all.

    Raises:
        SuperalignError: see `fork`.
        Interrupted: by Ctrl-C or SIGTERM.
    """
    if not any(word.startswith("run_dir=") for word in words):
        raise InvalidOption("a fork needs a folder of its own: add run_dir=NEW")
    with Run.open(source, readonly=True) as opened:
        settings = read_settings(composing.changed(opened.info.config, words))
        if dry:
            _say_plan(cost_of(settings, measure=measure))
            return
        from superalign_training.cli.forks import fork_of  # noqa: PLC0415 - see above

        check(settings)
        fork = fork_of(opened, settings, at=at, stage=stage)
    if go_on:
        train(fork.settings, resume=True)
    else:
        quoted = shlex.quote(str(settings.run_dir))
        say("made {}; superalign train --resume run_dir={}", settings.run_dir, quoted)


def launch_sweep(
    words: Sequence[str],
    *,
    jobs: int = 1,
    resume: bool = False,
    dry: bool = False,
    measure: bool = False,
) -> "list[Result]":
    """Train once for every combination, each in a process and a folder of its own.

    Args:
        words: in Hydra's grammar; several values of a key are several runs.
        jobs: how many runs at once.
        resume: continue the runs that were begun.
        dry: say what each would cost, and stop.
        measure: for that, measure how fast models are here.

    Returns:
        What became of each run; one that failed leaves the others.

    Raises:
        InvalidOption: settings that make no sense, before any run is begun.
        Interrupted: by Ctrl-C or SIGTERM; the runs were told too.
    """
    swept = composing.swept(words)
    combinations = composing.combinations(words)
    base = Path(composing.composed(combinations[0])["run_dir"])
    runs: dict[str, list[str]] = {}
    settings_by_name: dict[str, Settings] = {}
    for overrides in combinations:
        name = ",".join(
            w.replace("/", ".") for w in overrides if w.partition("=")[0] in swept
        )
        runs[name] = with_run_dir(overrides, base / name)
        settings_by_name[name] = read_settings(composing.composed(runs[name]))
    costs: dict[str, Cost] = {}
    for name, settings in settings_by_name.items():
        check(settings, resume=resume or dry, load=not dry)
        first = next(iter(costs.values()), None) if measure or not dry else None
        costs[name] = cost_of(settings, measured=first, measure=measure or not dry)
    for name, cost in costs.items():
        say("{}: {}", name, cost.line)
    if dry:
        return []
    from superalign_training.cli.sweeping import Sweep, results_table  # noqa: PLC0415 - see above

    try:
        results = Sweep(base, runs, jobs=jobs, resume=resume, say=say_line).run()
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(
            f"stopped; {base} keeps what is done: give the same command with --resume"
        ) from stop
    console.print(results_table(results))
    folders = shlex.join(str(result.folder) for result in results if result.code == 0)
    if folders:
        say("superalign report --compare {}", folders)
    return results


def train(settings: Settings, *, resume: bool) -> "RunSummary":
    """Run with a live table at a terminal, or with few lines elsewhere."""
    from superalign_env.report.overview import unchanged  # noqa: PLC0415 - see above
    from superalign_training.selfplay import SelfPlay  # noqa: PLC0415 - see above
    from superalign_training.selfplay.truth_use import truth_use  # noqa: PLC0415 - see above
    from superalign_training.selfplay.watching import (  # noqa: PLC0415 - see above
        LiveTable,
        LogLines,
        summary_tables,
    )

    if not resume:
        cost = cost_of(settings)
        (_say_plan if console.is_terminal else _say_sums)(cost)
    # Trainers collect garbage at every end; what was imported so far is none.
    gc.freeze()
    if console.is_terminal:
        with LiveTable(console) as live:
            summary = SelfPlay.of(settings, live).run(resume=resume)
    else:
        lines = LogLines(say_line)
        summary = SelfPlay.of(settings, lines).run(resume=resume)
    console.print(*summary_tables(summary, console.width), sep="\n")
    say("{}", summary.sentence)
    with Run.open(settings.run_dir, readonly=True) as run:
        say("{}", truth_use(run).sentence)
        happened = run.events.read(kind="policy.unchanged")
        alarms = alarm_sentences(run)
    for sentence in (*unchanged(row.event for row in happened), *alarms):
        say("{}", sentence)
    say("recorded in {}", settings.run_dir)
    return summary


def alarm_sentences(run: Run) -> list[str]:
    """Return which alarms a run raised, and where to read why; nothing where none was."""
    events = run.events.read(kind="alarm")
    raised = Counter(row.event.kind.removeprefix("alarm.") for row in events)
    names = ", ".join(f"{name} ({count})" for name, count in sorted(raised.items()))
    return [f"alarms raised: {names}; superalign report says why"] if raised else []


def _settings(words: Sequence[str], *, resume: bool) -> Settings:
    plain = composing.composed(words)
    recorded = _recorded(Path(plain["run_dir"])) if resume else None
    if recorded is not None:
        plain = composing.resumed({**recorded, "run_dir": plain["run_dir"]}, words)
    return read_settings(plain)


def _recorded(folder: Path) -> dict[str, Any] | None:
    """Return the settings of the run in a folder, or of one that died before it began."""
    if not begun(folder):
        return run_folder.left_config(folder)
    with Run.open(folder, readonly=True) as run:
        if run.info.kind != _KIND:
            raise RecordError(
                f"{folder} holds a run of another kind ({run.info.kind}), which cannot be "
                "continued as a training; choose another run_dir"
            )
        return run.info.config


def _say_beginning(folder: Path) -> None:
    """Say that there is nothing to resume: a misspelt name begins a run of its own."""
    try:
        run_folder.require_run(folder)
        say("the run at {} was never begun: it begins now", folder)
    except RecordError as error:
        say("{}: it begins now", error)


def _is_finished(settings: Settings) -> bool:
    """Whether a recorded run ended and is asked for nothing more than it has."""
    with Run.open(settings.run_dir, readonly=True) as run:
        recorded = {**run.info.config, "run_dir": settings.run_dir}
        return run.info.status == "done" and read_settings(recorded) == settings


def _say_finished(settings: Settings) -> None:
    page = settings.run_dir / "summary.md"
    if page.is_file():
        console.print(shown(page.read_text(encoding="utf-8", errors="replace")))
    folder = shlex.quote(str(settings.run_dir))
    say(
        "{} has ended already, and nothing was left to do; superalign report {} makes a page "
        "of it, rounds=N --resume goes on with more rounds",
        settings.run_dir,
        folder,
    )


def _say_plan(cost: Cost) -> None:
    """Print every stage of a run with what it costs, and the sums."""
    console.print(cost_table(cost))
    _say_sums(cost)


def _say_sums(cost: Cost) -> None:
    for line in filter(None, (cost.line, cost.owed)):
        say_line(line)


def check(settings: Settings, *, resume: bool = False, load: bool = True) -> list[str]:
    """Raise if a run with these settings could not begin.

    Args:
        settings: of the run.
        resume: whether it goes on in a folder that has a run.
        load: whether models that do not learn are read, too, which takes seconds.

    Raises:
        InvalidOption: a device or a logger's library that is not here; a lineup or algorithms that do not fit the
            scenario, options that it does not know, or a split without tasks.
        RecordError: the folder holds a run already.

    Returns:
        What the run leaves out, and why: a line each.
    """
    if not resume:
        _refuse_taken(settings.run_dir)
    make_loggers(settings.log_to)  # says which library is missing
    require_device(settings.device)
    return require_lineup(settings, ModelCache(), load=load)


def _refuse_taken(folder: Path) -> None:
    try:
        Run.open(folder, readonly=True).close()
    except RecordError:
        return  # there is none that was begun, or whoever makes one can say more
    raise RecordError(
        f"{folder} holds a run already; superalign train run_dir={shlex.quote(str(folder))} "
        "--resume goes on with it, or choose another run_dir"
    )
