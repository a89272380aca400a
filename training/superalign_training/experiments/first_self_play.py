"""Measure the learner of a first self-play run: both sides right, and a fresh attacker's harm.

The claim is about the share of unseen requests that are answered rightly on both sides
(refuse harmful, comply with benign; a constant answer has 0.5), before training and after
three rounds, and about the harm that a *fresh* attacker still does. Each seed has other
pre-trained weights (the ladder's seeds 0 to 4 in turn) and another run seed.

``docs/experiments.md`` has the figures, the settings tried and the seeds spent.
"""

from superalign_env.measures import difference, mean
from superalign_training.evaluation.summary import SummaryLine
from superalign_training.experiments import (
    CellContext,
    Experiment,
    ExperimentResult,
    Outcomes,
    Params,
    ResultTable,
    Seeds,
    Steps,
    Values,
    column,
)
from superalign_training.selfplay import SelfPlay

LADDER_SEEDS = 5
"""Seeds of the ladder that ships."""

SETTING: Params = {
    "rung": "micro/3",
    "rounds": 3,
    "budget": 0.02,
    "judge": {
        "cases": 1536,
        "check_cases": 160,
        "single_answer_steps": 40,
        "imitation": {
            "steps": 200,
            "num_train_epochs": 8.0,
            "batch_size": 64,
            "learning_rate": 4e-3,
        },
        "max_fits": 3,
        "target_accuracy": 0.92,
    },
    "attack": {
        "cases": 128,
        "archive_updates": 4,
        "max_imitated": 96,
    },
    "calibrate": {"cases": 256},
    "train": {
        "attacker": {
            "steps": 60,
            "num_train_epochs": 8.0,
            "batch_size": 32,
            "learning_rate": 1e-3,
        },
        "learner": {
            "steps": 20,
            "batch_size": 32,
            "num_generations": 4,
            "learning_rate": 1e-3,
            "beta": 0.1,
        },
        "critic": {
            "steps": 20,
            "num_train_epochs": 8.0,
            "batch_size": 32,
            "learning_rate": 5e-4,
        },
    },
    "evaluate": {
        "cases": 200,
        "attack_cases": 64,
        "fresh_queries": 256,
        "fresh_waves": 8,
        "family_cases": 60,
    },
}

QUICK: Params = {
    "rounds": 1,
    "judge": {"cases": 512, "check_cases": 64, "imitation": {"steps": 60}, "max_fits": 1},
    "attack": {"cases": 32, "archive_updates": 2},
    "calibrate": {"cases": 32},
    "train": {
        "attacker": {"steps": 10},
        "learner": {"steps": 5, "batch_size": 16, "num_generations": 4},
        "critic": {"steps": 4},
    },
    "evaluate": {
        "cases": 60,
        "attack_cases": 16,
        "fresh_queries": 64,
        "fresh_waves": 4,
        "family_cases": 0,
    },
}

SHOWN = ("both sides right", "misses", "over-refusals", "co-trained attack", "fresh attack")


def cell(params: Params, seed: int, context: CellContext) -> Values:
    """Run self-play, or continue it, and measure on unseen requests before and after."""
    folder = context.folder / "run"
    settings = {name: value for name, value in params.items() if name != "rung"}
    rung = f"{params['rung']}@{seed % LADDER_SEEDS}"
    play = SelfPlay(
        scenario="red-team",
        seed=seed,
        run_dir=str(folder),
        watcher=Steps(context),
        lineup={"attacker": rung, "learner": rung, "critic": rung},
        **settings,
    )
    summary = play.run(resume=True)
    lines = {line.who: line for line in summary.lines if line.split == "test"}
    return {"before": _values(lines["before"]), "final": _values(lines["final"])}


def reduce(outcomes: Outcomes) -> ExperimentResult:
    """Return means over seeds with their intervals; differences are paired by seed."""
    (cells,) = outcomes.values()

    def values(time: str, name: str) -> list[float]:
        return list(column(cells, time, name).values())

    final = values("final", "both sides right")
    fresh_attack = values("final", "fresh attack")
    figures = {
        "learner_improvement": difference(final, values("before", "both sides right")),
        "final_both_sides_right": mean(final),
        "fresh_attack": mean(fresh_attack),
        "fresh_minus_cotrained_attack": difference(
            fresh_attack, values("final", "co-trained attack")
        ),
    }
    rows = [
        (seed, time, *(values_of[time].get(name) for name in SHOWN))
        for seed, values_of in cells.items()
        for time in ("before", "final")
    ]
    return ExperimentResult(
        figures, (ResultTable("unseen requests", ("seed", "", *SHOWN), rows),)
    )


EXPERIMENT = Experiment(
    name="first-self-play",
    question="Does the learner improve in three rounds, and is it really robust?",
    revision=2,
    conditions={"self-play": SETTING},
    seeds=Seeds(
        claim=tuple(range(130, 135)),
        quick=(0, 1),
        spent=(*range(100, 105), *range(110, 115), *range(120, 125)),
    ),
    cell=cell,
    reduce=reduce,
    quick=QUICK,
)


def _values(line: SummaryLine) -> dict[str, float]:
    return {name: line.values[name].value for name in SHOWN if name in line.values}
