"""``superalign experiment``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from superalign_env import registry


def experiment(
    name: Annotated[str, typer.Argument(help="Which; without one they are listed.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Small: does it run?")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of its runs; runs/NAME by default.")
    ] = None,
) -> None:
    """Run an experiment over seeds; what is done already is not done again.

    superalign experiment first-self-play
    """
    if not name:
        for known, entry in registry.entries("experiment").items():
            typer.echo(f"{known}: {entry.line}")
        return
    folder = out or Path("runs") / (f"{name}-quick" if quick else name)
    result = registry.load("experiment", name)(folder, quick=quick, told=typer.echo)
    typer.echo(json.dumps(result.plain()))
