"""The initial policy of a seed, improved by a run, or by Stable-Baselines3 on the same network.

The initial policy knows the moves of errand and prefers none: it was taught moves drawn
evenly from the menus.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from superalign_agents.transformer import TransformerAgent
from superalign_env.game import Game
from superalign_env.lookup import make_scenario
from superalign_env.measures import mean
from superalign_env.protocols import Agent
from superalign_env.rollout import Rollouts
from superalign_env.seeding import generator, mix
from superalign_env.store import Run
from superalign_env.types import EpisodeKey, Reply
from superalign_training.algorithms.sb3.baseline_training import (
    CausalPolicy,
    train_baseline,
)
from superalign_training.algorithms.sft import Sft
from superalign_training.data import Example
from superalign_training.experiments.engine.experiment import (
    CellContext,
    Params,
    Steps,
)
from superalign_training.policy import Policy, read_agent
from superalign_training.selfplay import SelfPlay
from superalign_training.selfplay.state import RunState
from superalign_training.token_env import token_env

LADDER_SEEDS = 5
"""Seeds of the ladder that ships: a run seed takes them in turn."""

_RUN = 1 << 20
"""Apart from all run seeds, so that nothing is learned on the cases of the warm start."""

SEAT, ROLE = "learner_0", "learner"
TOKENS = 8
"""Most tokens of one play: four turns of a word and its end."""

_EXAM = 1 << 21
"""Run seed of the held-out cases: the same for all policies and seeds."""

OnRound = Callable[[TransformerAgent], object]
"""(agent after a round)."""


def make_start(
    folder: Path, *, rung: int, games: int, courses: Sequence[tuple[int, float]], seed: int
) -> None:
    """Write the initial policy of a seed, without any moments of an optimiser.

    Args:
        folder: gets the folder ``policy``.
        rung: of the micro ladder.
        games: how many random games are imitated.
        courses: (steps, learning rate) of supervised fine-tuning, one after the other.
        seed: names the rung's seed too.
    """
    policy = Policy.from_reference(f"micro/{rung}@{seed % LADDER_SEEDS}")
    examples = random_moves(policy, games, seed=seed)
    for number, (steps, learning_rate) in enumerate(courses):
        course = Sft(
            steps=steps,
            learning_rate=learning_rate,
            batch_size=64,
            num_train_epochs=float(steps),
        )
        course.improve(policy, examples, seed=mix(seed, number))
    policy.restore(policy.snapshot())  # forgets the moments
    policy.save(folder / "policy")


def random_moves(policy: Policy, games: int, *, seed: int) -> list[Example]:
    """Return the turns of games with moves drawn evenly from the menus."""
    scenario = make_scenario("errand")
    examples = []
    for case in range(games):
        game = Game(scenario, EpisodeKey(run=_RUN + seed, case=case))
        while not game.over:
            (view,) = game.views()
            word = view.menu[int(generator(view.seed).integers(len(view.menu)))]
            examples.append(
                Example(policy.prompt_ids(view), policy.reply_ids(view, word), ("random",))
            )
            game.step([Reply(word)])
    return examples


def improve_by_run(
    params: Params, start: Path, seed: int, context: CellContext, *, on_round: OnRound
) -> int:
    """Improve a policy by a run of rounds, or continue the run.

    Args:
        params: of the cell.
        start: checkpoint of the initial policy.
        seed: of the run.
        context: of the cell.
        on_round: called with the checkpoint of every round, in order.

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
    ).run(resume=True)
    tokens = 0
    with Run.open(folder, readonly=True) as run:
        for stage in run.stages.all(status="done"):
            if stage.name == f"improve-{ROLE}":
                tokens += sum(
                    len(utterance.token_ids) for utterance in run.utterances(stage=stage.id)
                )
                checkpoint = RunState.from_plain(stage.outputs["state"]).policies[ROLE]
                path = run.path / checkpoint.path
                on_round(read_agent(path, checkpoint, device="cpu", base=None))
    return tokens


def algorithm_of(params: Params) -> dict[str, Any]:
    """Return an algorithm that plays all plays in all rounds, its learning rate then at 0."""
    options: Mapping[str, Any] = params["algorithm"]
    rollout = options["batch_size"] * options.get("num_generations", 1)
    steps = max(1, params["plays"] // (params["rounds"] * rollout))
    updates = options.get("update_epochs", 1) * options.get("num_minibatches", 1)
    schedule = {"kind": "linear", "steps": params["rounds"] * steps * updates}
    return {**options, "steps": steps, "lr_schedule": schedule}


def improve_by_sb3(
    params: Params, start: Path, seed: int, context: CellContext, *, on_round: OnRound
) -> int:
    """Train a twin of a policy with Stable-Baselines3's PPO; arguments as `improve_by_run`."""
    policy = Policy.load(start)
    settings = {key: value for key, value in params["algorithm"].items() if key != "id"}
    copies, max_context = settings.pop("copies"), settings.pop("context")
    learning_rate, rounds = settings.pop("learning_rate"), params["rounds"]
    tokens = TOKENS * params["plays"]
    scenario = make_scenario("errand")
    reported = 0

    def report(sampled: int, model: Any) -> None:
        nonlocal reported
        context.step(sampled, tokens)
        if sampled * rounds >= tokens * (reported + 1):
            reported += 1
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
            "learning_rate": lambda left: learning_rate * left,
            "policy_kwargs": {"model": policy.model},
        },
        on_update=report,
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
