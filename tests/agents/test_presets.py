"""Presets of published models: every field, with scratch models of the same architecture."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from superalign_agents.ladders import Preset, families, preset_of
from superalign_agents.references import known_references, make_agent
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import UnknownId
from superalign_env.types import Message, View

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOLD = "<|im_start|>user\nShall ann help bob?<|im_end|>\n<|im_start|>assistant\n"

SHAPES = {
    "0.5B": (151936, 896, 24, 14, 2, 4864, True),
    "1.5B": (151936, 1536, 28, 12, 2, 8960, True),
    "3B": (151936, 2048, 36, 16, 2, 11008, True),
    "7B": (152064, 3584, 28, 28, 4, 18944, False),
}
"""Vocabulary, width, layers, heads, key-value heads, inner width, tied: from the models' configs."""

RUNGS = sorted(families()["qwen2.5"])


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny Qwen2 with a byte-level tokenizer, as the published ones have."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    bpe.train_from_iterator(
        ["Shall ann help bob? comply refuse user assistant system"] * 4,
        trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = CHATML
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        eos_token_id=2,
        pad_token_id=0,
        bos_token_id=None,
    )
    folder = tmp_path_factory.mktemp("qwen") / "model"
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def shelf(scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of local models: each preset's name leads to the scratch model."""
    for preset in families()["qwen2.5"].values():
        (tmp_path / preset.source.rpartition("/")[2]).symlink_to(scratch)
    monkeypatch.setenv("SUPERALIGN_MODELS", str(tmp_path))
    return tmp_path


def view() -> View:
    return View(
        episode="e",
        case=0,
        seat="learner_0",
        role="learner",
        turn=0,
        text="plain words",
        messages=(Message("user", "Shall ann help bob?"),),
        seed=1,
        max_new_tokens=4,
    )


@pytest.mark.parametrize("rung", RUNGS)
def test_a_preset_loads_its_local_folder_and_answers(shelf: Path, rung: str) -> None:
    preset = preset_of(f"qwen2.5/{rung}")
    assert preset is not None
    assert Path(preset.location).parent == shelf
    agent = make_agent(f"qwen2.5/{rung}")
    assert isinstance(agent, TransformerAgent)
    assert isinstance(agent.model, Qwen2ForCausalLM)
    assert agent.max_context == preset.context
    assert agent.spec.id == f"qwen2.5/{rung}"
    (reply,) = agent.act([view()])
    told = agent.tokenizer.decode(list(reply.prompt_ids))
    assert told == (TOLD if preset.template == "chat" else "plain words")
    assert reply.error is None or not reply.error


@pytest.mark.parametrize("rung", RUNGS)
def test_the_stated_parameters_are_those_of_the_published_shape(rung: str) -> None:
    vocabulary, width, layers, heads, keys, inner, tied = SHAPES[rung.partition("-")[0]]
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=keys,
        intermediate_size=inner,
        tie_word_embeddings=tied,
    )
    with torch.device("meta"):  # shapes alone: no memory is taken
        model = Qwen2ForCausalLM(config)
    preset = families()["qwen2.5"][rung]
    assert sum(weight.numel() for weight in model.parameters()) == preset.parameters


@pytest.mark.parametrize("rung", RUNGS)
def test_an_accelerator_gets_the_presets_type_and_a_cpu_float32(
    scratch: Path, shelf: Path, rung: str
) -> None:
    preset = families()["qwen2.5"][rung]
    assert "dtype" not in preset.options("cpu")
    options = preset.options("cuda")
    agent = TransformerAgent(scratch, **options)
    assert agent.model.dtype == getattr(torch, preset.dtype)


def test_instruction_tuned_models_are_spoken_to_in_chat() -> None:
    presets = families()["qwen2.5"]
    assert len(presets) > 4
    for name, preset in presets.items():
        assert (preset.template == "chat") == name.endswith("-Instruct")
        assert preset.source == f"Qwen/Qwen2.5-{name}"


def test_options_of_the_user_win(shelf: Path) -> None:
    agent = make_agent({"id": "qwen2.5/0.5B", "max_context": 64, "template": "chat"})
    assert isinstance(agent, TransformerAgent)
    assert (agent.max_context, agent.template) == (64, "chat")


def test_without_a_local_folder_the_hub_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPERALIGN_MODELS", raising=False)
    preset = families()["qwen2.5"]["7B"]
    assert preset.location == "Qwen/Qwen2.5-7B"
    monkeypatch.setenv("SUPERALIGN_MODELS", "/nowhere")
    assert preset.location == "Qwen/Qwen2.5-7B"


def test_an_unknown_rung_names_the_nearest() -> None:
    with pytest.raises(UnknownId, match=r"qwen2\.5/7B"):
        make_agent("qwen2.5/8B")
    assert preset_of("micro/3") is None
    assert "qwen2.5/3B-Instruct" in known_references()


def test_presets_say_how_to_train() -> None:
    presets = families()["qwen2.5"]
    assert len(presets) > 4
    for preset in presets.values():
        assert isinstance(preset, Preset)
        assert set(preset.lora) == {"rank", "alpha", "targets"}
        assert 0 < preset.learning_rate["whole"] < preset.learning_rate["lora"] < 1
        assert preset.licence
