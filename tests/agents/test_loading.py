"""How a model is loaded: numbers, attention, vocabulary; and what is refused."""

import importlib.util

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from superalign_agents.checkpoints import load_tokenizer, tokenizer_hash
from superalign_agents.model_files import refuse_pickles
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption
from superalign_env.types import Message, View
from superalign_training.ladder.micro_model import build_tokenizer

WORDS, SPECIAL = ("ann", "will", "cut"), ("<|pad|>", "<|end|>", "<|user|>")


def build(rows):
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=rows,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=64,
            eos_token_id=1,
            pad_token_id=0,
        )
    )


@pytest.fixture
def folder(tmp_path):
    tokenizer = build_tokenizer(WORDS, SPECIAL)
    build(len(tokenizer)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def view(**fields):
    return View(
        "e", 0, "learner_0", "learner", 0, 1, "<|user|> ann", max_new_tokens=4, **fields
    )


def test_attention_and_numbers_are_settings(folder):
    said = []
    for attention in ("sdpa", "eager"):
        agent = TransformerAgent(folder, attention=attention, dtype="float64")
        assert agent.model.config._attn_implementation == attention
        assert agent.model.dtype == torch.float64
        assert agent.spec.options["attention"] == attention
        said.append(agent.act([view()])[0].token_ids)
    assert said[0] == said[1]
    assert "attention" not in TransformerAgent(folder).spec.options
    narrow = TransformerAgent(folder, dtype="bfloat16")
    assert narrow.model.dtype == torch.bfloat16
    assert narrow.act([view()])[0].finish in ("stop", "length")


@pytest.mark.skipif(
    importlib.util.find_spec("flash_attn") is not None, reason="flash attention is here"
)
def test_settings_that_this_machine_does_not_have_are_refused(folder):
    with pytest.raises(InvalidOption, match=r"cannot be loaded.*[Ff]lash"):
        TransformerAgent(folder, attention="flash_attention_2")
    with pytest.raises(InvalidOption, match="no dtype 'float3'"):
        TransformerAgent(folder, dtype="float3")


def test_compiling_is_off_unless_asked_for(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(LlamaForCausalLM, "compile", lambda _, **how: asked.append(how))
    TransformerAgent(folder)
    assert asked == []
    TransformerAgent(folder, compiled=True)
    assert asked == [{"dynamic": True}]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # its own
def test_a_compiled_model_says_the_same(folder):
    views = [
        View("e", n, "learner_0", "learner", 0, n, "<|user|> ann", max_new_tokens=3)
        for n in range(3)
    ]
    plain = TransformerAgent(folder).act(views)
    compiled = TransformerAgent(folder, compiled=True).act(views)
    assert [reply.token_ids for reply in compiled] == [r.token_ids for r in plain]
    for one, other in zip(compiled, plain, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_a_tokenizer_that_says_more_than_the_model_embeds_is_refused(folder):
    larger = build_tokenizer((*WORDS, "knife", "burn"), SPECIAL)
    with pytest.raises(
        InvalidOption, match=r"has \d+ tokens, but the model embeds only \d+"
    ):
        TransformerAgent(build(len(larger) - 1), tokenizer=larger)
    larger.save_pretrained(folder)
    with pytest.raises(InvalidOption, match="do not belong together"):
        TransformerAgent(folder)
    padded = build(len(larger) + 7)
    assert TransformerAgent(padded, tokenizer=larger).act([view()])[0].error == ""


def test_chat_needs_a_template_and_auto_does_without(folder):
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = None
    model = build(len(tokenizer))
    with pytest.raises(InvalidOption, match="no chat template; use template='plain'"):
        TransformerAgent(model, tokenizer=tokenizer, template="chat")
    agent = TransformerAgent(model, tokenizer=tokenizer)
    messages = (Message("user", "ann will cut"),)
    assert agent.prompt_ids(view(messages=messages)) == agent.prompt_ids(view())


def test_a_tokenizer_is_named_by_its_words_and_ends(folder):
    one, two = load_tokenizer(folder), build_tokenizer((*WORDS, "burn"), SPECIAL)
    assert tokenizer_hash(one) == tokenizer_hash(load_tokenizer(folder))
    assert tokenizer_hash(one) != tokenizer_hash(two)
    before = tokenizer_hash(one)
    one.chat_template = "{{ messages }}"
    assert tokenizer_hash(one) != before


def test_pickled_files_are_found_wherever_they_lie(folder):
    refuse_pickles(folder)
    (folder / "checkpoint-1").mkdir()
    (folder / "checkpoint-1" / "optimizer.pt").write_bytes(b"x")
    with pytest.raises(InvalidOption, match=r"pickled files \(optimizer.pt\)"):
        refuse_pickles(folder)


@pytest.mark.parametrize("device", ["cuda:77", "nonsense"])
def test_a_device_that_is_not_here_is_named(folder, device):
    with pytest.raises(InvalidOption, match=f"device={device} cannot be used here .*cpu"):
        TransformerAgent(folder, device=device)


@pytest.mark.parametrize("temperature", [-1.0, float("nan"), float("inf")])
def test_a_temperature_that_means_nothing_is_refused(folder, temperature):
    with pytest.raises(InvalidOption, match="temperature must be a number ≥ 0"):
        TransformerAgent(folder, temperature=temperature)
