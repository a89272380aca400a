"""Training resumed from a checkpoint equals training never stopped, bit for bit."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from pydantic import ValidationError

from superalign_env.errors import InvalidOption
from superalign_training.algorithms.sft import Sft
from superalign_training.data import Example
from superalign_training.policy import Baselines, Lora, Policy, Schedule

COSINE = Schedule(kind="cosine", warmup=3, steps=12, floor=0.1)
KINDS = {
    "whole": {},
    "lora": {"adapter": Lora(rank=2, dropout=0.1)},
    "bfloat16": {"dtype": "bfloat16"},
}


def update(policy):
    """One update that uses everything a policy remembers."""
    with policy.training() as model:
        torch.manual_seed(policy.seed(11))
        ids = torch.randint(14, 60, (4, 9))
        mask = torch.ones_like(ids)
        logits, values = policy.forward(ids, mask)
        optimizer, scheduler = policy.optimizers(2e-2, COSINE, value_learning_rate=5e-2)
        pay = torch.rand(4)
        advantage = pay - policy.baselines.of("learner")
        with torch.no_grad():
            reference = policy.reference_model()(ids).logits.log_softmax(-1)
        logprobs = logits.log_softmax(-1)
        chosen = logprobs[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
        divergence = (logprobs.exp() * (logprobs - reference)).sum(-1)
        loss = (
            -(advantage[:, None] * chosen).mean()
            + 0.1 * divergence.mean()
            + (values - pay[:, None]).pow(2).mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        policy.baselines.take("learner", pay.tolist())
        assert model is policy.model
    return loss.item()


def state(policy):
    """All that decides how training goes on."""
    ids = torch.arange(20, 30)[None]
    return (
        policy.hash,
        policy.updates,
        policy.baselines.plain(),
        policy.values(ids, torch.ones_like(ids)).tolist(),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_of_ones_own(scratch, tmp_path, kind):
    straight, broken = (
        Policy.from_reference(str(scratch), **KINDS[kind], seed=4) for _ in range(2)
    )
    expected = [update(straight) for _ in range(6)]
    losses = []
    for number in range(6):
        losses.append(update(broken))
        saved = broken.save(tmp_path / str(number))
        broken = Policy.load(tmp_path / str(number), saved, base=broken.base)
        torch.rand(number + 1)  # what happens to global randomness does not matter
    assert losses == expected
    assert state(broken) == state(straight)


def test_a_trainer_of_trl_with_dropout(scratch, tmp_path):
    """Without dropout: test_policy_algorithms.py."""
    rows = [Example((20 + n, 21), (30 + n % 3, 1)) for n in range(12)]
    course = Sft(steps=3, batch_size=4, learning_rate=1e-2)
    straight, broken = (
        Policy.from_reference(str(scratch), **KINDS["lora"], seed=4) for _ in range(2)
    )
    for _ in range(2):
        course.improve(straight, rows, seed=straight.seed(5))
    course.improve(broken, rows, seed=broken.seed(5))
    loaded = Policy.load(tmp_path / "kept", broken.save(tmp_path / "kept"))
    course.improve(loaded, rows, seed=loaded.seed(5))
    assert loaded.hash == straight.hash


def test_without_its_memory_a_policy_goes_elsewhere(scratch, tmp_path):
    """Each part of what is remembered matters, so the tests above can fail."""
    policy = Policy.from_reference(str(scratch))
    for _ in range(4):
        update(policy)
    policy.save(tmp_path / "kept")
    ends = set()
    for forget in (
        lambda _: None,
        lambda p: p.optimizer_state.forget(),
        lambda p: setattr(p.optimizer_state, "updates", 0),
        lambda p: setattr(p, "baselines", Baselines()),
        lambda p: torch.nn.init.zeros_(p.value_head.linear.weight),
    ):
        loaded = Policy.load(tmp_path / "kept")
        forget(loaded)
        update(loaded)
        update(loaded)
        ends.add(loaded.hash)
    assert len(ends) == 5


def test_the_rate_follows_the_policys_own_count_of_steps(scratch, tmp_path):
    policy = Policy.from_reference(str(scratch))
    rates = []
    for _ in range(13):
        optimizer, _ = policy.optimizers(1.0, COSINE)
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.zero_grad()
        policy.model(torch.arange(20, 30)[None]).logits.sum().backward()
        optimizer.step()
    assert rates == [COSINE.factor(step) for step in range(13)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[12] == pytest.approx(0.1)


def test_schedules_end_at_their_floor_and_stay_there():
    linear = Schedule(kind="linear", steps=10, floor=0.5)
    assert [linear.factor(step) for step in (0, 5, 10, 99)] == [1.0, 0.75, 0.5, 0.5]
    assert Schedule(warmup=1).factor(10**6) == 1.0
    with pytest.raises(ValidationError, match="steps"):
        Schedule(kind="cosine", warmup=5, steps=5)


def test_another_rate_is_taken_at_its_word_after_a_schedule(scratch):
    policy = Policy.from_reference(str(scratch))
    policy.optimizers(1e-3, COSINE)
    optimizer, scheduler = policy.optimizers(5e-2)
    assert optimizer.param_groups[0]["lr"] == 5e-2
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 5e-2


def test_baselines_are_running_means_by_role():
    baselines = Baselines()
    assert baselines.of("critic") == 0.0
    baselines.take("learner", [1.0, 3.0], decay=0.5)
    baselines.take("learner", [], decay=0.5)
    assert baselines.of("learner") == 2.0
    baselines.take("learner", [0.0], decay=0.5)
    assert baselines.plain() == {"learner": 1.0}
    for pay in ([float("nan")], [1.0, float("inf")]):
        with pytest.raises(InvalidOption, match="learner was paid"):
            baselines.take("learner", pay)
    with pytest.raises(InvalidOption, match="decay"):
        baselines.take("learner", [1.0], decay=1.0)
    assert baselines.plain() == {"learner": 1.0}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_killed_between_updates(scratch, tmp_path, kind):
    """A process is killed twice wherever it happens to be; the third finishes."""
    updates = 12
    straight = Policy.from_reference(str(scratch), **KINDS[kind], seed=4)
    for _ in range(updates):
        update(straight)
    command = [sys.executable, __file__, str(scratch), str(tmp_path), kind, str(updates)]
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths}
    for enough in (3, 7):
        child = subprocess.Popen(command, env=environment)
        while len(_kept(tmp_path)) < enough:
            assert child.poll() is None, "it ended early"
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert len(_kept(tmp_path)) < updates
    subprocess.run(command, env=environment, check=True)
    last = Policy.load(_kept(tmp_path)[-1])
    assert state(last) == state(straight)


def _kept(folder):
    return sorted(path.parent for path in folder.glob("[0-9][0-9]/policy.json"))


def _train(scratch, folder, kind, updates):
    """Train on from the newest checkpoint, keeping one after every update."""
    from pathlib import Path  # noqa: PLC0415 - runs in another process

    kept = _kept(Path(folder))
    policy = (
        Policy.load(kept[-1])
        if kept
        else Policy.from_reference(scratch, **KINDS[kind], seed=4)
    )
    while policy.updates < int(updates):
        update(policy)
        policy.save(Path(folder) / f"{policy.updates:02}")


if __name__ == "__main__":
    _train(*sys.argv[1:])
