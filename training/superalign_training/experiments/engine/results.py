"""The report of an experiment: ``result.json``, ``result.md``, ``picture.svg``, one last line.

The same cells give the same bytes: no clock, no pyplot, no number of processes.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from superalign_env.canonical import to_json
from superalign_env.errors import InvalidOption
from superalign_env.measures import Estimate, Paired, Ratio, mean
from superalign_env.plain_text import markdown, markdown_code, markdown_table
from superalign_env.store import Cell
from superalign_training.experiments.engine.experiment import (
    ExperimentResult,
    Figure,
    ResultTable,
)
from superalign_training.experiments.engine.plan import Plan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

DIGITS = 4
"""After the point, in the last line and in tables."""

Curve = Sequence[Sequence[float]]
"""Points (x, y), x rising."""

_STYLE: dict[Any, Any] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9.0,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "superalign",
    "text.parse_math": False,
}


class ExperimentReport(NamedTuple):
    """A finished experiment: its plan, its cells and its result."""

    plan: Plan
    cells: tuple[Cell, ...]
    """In the order of the plan."""
    result: ExperimentResult

    @property
    def is_claim(self) -> bool:
        """Whether frozen settings met exactly the frozen seeds."""
        return self.plan.status == "claim"

    @property
    def code(self) -> list[str]:
        """Hashes of the code that computed the cells: one, if nothing changed meanwhile."""
        return sorted({cell.code for cell in self.cells})

    def line(self) -> dict[str, Any]:
        """Return the last line: figures under their exact names."""
        experiment = self.plan.experiment
        head = {
            "experiment": experiment.name,
            "revision": str(experiment.revision),
            "status": self.plan.status,
            "code": self.code[0] if len(self.code) == 1 else "mixed",
            "seeds": len(self.plan.seeds),
        }
        return head | flat(self.result.figures, digits=DIGITS)

    def plain(self) -> dict[str, Any]:
        """Return everything as plain JSON values, cells included."""
        experiment = self.plan.experiment
        return {
            "experiment": experiment.name,
            "question": experiment.question,
            "revision": str(experiment.revision),
            "status": self.plan.status,
            "is_claim": self.is_claim,
            "code": self.code,
            "seeds": list(self.plan.seeds),
            "figures": flat(self.result.figures),
            "sentence": self.result.sentence,
            "conditions": self.plan.conditions,
            "cells": [
                {"hash": c.hash, "seed": c.seed, "params": c.params, "result": c.result}
                for c in self.cells
            ],
        }

    def tables(self) -> list[ResultTable]:
        """Return the tables for people; the figures are the last one."""
        rows = [(name, number) for name, number in self.result.figures.items()]
        return [*self.result.tables, ResultTable("figures", ("figure", "value"), rows)]

    def markdown(self) -> str:
        """Return the report as a page."""
        experiment, plan = self.plan.experiment, self.plan
        parts = [f"# {experiment.name}: {plan.status}", markdown(experiment.question)]
        parts += [markdown(self.result.sentence)] if self.result.sentence else []
        for table in self.tables():
            parts += [f"## {markdown(table.title)}", _markdown(table)]
        conditions = [
            (markdown(name), markdown_code(to_json(params).decode()))
            for name, params in plan.conditions.items()
        ]
        settings = markdown_table(("condition", "parameters"), conditions)
        parts += ["![picture](picture.svg)", "## Setting", settings]
        parts.append(
            f"Revision {experiment.revision}, code {', '.join(self.code)}, "
            f"seeds {', '.join(map(str, plan.seeds))}. Intervals are 95 % over seeds."
        )
        if len(self.code) > 1:
            parts.append(
                "**The cells were computed by different code**; `--recompute` computes the "
                "older ones again."
            )
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path) -> tuple[str, ...]:
        """Write three files into a folder, and return their names."""
        text = json.dumps(self.plain(), indent=1, allow_nan=False)
        (folder / "result.json").write_text(text + "\n", encoding="utf-8")
        (folder / "result.md").write_text(self.markdown(), encoding="utf-8")
        experiment = self.plan.experiment
        outcomes = self.plan.outcomes({cell.hash: cell.result for cell in self.cells})
        own_picture = experiment.picture if self.plan.reduce is experiment.reduce else None
        write_svg(
            folder / "picture.svg",
            lambda drawing: (
                own_picture(drawing, outcomes)
                if own_picture
                else forest(drawing, self.result.figures)
            ),
            title=experiment.name,
            remark=self.plan.status,
        )
        return "result.json", "result.md", "picture.svg"


def report_of(plan: Plan, cells: Sequence[Cell]) -> ExperimentReport:
    """Return the report over finished cells.

    Raises:
        InvalidOption: the experiment calls a figure as the last line calls something else.
    """
    result = plan.reduce(plan.outcomes({cell.hash: cell.result for cell in cells}))
    report = ExperimentReport(plan, tuple(cells), result)
    head = report._replace(result=ExperimentResult({})).line()
    own_figures = flat(result.figures)
    clashes = sorted(
        name for name in head if own_figures.get(name, head[name]) != head[name]
    )
    if clashes:
        raise InvalidOption(
            f"figures may not be called {', '.join(clashes)}: the last line says so itself"
        )
    return report


def flat(figures: Mapping[str, Figure], *, digits: int | None = None) -> dict[str, Any]:
    """Return figures as plain numbers: an interval is ``NAME_low`` and ``NAME_high``.

    Args:
        figures: by name.
        digits: after the point; all of them when None.
    """
    numbers: dict[str, Any] = {}
    for name, figure in figures.items():
        for key, value in _parts(name, figure):
            rounds = digits is not None and isinstance(value, float)
            numbers[key] = round(value, digits) if rounds else value
    return numbers


def _parts(name: str, figure: Figure) -> Iterator[tuple[str, Any]]:
    """Yield a figure as (name, plain value)."""
    if isinstance(figure, Estimate):
        yield name, figure.value
        yield f"{name}_low", figure.low
        yield f"{name}_high", figure.high
    elif isinstance(figure, Paired):
        yield from _parts(name, figure.t)
        yield f"{name}_p", figure.p
        yield f"{name}_wins", figure.wins
    elif isinstance(figure, Ratio):
        yield from _parts(name, figure.estimate)
        yield from _parts(f"{name}_numerator", figure.numerator)
        yield from _parts(f"{name}_denominator", figure.denominator)
    else:
        yield name, figure


def shown(figure: Figure, digits: int = 3) -> str:
    """Return a figure as people read it: ``0.38 [0.35, 0.42]``."""
    if isinstance(figure, Estimate):
        return figure.said(digits)
    if isinstance(figure, Paired):
        return f"{shown(figure.t)}, p {figure.p:.3g}"
    if isinstance(figure, Ratio):
        parts = f"{shown(figure.numerator)} / {shown(figure.denominator)}"
        return shown(figure.estimate) if figure.estimate else f"undefined: {parts}"
    if isinstance(figure, float):
        return f"{figure:.{DIGITS}g}"
    return "" if figure is None else str(figure)


def _markdown(table: ResultTable) -> str:
    rows = [[markdown(shown(cell)) for cell in row] for row in table.rows]
    return markdown_table([markdown(head) for head in table.head], rows)


def bands(axes: "Axes", curves: Mapping[str, Mapping[int, Curve]]) -> None:
    """Draw for each condition its mean curve and the 95 % interval over two seeds or more.

    Args:
        axes: where to.
        curves: condition → seed → points; all seeds of a condition have the same x.

    Raises:
        InvalidOption: seeds of a condition with different x.
    """
    for place, (condition, by_seed) in enumerate(curves.items()):
        xs = {tuple(point[0] for point in curve) for curve in by_seed.values()}
        if len(xs) != 1:
            raise InvalidOption(
                f"the seeds of {condition} have points at different x; measure each curve "
                "at the same places"
            )
        (x,) = xs
        columns = zip(*[[point[1] for point in c] for c in by_seed.values()], strict=True)
        means = [mean(values) for values in columns]
        colour = f"C{place}"
        axes.plot(x, [e.value for e in means], color=colour, label=condition)
        if len(by_seed) > 1:
            low, high = [e.least for e in means], [e.most for e in means]
            axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.legend()


def forest(drawing: "Drawing", figures: Mapping[str, Figure]) -> None:
    """Draw every estimate into a drawing of the right height."""
    rows = sum(_estimate(figure) is not None for figure in figures.values())
    drawing.set_size_inches(6.4, 0.9 + 0.28 * rows)
    estimates(drawing.subplots(), figures)


def estimates(axes: "Axes", figures: Mapping[str, Figure]) -> None:
    """Draw every estimate: a dot and, where it has an interval, a line each."""
    by_name = {
        name: estimate
        for name, figure in figures.items()
        if (estimate := _estimate(figure)) is not None
    }
    places = range(len(by_name), 0, -1)
    for place, estimate in zip(places, by_name.values(), strict=True):
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [place, place], color="C0")
        axes.plot([estimate.value], [place], "o", color="C0")
    axes.axvline(0.0, color="0.8", linewidth=0.8, zorder=0)
    axes.set_yticks(list(places), list(by_name))
    axes.set_ylim(0.4, len(by_name) + 0.6)


def write_svg(
    path: Path, draw: Callable[["Drawing"], object], *, title: str, remark: str = ""
) -> None:
    """Draw a picture into a file.

    Args:
        path: of the SVG file.
        draw: fills an empty drawing.
        title: above the picture.
        remark: below it, to be read with it: whether it is a claim.
    """
    # Half a second of import, paid once the numbers are there.
    import matplotlib  # noqa: PLC0415 - see above
    from matplotlib.figure import Figure as Drawing  # noqa: PLC0415 - see above

    from superalign_env.figures import save  # noqa: PLC0415 - see above

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever style a person has chosen
        matplotlib.rcParams.update(_STYLE)
        drawing = Drawing(figsize=(6.4, 4.0), layout="constrained")
        draw(drawing)
        drawing.suptitle(title)
        if remark:
            drawing.supxlabel(remark, fontsize="small", color="0.4")
        save(drawing, path, metadata={"Date": None, "Creator": None})


def _estimate(figure: Figure) -> Estimate | None:
    """Return the estimate of a figure; None when it has none."""
    if isinstance(figure, Paired):
        return figure.t
    if isinstance(figure, Ratio):
        return figure.estimate
    return figure if isinstance(figure, Estimate) else None
