"""One policy, several ways of improving it, and a look at it whenever it has sampled enough."""

from collections.abc import Callable, Mapping
from typing import Any

from superalign_agents.transformer import TransformerAgent
from superalign_env.lookup import make_scenario
from superalign_env.measures import mean
from superalign_env.protocols import Agent
from superalign_env.rollout import Rollouts
from superalign_env.seeding import mix
from superalign_training.algorithms.making import make_algorithm
from superalign_training.algorithms.sb3.causal_policy import CausalPolicy
from superalign_training.algorithms.sb3.training import train_baseline
from superalign_training.experience import Live
from superalign_training.experiments.learning.play import SEAT, Play
from superalign_training.policy import Policy
from superalign_training.token_env import token_env

_EXAM = 1 << 21
"""Run seed of the held-out cases: the same for all policies and seeds."""

OnSample = Callable[[int, TransformerAgent], object]
"""(tokens sampled so far, who plays now)."""


def improve_by(
    given: Mapping[str, Any],
    policy: Policy,
    *,
    tokens: int,
    points: int,
    seed: int,
    on_sample: OnSample,
) -> int:
    """Improve a policy in place with one of our algorithms, its rate falling to nothing.

    Args:
        given: its id and settings; ``forked`` says how members of a group are played.
        policy: changed in place.
        tokens: to be sampled; met but for what the last utterances are shorter or longer.
        points: how often it is looked at on the way.
        seed: of cases and training.
        on_sample: called at every point.

    Returns:
        Tokens sampled.
    """
    settings = dict(given)
    forked = bool(settings.pop("forked", False))
    algorithm: Any = make_algorithm(settings)
    members = algorithm.num_generations
    play = Play(
        make_scenario("errand"), policy.agent, run=seed, members=members, forked=forked
    )
    for point in range(1, points + 1):
        until = tokens * point // points
        rate = algorithm.learning_rate * (1 - (point - 1) / points)
        # Forks differ in length, so that a few steps may sample a little too much.
        while (
            steps := round(
                (until - play.tokens) / (play.tokens_per_case * algorithm.batch_size)
            )
        ) > 0:
            cases = round((until - play.tokens) / (play.tokens_per_case * steps))
            fitting = algorithm.model_copy(
                update={"steps": steps, "batch_size": cases, "learning_rate": rate}
            )
            fitting.improve(policy, Live(play), seed=mix(seed, play.tokens))
        on_sample(until, policy.agent)
    return play.tokens


def improve_by_sb3(
    given: Mapping[str, Any],
    policy: Policy,
    *,
    tokens: int,
    points: int,
    seed: int,
    on_sample: OnSample,
) -> int:
    """Train a twin of a policy with Stable-Baselines3's PPO; arguments as `improve_by`."""
    settings = {key: value for key, value in given.items() if key != "id"}
    copies, context = settings.pop("copies"), settings.pop("context")
    rate = settings.pop("learning_rate")
    scenario = make_scenario("errand")
    seen = {0}

    def look(steps: int, model: Any) -> None:
        due = [tokens * k // points for k in range(1, points + 1)]
        for point in due:
            if point <= steps and point not in seen:
                seen.add(point)
                twin = model.policy.language_model
                on_sample(point, TransformerAgent(twin, tokenizer=policy.tokenizer))

    trained = train_baseline(
        lambda: token_env(scenario, SEAT, agent=policy.agent, context=context),
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
