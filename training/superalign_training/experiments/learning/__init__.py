"""Learn the errand by delayed reward: PPO, GRPO and RLOO of a run, and Stable-Baselines3's PPO.

The task is `errand-v0`: four turns, reward with the last one, the optimum of every case known
by trying all ways. A tiny language model (micro/3) reads the road in words. It has been shown
random legal moves, so all conditions of a seed begin with the same weights, which earn a
quarter of the optimum, and each plays 7,680 times: 61,440 sampled tokens at most. All but
``sb3`` are runs of `SelfPlay`: twelve rounds of one algorithm. The figure is the mean share
of each case's optimum in 300 held-out cases, greedily.

All learning rates fall linearly to 0. ``docs/experiments.md`` has the figures, the settings
tried and the seeds spent.
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
from superalign_training.experiments.learning.improving import (
    fraction_of_optimum,
    greedy,
    improve_by_run,
    improve_by_sb3,
    make_start,
)
from superalign_training.policy import Policy

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

NEEDED = 0.95
"""Share of the optimum that PPO with values of turns must reach."""

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
"""Algorithms, all from the same weights and by as many plays."""


def cell(params: Params, seed: int, context: CellContext) -> Values:
    """Improve one policy by one algorithm and evaluate it after every round."""
    shared_params = {key: params[key] for key in ("rung", "games", "courses")}
    start = context.shared(
        partial(make_start, seed=seed, **shared_params), seed=seed, **shared_params
    )
    policy = Policy.load(start / "policy")
    evaluate = partial(fraction_of_optimum, cases=params["exam"])
    latest = policy.agent
    curve = [[0, evaluate(greedy(latest))]]

    def add_point(agent: TransformerAgent) -> None:
        nonlocal latest
        latest = agent
        plays = params["plays"] * len(curve) // params["rounds"]
        curve.append([plays, evaluate(greedy(agent))])

    improve = improve_by_sb3 if params["algorithm"]["id"] == "sb3" else improve_by_run
    tokens = improve(params, start / "policy", seed, context, on_round=add_point)
    context.spend("tokens", tokens)
    return {
        "weights": policy.hash,
        "tokens": tokens,
        "fraction": curve[-1][1],
        "sampling": evaluate(latest),
        "random": evaluate(RandomMenu()),
        "myopic": evaluate(as_agent(_myopic)),
        "curve": curve,
    }


def _myopic(text: str) -> str:
    """Return the move that is worth most at once."""
    return "snack" if "snack" in text.rpartition("<|user|>")[2] else "skip"


def reduce(outcomes: Outcomes) -> ExperimentResult:
    """Return the share of the optimum that each condition reached."""
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
    """Return whether all conditions of each seed began with the same weights."""
    hashes: dict[int, set[str]] = {}
    for cells in outcomes.values():
        for seed, values in cells.items():
            hashes.setdefault(seed, set()).add(values["weights"])
    return all(len(weights) == 1 for weights in hashes.values())


def picture(canvas: "Canvas", outcomes: Outcomes) -> None:
    """Draw the share of the optimum over plays."""
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
