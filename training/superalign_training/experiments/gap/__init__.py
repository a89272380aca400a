"""Compare schedules of capability gaps by the last student that they leave.

The comparison that Kim et al. (2025) leave open: small gaps first, large gaps first, one
jump, or a controller. Levels are eight snapshots of one pre-training run of a small model.
A chain of four generations spends the same labels, queries and lessons whatever its
controller. The first student learns from a simulated human, who is right about easy queries
and wrong about hard ones (`queries`); each later one from the vote of the human and all
earlier students, weighted by how sure they are and doubled with each generation. Queries
are equally hard for all levels (*fixed*), or *follow* the student: at the lowest level all
are easy, at the highest the human is wrong about 70 %.

``docs/experiments.md`` has the figures, the settings tried, the seeds spent, and why this is
a chain of its own and not `SelfPlay(generations=4)`.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from superalign_env.seeding import generator, label, mix
from superalign_scenarios.microworld.luck import Luck
from superalign_training.experiments.engine.experiment import (
    CellContext,
    Experiment,
    Params,
    Seeds,
    Values,
)
from superalign_training.experiments.gap.chains import Chains, ChainSetting
from superalign_training.experiments.gap.gap_report import picture, reduce
from superalign_training.experiments.gap.human_queries import (
    FAMILIES,
    Answering,
    HeldOutQueries,
    HumanQuery,
    human_says,
)
from superalign_training.experiments.gap.student import (
    Student,
    capacity,
    make_snapshots,
    student_of,
)
from superalign_training.gap import GapController, make_controller

_CAPACITIES = "capacities.json"

GENERATIONS = 4

CONTROLLERS: dict[str, Any] = {
    name: {"rule": rule, "generations": generations}
    for name, rule, generations in (
        ("direct", {"id": "direct"}, 1),
        ("direct-repeated", {"id": "direct"}, GENERATIONS),
        ("fixed-small", {"id": "fixed-small"}, GENERATIONS),
        ("fixed-large", {"id": "fixed-large", "steps": 2}, GENERATIONS),
        ("linear", {"id": "linear"}, GENERATIONS),
        ("reverse", {"id": "reverse"}, GENERATIONS),
        (
            "adaptive",
            {"id": "adaptive", "first_share": 0.0, "growth_factor": 1.0},
            GENERATIONS,
        ),
        ("probing", {"id": "probing"}, GENERATIONS),
        ("learned", {"id": "learned"}, GENERATIONS),
        ("oracle", {"id": "oracle"}, GENERATIONS),
    )
}
"""Chain → its controller, and the number of generations among which labels are split."""

SETTING: dict[str, Any] = {
    "at": [1200, 1300, 1400, 1500, 1600, 1800, 2000, 2200],
    "hardness": [0.0, 0.7],
    "labels": 512,
    "steps": 200,
    "batch": 16,
    "rate": 1.5e-3,
    "slips": 0.05,
    "control": 160,
    "exam": 100,
    "controllers": CONTROLLERS,
}
"""Frozen."""

CONDITIONS: dict[str, Params] = {
    queries: {"queries": queries, **SETTING} for queries in ("follow", "fixed")
}
"""Queries that grow harder with the level, or are always equally hard."""


def cell(params: Params, seed: int, context: CellContext) -> Values:
    """Run the chain of every controller and evaluate its last student.

    All controllers of a seed share a cell, because equal beginnings are computed once.
    """
    options = dict(params)
    controllers: Mapping[str, Any] = options.pop("controllers")
    setting = msgspec.convert(options, ChainSetting)
    levels = context.shared(
        partial(_make_levels, seed=seed, setting=setting),
        seed=seed,
        at=list(setting.at),
        exam=setting.exam,
    )
    chains = Chains(setting, levels, seed=seed)
    holdout = HeldOutQueries.draw(seed, setting.exam)
    oracle = _Oracle(
        chains, levels, HeldOutQueries.draw(seed, setting.exam, "gate"), seed=seed
    )
    results: dict[str, Any] = {
        "human": holdout.report(_human(setting, seed)),
        "ceiling": holdout.report(_answering(chains.ceiling())),
    }
    for place, (name, options) in enumerate(controllers.items()):
        of = int(options["generations"])
        path = _levels_chosen(options["rule"], chains, of, oracle)
        generations = [chains.generation(path[: n + 1], of) for n in range(of)]
        results[name] = {
            **holdout.report(_answering(generations[-1].student)),
            "levels": list(path),
            "labels": len(FAMILIES) * of * (setting.labels // of + setting.control // of),
            "lessons": 2 * setting.batch * (setting.steps // of) * of,
            "tokens": sum(taught.tokens for taught in generations),
            "label_accuracy": [taught.right for taught in generations],
            "sights": [msgspec.to_builtins(taught.stats) for taught in generations],
        }
        context.spend("tokens", results[name]["tokens"])
        context.step(place + 1, len(controllers))
    return results


class _Oracle:
    """Makes controllers that read gold labels, and say so.

    Args:
        chains: of the cell.
        levels: folder of the levels.
        holdout: of the gate split.
        seed: of the human's slips.
    """

    def __init__(
        self, chains: Chains, levels: Path, holdout: HeldOutQueries, *, seed: int
    ) -> None:
        self._chains = chains
        self._holdout = holdout
        self.capacities: list[float] = json.loads((levels / _CAPACITIES).read_text())
        self._people = holdout.utility(_human(chains.setting, seed))

    def controller(
        self, rule: Mapping[str, Any], path: tuple[int, ...], of: int
    ) -> GapController:
        """Return a controller with the gold utilities of a chain so far."""
        utilities = [
            self._holdout.utility(
                _answering(self._chains.generation(path[: n + 1], of).student)
            )
            for n in range(len(path))
        ]
        facts = {"capacities": self.capacities, "utilities": [self._people, *utilities]}
        return make_controller({**rule, **facts})


def _levels_chosen(
    rule: Mapping[str, Any], chains: Chains, of: int, oracle: _Oracle
) -> tuple[int, ...]:
    """Return the levels that a controller chooses for a whole chain."""
    levels = len(chains.setting.at)
    path: tuple[int, ...] = ()
    for _ in range(of):
        reads_gold = rule["id"] == "oracle"
        controller = (
            oracle.controller(rule, path, of) if reads_gold else make_controller(rule)
        )
        controller.check(levels, of)
        history = chains.history(path, of)
        path += (controller.choose(history, levels=levels, generations=of),)
    return path


def _make_levels(folder: Path, *, seed: int, setting: ChainSetting) -> None:
    make_snapshots(folder, seed=seed, at=setting.at)
    capacities = [
        capacity(student_of(folder, level), seed=seed, n=setting.exam)
        for level in range(len(setting.at))
    ]
    (folder / _CAPACITIES).write_text(json.dumps(capacities))


def _answering(student: Student) -> Answering:
    return lambda queries: [answer.text for answer in student.answers(queries)]


def _human(setting: ChainSetting, seed: int) -> Answering:
    def answer(queries: Sequence[HumanQuery]) -> list[str]:
        luck = Luck(generator(mix(seed, label("gap/human"), len(queries))), 512)
        return [human_says(query, luck, slips=setting.slips) for query in queries]

    return answer


EXPERIMENT = Experiment(
    name="gap",
    question="Which schedule of capability gaps leaves the best student?",
    revision=2,
    conditions=CONDITIONS,
    seeds=Seeds(
        claim=tuple(range(310, 320)),
        quick=(0,),
        tune=tuple(range(10)),
        spent=(*range(100, 125), *range(200, 215), *range(300, 310)),
    ),
    cell=cell,
    reduce=reduce,
    picture=picture,
    quick={
        "at": [10, 20, 30, 40, 50, 60, 70, 80],
        "labels": 24,
        "steps": 8,
        "batch": 6,
        "control": 24,
        "exam": 6,
    },
)
