"""The ladder as pictures: one per task family."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from superalign_training.ladder.table import Card, columns, sizes, tabulate

_STYLES = {"capacity": ("-o", 1.0), "utility": (":x", 0.5)}


def draw_ladder(
    cards: Sequence[Card], folder: Path, *, formats: Sequence[str] = ("png", "svg")
) -> list[Path]:
    """Draw capacity and utility over size, one picture per family; return the files.

    One line per tier; bars span the seeds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for family in sorted({family for family, _ in columns(cards)}):
        figure = Figure(figsize=(5.6, 3.8), layout="constrained")
        axes = figure.add_subplot()
        _draw_family(axes, cards, family)
        for suffix in formats:
            files.append(folder / f"{family}.{suffix}")
            figure.savefig(files[-1])
    return files


def _draw_family(axes: Axes, cards: Sequence[Card], family: str) -> None:
    count = sizes(cards)
    for name, (style, alpha) in _STYLES.items():
        rows = tabulate(cards, name)
        for tier in [tier for known, tier in columns(cards) if known == family]:
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
