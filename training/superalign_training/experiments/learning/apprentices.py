"""The learner of a seed, improved by a run, or by Stable-Baselines3 on the same network."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from superalign_agents.transformer import TransformerAgent
from superalign_env.lookup import make_scenario
from superalign_env.measures import mean
from superalign_env.protocols import Agent
from superalign_env.rollout import Rollouts
from superalign_env.seeding import mix
from superalign_env.store import Run
from superalign_training.algorithms.sb3.causal_policy import CausalPolicy
from superalign_training.algorithms.sb3.training import train_baseline
from superalign_training.experiments.engine.experiment import (
    CellContext,
    Params,
    Steps,
    begun,
)
from superalign_training.loop.chain import Chain
from superalign_training.policy import Policy, read_agent
from superalign_training.selfplay import SelfPlay
from superalign_training.token_env import token_env

SEAT, ROLE = "learner_0", "learner"
TOKENS = 8
"""Of one play at most: four turns of a word and its end."""

_EXAM = 1 << 21
"""Run seed of the held-out cases: the same for all policies and seeds."""

OnRound = Callable[[TransformerAgent], object]
"""Looks at the agent after a round."""


def improve_by_run(
    params: Params, start: Path, seed: int, context: CellContext, *, on_round: OnRound
) -> int:
    """Improve a policy by a run of rounds, or continue it; look at each round's checkpoint.

    Args:
        params: of the cell.
        start: checkpoint of the initial policy.
        seed: of the run.
        context: of the cell.
        on_round: called for every round, in order.

    Returns:
        Tokens sampled.
    """
    folder = context.folder / "run"
    SelfPlay(
        scenario="errand",
        seed=seed,
        run_dir=str(folder),
        rounds=params["rounds"],
        watcher=Steps(context),
        lineup={ROLE: str(start)},
        train={ROLE: algorithm_of(params)},
        evaluate={"cases": 10},  # what counts is asked of checkpoints, greedily
    ).run(resume=begun(folder))
    tokens = 0
    with Run.open(folder, readonly=True) as run:
        for stage in run.stages.all(status="done"):
            if stage.name == f"improve-{ROLE}":
                tokens += sum(
                    len(said.token_ids) for said in run.utterances(stage=stage.id)
                )
                found = Chain.from_plain(stage.outputs["chain"]).policies[ROLE]
                path = run.path / found.path
                on_round(read_agent(path, found, device="cpu", base=None))
    return tokens


def algorithm_of(params: Params) -> dict[str, Any]:
    """Return an algorithm that has played all plays after so many rounds, its rate at 0."""
    given: Mapping[str, Any] = params["algorithm"]
    rollout = given["batch_size"] * given.get("num_generations", 1)
    steps = max(1, params["plays"] // (params["rounds"] * rollout))
    passes = given.get("update_epochs", 1) * given.get("num_minibatches", 1)
    falling = {"kind": "linear", "steps": params["rounds"] * steps * passes}
    return {**given, "steps": steps, "lr_schedule": falling}


def improve_by_sb3(
    params: Params, start: Path, seed: int, context: CellContext, *, on_round: OnRound
) -> int:
    """Train a twin of a policy with Stable-Baselines3's PPO; arguments as `improve_by_run`."""
    policy = Policy.load(start)
    settings = {key: value for key, value in params["algorithm"].items() if key != "id"}
    copies, max_context = settings.pop("copies"), settings.pop("context")
    rate, rounds = settings.pop("learning_rate"), params["rounds"]
    tokens = TOKENS * params["plays"]
    scenario = make_scenario("errand")
    looked = 0

    def look(sampled: int, model: Any) -> None:
        nonlocal looked
        context.step(sampled, tokens)
        if sampled * rounds >= tokens * (looked + 1):
            looked += 1
            twin = model.policy.language_model
            on_round(TransformerAgent(twin, tokenizer=policy.tokenizer))

    trained = train_baseline(
        lambda: token_env(scenario, SEAT, agent=policy.agent, context=max_context),
        "ppo",
        steps=tokens,
        # Copy i plays the cases of seed + i: runs of neighbouring seeds must not share them.
        seed=mix(seed, 3) % (1 << 31),
        copies=copies,
        policy=CausalPolicy,
        options={
            **settings,
            "learning_rate": lambda left: rate * left,
            "policy_kwargs": {"model": policy.model},
        },
        on_update=look,
    )
    return int(trained.model.num_timesteps)


def fraction_of_optimum(agent: Agent, cases: int) -> float:
    """Return the mean share of each held-out case's optimum that an agent earns."""
    scenario = make_scenario("errand", split="test")
    rollouts = Rollouts(scenario, {SEAT: agent}, run=_EXAM, live=256)
    return mean([e.grades[0].value for e in rollouts.run(cases)]).value


def greedy(agent: TransformerAgent) -> TransformerAgent:
    """Return the same model saying what it holds likeliest."""
    return TransformerAgent(agent.model, tokenizer=agent.tokenizer, temperature=0.0)
