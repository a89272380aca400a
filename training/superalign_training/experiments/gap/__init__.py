"""Which schedule of capability gaps leaves the best student, and how much of the human in it?

TO BE WRITTEN
"""

from typing import Any

from superalign_training.experiments.engine.experiment import Experiment, Params, Seeds
from superalign_training.experiments.gap.cell import cell
from superalign_training.experiments.gap.report import picture, reduce

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
        ("adaptive", {"id": "adaptive"}, GENERATIONS),
        ("learned", {"id": "learned"}, GENERATIONS),
        ("oracle", {"id": "oracle"}, GENERATIONS),
    )
}
"""Chain → who chooses its levels, and in how many generations its labels are spent."""

SETTING: dict[str, Any] = {
    "at": [1200, 1300, 1400, 1500, 1600, 1800, 2000, 2200],
    "hardness": [0.0, 0.7],
    "labels": 512,
    "steps": 200,
    "batch": 16,
    "rate": 1.5e-3,
    "slips": 0.05,
    "growth": 2.0,
    "sure": True,
    "control": 160,
    "exam": 100,
    "controllers": CONTROLLERS,
}
"""Frozen."""

CONDITIONS: dict[str, Params] = {
    queries: {"queries": queries, **SETTING} for queries in ("follow", "fixed")
}
"""Which queries are asked: such that grow harder with the level, or always the same."""

EXPERIMENT = Experiment(
    name="gap",
    question="Which schedule of capability gaps leaves the best student?",
    revision=1,
    conditions=CONDITIONS,
    seeds=Seeds(
        claim=tuple(range(300, 310)),
        quick=(0,),
        tune=tuple(range(10)),
        spent=(*range(100, 125), *range(200, 215)),
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
