"""The seam to engines: what goes over, when, and what comes back."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from superalign_agents.checkpoints import weights_hash
from superalign_agents.engines import (
    AdapterFolders,
    Ask,
    InProcess,
    VllmGenerator,
    make_engine,
)
from superalign_env.errors import InvalidOption, UnknownId

ASKS = [Ask((3, 4, 5), 4, 11), Ask((6,), 2, 12), Ask((3, 4, 5), 4, 13)]


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).train(False)


class Engine:
    """Behaves as `vllm.LLM` does where the generator touches it; says 7, 8, … then stops."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.loaded: list[dict[str, torch.Tensor]] = []
        self.resets = 0
        self.calls: list[dict[str, Any]] = []
        runner = SimpleNamespace(model=self)
        worker = SimpleNamespace(model_runner=runner)
        self.llm_engine = SimpleNamespace(
            model_executor=SimpleNamespace(driver_worker=worker)
        )

    def load_weights(self, named: Any) -> None:
        self.loaded.append({name: value.clone() for name, value in named})

    def reset_prefix_cache(self) -> None:
        self.resets += 1

    def generate(self, prompts: Any, **options: Any) -> list[Any]:
        self.calls.append({"prompts": prompts, **options})
        outputs = []
        for params in options["sampling_params"]:
            ids = list(range(7, 7 + params.max_tokens))
            ids = ids[: ids.index(9) + 1] if 9 in ids else ids
            logprobs = [{i: SimpleNamespace(logprob=-0.1 * i)} for i in ids]
            said = SimpleNamespace(token_ids=ids, logprobs=logprobs)
            outputs.append(SimpleNamespace(outputs=[said]))
        return outputs


@pytest.fixture
def library() -> SimpleNamespace:
    return SimpleNamespace(
        LLM=Engine, SamplingParams=SimpleNamespace, LoRARequest=lambda *parts: parts
    )


def test_in_process_replies_depend_on_their_own_seed_alone(model: LlamaForCausalLM) -> None:
    engine = InProcess()
    engine.speak_for("x", model)
    together = engine.generate(ASKS, stop_ids={1}, temperature=1.0)
    for ask, said in zip(ASKS, together, strict=True):
        (alone,) = engine.generate([ask], stop_ids={1}, temperature=1.0)
        assert alone.token_ids == said.token_ids
        assert len(said.token_ids) <= ask.max_new_tokens
    assert engine.generate([], stop_ids={1}, temperature=1.0) == []


def test_vllm_gets_ids_seeds_and_limits_and_gives_ids_and_logprobs(
    library: SimpleNamespace, model: LlamaForCausalLM
) -> None:
    engine = VllmGenerator("some/model", library=library, gpu_memory_utilization=0.4)
    engine.speak_for("a", model)
    said = engine.generate(ASKS, stop_ids={9}, temperature=0.7)
    assert [one.token_ids for one in said] == [(7, 8, 9), (7, 8), (7, 8, 9)]
    assert [one.finish for one in said] == ["stop", "length", "stop"]
    assert said[0].logprobs == pytest.approx((-0.7, -0.8, -0.9))
    (call,) = engine._engine.calls
    assert call["prompts"][1] == {"prompt_token_ids": [6]}
    assert [p.seed for p in call["sampling_params"]] == [11, 12, 13]
    assert {p.temperature for p in call["sampling_params"]} == {0.7}
    assert call["lora_request"] is None
    options = engine._engine.options
    assert options["model"] == "some/model"
    assert options["gpu_memory_utilization"] == 0.4
    assert options["trust_remote_code"] is False
    assert engine.generate([], stop_ids={9}, temperature=0.7) == []


def test_weights_go_over_only_when_the_policy_is_another(
    library: SimpleNamespace, model: LlamaForCausalLM
) -> None:
    engine = VllmGenerator("some/model", library=library)
    for _ in range(2):
        engine.speak_for(weights_hash(model), model)
    assert len(engine._engine.loaded) == 1
    with torch.no_grad():
        model.model.norm.weight.add_(1)
    engine.speak_for(weights_hash(model), model)
    first, second = engine._engine.loaded
    assert not torch.equal(first["model.norm.weight"], second["model.norm.weight"])
    assert torch.equal(second["model.norm.weight"], model.model.norm.weight)
    assert engine._engine.resets == 2
    assert "lm_head.weight" not in second  # tied: the engine ties it again


def test_adapters_go_over_as_folders_one_number_for_each_hash(
    library: SimpleNamespace, model: LlamaForCausalLM
) -> None:
    engine = VllmGenerator("m", library=library, adapters=lambda policy: f"at/{policy}")
    seen = []
    for policy in ("a", "b", "a"):
        engine.speak_for(policy, model)
        engine.generate(ASKS[:1], stop_ids={9}, temperature=1.0)
        seen.append(engine._engine.calls[-1]["lora_request"])
    assert seen == [("a", 1, "at/a"), ("b", 2, "at/b"), ("a", 1, "at/a")]
    assert engine._engine.loaded == []
    assert engine._engine.options["enable_lora"] is True


def test_without_vllm_the_message_says_what_to_do() -> None:
    if importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is installed here")
    with pytest.raises(InvalidOption, match="pip install"):
        VllmGenerator("some/model")


def test_an_engine_is_named_in_a_configuration(model: LlamaForCausalLM) -> None:
    assert isinstance(make_engine("transformers", source=""), InProcess)
    with pytest.raises(UnknownId, match="vllm"):
        make_engine("vlm", source="")


def test_an_adapter_is_written_once_for_each_hash() -> None:
    class Worn:
        saved: ClassVar[list[str]] = []

        def save(self, folder: Path) -> None:
            folder.mkdir(parents=True)
            self.saved.append(folder.name)

    shelf = AdapterFolders(Worn())  # type: ignore[arg-type] # what it uses of an adapter
    folders = [shelf(policy) for policy in ("a", "b", "a")]
    assert Worn.saved == ["a", "b"]
    assert folders[0] == folders[2] != folders[1]
    assert all(Path(folder).is_dir() for folder in folders)


def test_adapters_that_nobody_speaks_for_any_more_leave_the_disk() -> None:
    class Worn:
        def save(self, folder: Path) -> None:
            folder.mkdir(parents=True)

    shelf = AdapterFolders(Worn())  # type: ignore[arg-type] # what it uses of an adapter
    folders = [Path(shelf(str(policy))) for policy in range(9)]
    assert len(list(folders[0].parent.iterdir())) < 9
    assert folders[-1].is_dir() and not folders[0].exists()
    assert Path(shelf("0")).is_dir()  # written again for whoever returns to it
