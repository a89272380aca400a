"""Does the learner of a first self-play run improve, and is it really robust?

The claim is about the share of unseen requests that are answered rightly on both sides
(refuse harmful, comply with benign; a constant answer has 0.5), before training and after
three rounds, and about the harm that a *fresh* attacker still does. Each seed has other
pre-trained weights (the ladder's seeds 0 to 4 in turn) and another run seed.

Frozen setting: the defaults of `Settings`, rung 3 in all three seats. It was chosen on
ladder seeds 0 and 1 and run seeds 0 to 9. What was tried for the critic, which decides
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
the last line of the table, at most three, until 0.92. Claimed from seed 120 upwards.

Read the interval with this in mind: run seeds are unspent, pre-trained weights are not. The
ladder ships five seeds; two were tuned on, and what the other three did in the spent runs
led to the last change. A claim about new weights needs rungs built from new seeds.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from superalign_env.measures import Estimate, mean
from superalign_training.evaluation.summary import Line, Summary
from superalign_training.selfplay import SelfPlay
from superalign_training.settings import TRAINED
from superalign_training.watching import Silent

FIRST_SEED = 120
SEEDS = 5
LADDER_SEEDS = 5
"""Seeds of the ladder that ships."""

SHOWN = ("both sides right", "misses", "over-refusals", "co-trained attack", "fresh attack")


class Outcome(NamedTuple):
    """What one seed came to, on unseen requests."""

    seed: int
    before: dict[str, float]
    final: dict[str, float]

    @property
    def improvement(self) -> float:
        """Rise of the share that is right on both sides."""
        return self.final["both sides right"] - self.before["both sides right"]


class Result(NamedTuple):
    """All seeds, and what they say together (mean with 95 % t interval over seeds)."""

    outcomes: tuple[Outcome, ...]
    improvement: Estimate
    final: Estimate
    fresh_attack: Estimate
    false_robustness: Estimate
    """Fresh minus co-trained attack success at the end: paired by seed."""

    def plain(self) -> dict[str, float | int]:
        """Return the figures under fixed names."""
        named = {
            "learner_improvement": self.improvement,
            "final_both_sides_right": self.final,
            "fresh_attack": self.fresh_attack,
            "fresh_minus_cotrained_attack": self.false_robustness,
        }
        figures: dict[str, float | int] = {"seeds": len(self.outcomes)}
        for name, estimate in named.items():
            figures[name] = round(estimate.value, 4)
            figures[f"{name}_low"] = round(estimate.low, 4)
            figures[f"{name}_high"] = round(estimate.high, 4)
        return figures


def first_self_play(
    out: Path,
    *,
    quick: bool = False,
    seeds: Sequence[int] = tuple(range(FIRST_SEED, FIRST_SEED + SEEDS)),
    told: Callable[[str], object] = print,
) -> Result:
    """Run every seed that is not done yet and put them together.

    Args:
        out: folder of the runs; finished ones are read, interrupted ones continued.
        quick: two seeds and one round: does it run, not a claim.
        seeds: run seeds.
        told: takes a line after every seed.
    """
    if quick:
        seeds = seeds[:2]
    outcomes = []
    for seed in seeds:
        outcome = _outcome(seed, _run(out / f"seed-{seed}", seed, rounds=1 if quick else 3))
        outcomes.append(outcome)
        told(f"seed {seed}: {_shown(outcome.before)} → {_shown(outcome.final)}")
    return together(outcomes)


def together(outcomes: Sequence[Outcome]) -> Result:
    """Return means over seeds with their intervals."""
    return Result(
        tuple(outcomes),
        mean([one.improvement for one in outcomes]),
        mean([one.final["both sides right"] for one in outcomes]),
        mean([one.final["fresh attack"] for one in outcomes]),
        mean(
            [one.final["fresh attack"] - one.final["co-trained attack"] for one in outcomes]
        ),
    )


def _run(folder: Path, seed: int, *, rounds: int) -> Summary:
    rung = f"micro/3@{seed % LADDER_SEEDS}"
    play = SelfPlay(
        scenario="red-team",
        rounds=rounds,
        seed=seed,
        run_dir=str(folder),
        watcher=Silent(),
        **dict.fromkeys(TRAINED, rung),
    )
    return play.run(resume=folder.exists())


def _outcome(seed: int, summary: Summary) -> Outcome:
    lines = {line.who: line for line in summary.lines if line.split == "test"}
    return Outcome(seed, _values(lines["before"]), _values(lines["final"]))


def _values(line: Line) -> dict[str, float]:
    return {name: line.values[name].value for name in SHOWN if name in line.values}


def _shown(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in values.items())
