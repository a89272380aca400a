"""When memory runs out: smaller batches, the same replies, and a word about it."""

import warnings

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from superalign_agents.batching import BatchSplitter
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import OutOfMemory
from superalign_env.types import View
from superalign_training.ladder.micro_model import build_tokenizer


class Small(LlamaForCausalLM):
    """A card on which only so many rows fit."""

    fits = 3

    def forward(self, input_ids=None, **more):
        if len(input_ids) > self.fits:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().forward(input_ids=input_ids, **more)


@pytest.fixture
def tokenizer():
    return build_tokenizer(("ann", "will", "cut"), ("<|pad|>", "<|end|>", "<|user|>"))


@pytest.fixture
def model(tokenizer):
    torch.manual_seed(0)
    return Small(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=64,
            eos_token_id=1,
            pad_token_id=0,
        )
    )


def views(count):
    return [
        View("e", n, "learner_0", "learner", 0, n, "<|user|> ann will", max_new_tokens=4)
        for n in range(count)
    ]


def test_a_batch_that_does_not_fit_is_halved_and_the_replies_stay(model, tokenizer):
    model.fits = 99
    expected = TransformerAgent(model, tokenizer=tokenizer).act(views(13))
    model.fits = 3
    agent = TransformerAgent(model, tokenizer=tokenizer, batch=8, reference="micro/9")
    with pytest.warns(RuntimeWarning, match=r"micro/9 ran out of memory with 8 .* batch=4"):
        replies = agent.act(views(13))
    assert [reply.token_ids for reply in replies] == [r.token_ids for r in expected]
    assert agent.spec.options["batch"] == 8, "the agent is the same as before"


def test_it_is_said_once_and_remembered(model, tokenizer):
    agent = TransformerAgent(model, tokenizer=tokenizer, batch=8)
    with pytest.warns(RuntimeWarning) as caught:
        agent.act(views(13))
        agent.act(views(13))
    assert len(caught) == 1
    sizes = []
    agent._splitter.map(lambda rows: sizes.append(len(rows)) or list(rows), range(13))
    assert sizes == [2, 2, 2, 2, 2, 2, 1]


def test_not_even_one_row_fits(model, tokenizer):
    model.fits = 0
    agent = TransformerAgent(model, tokenizer=tokenizer, batch=1, reference="micro/9")
    with pytest.raises(OutOfMemory, match="micro/9 has no memory for a single prompt"):
        agent.act(views(2))
    assert issubclass(OutOfMemory, MemoryError)


def test_the_cpus_allocator_is_understood_and_other_errors_are_not_swallowed():
    calls = []

    def work(rows):
        calls.append(len(rows))
        if len(rows) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
        return list(rows)

    with pytest.warns(RuntimeWarning):
        assert BatchSplitter(4, name="x").map(work, "abc") == ["a", "b", "c"]
    assert calls == [3, 1, 1, 1]

    def broken(rows):
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        BatchSplitter(4, name="x").map(broken, "abc")


def test_nothing_is_said_where_all_fits():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert BatchSplitter(2, name="x").map(list, [1, 2, 3]) == [1, 2, 3]
        assert BatchSplitter(2, name="x").map(list, []) == []
