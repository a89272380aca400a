"""Does delayed pay teach a language model what to do first?

The task is `errand-v0`: four turns, pay with the last one, the optimum of every case known by
trying all ways. A tiny language model (micro/3) reads the road in words. It has been shown
random legal moves (`start`), so all conditions of a seed begin with the same weights, which
earn a quarter of the optimum, a little less than chance, and each plays 7,680 times: 61,440
sampled tokens at most. All but ``sb3`` are runs of `SelfPlay`: twelve rounds of one algorithm.
Reached is the mean share of each case's optimum in 300 held-out cases, greedily.

Ours and Stable-Baselines3's PPO have the same network, rollouts (1,024 tokens), epochs,
minibatches, learning rates, clip range, lambda and entropy bonus. All learning rates fall
linearly to 0, which keeps the end steady: with a constant one PPO went up to 0.96 and back to
0.89 within the budget. GRPO and RLOO take one step on each rollout (512 tokens) where PPO
takes eight.

Tried, all on rung seed 0 unless a seed is named (greedy share reached, after how many
tokens; the task was made easier twice, because a rule of the first form paid the way round
so well that everything learned just that):

====================================  ==========================================  ==========
task                                  learner                                     reached
====================================  ==========================================  ==========
a gate pays 5, a thing fits in 3/4    GRPO 2e-3, 3e-4, 5e-4 + KL 0.05             0.55 (100k)
a gate pays 8, a thing always fits    GRPO 1e-3, 16 x 8                           0.76 (92k)
the same                              GRPO 2e-3, 32 x 8                           0.87 (143k)
the same, four gates                  GRPO 1e-3, 16 x 8                           0.72 (92k)
the same                              SB3 1e-3, 2048 tokens, trace 0.95           0.89 (49k)
the same                              PPO 1e-3, 256 cases, entropy 0.01           0.89 (82k)
the same                              PPO 2e-3, entropy 0.005                     0.86 (46k)
the same                              PPO 3e-3, micro/2                           0.78 (44k)
no thing fits in 1/4 of the stops     PPO 1.5e-3, 128 cases                       0.72 (41k)
the same, four gates                  PPO 1e-3, 128 and 256 cases                 0.37 (12k)
this one                              PPO 1e-3, 256 cases, entropy 0.01           0.96 (41k)
this one                              PPO 1e-3, 128 cases, trace 1, entropy .005  0.97 (29k)
this one                              the same, rate falling                      0.98 (41k)
this one, seed 1                      the same                                    0.98 (41k)
this one, seed 3                      the same; entropy 0.01; entropy 0.02        0.89, 0.89, 0.83
this one, seeds 3 and 8               the same, 61,440 tokens                     0.92, 0.82
this one, seeds 2, 3, 4, 8            the same, 1.5e-3: frozen                    0.97 to 0.98
this one, seed 2                      GRPO 3e-3, 16 x 8                           0.56 (41k)
this one, seed 2                      GRPO 2e-3, 8 x 4                            0.27 (41k)
this one, seed 2                      GRPO 3e-3, 8 x 8, KL 0.02: frozen           0.69 (41k)
this one, seed 3                      the same, 61,440 tokens                     0.76 (61k)
this one, seed 2                      GRPO 3e-3, 4 x 16 and 4 x 8, KL 0.02        0.41, 0.65
this one, seed 2                      GRPO 6e-3, 8 x 8, KL 0.05                   0.43 (41k)
this one, seeds 2 and 3               RLOO 3e-3, 8 x 8, KL 0.02, 61,440 tokens    0.65, 0.66
the same                              the same, forked                            0.66, 0.62
====================================  ==========================================  ==========

Run seeds 200 to 204 were spent on PPO at 1e-3 with 40,960 tokens (0.97, 0.98, 0.96, 0.75,
0.96: mean 0.92, too little) and SB3's PPO at 1e-3 (200 and 201: 0.97, 0.97). The fourth
rung seed learns more slowly than the first two, on which alone PPO had been tuned: hence
more tokens and the higher rate. Seeds 210 to 214 were the claim of revision 1, in which a loop
of the experiment called the algorithms, learning rates fell in twelve stairs, and one more
condition forked groups at a turn drawn for the case (0.34): no algorithm here does that.
Revision 2 is claimed from seeds 220 to 224. As in the other experiments run seeds are unspent
and the five pre-trained weights are not.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from superalign_agents.scripted import RandomMenu
from superalign_agents.transformer import TransformerAgent
from superalign_env import as_agent
from superalign_env.measures import mean, paired_difference
from superalign_training.experiments.engine.experiment import (
    CellContext,
    Experiment,
    ExperimentResult,
    Figure,
    Outcomes,
    Params,
    ResultTable,
    Seeds,
    Values,
    column,
)
from superalign_training.experiments.engine.results import bands
from superalign_training.experiments.learning.apprentices import (
    fraction_of_optimum,
    greedy,
    improve_by_run,
    improve_by_sb3,
)
from superalign_training.experiments.learning.start import make_start
from superalign_training.policy import Policy

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

NEEDED = 0.95
"""What PPO with values of turns must reach of the optimum."""

SETTING: dict[str, Any] = {
    "rung": 3,
    "games": 1500,
    "courses": [[160, 2e-3], [40, 5e-4]],
    "plays": 7_680,
    "rounds": 12,
    "exam": 300,
}

_PPO = {
    "batch_size": 128,
    "update_epochs": 4,
    "num_minibatches": 2,
    "learning_rate": 1.5e-3,
    "gae_lambda": 1.0,
    "kl_coef": 0.0,
    "ent_coef": 0.005,
}
_GROUPS = {"batch_size": 8, "num_generations": 8, "learning_rate": 3e-3, "beta": 0.02}
_SB3 = {
    "copies": 64,
    "n_steps": 16,
    "n_epochs": 4,
    "batch_size": 512,
    "context": 64,
    "learning_rate": 1.5e-3,
    "gamma": 1.0,
    "gae_lambda": 1.0,
    "ent_coef": 0.005,
}

CONDITIONS: dict[str, Params] = {
    name: {"algorithm": algorithm, **SETTING}
    for name, algorithm in {
        "ppo": {"id": "ppo", "gae_level": "turn", **_PPO},
        "ppo-token": {"id": "ppo", "gae_level": "token", **_PPO},
        "grpo": {"id": "grpo", **_GROUPS},
        "rloo": {"id": "rloo", **_GROUPS},
        "sb3": {"id": "sb3", **_SB3},
    }.items()
}
"""What learns, all from the same weights and by as many plays."""


def cell(params: Params, seed: int, context: CellContext) -> Values:
    """Improve one policy in one way; what it plays is looked at in held-out cases."""
    first = {key: params[key] for key in ("rung", "games", "courses")}
    start = context.shared(partial(make_start, seed=seed, **first), seed=seed, **first)
    policy = Policy.load(start / "policy")
    exam = partial(fraction_of_optimum, cases=params["exam"])
    latest = policy.agent
    curve = [[0, exam(greedy(latest))]]

    def look(agent: TransformerAgent) -> None:
        nonlocal latest
        latest = agent
        plays = params["plays"] * len(curve) // params["rounds"]
        curve.append([plays, exam(greedy(agent))])

    improve = improve_by_sb3 if params["algorithm"]["id"] == "sb3" else improve_by_run
    tokens = improve(params, start / "policy", seed, context, on_round=look)
    context.spend("tokens", tokens)
    return {
        "weights": policy.hash,
        "tokens": tokens,
        "fraction": curve[-1][1],
        "sampling": exam(latest),
        "random": exam(RandomMenu()),
        "myopic": exam(as_agent(_myopic)),
        "curve": curve,
    }


def _myopic(text: str) -> str:
    """Say what is worth most at once, without a thing in the bag."""
    return "snack" if "snack" in text.rpartition("<|user|>")[2] else "skip"


def reduce(outcomes: Outcomes) -> ExperimentResult:
    """Return what share of the optimum each condition reached."""
    reached = {name: column(cells, "fraction") for name, cells in outcomes.items()}
    figures: dict[str, Figure] = {
        f"{name.replace('-', '_')}_fraction_of_optimum": mean(list(by_seed.values()))
        for name, by_seed in reached.items()
    }
    if {"ppo", "sb3", "grpo"} <= reached.keys():
        figures["ppo_minus_sb3"] = paired_difference(reached["ppo"], reached["sb3"])
        figures["ppo_minus_grpo"] = paired_difference(reached["ppo"], reached["grpo"])
    cells = [cell for by_seed in outcomes.values() for cell in by_seed.values()]
    figures |= {
        "random_fraction": mean([cell["random"] for cell in cells]).value,
        "myopic_fraction": mean([cell["myopic"] for cell in cells]).value,
        "seeds": len(next(iter(outcomes.values()))),
        "tokens": max(cell["tokens"] for cell in cells),
        "fewest_tokens": min(cell["tokens"] for cell in cells),
        "same_start": _same_start(outcomes),
    }
    rows = [
        (
            name,
            mean(list(by_seed.values())),
            mean(list(column(outcomes[name], "sampling").values())),
            mean(list(column(outcomes[name], "tokens").values())).value,
        )
        for name, by_seed in reached.items()
    ]
    head = ("condition", "greedy", "sampling", "tokens")
    return ExperimentResult(
        figures, (ResultTable("Share of the optimum in held-out cases", head, rows),)
    )


def _same_start(outcomes: Outcomes) -> bool:
    """Whether all conditions of each seed began with the same weights."""
    found: dict[int, set[str]] = {}
    for cells in outcomes.values():
        for seed, values in cells.items():
            found.setdefault(seed, set()).add(values["weights"])
    return all(len(weights) == 1 for weights in found.values())


def picture(canvas: "Canvas", outcomes: Outcomes) -> None:
    """Draw what was reached after how many plays."""
    axes = canvas.subplots()
    curves: Mapping[str, Any] = {
        name: {seed: values["curve"] for seed, values in cells.items()}
        for name, cells in outcomes.items()
    }
    bands(axes, curves)
    for label, height in (("optimum", 1.0), ("needed", NEEDED)):
        axes.axhline(height, color="grey", linewidth=0.8, linestyle="--")
        axes.annotate(label, (0, height), fontsize=7, color="grey", va="bottom")
    axes.set_xlabel("plays")
    axes.set_ylabel("return / optimum, held-out cases")
    axes.set_ylim(0.0, 1.05)


EXPERIMENT = Experiment(
    name="learning",
    question="Does pay at the end teach a language model what to do first?",
    revision=2,
    conditions=CONDITIONS,
    seeds=Seeds(
        claim=tuple(range(220, 225)),
        quick=(0,),
        tune=tuple(range(10)),
        spent=(*range(200, 205), *range(210, 215)),
    ),
    cell=cell,
    reduce=reduce,
    picture=picture,
    quick={"plays": 256, "rounds": 1, "games": 60, "courses": [[10, 2e-3]], "exam": 40},
)
