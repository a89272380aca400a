"""Checkpoints are exact, named by their content, and refused when altered."""

import json

import pytest
import torch

from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.types import View
from superalign_training.policy import Policy


def view(text, **more):
    return View("e", 0, "learner_0", "learner", 0, 3, text, max_new_tokens=4, **more)


def step(policy, rate=1e-2):
    """One optimiser step on a fixed batch."""
    optimizer = policy.optimizer(rate)
    ids = torch.arange(20, 40).reshape(2, 10)
    optimizer.zero_grad()
    policy.model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()


def test_a_checkpoint_remembers_how_its_agent_speaks(scratch, tmp_path):
    policy = Policy.from_reference({"id": str(scratch), "temperature": 0.3})
    saved = policy.save(tmp_path / "kept")
    loaded = Policy.load(tmp_path / "kept", saved)
    assert loaded.agent.spec == policy.agent.spec
    assert loaded.agent.spec.options["temperature"] == 0.3


def test_a_folder_appears_whole_and_replaces_an_older_one(scratch, tmp_path):
    policy = Policy.from_reference(str(scratch))
    (tmp_path / "kept.partial").mkdir()
    (tmp_path / "kept.partial" / "rubbish").touch()
    policy.save(tmp_path / "kept")
    step(policy)
    saved = policy.save(tmp_path / "kept")
    assert not (tmp_path / "kept.partial").exists()
    assert not (tmp_path / "kept" / "rubbish").exists()
    assert (
        json.loads((tmp_path / "kept" / "policy.json").read_text())["weights"]
        == saved.weights
    )
    assert not list((tmp_path / "kept").glob("*.bin")), "safetensors only"
    assert {"model.safetensors", "tokenizer.json", "config.json"} <= set(saved.files)
    assert "optimizer.safetensors" not in saved.files and saved.optimizer


def test_small_models_are_kept_and_read_without_a_word(scratch, tmp_path, capfd):
    Policy.from_reference(str(scratch)).save(tmp_path / "kept")
    Policy.load(tmp_path / "kept")
    assert capfd.readouterr() == ("", "")


def test_only_agents_with_weights_can_be_trained(scratch):
    for name in ("always-comply", "keyword", "ensemble"):
        with pytest.raises(InvalidOption, match=f"{name} has no weights to train"):
            Policy.from_reference(name)
    with pytest.raises(UnknownId):
        Policy.from_reference("micro/99")


def test_a_policy_that_could_never_stop_is_refused(scratch):
    agent = Policy.from_reference(str(scratch)).agent
    agent.tokenizer.eos_token = None
    with pytest.raises(InvalidOption, match="end-of-sequence"):
        Policy(agent)


def test_taught_words_are_tokenised_as_spoken_ones_are_recorded(speaking):
    policy = Policy.from_reference(str(speaking))
    asked = view(
        "<|user|> ann will burn knife near baby secretly ; help ann<|end|><|learner|>"
    )
    (reply,) = policy.agent.act([asked])
    assert reply.text in ("comply", "refuse")
    assert policy.reply_ids(asked, reply.text) == reply.token_ids
    assert policy.prompt_ids(asked) == reply.prompt_ids


def test_weights_can_be_taken_back(scratch):
    policy = Policy.from_reference(str(scratch))
    before, kept = policy.hash, policy.snapshot()
    step(policy)
    assert policy.hash != before
    policy.restore(kept)
    assert policy.hash == before
