"""What an experiment leaves: ``result.json``, ``result.md``, ``picture.svg``, one last line.

The same cells give the same bytes: nothing here tells the time or how many processes ran.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from superalign_env.canonical import to_json
from superalign_env.errors import InvalidOption
from superalign_env.measures import Estimate, Paired, Ratio
from superalign_env.store import Cell
from superalign_training.experiments.engine.pictures import forest, write_svg
from superalign_training.experiments.engine.plan import Plan
from superalign_training.experiments.engine.results import Figure, Result, Table, flat

DIGITS = 4
"""After the point, in the last line and in tables."""


class Report(NamedTuple):
    """An experiment that is done."""

    plan: Plan
    cells: tuple[Cell, ...]
    """In the order of the plan."""
    result: Result

    @property
    def is_claim(self) -> bool:
        """Whether frozen settings met exactly the frozen seeds."""
        return self.plan.status == "claim"

    @property
    def code(self) -> list[str]:
        """Hashes of the code that computed the cells: one, if nothing changed meanwhile."""
        return sorted({cell.code for cell in self.cells})

    def line(self) -> dict[str, Any]:
        """Return what the last line says: figures under their exact names."""
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

    def tables(self) -> list[Table]:
        """Return the tables for people; the figures are the last one."""
        rows = [(name, number) for name, number in self.result.figures.items()]
        return [*self.result.tables, Table("figures", ("figure", "value"), rows)]

    def markdown(self) -> str:
        """Return the report as a page."""
        experiment, plan = self.plan.experiment, self.plan
        parts = [f"# {experiment.name}: {plan.status}", experiment.question]
        parts += [self.result.sentence] if self.result.sentence else []
        for table in self.tables():
            parts += [f"## {table.title}", _markdown(table)]
        settings = Table(
            "",
            ("condition", "parameters"),
            [(n, _code(p)) for n, p in plan.conditions.items()],
        )
        parts += ["![picture](picture.svg)", "## Setting", _markdown(settings)]
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

    def write(self, folder: Path) -> None:
        """Write the three files into a folder."""
        text = json.dumps(self.plain(), indent=1, allow_nan=False)
        (folder / "result.json").write_text(text + "\n", encoding="utf-8")
        (folder / "result.md").write_text(self.markdown(), encoding="utf-8")
        experiment = self.plan.experiment
        outcomes = self.plan.outcomes({cell.hash: cell.result for cell in self.cells})
        own = experiment.picture if self.plan.reduce is experiment.reduce else None
        write_svg(
            folder / "picture.svg",
            lambda figure: (
                own(figure, outcomes) if own else forest(figure, self.result.figures)
            ),
            title=experiment.name,
            remark=self.plan.status,
        )


def summed_up(plan: Plan, cells: Sequence[Cell]) -> Report:
    """Return what finished cells say together.

    Raises:
        InvalidOption: the experiment calls a figure as the last line calls something else.
    """
    result = plan.reduce(plan.outcomes({cell.hash: cell.result for cell in cells}))
    report = Report(plan, tuple(cells), result)
    head = report._replace(result=Result({})).line()
    own = flat(result.figures)
    taken = sorted(name for name in head if own.get(name, head[name]) != head[name])
    if taken:
        raise InvalidOption(
            f"figures may not be called {', '.join(taken)}: the last line says so itself"
        )
    return report


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


def _code(params: dict[str, Any]) -> str:
    return f"`{to_json(params).decode()}`"


def _markdown(table: Table) -> str:
    rows = [list(table.head), ["---"] * len(table.head)]
    rows += [[shown(cell) for cell in row] for row in table.rows]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
