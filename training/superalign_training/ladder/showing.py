"""The ladder as tables on a terminal. Reads cards alone, and so imports no torch."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from superalign_agents.ladders import Preset, families, find_rungs
from superalign_env.cli.output import console
from superalign_env.errors import UnknownId
from superalign_training.ladder.table import (
    Card,
    Cell,
    columns,
    read_cards,
    sizes,
    tabulate,
    tabulate_moves,
)


def show_ladder(family: str) -> list[Card]:
    """Print capacity and utility by family and tier; return the cards that were read.

    Of published models, whose capacity nobody measured here, the presets are printed.

    Raises:
        UnknownId: no rung of that ladder is shipped or built.
    """
    if family in families():
        presets = families()[family]
        _print(models_table(family, presets), rates_table(family, presets))
        return []
    folders = {
        known: path for known, path in find_rungs().items() if known.family == family
    }
    if not folders:
        names = {known.family for known in find_rungs()} | set(families())
        raise UnknownId("ladder", family, names)
    cards = read_cards(folders)
    tasks = sorted({task for task, _ in columns(cards)})
    _print(
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
    table = _table(
        f"{name} of {family} in {task}: mean over seeds (least–most)",
        ["parameters", "seeds", *[f"tier {tier}" for _, tier in tiers]],
        justify="right",
    )
    for rung, cells in rows.items():
        table.add_row(
            f"{family}/{rung}",
            f"{sizes(cards)[rung]:,}",
            str(max((cell.seeds for cell in cells if cell), default=0)),
            *map(_in_words, cells),
        )
    return table


def moves_table(cards: Sequence[Card]) -> Table:
    """Return one row per rung and one column per role: moves that the rules understand."""
    family = cards[0].reference.family
    shares = tabulate_moves(cards)
    roles = list(dict.fromkeys(role for row in shares.values() for role in row))
    title = f"understood moves of {family}: mean over seeds (least–most)"
    table = _table(title, roles, justify="right")
    for rung, row in shares.items():
        table.add_row(f"{family}/{rung}", *[_in_words(row.get(role)) for role in roles])
    return table


def models_table(family: str, presets: Mapping[str, Preset]) -> Table:
    """Return one row per published model: how large it is and how it is spoken to."""
    table = _table(
        f"{family}: presets, by hub name or in $SUPERALIGN_MODELS",
        ["parameters", "licence", "spoken to", "context"],
    )
    for name, preset in presets.items():
        table.add_row(
            f"{family}/{name}",
            f"{preset.parameters / 1e9:.2f} G",
            preset.licence,
            preset.template,
            f"{preset.context:,}",
        )
    return table


def rates_table(family: str, presets: Mapping[str, Preset]) -> Table:
    """Return one row per published model: its first adapter and first learning rates."""
    kinds = list(
        dict.fromkeys(kind for one in presets.values() for kind in one.learning_rate)
    )
    table = _table(
        f"{family}: the first LoRA adapter and learning rates",
        ["rank", "alpha", "targets", *[f"rate, {kind}" for kind in kinds]],
    )
    for name, preset in presets.items():
        table.add_row(
            f"{family}/{name}",
            *[str(preset.lora[key]) for key in ("rank", "alpha", "targets")],
            *[
                f"{preset.learning_rate[kind]:g}" if kind in preset.learning_rate else ""
                for kind in kinds
            ],
        )
    return table


def _in_words(cell: Cell | None) -> str:
    if cell is None:
        return ""
    return f"{cell.mean:.2f} ({round(cell.low, 2):g}–{round(cell.high, 2):g})"


def _table(title: str, headings: Sequence[str], *, justify: str = "left") -> Table:
    """Return a table whose first column, what people type, is never cut or wrapped."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("rung", no_wrap=True, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right" if justify == "right" else "left")
    return table


def _print(*tables: Table) -> None:
    for place, table in enumerate(tables):
        if place:
            console.print()
        console.print(table)
