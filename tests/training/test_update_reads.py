"""How many files of ours somebody opens who wants to know what one update does."""

import sys
from pathlib import Path

import pytest

from superalign_training.algorithms.grpo import Grpo
from superalign_training.algorithms.ppo import Ppo
from superalign_training.algorithms.reinforce import Reinforce
from superalign_training.data import Live
from superalign_training.testing.tiny import play_case, tiny_policy


@pytest.mark.parametrize(
    ("algorithm", "most"),
    [
        (Ppo(steps=1, batch_size=2), 16),
        (Reinforce(steps=1, batch_size=2), 17),
        (Grpo(steps=1, batch_size=2), 15),
    ],
    ids=["ppo", "reinforce", "grpo"],
)
def test_one_update_runs_through_few_files(algorithm, most):
    policy = tiny_policy()
    rows = [
        r for case in range(2) for r in play_case(policy, case, algorithm.num_generations)
    ]
    experience = Live(lambda first, count: rows)
    algorithm.improve(policy, experience, seed=1)  # imports, and makes optimiser and head
    entered = set()

    def note(frame, event, _):
        if event == "call":
            entered.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        algorithm.improve(policy, experience, seed=2)
    finally:
        sys.setprofile(None)
    ours = sorted(
        Path(name).name
        for name in entered
        if name.endswith(".py")
        and any(part.startswith("superalign_") for part in Path(name).parts)
    )
    assert {"logprobs.py", "cases.py", "optimizer.py"} <= set(ours)
    assert len(ours) <= most, ours
