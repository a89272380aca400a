"""Every algorithm, on whole models and on adapters: only what should move moves, and a
policy that was saved and loaded in between ends where it would have ended."""

import numpy as np
import pytest
import torch

from superalign_agents.decoding import sample
from superalign_env import registry
from superalign_training.algorithms.dpo import Dpo
from superalign_training.algorithms.grpo import Grpo
from superalign_training.algorithms.kto import Kto
from superalign_training.algorithms.ppo import Ppo
from superalign_training.algorithms.reinforce import Reinforce
from superalign_training.algorithms.rloo import Rloo
from superalign_training.algorithms.sft import Sft
from superalign_training.algorithms.weak_to_strong import WeakToStrongTraining
from superalign_training.data import Example, Live, Preference, UnpairedPreference
from superalign_training.policy import Lora, Policy, shared_base

PROMPTS = [(20 + n, 21, 22) for n in range(6)]
EXAMPLES = [Example(prompt, (30 + n, 1)) for n, prompt in enumerate(PROMPTS)]
PREFERENCES = [
    Preference(prompt, (30 + n, 1), (40 + n, 1)) for n, prompt in enumerate(PROMPTS)
]
OPINIONS = [
    UnpairedPreference(prompt, (30 + n, 1), n % 2 == 0) for n, prompt in enumerate(PROMPTS)
]
RATE = {"learning_rate": 1e-2, "steps": 2}
ROUND = {**RATE, "batch_size": 2, "num_generations": 4}
ALGORITHMS = {
    "sft": (Sft(**RATE, batch_size=3), EXAMPLES),
    "weak-to-strong": (
        WeakToStrongTraining(**RATE, batch_size=3, method="confidence"),
        EXAMPLES,
    ),
    "dpo": (Dpo(**RATE, batch_size=3, ref_policy="original"), PREFERENCES),
    "kto": (Kto(**RATE, batch_size=4), OPINIONS),
    "grpo": (Grpo(**ROUND, beta=0.1), None),
    "rloo": (Rloo(**ROUND), None),
    "reinforce": (Reinforce(**ROUND), None),
    "ppo": (Ppo(**ROUND, kl_coef=0.1, ref_policy="original"), None),
}
KINDS = {
    "whole": {},
    "lora": {"adapter": Lora(rank=2, dropout=0.1)},
    "bfloat16": {"dtype": "bfloat16"},
}


def live(policy, toys):
    """Bandit's episodes, every case with random numbers of its own."""

    def play(first, count):
        rows = []
        for case in range(first, first + count):
            said = sample(
                policy.model,
                [toys.PROMPT] * 4,
                [4 * case + member for member in range(4)],
                max_new_tokens=[1] * 4,
                stop_ids=[],
            )
            rows += [
                toys.row(case, member, said=[one], pay=[toys.good(one.token_ids[0])])
                for member, one in enumerate(said)
            ]
        return rows

    return Live(play)


def improve(policy, name, toys, seed):
    algorithm, lessons = ALGORITHMS[name]
    found = algorithm.improve(policy, lessons or live(policy, toys), seed=seed)
    assert all(np.isfinite(list(found.values())))


def test_every_algorithm_that_improves_a_policy_is_tried_here():
    others = {"reward-model", "own", "sb3-ppo"}
    assert set(registry.entries("algorithm")) - others == set(ALGORITHMS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_training_goes_on_as_if_never_stopped(scratch, tmp_path, toys, name, kind):
    straight, broken = (
        Policy.from_reference(str(scratch), **KINDS[kind], seed=4) for _ in range(2)
    )
    before = straight.hash
    for seed in (1, 2):
        improve(straight, name, toys, seed)
    improve(broken, name, toys, seed=1)
    halfway = broken.save(tmp_path / "kept")
    loaded = Policy.load(tmp_path / "kept", halfway)
    torch.manual_seed(99)  # what draws from the global generator ends elsewhere
    improve(loaded, name, toys, seed=2)
    assert len({before, halfway.weights, straight.hash}) == 3
    ends = [
        p.save(tmp_path / end) for p, end in ((loaded, "loaded"), (straight, "straight"))
    ]
    assert len({(end.weights, end.optimizer, end.head) for end in ends}) == 1
    assert loaded.baselines.plain() == straight.baselines.plain()
    assert loaded.updates == straight.updates > halfway.updates
    counted = {int(moments["step"]) for moments in straight.optimizer(1.0).state.values()}
    assert counted == {straight.updates}, "else every call had moments of its own"


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_adapter_moves_alone(scratch, toys, name):
    base = shared_base(str(scratch))
    learner, bystander = (
        Policy.from_reference(str(scratch), **KINDS["lora"], base=base, seed=seed)
        for seed in (1, 2)
    )
    seen = bystander.hash
    before = learner.snapshot()
    improve(learner, name, toys, seed=1)
    assert base.is_unchanged()
    assert bystander.hash == seen
    moved = [
        name
        for name, weight in learner.model_weights().items()
        if not torch.equal(weight, before[name])
    ]
    assert moved
    assert all(weight.grad is None for weight in base.model.parameters())
