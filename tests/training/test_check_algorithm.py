"""Every shipped algorithm keeps its contract, and who breaks it is told how."""

from typing import ClassVar, Literal

import pytest
import torch

from superalign_env import registry
from superalign_env.errors import InvalidOption, NotReproducible, ProtocolError
from superalign_training.algorithms import CaseSampler, Section, batch_of, token_logprobs
from superalign_training.algorithms.dpo import Dpo
from superalign_training.algorithms.grpo import Grpo
from superalign_training.algorithms.kto import Kto
from superalign_training.algorithms.own import Own
from superalign_training.algorithms.ppo import Ppo
from superalign_training.algorithms.reinforce import Reinforce
from superalign_training.algorithms.reward_model import RewardModel
from superalign_training.algorithms.rloo import Rloo
from superalign_training.algorithms.sb3.sb3_ppo import Sb3Ppo
from superalign_training.algorithms.sft import Sft
from superalign_training.algorithms.weak_to_strong import WeakToStrongTraining
from superalign_training.data import Live
from superalign_training.testing import check_algorithm

ROUND = {"steps": 2, "batch_size": 4, "num_generations": 2}
SHIPPED = {
    "dpo": Dpo(steps=2, batch_size=4),
    "grpo": Grpo(**ROUND, beta=0.0),
    "kto": Kto(steps=2, batch_size=4),
    "ppo": Ppo(**ROUND, kl_coef=0.0, num_minibatches=2, update_epochs=2),
    "reinforce": Reinforce(**ROUND, kl_coef=0.0),
    "reward-model": RewardModel(steps=2, batch_size=4),
    "rloo": Rloo(**ROUND, beta=0.0),
    "sft": Sft(steps=2, batch_size=4),
    "weak-to-strong": WeakToStrongTraining(steps=2, batch_size=4, method="confidence"),
}
PENALISED = {
    "grpo": Grpo(**ROUND, beta=0.5),
    "ppo": Ppo(**ROUND, kl_coef=0.5, ent_coef=0.1, num_minibatches=2, update_epochs=2),
    "reinforce": Reinforce(**ROUND, kl_coef=0.5, ent_coef=0.1),
}


SELVES = {"own": Own(), "sb3-ppo": Sb3Ppo()}
"""Learners that improve themselves: test_own_policies.py."""


def test_every_shipped_algorithm_is_checked():
    assert set(SHIPPED) | set(SELVES) == set(registry.entries("algorithm"))


@pytest.mark.parametrize("name", SELVES)
def test_who_plays_for_a_learner_is_sent_to_its_own_check(name):
    with pytest.raises(ProtocolError, match="check that one with check_learner"):
        check_algorithm(SELVES[name])


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_algorithm_keeps_the_contract(name, tmp_path):
    algorithm = SHIPPED[name]
    if name == "reward-model":
        algorithm = algorithm.model_copy(update={"folder": tmp_path / "scorer"})
    check_algorithm(algorithm)


@pytest.mark.parametrize("name", PENALISED)
def test_penalties_move_weights_to_the_same_place_whatever_is_paid(name):
    check_algorithm(PENALISED[name], penalty=True)


class Imitation(Section):
    """SFT on all examples at once, right unless it has a fault."""

    id: Literal["imitation"] = "imitation"
    learns_from: ClassVar = "examples"
    steps: int = 2
    rate: float = 1e-2
    fault: str = ""

    def improve(self, policy, experience, *, seed, on_step=None):
        if self.fault != "accepts nothing":
            if not experience or not all(example.prompt_ids for example in experience):
                raise InvalidOption("nothing to imitate")
        elif not experience:
            return {"loss": 0.0}
        losses = []
        with policy.training() as model:
            optimizer = self._optimizer(policy, model)
            for step in range(1, self.steps + 1):
                losses.append(self._loss(policy, model, experience))
                losses[-1].backward()
                optimizer.step()
                optimizer.zero_grad()
                self._report(on_step, step, losses[-1])
        if self.fault == "left training":
            policy.model.train(True)
        if self.fault == "stale name":
            _ = policy.agent.policy
            with torch.no_grad():
                next(policy.model.parameters()).add_(1e-3)
        return {"loss": losses[-1] if self.fault == "tensors" else losses[-1].item()}

    def _optimizer(self, policy, model):
        if self.fault == "own optimiser":
            return torch.optim.SGD(model.parameters(), lr=self.rate)
        rate = self.rate
        if self.fault == "memory beside the checkpoint":
            policy.calls = rate = getattr(policy, "calls", 0.0) + 1e-2
        return policy.optimizer(0.0 if self.fault == "no rate" else rate)

    def _loss(self, policy, model, examples):
        total = 0.0
        for example in examples:
            ids = torch.tensor([example.prompt_ids + example.completion_ids])
            start = len(example.prompt_ids)
            logits = model(input_ids=ids).logits[0, start - 1 : -1]
            total = total + torch.nn.functional.cross_entropy(logits, ids[0, start:])
        if self.fault == "global randomness":
            total = total * torch.rand(())
        return total * float("nan") if self.fault == "diverges" else total

    def _report(self, on_step, step, loss):
        if on_step is None or self.fault == "silent":
            return
        if self.fault == "late" and step < self.steps:
            return
        number = step - 1 if self.fault == "from zero" else step
        for _ in range(2 if self.fault == "twice" else 1):
            on_step(1 if self.fault == "late" else number, {"loss": loss.item()})


class Bystander(Imitation):
    keeps_policy: ClassVar = "it says so"


FAULTS = {
    "accepts nothing": r"bad examples \(none at all\).*; it returned",
    "left training": "left the model in training mode",
    "stale name": "former weights",
    "tensors": "improve returned loss=.*give finite floats",
    "own optimiser": r"never stepped policy.optimizer\(learning_rate\)",
    "memory beside the checkpoint": "differently after its policy was saved and loaded",
    "no rate": "changed no weight",
    "global randomness": "draw all randomness from generators seeded",
    "diverges": "finite",
    "silent": "called on_step with nothing, never",
    "late": r"called on_step after \[2\] optimiser steps of 0 to 2",
    "from zero": r"called on_step with \[0, 1\]",
    "twice": r"called on_step with \[1, 1, 2, 2\]",
}


def test_what_is_right_passes():
    check_algorithm(Imitation())


@pytest.mark.parametrize("fault", FAULTS)
def test_whoever_breaks_the_contract_is_told_how(fault):
    with pytest.raises(ProtocolError, match=FAULTS[fault]) as said:
        check_algorithm(Imitation(fault=fault))
    kept = ("memory beside the checkpoint", "global randomness")
    assert isinstance(said.value, NotReproducible) == (fault in kept)


class Both(Imitation):
    """Imitates whatever is good, if its fault lets it."""

    id: Literal["both"] = "both"
    learns_from: ClassVar = ("examples", "unpaired_preferences")

    def improve(self, policy, experience, *, seed, on_step=None):
        good = [one for one in experience if getattr(one, "good", True)]
        if self.fault == "unpaired_preferences" and len(good) < len(experience):
            raise KeyError("good")
        silent = not all(one.prompt_ids for one in experience)
        return super().improve(policy, [] if silent else good, seed=seed, on_step=on_step)


def test_every_kind_that_is_declared_is_tried():
    check_algorithm(Both())
    with pytest.raises(
        ProtocolError, match="both failed on unpaired_preferences: KeyError"
    ):
        check_algorithm(Both(fault="unpaired_preferences"))


def test_one_that_keeps_the_policy_must_keep_it():
    with pytest.raises(ProtocolError, match="has keeps_policy, and changed the policy"):
        check_algorithm(Bystander())


class Chasing(Section):
    """REINFORCE without a baseline: whatever is paid becomes likelier."""

    id: Literal["chasing"] = "chasing"
    learns_from: ClassVar = "episodes"
    steps: int = 1
    batch_size: int = 4
    num_generations: int = 2
    fork: bool = False

    def improve(self, policy, experience, *, seed, on_step=None):
        with policy.training(dropout=False):
            rows = CaseSampler(experience, policy).rows(self.batch_size)
            batch = batch_of(policy, rows)
            pay = torch.tensor([[row.to_go] for row in rows])
            optimizer = policy.optimizer(1e-2)
            (-pay * token_logprobs(policy.model, batch, 1.0).logprobs).sum().backward()
            optimizer.step()
            on_step and on_step(1, {"reward": pay.mean().item()})
        return {"reward": pay.mean().item()}


def test_equal_pay_must_say_nothing():
    with pytest.raises(ProtocolError, match="although all episodes were paid alike"):
        check_algorithm(Chasing())
    with pytest.raises(ProtocolError, match="elsewhere when all episodes were paid"):
        check_algorithm(Chasing(), penalty=True)


class Careless(Chasing):
    """Pays itself for what it was paid, unchecked."""

    def improve(self, policy, experience, *, seed, on_step=None):
        rows = [
            row._replace(to_go=1.0, turn_rewards=(1.0,) * len(row.turns))
            for row in experience.play(0, self.batch_size)
        ]
        return super().improve(policy, Live(lambda *_: rows), seed=seed, on_step=on_step)


def test_pay_that_is_no_number_must_be_refused():
    with pytest.raises(
        ProtocolError, match=r"bad episodes \(an episode that pays nan\).*it returned"
    ):
        check_algorithm(Careless())


class Unweighed(Reinforce):
    """Takes for granted that nothing must be weighed."""

    def improve(self, policy, experience, *, seed, on_step=None):
        if self.kl_coef and experience.cap is not None:
            raise InvalidOption("live episodes only")
        _ = None if experience.cap is None else experience.no_such_name
        return super().improve(policy, experience, seed=seed, on_step=on_step)


def test_recorded_episodes_are_learned_from_or_refused():
    check_algorithm(Unweighed(**ROUND), penalty=True)
    with pytest.raises(ProtocolError, match=r"on recorded episodes: AttributeError.*cap"):
        check_algorithm(Unweighed(**ROUND, kl_coef=0.0))


class Forgetful(Section):
    id: Literal["forgetful"] = "forgetful"
    steps: int = 1


class Bare:
    id = "bare"
    learns_from = "examples"
    steps = 2

    def __init__(self, rate=0.1):
        self.rate = rate

    def improve(self, policy, experience, *, seed, on_step=None):
        return {}


def test_an_algorithm_that_is_none_or_that_the_record_would_not_hold_is_refused():
    with pytest.raises(ProtocolError, match="is no algorithm"):
        check_algorithm(Forgetful())
    with pytest.raises(
        ProtocolError, match=r"settings of bare \(rate\) would not be recorded"
    ):
        check_algorithm(Bare())
