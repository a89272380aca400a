"""vLLM as the engine: the only file that knows it.

vLLM runs in this process (``VLLM_ENABLE_V1_MULTIPROCESSING=0``, so that weights can be
handed over) beside the model that is trained. Weights go over when the policy's hash has
changed, and only then; an adapter goes over as its folder, one adapter id for each hash.
Checked against a stub of vLLM's interface; no figure of it was measured yet. What was
left out: several GPUs for one engine, sleeping, prefix caches shared between policies.
"""

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from transformers import PreTrainedModel

from superalign_agents.decoding import Decoded
from superalign_agents.generation.seam import Ask
from superalign_env.errors import InvalidOption

_SEEDS = 1 << 63
"""vLLM takes seeds below this."""

AdapterFolder = Callable[[str], str]
"""Policy hash → folder of its adapter."""


class VllmGenerator:
    """Continues prompts with vLLM.

    Args:
        source: folder or hub name of the base model.
        adapters: gives the folder of a policy's LoRA adapter; None hands whole weights over.
        library: has ``LLM``, ``SamplingParams`` and ``LoRARequest``; vLLM when absent.
        **options: further arguments of ``vllm.LLM`` (gpu_memory_utilization, max_model_len …).

    Raises:
        InvalidOption: vLLM is not installed.
    """

    def __init__(
        self,
        source: str,
        *,
        adapters: AdapterFolder | None = None,
        library: Any = None,
        **options: Any,
    ) -> None:
        self._vllm = library or _vllm()
        self._engine = self._vllm.LLM(
            model=source,
            enable_lora=adapters is not None,
            logprobs_mode="processed_logprobs",  # at the sampling temperature, as ours
            trust_remote_code=False,
            **options,
        )
        self._adapters = adapters
        self._policy = ""
        self._request: Any = None
        self._known: dict[str, int] = {}

    def speak_for(self, policy: str, model: PreTrainedModel) -> None:
        """Take a policy's weights (or its adapter's folder) once its hash is a new one."""
        if policy == self._policy:
            return
        if self._adapters is None:
            runner = self._engine.llm_engine.model_executor.driver_worker.model_runner
            runner.model.load_weights(_weights(model))
        else:
            number = self._known.setdefault(policy, len(self._known) + 1)
            self._request = self._vllm.LoRARequest(policy, number, self._adapters(policy))
        self._engine.reset_prefix_cache()  # keys and values of the earlier weights
        self._policy = policy

    def generate(
        self, asks: Sequence[Ask], *, stop_ids: Collection[int], temperature: float
    ) -> list[Decoded]:
        """Continue every prompt; vLLM seeds each request by itself."""
        if not asks:
            return []
        outputs = self._engine.generate(
            [{"prompt_token_ids": list(ask.prompt_ids)} for ask in asks],
            sampling_params=[
                self._vllm.SamplingParams(
                    temperature=temperature,
                    max_tokens=ask.max_new_tokens,
                    seed=ask.seed % _SEEDS,
                    stop_token_ids=sorted(stop_ids),
                    ignore_eos=True,  # the stop tokens above are all there are
                    logprobs=0,
                    detokenize=False,
                )
                for ask in asks
            ],
            lora_request=self._request,
            use_tqdm=False,
        )
        return [_decoded(output, stop_ids) for output in outputs]


def _decoded(output: Any, stop_ids: Collection[int]) -> Decoded:
    """Return the one continuation of a request."""
    said = output.outputs[0]
    ids = tuple(int(i) for i in said.token_ids)
    logprobs = tuple(
        float(found[token].logprob) for token, found in zip(ids, said.logprobs, strict=True)
    )
    stopped = bool(ids) and ids[-1] in stop_ids
    return Decoded(ids, logprobs, "stop" if stopped else "length")


def _weights(model: PreTrainedModel) -> Iterable[tuple[str, Any]]:
    """Yield names and values; tied ones are left to the engine, which ties them again."""
    named: Iterable[tuple[str, Any]] = model.named_parameters()
    return ((name, weight.data) for name, weight in named)


def _vllm() -> SimpleNamespace:
    """Return what this file uses of vLLM."""
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    try:
        vllm = import_module("vllm")
        lora = import_module("vllm.lora.request")
    except ImportError as error:
        raise InvalidOption(
            "generation='vllm' needs vLLM, which needs a GPU: pip install 'trl[vllm]', or "
            "leave generation='transformers'"
        ) from error
    return SimpleNamespace(
        LLM=vllm.LLM, SamplingParams=vllm.SamplingParams, LoRARequest=lora.LoRARequest
    )
