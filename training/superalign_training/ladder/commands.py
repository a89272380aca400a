"""``superalign ladder build`` and ``superalign ladder show``."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Build and show ladders of models of known capability.", add_completion=False
)


@app.command("build")
def build_command(  # noqa: PLR0913, PLR0917 - the options of a command
    rungs: Annotated[
        str | None,
        typer.Option(help="Which rungs: 0-4 or 2,3; 3 for snapshots.", show_default="0-4"),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Which seeds: 0-4 or 0,2.")] = "0",
    family: Annotated[str, typer.Option(help="Name of the ladder.")] = "micro",
    out: Annotated[
        Path | None, typer.Option(help="Root folder; default: the cache.")
    ] = None,
    world: Annotated[
        str, typer.Option(help="Id of the world whose text is read.")
    ] = "microworld",
    add: Annotated[
        str, typer.Option(help="Continue finished rungs on a task family.")
    ] = "",
    steps: Annotated[int | None, typer.Option(help="Replaces each rung's steps.")] = None,
    tasks: Annotated[int, typer.Option(help="Held-out tasks per family and tier.")] = 300,
    snapshots: Annotated[
        str,
        typer.Option(
            help="Levels of one run, as FAMILY-snapshots: how many (10), or the shares of "
            "requests they know (0.7,0.8,0.9)."
        ),
    ] = "",
) -> None:
    """Pre-train and measure rungs. Skips finished ones, resumes interrupted ones."""
    from superalign_training.ladder import terminal  # noqa: PLC0415 (imports torch)

    if snapshots:
        chosen = numbers(rungs or "3")
        if len(chosen) != 1 or add:
            raise typer.BadParameter("snapshots are of one rung, and of its usual text")
        for folder in terminal.snapshots_with_progress(
            levels(snapshots),
            family=f"{family}-snapshots",
            seeds=numbers(seeds),
            rung=chosen[0],
            out=out,
            steps=steps,
            tasks=tasks,
            world=world,
        ):
            typer.echo(folder)
        return
    for folder in terminal.build_with_progress(
        family=family,
        seeds=numbers(seeds),
        rungs=numbers(rungs or "0-4"),
        out=out,
        add=add,
        steps=steps,
        tasks=tasks,
        world=world,
    ):
        typer.echo(folder)


@app.command("show")
def show_command(
    family: Annotated[str, typer.Argument(help="Name of the ladder.")] = "micro",
    pictures: Annotated[Path | None, typer.Option(help="Folder for PNG and SVG.")] = None,
) -> None:
    """Print capacity and utility by family and tier, and draw them."""
    from superalign_training.ladder.showing import show_ladder  # noqa: PLC0415 - when needed

    cards = show_ladder(family)
    if pictures is not None and cards:
        from superalign_training.ladder.pictures import draw_ladder  # noqa: PLC0415 - imports matplotlib

        for file in draw_ladder(cards, pictures):
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


def levels(text: str) -> int | tuple[float, ...]:
    """Read ``10`` (so many levels) or ``0.7,0.8`` (levels that know these shares).

    Raises:
        typer.BadParameter: something else.
    """
    try:
        return int(text) if text.isdigit() else tuple(map(float, text.split(",")))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither a number of levels like 10 nor shares like 0.7,0.8"
        ) from None
