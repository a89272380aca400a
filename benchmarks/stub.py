"""Stand-ins that take next to no time: for a transformer's agent, and for vLLM.

Every reply of the agent carries 24 prompt ids, 8 token ids and 8 log-probabilities.
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from superalign_env.types import AgentSpec, Reply, View

_TEXTS = {"learner": "comply", "critic": "score 7 sure 4"}
_PROMPT = tuple(range(24))
_TOKENS = tuple(range(100, 108))
_LOGPROBS = tuple([-0.125 * i for i in range(8)])


class Stub:
    """Answers at once, with as many numbers as a small transformer would bring."""

    spec = AgentSpec("stub")

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Pass the seed request on, comply, and approve."""
        return [
            Reply(
                _TEXTS.get(view.role) or view.turns[0].text,
                prompt_ids=_PROMPT,
                token_ids=_TOKENS,
                logprobs=_LOGPROBS,
                finish="stop",
                policy="0" * 32,
            )
            for view in views
        ]


class _Engine:
    """Says the token 2 to the limit."""

    def __init__(self, **options: Any) -> None:
        runner = SimpleNamespace(model=self)
        worker = SimpleNamespace(model_runner=runner)
        executor = SimpleNamespace(driver_worker=worker)
        self.llm_engine = SimpleNamespace(model_executor=executor)

    def load_weights(self, named: Any) -> None:
        """Take them all."""
        for _ in named:
            pass

    def reset_prefix_cache(self) -> None:
        """Forget nothing."""

    def generate(self, prompts: Any, *, sampling_params: Any, **_: Any) -> list[Any]:
        """Return one continuation for each prompt."""
        logprob = {2: SimpleNamespace(logprob=-1.0)}
        lengths = [params.max_tokens for params in sampling_params]
        return [
            SimpleNamespace(
                outputs=[SimpleNamespace(token_ids=[2] * n, logprobs=[logprob] * n)]
            )
            for n in lengths
        ]


def vllm_stub() -> SimpleNamespace:
    """Return what `superalign_agents.engines` uses of vLLM."""
    return SimpleNamespace(
        LLM=_Engine, SamplingParams=SimpleNamespace, LoRARequest=lambda *parts: parts
    )
