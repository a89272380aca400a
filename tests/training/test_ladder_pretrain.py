"""Pre-training of a rung: exact resume, honest packing."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from superalign_env.errors import RecordDamaged
from superalign_training.ladder.micro_model import Size, build_config
from superalign_training.ladder.pretrain import (
    Batches,
    Training,
    batch_loss,
    pack,
    pretrain,
    schedule_factor,
)

TINY = Size(8, 1, 2, 16, steps=12, learning_rate=5e-3)
TRAINING = Training(steps=12, learning_rate=5e-3, save_steps=4)


def documents(seed: int, n: int) -> Sequence[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("abcdefg"), rng.integers(2, 12))) for _ in range(n)]


def encode(texts: Sequence[str]) -> list[list[int]]:
    return [[ord(c) - ord("a") + 2 for c in text] for text in texts]


def batches() -> Batches:
    return Batches(documents, encode, seed=7, batch_size=8, max_length=16)


def fresh_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(build_config(TINY, vocabulary=16, end=1, pad=0))


def weights(model: LlamaForCausalLM) -> list[bytes]:
    return [value.detach().numpy().tobytes() for value in model.parameters()]


def test_an_interrupted_run_resumes_bit_identically(tmp_path: Path) -> None:
    straight = fresh_model()
    pretrain(straight, batches(), TRAINING)
    state = tmp_path / "state.safetensors"
    assert pretrain(fresh_model(), batches(), TRAINING, state=state, stop_after=5) == 5
    resumed = fresh_model()
    steps = []
    pretrain(
        resumed, batches(), TRAINING, state=state, progress=lambda s, _: steps.append(s)
    )
    assert steps == list(range(6, 13))
    assert weights(resumed) == weights(straight)


def test_a_crash_between_saves_loses_only_the_steps_since(tmp_path: Path) -> None:
    straight = fresh_model()
    pretrain(straight, batches(), TRAINING)
    state = tmp_path / "state.safetensors"

    def crash(step: int, loss: float) -> None:
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(fresh_model(), batches(), TRAINING, state=state, progress=crash)
    resumed = fresh_model()
    steps = []
    pretrain(
        resumed, batches(), TRAINING, state=state, progress=lambda s, _: steps.append(s)
    )
    assert steps[0] == 5
    assert weights(resumed) == weights(straight)


def test_a_broken_state_file_is_refused_with_advice(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    state.write_bytes(b"not a tensor file")
    with pytest.raises(RecordDamaged, match="delete it"):
        pretrain(fresh_model(), batches(), TRAINING, state=state)


def test_training_learns() -> None:
    losses: list[float] = []
    pretrain(
        fresh_model(),
        batches(),
        Training(steps=60, learning_rate=1e-2),
        progress=lambda _, loss: losses.append(loss),
    )
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.2


def test_packed_documents_do_not_see_each_other() -> None:
    model = fresh_model()
    texts = encode(documents(3, 9))
    packed = pack(texts, max_length=24)
    assert packed.ids.shape[0] < len(texts)
    alone = [(pack([text], max_length=24), len(text) - 1) for text in texts]
    with torch.inference_mode():
        total = sum(float(batch_loss(model, batch)) * n for batch, n in alone)
        mean = total / sum(n for _, n in alone)
        assert float(batch_loss(model, packed)) == pytest.approx(mean, abs=1e-5)


def test_packing_keeps_every_token() -> None:
    texts = encode(documents(4, 20))
    packed = pack(texts, max_length=16)
    assert int((packed.targets >= 0).sum()) == sum(len(text) - 1 for text in texts)


def test_batches_depend_on_seed_and_step_alone() -> None:
    backwards = [batches().at(step).ids for step in (40, 3)]
    stream = batches()
    forwards = [stream.at(step).ids for step in (3, 40)]
    assert torch.equal(backwards[1], forwards[0])
    assert torch.equal(backwards[0], forwards[1])
    assert not torch.equal(forwards[0], forwards[1])


def test_the_rate_warms_up_stays_and_decays() -> None:
    factors = [schedule_factor(step, steps=200) for step in range(200)]
    assert factors[0] == pytest.approx(1 / 30)
    assert factors[30:101] == [1.0] * 71
    assert factors[199] == pytest.approx(0.0595, abs=1e-4)
    assert all(a >= b for a, b in pairwise(factors[100:]))
