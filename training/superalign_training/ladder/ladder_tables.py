"""Tables and figures of a ladder from the cards of its rungs, without torch."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from rich.table import Table

from superalign_agents.ladders import (
    Preset,
    RungReference,
    families,
    fetched_models,
    find_rungs,
    read_card,
    reference_of,
)
from superalign_env.cli.output import print_tables, table
from superalign_env.errors import UnknownId
from superalign_env.types import Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLES = {"capacity": ("-o", 1.0), "utility": (":x", 0.5)}


class Card(NamedTuple):
    """One rung and its metrics."""

    reference: RungReference
    parameters: int
    world: str
    metrics: tuple[Metric, ...]


class SeedRange(NamedTuple):
    """Mean and range over seeds of one rung on one family and tier."""

    mean: float
    low: float
    """Smallest seed."""
    high: float
    """Largest seed."""
    seeds: int


Column = tuple[str, int]
"""Family and tier."""


def read_cards(folders: Mapping[RungReference, Path]) -> list[Card]:
    """Return the cards of finished rungs, in the order given.

    Raises:
        RecordDamaged: a card cannot be read.
    """
    return [_card(reference, read_card(folder)) for reference, folder in folders.items()]


def _card(reference: RungReference, facts: Mapping[str, Any]) -> Card:
    metrics = msgspec.convert(facts["measures"], tuple[Metric, ...])
    return Card(reference, facts["parameters"]["total"], facts["world"], metrics)


def columns(cards: Sequence[Card]) -> list[Column]:
    """Return every family and tier in which something was measured."""
    tags = [metric.tags for card in cards for metric in card.metrics]
    return sorted({(tag["family"], int(tag["tier"])) for tag in tags if "family" in tag})


def tabulate(cards: Sequence[Card], name: str) -> dict[int, dict[Column, SeedRange]]:
    """Return rung → (family, tier) → mean and range over seeds.

    Args:
        cards: of one ladder.
        name: ``capacity`` or ``utility``.
    """
    by_rung: dict[int, dict[Column, list[float]]] = defaultdict(lambda: defaultdict(list))
    for card in cards:
        for metric in card.metrics:
            if metric.name == name:
                column = (metric.tags["family"], int(metric.tags["tier"]))
                by_rung[card.reference.rung][column].append(metric.value)
    return {
        rung: {column: _seed_range(values) for column, values in row.items()}
        for rung, row in sorted(by_rung.items())
    }


def tabulate_moves(cards: Sequence[Card]) -> dict[int, dict[str, SeedRange]]:
    """Return rung → role → share of moves that the rules understand, over seeds."""
    by_rung: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for card in cards:
        for metric in card.metrics:
            if metric.name == "moves":
                by_rung[card.reference.rung][metric.tags["role"]].append(metric.value)
    return {
        rung: {role: _seed_range(values) for role, values in row.items()}
        for rung, row in sorted(by_rung.items())
    }


def _seed_range(values: Sequence[float]) -> SeedRange:
    return SeedRange(sum(values) / len(values), min(values), max(values), len(values))


def sizes(cards: Sequence[Card]) -> dict[int, int]:
    """Return rung → number of parameters."""
    return {card.reference.rung: card.parameters for card in cards}


def show_ladder(family: str) -> list[Card]:
    """Print capacity and utility by family and tier; return the cards that were read.

    Of published models, whose capacity nobody measured here, the presets are printed.

    Raises:
        UnknownId: no rung of that ladder is shipped or built.
    """
    if family in families():
        presets = families()[family]
        print_tables(models_table(family, presets), rates_table(family, presets))
        return []
    folders = {
        reference: path
        for reference, path in find_rungs().items()
        if reference.family == family
    }
    if not folders:
        names = {reference.family for reference in find_rungs()} | set(families())
        raise UnknownId("ladder", family, names)
    cards = read_cards(folders)
    tasks = sorted({task for task, _ in columns(cards)})
    print_tables(
        *[ladder_table(cards, n, task) for n in ("capacity", "utility") for task in tasks],
        moves_table(cards),
    )
    return cards


def ladder_table(cards: Sequence[Card], name: str, task: str) -> Table:
    """Return one row per rung and one column per tier of a task family."""
    family = cards[0].reference.family
    tiers = [column for column in columns(cards) if column[0] == task]
    rows = {
        rung: [row.get(column) for column in tiers]
        for rung, row in tabulate(cards, name).items()
    }
    return table(
        ["rung", "parameters", "seeds", *[f"tier {tier}" for _, tier in tiers]],
        [
            (
                f"{family}/{rung}",
                f"{sizes(cards)[rung]:,}",
                max((cell.seeds for cell in cells if cell), default=0),
                *map(_in_words, cells),
            )
            for rung, cells in rows.items()
        ],
        title=f"{name} of {family} in {task}: mean over seeds (least–most)",
        numbers=True,
    )


def moves_table(cards: Sequence[Card]) -> Table:
    """Return one row per rung and one column per role: moves that the rules understand."""
    family = cards[0].reference.family
    shares = tabulate_moves(cards)
    roles = list(dict.fromkeys(role for row in shares.values() for role in row))
    title = f"understood moves of {family}: mean over seeds (least–most)"
    rows = [
        (f"{family}/{rung}", *[_in_words(row.get(role)) for role in roles])
        for rung, row in shares.items()
    ]
    return table(["rung", *roles], rows, title=title, numbers=True)


def models_table(family: str, presets: Mapping[str, Preset]) -> Table:
    """Return one row per published model: size and prompt format."""
    rows = [
        (
            f"{family}/{name}",
            f"{preset.parameters / 1e9:.2f} G",
            preset.licence,
            preset.template,
            f"{preset.context:,}",
        )
        for name, preset in presets.items()
    ]
    return table(
        ["rung", "parameters", "licence", "spoken to", "context"],
        rows,
        title=f"{family}: presets, by hub name or in $SUPERALIGN_MODELS",
    )


def list_published() -> None:
    """Print every preset and where its model is."""
    rows = [
        (
            reference_of(preset),
            f"{preset.parameters / 1e9:.2f} G",
            preset.licence,
            "here" if preset.folder else "package index" if preset.wheel else "hub",
        )
        for presets in families().values()
        for preset in presets.values()
    ]
    published = {
        preset.folder_name for known in families().values() for preset in known.values()
    }
    rows += [
        (name, f"{read_card(folder).get('parameters', 0) / 1e9:.2f} G", "", "here")
        for name, folder in fetched_models().items()
        if name not in published
    ]
    print_tables(table(["model", "parameters", "licence", "where it is"], rows))


def rates_table(family: str, presets: Mapping[str, Preset]) -> Table:
    """Return one row per published model: its first adapter and first learning rates."""
    kinds = list(
        dict.fromkeys(kind for preset in presets.values() for kind in preset.learning_rate)
    )
    rows = [
        (
            f"{family}/{name}",
            *[preset.lora[key] for key in ("rank", "alpha", "targets")],
            *[
                f"{preset.learning_rate[kind]:g}" if kind in preset.learning_rate else ""
                for kind in kinds
            ],
        )
        for name, preset in presets.items()
    ]
    return table(
        ["rung", "rank", "alpha", "targets", *[f"rate, {kind}" for kind in kinds]],
        rows,
        title=f"{family}: the first LoRA adapter and learning rates",
    )


def _in_words(cell: SeedRange | None) -> str:
    if cell is None:
        return ""
    return f"{cell.mean:.2f} ({round(cell.low, 2):g}–{round(cell.high, 2):g})"


def draw_ladder(
    cards: Sequence[Card], folder: Path, *, formats: Sequence[str] = ("png", "svg")
) -> list[Path]:
    """Draw capacity and utility over size, one picture per family; return the files.

    One line per tier; bars span the seeds.
    """
    # Half a second of import, for who wants pictures.
    from matplotlib.figure import Figure  # noqa: PLC0415 - see above

    from superalign_env.figures import save  # noqa: PLC0415 - see above

    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for family in sorted({family for family, _ in columns(cards)}):
        figure = Figure(figsize=(5.6, 3.8), layout="constrained")
        axes = figure.add_subplot()
        _draw_family(axes, cards, family)
        for suffix in formats:
            files.append(folder / f"{family}.{suffix}")
            save(figure, files[-1], format=suffix)
    return files


def _draw_family(axes: "Axes", cards: Sequence[Card], family: str) -> None:
    count = sizes(cards)
    for name, (style, alpha) in _STYLES.items():
        rows = tabulate(cards, name)
        for tier in [tier for task_family, tier in columns(cards) if task_family == family]:
            column = (family, tier)
            points = [
                (count[rung], row[column]) for rung, row in rows.items() if column in row
            ]
            axes.errorbar(
                [size for size, _ in points],
                [cell.mean for _, cell in points],
                yerr=(
                    [cell.mean - cell.low for _, cell in points],
                    [cell.high - cell.mean for _, cell in points],
                ),
                fmt=style,
                color=f"C{tier - 1}",
                alpha=alpha,
                capsize=2,
                label=f"tier {tier}, {name}",
            )
    axes.set(xscale="log", ylim=(-0.03, 1.03), xlabel="parameters", ylabel="share right")
    axes.set_title(f"{cards[0].reference.family}: {family}")
    axes.legend(fontsize="x-small")
