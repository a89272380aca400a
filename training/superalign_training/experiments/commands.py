"""``superalign experiment``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superalign_env import registry
from superalign_env.cli.output import console, errors, print_json, say, table
from superalign_env.errors import InvalidOption, ProtocolError

if TYPE_CHECKING:
    from superalign_training.experiments.engine.experiment import Experiment
    from superalign_training.experiments.engine.plan import Mode
    from superalign_training.experiments.engine.results import ExperimentReport


def experiment(
    name: Annotated[str, typer.Argument(help="Which; without one they are listed.")] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="Small, under a minute: not a claim.")
    ] = False,
    tune: Annotated[
        bool, typer.Option("--tune", help="Compare candidates on the tuning seeds.")
    ] = False,
    seeds: Annotated[
        str | None, typer.Option(help="Other seeds: 0:10 or 100,101. Exploratory.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder of its record; runs/NAME by default.")
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Compute again what other code computed.")
    ] = False,
    listing: Annotated[bool, typer.Option("--list", help="List what there is.")] = False,
) -> None:
    """Run an experiment over seeds; what is done already is not done again.

    superalign experiment first-self-play
    """
    if listing or not name:
        entries = registry.entries("experiment").values()
        console.print(table(["experiment", "question"], [(e.id, e.line) for e in entries]))
        return
    if quick and tune:
        raise InvalidOption("--quick and --tune are two different things; choose one")
    # Experiments import torch and TRL, which takes seconds.
    from superalign_training.experiments.engine import plan, running, watching  # noqa: PLC0415 - slow
    from superalign_training.selfplay.stopping import exit_code  # noqa: PLC0415 - slow

    mode: Mode = "quick" if quick else "tune" if tune else "full"
    seeds_given = plan.read_seeds(seeds) if seeds is not None else None
    loaded = load(name)
    folder = out or plan.folder_of(name, mode)
    try:
        with watching.watched() as watcher:
            report = running.run_experiment(
                loaded,
                folder,
                mode=mode,
                seeds=seeds_given,
                jobs=jobs,
                recompute=recompute,
                watcher=watcher,
            )
    except KeyboardInterrupt as stop:
        say("\nstopped; the same command continues in {}", folder, to=errors)
        raise typer.Exit(exit_code(stop)) from stop
    _print(report, folder)


def load(name: str) -> "Experiment":
    """Return a registered experiment.

    Raises:
        UnknownId: there is none of this name; names the nearest ones.
        ProtocolError: a plug-in registered something else.
    """
    from superalign_training.experiments.engine.experiment import (  # noqa: PLC0415 - slow
        Experiment,
    )

    registered = registry.load("experiment", name)
    if not isinstance(registered, Experiment) or registered.name != name:
        raise ProtocolError(
            f"experiment {name!r} is registered as {registry.entry('experiment', name).target},"
            f" which must be an Experiment whose name is {name!r}"
        )
    return registered


def _print(report: "ExperimentReport", folder: Path) -> None:
    """Print the tables, and last one line of JSON."""
    from superalign_training.experiments.engine.results import shown  # noqa: PLC0415 - slow

    for result_table in report.tables():
        say("\n{}", result_table.title)
        rows = [[shown(cell) for cell in row] for row in result_table.rows]
        console.print(table(list(result_table.head), rows))
    plan, sentence = report.plan, report.result.sentence
    say("\n{}: {}. {}", plan.experiment.name, plan.status, sentence)
    say("{}/result.md, result.json, picture.svg, run.db", folder)
    print_json(report.line())
