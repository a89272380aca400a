"""The ladder on a terminal: progress while it is built, tables when it is shown."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from superalign_agents.ladders.families import families
from superalign_agents.ladders.rungs import RungReference, find_rungs
from superalign_env.errors import UnknownId
from superalign_training.ladder.build import Watch, build
from superalign_training.ladder.micro import micro_world
from superalign_training.ladder.pictures import draw_ladder
from superalign_training.ladder.sizes import size_of
from superalign_training.ladder.snapshots import Levels, Reached, evenly, snapshots
from superalign_training.ladder.table import (
    Card,
    Cell,
    columns,
    read_cards,
    sizes,
    tabulate,
    tabulate_moves,
)


def build_with_progress(
    *,
    family: str,
    seeds: Sequence[int],
    rungs: Sequence[int],
    out: Path | None = None,
    add: str = "",
    steps: int | None = None,
    tasks: int = 300,
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
    """
    with _progress() as watch:
        return build(
            micro_world(add, tasks=tasks),
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
    """
    torch.set_num_threads(1)  # tiny models are slower on several
    length = steps or size_of(rung).steps
    at: Levels = (
        evenly(levels, steps=length) if isinstance(levels, int) else Reached(tuple(levels))
    )
    world = micro_world(tasks=tasks)
    folders: list[Path] = []
    with _progress() as watch:
        for seed in seeds:
            folders += snapshots(
                world,
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
def _progress() -> Iterator[Watch]:
    """Yield what draws one bar for every rung that is trained."""
    lines: dict[RungReference, TaskID] = {}
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
    )

    def watch(reference: RungReference, step: int, steps: int, loss: float) -> None:
        if reference not in lines:
            lines[reference] = bar.add_task(str(reference), total=steps, loss=loss)
        bar.update(lines[reference], completed=step, loss=loss)

    with bar:
        yield watch


def show_ladder(family: str, pictures: Path | None = None) -> list[Path]:
    """Print capacity and utility by family and tier; return the pictures drawn.

    Of published models, whose capacity nobody measured here, the presets are printed.

    Raises:
        UnknownId: no rung of that ladder is shipped or built.
    """
    if family in families():
        Console().print(presets_table(family))
        return []
    folders = {
        known: path for known, path in find_rungs().items() if known.family == family
    }
    if not folders:
        names = {known.family for known in find_rungs()} | set(families())
        raise UnknownId("ladder", family, names)
    cards = read_cards(folders)
    for name in ("capacity", "utility"):
        for task in sorted({task for task, _ in columns(cards)}):
            Console().print(ladder_table(cards, name, task))
    Console().print(moves_table(cards))
    return draw_ladder(cards, pictures) if pictures is not None else []


def ladder_table(cards: Sequence[Card], name: str, task: str) -> Table:
    """Return one row per rung and one column per tier of a task family."""
    family = cards[0].reference.family
    tiers = [column for column in columns(cards) if column[0] == task]
    rows = {
        rung: [row.get(column) for column in tiers]
        for rung, row in tabulate(cards, name).items()
    }
    title = f"{name} of {family} in {task}: mean over seeds (least to most)"
    return _table(title, cards, [f"tier {tier}" for _, tier in tiers], rows)


def moves_table(cards: Sequence[Card]) -> Table:
    """Return one row per rung and one column per role: moves that the rules understand."""
    family = cards[0].reference.family
    shares = tabulate_moves(cards)
    roles = list(dict.fromkeys(role for row in shares.values() for role in row))
    rows = {rung: [row.get(role) for role in roles] for rung, row in shares.items()}
    title = f"understood moves of {family}: mean over seeds (least to most)"
    return _table(title, cards, roles, rows)


def presets_table(family: str) -> Table:
    """Return one row per published model: how it is loaded and first trained."""
    table = Table(title=f"{family}: presets, by hub name or in $SUPERALIGN_MODELS")
    for heading in ("rung", "parameters", "licence", "spoken to", "context", "LoRA"):
        table.add_column(heading)
    table.add_column("first rates")
    for name, preset in families()[family].items():
        lora = preset.lora
        table.add_row(
            f"{family}/{name}",
            f"{preset.parameters / 1e9:.2f} G",
            preset.licence,
            preset.template,
            f"{preset.context:,}",
            f"rank {lora['rank']}, alpha {lora['alpha']}, {lora['targets']}",
            ", ".join(f"{what} {rate:g}" for what, rate in preset.rate.items()),
        )
    return table


def _table(
    title: str,
    cards: Sequence[Card],
    headings: Sequence[str],
    rows: Mapping[int, Sequence[Cell | None]],
) -> Table:
    family = cards[0].reference.family
    table = Table(title=title)
    table.add_column("rung")
    for heading in ("parameters", "seeds", *headings):
        table.add_column(heading, justify="right")
    for rung, cells in rows.items():
        table.add_row(
            f"{family}/{rung}",
            f"{sizes(cards)[rung]:,}",
            str(max((cell.seeds for cell in cells if cell), default=0)),
            *(f"{c.mean:.2f} ({c.low:.2f} to {c.high:.2f})" if c else "" for c in cells),
        )
    return table
