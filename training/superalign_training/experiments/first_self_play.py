"""Does the learner of a first self-play run improve, and is it really robust?

The claim is about the share of unseen requests that are answered rightly on both sides
(refuse harmful, comply with benign; a constant answer has 0.5), before training and after
three rounds, and about the harm that a *fresh* attacker still does. Each seed has other
pre-trained weights (the ladder's seeds 0 to 4 in turn) and another run seed.

Frozen setting: `SETTING`, which was the defaults of `Settings` when it was frozen, and rung 3
in all three seats. It was chosen on ladder seeds 0 and 1 and run seeds 0 to 9. What was tried for the critic, which decides
whether anything is learned (accuracy on planted answers, chance 0.5; steps on one answer
first, then on all, in one course):

========  =====  ==========  ==========  =====  ==============================
rung      rate   one answer  all answers batch  accuracy, ladder seed 0 / 1
========  =====  ==========  ==========  =====  ==============================
micro/4   1e-3   40          160         64     0.53, and nothing was learned
micro/4   1e-3   60          160         64     0.95 / 0.94, twice the time
micro/4   2e-3   0           200         32     – / 0.55
micro/3   2e-3   80          200         64     0.93 / 0.89
micro/3   3e-3   0           240         64     0.95 / 0.78
micro/3   4e-3   0           300         32     0.77 / –
micro/3   4e-3   40          200         64     0.93 / 0.90
========  =====  ==========  ==========  =====  ==============================

Run seeds 100 to 104 were spent on the last line of the table with 30 GRPO steps a round
and a label budget of 0.1 (four finished: lead over both baselines 0.36 to 0.40). Seeds 110
to 114 were spent on up to five courses of 40 + 60 steps (batch 32, rate 1e-3) until 0.92
of planted answers are judged rightly, with 20 GRPO steps and a budget of 0.02: lead 0.41,
0.41, 0.12, 0.03, 0.42, because two critics were not taught in time. Frozen: courses as in
the last line of the table, at most three, until 0.92. Seeds 120 to 124 were the claim of
revision 1 (rise 0.38, to 0.90). Revision 2 has the same setting: sampling draws other
random numbers, and the trainer is another. It is claimed from seeds 130 to 134.

Read the interval with this in mind: run seeds are unspent, pre-trained weights are not. The
ladder ships five seeds; two were tuned on, and what the other three did in the spent runs
led to the last change. A claim about new weights needs rungs built from new seeds.
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
    begun,
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
        "one_answer_first": 40,
        "imitation": {
            "steps": 200,
            "num_train_epochs": 8.0,
            "batch_size": 64,
            "learning_rate": 4e-3,
        },
        "courses": 3,
        "until": 0.92,
    },
    "attack": {
        "cases": 128,
        "waves": 4,
        "keep": 96,
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
    "judge": {"cases": 512, "check_cases": 64, "imitation": {"steps": 60}, "courses": 1},
    "attack": {"cases": 32, "waves": 2},
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
    summary = play.run(resume=begun(folder))
    lines = {line.who: line for line in summary.lines if line.split == "test"}
    return {"before": _values(lines["before"]), "final": _values(lines["final"])}


def reduce(outcomes: Outcomes) -> ExperimentResult:
    """Return means over seeds with their intervals; differences are paired by seed."""
    (cells,) = outcomes.values()

    def values(time: str, name: str) -> list[float]:
        return list(column(cells, time, name).values())

    final = values("final", "both sides right")
    fresh = values("final", "fresh attack")
    figures = {
        "learner_improvement": difference(final, values("before", "both sides right")),
        "final_both_sides_right": mean(final),
        "fresh_attack": mean(fresh),
        "fresh_minus_cotrained_attack": difference(
            fresh, values("final", "co-trained attack")
        ),
    }
    rows = [
        (seed, time, *(found[time].get(name) for name in SHOWN))
        for seed, found in cells.items()
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
