"""Generation engines: token ids in, token ids and log-probabilities out.

``transformers`` decodes with the model itself, in this process; ``vllm`` has an engine
with weights of its own. Either is told before it generates which policy it generates for,
so that a record never names other weights than those that were used.

vLLM runs in this process (``VLLM_ENABLE_V1_MULTIPROCESSING=0``, so that weights can be
handed over) beside the model that is trained. Weights go over when the policy's hash has
changed, and only then; an adapter goes over as its folder, one adapter id for each hash: the
base stays where it is. A group's prompt is read once there too, by vLLM's own prefix cache.
Checked against a stub of vLLM's interface; no figure of it was measured yet. What was
left out: several GPUs for one engine, sleeping, prefix caches shared between policies.

A server such as ``transformers serve`` is no engine: it gives no log-probabilities, its seed
is one for all requests under way, and the weights are its own. It holds a seat as an
`endpoint`.
"""

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from transformers import PreTrainedModel

from superalign_agents.adapters import Adapter
from superalign_agents.decoding import Constrain, Decoded, sample
from superalign_env.errors import InvalidOption, UnknownId

EngineName = Literal["transformers", "vllm"]

ENGINES: tuple[EngineName, ...] = ("transformers", "vllm")

AdapterFolder = Callable[[str], str]
"""Policy hash → folder of its adapter."""

_SEEDS = 1 << 63
"""vLLM takes seeds below this."""

_MAX_FOLDERS = 4
"""Of adapters on the disk."""


class Ask(NamedTuple):
    """One prompt to continue."""

    prompt_ids: Sequence[int]
    """At least one token."""
    max_new_tokens: int
    """At least 1."""
    seed: int
    """Of this reply alone, whoever shares its batch."""


class Generator(Protocol):
    """Interface of an engine."""

    def speak_for(self, policy: str, model: PreTrainedModel) -> None:
        """Take the weights of a policy, unless they are here already.

        Args:
            policy: content hash of the weights.
            model: holds them.
        """
        ...

    def generate(
        self, asks: Sequence[Ask], *, stop_ids: Collection[int], temperature: float
    ) -> list[Decoded]:
        """Continue every prompt until a stop token or its limit, in order.

        An engine whose `generate` takes ``constrain`` too, see `decoding.sample`, is a
        `ConstrainedGenerator`.
        """
        ...


@runtime_checkable
class ConstrainedGenerator(Generator, Protocol):
    """Interface of an engine that can be told which tokens are allowed."""

    takes_constraints: Literal[True]

    def generate(
        self,
        asks: Sequence[Ask],
        *,
        stop_ids: Collection[int],
        temperature: float,
        constrain: Constrain | None = None,
    ) -> list[Decoded]:
        """Continue every prompt; `constrain` as in `decoding.sample`."""
        ...


def make_engine(name: str, *, source: str, adapter: Adapter | None = None) -> Generator:
    """Return the engine that a name stands for.

    Args:
        name: ``transformers``, the model itself, in this process; or ``vllm``.
        source: folder or hub name of the (base) model, for engines that load it.
        adapter: of the agent; engines that load models get it as a folder, written anew
            whenever its hash has changed.

    Raises:
        UnknownId: no such engine.
        InvalidOption: the engine is not installed.
    """
    if name not in ENGINES:
        raise UnknownId("engine", name, ENGINES)
    if name == "transformers":
        return InProcess()
    return VllmGenerator(source, adapters=AdapterFolders(adapter) if adapter else None)


class InProcess:
    """Decoding with the model that is trained; see `superalign_agents.decoding`."""

    takes_constraints: Literal[True] = True

    def __init__(self) -> None:
        self._model: PreTrainedModel | None = None

    def speak_for(self, policy: str, model: PreTrainedModel) -> None:
        """Borrow the model: its weights are always the newest."""
        self._model = model

    def generate(
        self,
        asks: Sequence[Ask],
        *,
        stop_ids: Collection[int],
        temperature: float,
        constrain: Constrain | None = None,
    ) -> list[Decoded]:
        """Continue every prompt; a row's random numbers come from its own seed."""
        assert self._model is not None, "speak_for comes first"
        return sample(
            self._model,
            [ask.prompt_ids for ask in asks],
            [ask.seed for ask in asks],
            max_new_tokens=[ask.max_new_tokens for ask in asks],
            stop_ids=stop_ids,
            temperature=temperature,
            constrain=constrain,
        )


class VllmGenerator:
    """Decoding with vLLM.

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


class AdapterFolders:
    """Folders of an adapter at its newest hashes, deleted with this object.

    A run asks for a new one with every update; an engine reads a folder when it first
    speaks for its hash, so that older ones only take room on the disk.

    Args:
        adapter: as it is now; saved when it is asked for.
    """

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._root = Path(tempfile.mkdtemp(prefix="superalign-adapters-"))
        self._newest: list[Path] = []
        weakref.finalize(self, shutil.rmtree, self._root, ignore_errors=True)

    def __call__(self, policy: str) -> str:
        """Return the folder of the adapter with a hash."""
        folder = self._root / policy
        if not folder.is_dir():
            self._adapter.save(folder)
        self._newest = [*[old for old in self._newest if old != folder], folder]
        while len(self._newest) > _MAX_FOLDERS:
            shutil.rmtree(self._newest.pop(0), ignore_errors=True)
        return str(folder)


def _decoded(output: Any, stop_ids: Collection[int]) -> Decoded:
    """Return the one continuation of a request."""
    completion = output.outputs[0]
    ids = tuple(int(i) for i in completion.token_ids)
    logprobs = tuple(
        float(by_token[token].logprob)
        for token, by_token in zip(ids, completion.logprobs, strict=True)
    )
    stopped = bool(ids) and ids[-1] in stop_ids
    return Decoded(ids, logprobs, "stop" if stopped else "length")


def _weights(model: PreTrainedModel) -> Iterable[tuple[str, Any]]:
    """Yield names and values; tied ones are left to the engine, which ties them again."""
    named: Iterable[tuple[str, Any]] = model.named_parameters()
    return ((name, weight.data) for name, weight in named)


def _vllm() -> SimpleNamespace:
    """Return the classes of vLLM that this file uses."""
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
