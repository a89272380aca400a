"""``superalign ladder build`` and ``superalign ladder show``."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Build and show ladders of models of known capability.", add_completion=False
)


@app.command("build")
def build_command(
    rungs: Annotated[str, typer.Option(help="Which rungs: 0-4 or 2,3.")] = "0-4",
    seeds: Annotated[str, typer.Option(help="Which seeds: 0-4 or 0,2.")] = "0",
    family: Annotated[str, typer.Option(help="Name of the ladder.")] = "micro",
    out: Annotated[
        Path | None, typer.Option(help="Root folder; default: the cache.")
    ] = None,
    add: Annotated[
        str, typer.Option(help="Continue finished rungs on a task family.")
    ] = "",
    steps: Annotated[int | None, typer.Option(help="Replaces each rung's steps.")] = None,
    tasks: Annotated[int, typer.Option(help="Held-out tasks per family and tier.")] = 300,
) -> None:
    """Pre-train and measure rungs. Skips finished ones, resumes interrupted ones."""
    from superalign_training.ladder import terminal  # noqa: PLC0415 (imports torch)

    for folder in terminal.build_with_progress(
        family=family,
        seeds=numbers(seeds),
        rungs=numbers(rungs),
        out=out,
        add=add,
        steps=steps,
        tasks=tasks,
    ):
        typer.echo(folder)


@app.command("show")
def show_command(
    family: Annotated[str, typer.Argument(help="Name of the ladder.")] = "micro",
    pictures: Annotated[Path | None, typer.Option(help="Folder for PNG and SVG.")] = None,
) -> None:
    """Print capacity and utility by family and tier, and draw them."""
    from superalign_training.ladder import terminal  # noqa: PLC0415 (imports torch)

    for file in terminal.show_ladder(family, pictures):
        typer.echo(file)


def numbers(text: str) -> list[int]:
    """Read ``0-4`` or ``0,2`` or a mixture.

    Raises:
        typer.BadParameter: something else.
    """
    found: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            found += range(int(first), int(last or first) + 1)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no list of numbers like 0-4 or 0,2"
        ) from None
    return found
