"""What our GRPO adds to plain TRL: records, rows, advantages; and rebuilding its trainer.

Both sides get the same prompt and completion ids, the same pay and the same settings, and
start from the same rung. Ours is handed finished episodes, writes them to SQLite, builds
rows from them and updates; plain `GRPOTrainer` is handed the ids. Nobody generates. Runs
of both take turns, and CPU time counts (that of the writing thread too): one update is the
time from step to step within a run, so that building a trainer is not in it.

That is measured apart, in a whole round of live play: everything between the call of
`improve` and the first case it plays, and between the last step and its return.

Usage: python benchmarks/update_overhead.py [--quick] [--steps N] [--repeats N] [--rung N]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset
from timing import last_line, table
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

import superalign_env
from superalign_env.seating import as_agent
from superalign_env.store import EpisodeWriter, Run
from superalign_env.types import Episode
from superalign_training.algorithms.grpo import Grpo
from superalign_training.algorithms.trl import (
    StepRecorder,
    run,
    shared_arguments,
)
from superalign_training.data import Live, Row, training_rows
from superalign_training.policy import Policy

SEAT = "learner_0"
_clock = time.process_time


class Round(NamedTuple):
    """CPU seconds of a round of learning."""

    building: float
    whole: float


def player(policy: Policy, settings: Grpo) -> Callable[[int, int], list[Episode]]:
    """Return what plays red-team with a policy as the learner."""
    scenario = superalign_env.make_scenario("red-team", vanilla=1.0, refine=1)
    agents = {
        "attacker_0": as_agent(lambda text: text),
        SEAT: policy.agent,
        "critic_0": as_agent(lambda text: f"score {len(text) % 10} sure 5"),
    }

    def play(first: int, count: int) -> list[Episode]:
        rollouts = superalign_env.Rollouts(
            scenario,
            agents,
            first_case=first,
            group=settings.num_generations,
            fork_at=SEAT,
            live=256,
        )
        return rollouts.run(count)

    return play


class Stopwatch:
    """Remembers when steps ended; the first one only starts the clock."""

    def __init__(self) -> None:
        self._ends: list[float] = []

    def __call__(self, *_: object) -> None:
        """Take the time."""
        self._ends.append(_clock())

    @property
    def seconds(self) -> float:
        """CPU seconds of one step."""
        return (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)

    @property
    def last(self) -> float:
        """When the last step ended."""
        return self._ends[-1]


def ours(
    rung: str, settings: Grpo, batches: Sequence[list[Episode]], folder: Path
) -> float:
    """Return CPU seconds of one update of ours, records included."""
    policy = Policy.from_reference(rung)
    steps = iter(batches)
    watch = Stopwatch()
    with Run.create(folder, kind="benchmark", config={}, seed=0) as record:
        writer = EpisodeWriter(record)

        def recorded(first: int, count: int) -> list[Row]:
            writer.flush()  # what the step before wrote belongs to its time
            episodes = next(steps)
            writer.write(episodes)
            return training_rows(episodes, SEAT)

        algorithm = settings.model_copy(update={"steps": len(batches)})
        algorithm.improve(policy, Live(recorded), seed=1, on_step=watch)
        writer.close()
    return watch.seconds


def plain(rung: str, settings: Grpo, batches: Sequence[list[Row]]) -> float:
    """Return CPU seconds of one update of TRL's trainer, with nothing of ours."""
    policy = Policy.from_reference(rung)  # only a model and a tokenizer here
    steps = iter(batches)
    watch = Stopwatch()

    def roll_out(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        rows = next(steps)
        return {
            "prompt_ids": [list(row.prompt_ids) for row in rows],
            "completion_ids": [list(row.completion_ids) for row in rows],
            "env_mask": [list(row.env_mask) for row in rows],
            "logprobs": None,
            "pay": [row.to_go for row in rows],
        }

    def pay(prompts: Any, completions: Any, pay: list[float | None], **_: Any) -> Any:
        return pay

    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"  # about rollout_func
    trainer = GRPOTrainer(
        model=policy.model,
        reward_funcs=pay,
        rollout_func=roll_out,
        processing_class=policy.tokenizer,
        train_dataset=Dataset.from_list([{"prompt": "-"}] * settings.batch_size),
        args=GRPOConfig(
            **shared_arguments(
                steps=len(batches),
                learning_rate=settings.learning_rate,
                seed=1,
                device="cpu",
            ),
            per_device_train_batch_size=settings.batch_size * settings.num_generations,
            num_generations=settings.num_generations,
            temperature=1.0,
            beta=settings.beta,
            shuffle_dataset=False,
        ),
        callbacks=[StepRecorder(watch)],
    )
    run(trainer)
    return watch.seconds


def one_round(rung: str, settings: Grpo) -> Round:
    """Return CPU seconds of a round of live play and learning, and of building in it."""
    policy = Policy.from_reference(rung)
    play = player(policy, settings)
    watch = Stopwatch()
    first_play: list[float] = []

    def live(first: int, count: int) -> list[Row]:
        first_play.append(_clock())
        return training_rows(play(first, count), SEAT)

    begin = _clock()
    settings.improve(policy, Live(live), seed=1, on_step=watch)
    end = _clock()
    return Round(first_play[0] - begin + end - watch.last, end - begin)


def main() -> None:
    """Measure, print the tables, print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--steps", type=int, default=0, help="updates of one run")
    parser.add_argument("--repeats", type=int, default=0)
    parser.add_argument("--rung", type=int, default=3, help="of the micro ladder")
    parser.add_argument("--cases", type=int, default=32, help="of one update")
    options = parser.parse_args()
    steps = options.steps or (4 if options.quick else 9)
    repeats = options.repeats or (3 if options.quick else 9)
    rung = f"micro/{options.rung}"

    settings = Grpo(batch_size=options.cases)  # as in a run, divergence included
    play = player(Policy.from_reference(rung), settings)
    cases = settings.batch_size
    episodes = [play(step * cases, cases) for step in range(steps)]
    rows = [training_rows(batch, SEAT) for batch in episodes]
    pairs: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        ours(rung, settings, episodes, Path(folder) / "warm")
        plain(rung, settings, rows)
        for repeat in range(repeats):
            pairs.append(
                (
                    ours(rung, settings, episodes, Path(folder) / str(repeat)),
                    plain(rung, settings, rows),
                )
            )
    tokens = statistics.mean(len(r.prompt_ids + r.completion_ids) for b in rows for r in b)
    table(
        f"one GRPO update on {rung}: {cases * settings.num_generations} rows of {tokens:.0f} tokens, "
        "CPU seconds",
        [
            (str(i), f"{a:.3f}", f"{b:.3f}", f"{a / b:.3f}")
            for i, (a, b) in enumerate(pairs)
        ],
        ("repeat", "ours, recorded", "plain TRL", "ratio"),
    )
    rounds = [one_round(rung, settings) for _ in range(1 if options.quick else 3)]
    table(
        f"a round of {settings.steps} steps of live play, CPU seconds",
        [
            (str(i), f"{r.building:.2f}", f"{r.whole:.2f}", f"{r.building / r.whole:.3f}")
            for i, r in enumerate(rounds)
        ],
        ("round", "building", "whole", "share"),
    )
    last_line(
        {
            "trl_ratio": statistics.median([a / b for a, b in pairs]),
            "rebuild_share": statistics.median([r.building / r.whole for r in rounds]),
        }
    )


if __name__ == "__main__":
    main()
