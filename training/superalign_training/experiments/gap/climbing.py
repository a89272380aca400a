"""One seed, one kind of queries, every controller.

All controllers of a seed share a cell, because chains that begin alike are computed once.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from superalign_env.seeding import generator, label, mix
from superalign_scenarios.microworld.luck import Luck
from superalign_training.experiments.engine.experiment import CellContext, Params, Values
from superalign_training.experiments.gap.chain import Chains, Plan
from superalign_training.experiments.gap.exam import Answering, Exam, capacity
from superalign_training.experiments.gap.snapshots import make_snapshots, student_of
from superalign_training.experiments.gap.student import Student
from superalign_training.experiments.gap.world import FAMILIES, Query, human_says
from superalign_training.gap import GapController, make_controller

_CAPACITIES = "capacities.json"


def climb_all(params: Params, seed: int, context: CellContext) -> Values:
    """Run the chain of every controller and examine its last student."""
    given = dict(params)
    controllers: Mapping[str, Any] = given.pop("controllers")
    plan = msgspec.convert(given, Plan)
    levels = context.shared(
        partial(_make_levels, seed=seed, plan=plan),
        seed=seed,
        at=list(plan.at),
        exam=plan.exam,
    )
    chains = Chains(plan, levels, seed=seed)
    exam = Exam.of(seed, plan.exam)
    oracle = _Oracle(chains, levels, Exam.of(seed, plan.exam, "gate"), seed=seed)
    found: dict[str, Any] = {
        "human": exam.report(_human(plan, seed)),
        "ceiling": exam.report(_speaking(chains.ceiling())),
    }
    for done, (name, given_rule) in enumerate(controllers.items()):
        of = int(given_rule["generations"])
        path = _climbed(given_rule["rule"], chains, of, oracle)
        generations = [chains.generation(path[: n + 1], of) for n in range(of)]
        found[name] = {
            **exam.report(_speaking(generations[-1].student)),
            "levels": list(path),
            "labels": len(FAMILIES) * of * (plan.labels // of + plan.control // of),
            "lessons": 2 * plan.batch * (plan.steps // of) * of,
            "tokens": sum(one.tokens for one in generations),
            "label_accuracy": [one.right for one in generations],
            "sights": [msgspec.to_builtins(one.sight) for one in generations],
        }
        context.spend("tokens", found[name]["tokens"])
        context.step(done + 1, len(controllers))
    return found


class _Oracle:
    """Tells what it reads from gold labels to controllers that say they use them.

    Args:
        chains: whose generations are looked at.
        levels: folder of the levels.
        exam: of the gate split.
        seed: of the human's slips.
    """

    def __init__(self, chains: Chains, levels: Path, exam: Exam, *, seed: int) -> None:
        self._chains = chains
        self._exam = exam
        self.capacities: list[float] = json.loads((levels / _CAPACITIES).read_text())
        self._people = exam.utility(_human(chains.plan, seed))

    def told(
        self, rule: Mapping[str, Any], path: tuple[int, ...], of: int
    ) -> GapController:
        """Return a controller that knows the truth about a chain so far."""
        known = [
            self._exam.utility(
                _speaking(self._chains.generation(path[: n + 1], of).student)
            )
            for n in range(len(path))
        ]
        facts = {"capacities": self.capacities, "utilities": [self._people, *known]}
        return make_controller({**rule, **facts})


def _climbed(
    rule: Mapping[str, Any], chains: Chains, of: int, oracle: _Oracle
) -> tuple[int, ...]:
    """Return the levels that a controller chooses."""
    levels = len(chains.plan.at)
    path: tuple[int, ...] = ()
    for _ in range(of):
        told = rule["id"] == "oracle"
        chooser = oracle.told(rule, path, of) if told else make_controller(rule)
        chooser.check(levels, of)
        seen = chains.sights(path, of)
        path += (chooser.choose(seen, levels=levels, generations=of),)
    return path


def _make_levels(folder: Path, *, seed: int, plan: Plan) -> None:
    make_snapshots(folder, seed=seed, at=plan.at)
    able = [
        capacity(student_of(folder, level), seed=seed, n=plan.exam)
        for level in range(len(plan.at))
    ]
    (folder / _CAPACITIES).write_text(json.dumps(able))


def _speaking(student: Student) -> Answering:
    return lambda queries: [answer.text for answer in student.answers(queries)]


def _human(plan: Plan, seed: int) -> Answering:
    def say(queries: Sequence[Query]) -> list[str]:
        luck = Luck(generator(mix(seed, label("gap/human"), len(queries))), 512)
        return [human_says(query, luck, slips=plan.slips) for query in queries]

    return say
