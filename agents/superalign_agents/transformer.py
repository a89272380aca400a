"""Agent that samples replies from any causal language model."""

from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from superalign_agents.adapters import Adapter, SharedBase, read_adapter
from superalign_agents.batching import BatchSplitter
from superalign_agents.chat_messages import (
    THINK,
    Spoken,
    ThoughtMarks,
    checked_marks,
    split_thoughts,
)
from superalign_agents.checkpoints import (
    Attention,
    check_vocabulary,
    load_model,
    load_tokenizer,
    weights_hash,
)
from superalign_agents.completions import Completer, Completion
from superalign_agents.decoding import declared_ends, require_kv_cache
from superalign_agents.engines import EngineName, Generator, make_engine
from superalign_agents.prompting import (
    Prompt,
    PromptMaker,
    Template,
    Truncation,
    checked_words,
)
from superalign_agents.sampling import (
    Constrained,
    Sampling,
    checked_sampling,
    unreadable,
)
from superalign_env.errors import InvalidOption
from superalign_env.types import AgentSpec, Reply, Usage, View

_TRUNCATION: Truncation = "keep_system"


class TransformerAgent:
    """A causal LM that replies to a whole batch of views at a time.

    The random numbers of a reply come from its view's seed alone, so a transcript does
    not depend on what else is in the batch (float rounding aside). `prompt_ids` of the
    reply are the tokens that the model read, and its notes say what was done to them:
    what a tokenizer or template would read as control tokens is made inert, system text
    joins the first user message where the template knows no system role, and prompts over
    the context are cut as `truncation` says. Where memory runs out, smaller batches are
    decoded, with a warning and the same replies.

    Args:
        model_or_path: a loaded model, a folder, or a hub name. Safetensors only.
        tokenizer: needed with a loaded model, else taken from the same place.
        device: where a model that is loaded here shall live.
        dtype: of a model that is loaded here; None is float32 on a CPU.
        attention: ``sdpa``, ``eager`` or ``flash_attention_2`` for a model that is loaded
            here; None is transformers' choice.
        compiled: whether the model is compiled on first use; worth it on a GPU only.
        adapter: a LoRA adapter: a folder, or an `Adapter` whose model was given.
        engine: generation engine: ``transformers`` (the model itself, in this process),
            ``vllm``, or an engine that is made already.
        temperature: of sampling; 0 is greedy.
        top_p: share of probability that is sampled from, the likeliest tokens first.
        top_k: number of likeliest tokens that are sampled from; 0 is all.
        min_p: least probability of a token, as a share of the likeliest one's.
        max_new_tokens: longest reply, in tokens, where the view allows more.
        stop: texts that end a reply; they are no part of it.
        constrained: whether a reply is decoded under the menu or JSON schema that its view
            asks for: ``auto`` where the model is asked through a chat template.
        batch: largest number of views decoded at once.
        template: how a view becomes a prompt: ``plain`` is its text, ``chat`` its
            messages through the tokenizer's chat template, ``auto`` takes chat where
            there are both a template and messages. A micro model's template joins the
            messages to exactly the view's text, so the text is taken directly.
        max_context: longest prompt and reply together, in tokens; None is the model's.
        truncation: what a prompt over the context loses: ``keep_system`` the oldest
            messages after the system's, ``drop_oldest`` the oldest ones, ``refuse`` fails
            the reply. Plain texts lose their oldest tokens.
        thought_marks: pairs of texts between which the model thinks: what stands between
            them is private and no part of its utterance.
        blind: words that are removed from its prompts, plain or chat.
        reference: what the agent is called in records, ``micro/3``.
    """

    def __init__(  # noqa: PLR0913 (a model's settings; all but one are keywords)
        self,
        model_or_path: PreTrainedModel | str | Path,
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        device: str = "cpu",
        dtype: torch.dtype | str | None = None,
        attention: Attention | None = None,
        compiled: bool = False,
        adapter: Adapter | str | Path | None = None,
        engine: Generator | EngineName = "transformers",
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 0,
        min_p: float = 0.0,
        max_new_tokens: int | None = None,
        stop: Sequence[str] = (),
        constrained: Constrained = "auto",
        batch: int = 256,
        template: Template = "auto",
        max_context: int | None = None,
        truncation: Truncation = _TRUNCATION,
        thought_marks: ThoughtMarks = THINK,
        blind: Sequence[str] = (),
        reference: str = "",
    ) -> None:
        if not 0 <= temperature < float("inf"):
            raise InvalidOption(f"temperature must be a number ≥ 0, not {temperature}")
        if isinstance(model_or_path, PreTrainedModel):
            self.model = _with_tokenizer(model_or_path, tokenizer, reference)
        else:
            self.model = load_model(
                model_or_path, device=device, dtype=_dtype(dtype), attention=attention
            )
        named = "" if isinstance(model_or_path, PreTrainedModel) else str(model_or_path)
        self.reference = reference or named or "transformer"
        self.tokenizer = tokenizer or load_tokenizer(str(model_or_path))
        check_vocabulary(self.model, self.tokenizer)
        self.adapter = self._with_adapter(adapter)
        if compiled:
            self.model.compile(dynamic=True)
        self.attention = attention
        self.temperature, self.batch = temperature, batch
        self.template, self.truncation = template, truncation
        self.max_context = max_context or _context_limit(self.model)
        self.thought_marks = checked_marks(thought_marks)
        self.blind = checked_words(blind)
        self._maker = self._prompt_maker()
        self._policy = ""
        source = str(self.model.config.name_or_path)  # of the base, under an adapter
        self._engine = (
            make_engine(engine, source=source, adapter=self.adapter)
            if isinstance(engine, str)
            else engine
        )
        sampling = checked_sampling(
            top_p=top_p, top_k=top_k, min_p=min_p, max_new_tokens=max_new_tokens, stop=stop
        )
        self._completer = self._make_completer(sampling, constrained)
        self._splitter = BatchSplitter(batch, name=self.reference)

    def _prompt_maker(self) -> PromptMaker:
        return PromptMaker(
            self.tokenizer,
            template=self.template,
            truncation=self.truncation,
            thought_marks=self.thought_marks,
            blind=self.blind,
            name=self.reference,
        )

    def _make_completer(self, sampling: Sampling, constrained: Constrained) -> Completer:
        return Completer(
            self.tokenizer,
            self._engine,
            sampling=sampling,
            constrained=constrained,
            marks=self.thought_marks,
            name=self.reference,
        )

    @property
    def policy(self) -> str:
        """Content hash of the weights; computed once, see `refresh`."""
        if not self._policy:
            self._policy = self.adapter.hash if self.adapter else weights_hash(self.model)
        return self._policy

    @property
    def spec(self) -> AgentSpec:
        """The recorded form, from which the agent can be made again.

        The device is left out: it belongs to the machine, not to the agent.
        """
        options: dict[str, Any] = {
            "temperature": self.temperature,
            "template": self.template,
            "max_context": self.max_context,
            "batch": self.batch,
            "dtype": str(self.model.dtype).removeprefix("torch."),
        }
        options |= self._completer.options
        if self.truncation != _TRUNCATION:
            options["truncation"] = self.truncation
        if self.thought_marks != THINK:
            options["thought_marks"] = [list(pair) for pair in self.thought_marks]
        if self.attention:
            options["attention"] = self.attention
        if self.blind:
            options["blind"] = list(self.blind)
        if self._adapter_folder:
            options["adapter"] = self._adapter_folder
        return AgentSpec(id=self.reference, options=options, policy=self.policy)

    def refresh(self) -> None:
        """Forget the hash of the weights: after they were trained."""
        self._policy = ""

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return one reply per view, in order."""
        was_training = self.model.training
        self.model.train(False)
        try:
            return self._splitter.map(self._answer, views)
        finally:
            self.model.train(was_training)

    def prompt_ids(self, view: View) -> list[int]:
        """Return the tokens that the model reads for a view; see `batch_prompt_ids`."""
        return self.batch_prompt_ids([view])[0]

    def batch_prompt_ids(self, views: Sequence[View]) -> list[list[int]]:
        """Return the tokens that the model reads for each view, tokenised together.

        None where there is no room for a prompt, or the template refuses the messages. A
        text without tokens is read as the tokenizer's first token alone: its beginning of
        a sequence, or its end where it has none.
        """
        views = list(map(self._completer.sampling.capped, views))
        return [prompt.ids for prompt in self._maker.prompts(views, self.max_context)]

    def reply_ids(self, view: View, text: str) -> tuple[int, ...]:
        """Return the tokens with which this agent would say a text to a view.

        They end as sampled ones do: with the token that ends a turn in the chat template,
        or with the end of the sequence.
        """
        chat = self._uses_chat(view)
        spaced = text if chat else f" {text}"
        ids: list[int] = self.tokenizer(spaced, add_special_tokens=False)["input_ids"]
        end = self.tokenizer.eos_token_id
        if chat and self._maker.chat is not None and self._maker.chat.turn_end is not None:
            end = self._maker.chat.turn_end
        return (*ids, *([] if end is None else [int(end)]))

    @property
    def stop_ids(self) -> set[int]:
        """Tokens that end a reply: declared by the model, the tokenizer or the template."""
        stops = declared_ends(self.model, self.tokenizer)
        return stops | self._maker.chat.stop_ids if self._maker.chat else stops

    def _answer(self, views: Sequence[View]) -> list[Reply]:
        """Return the replies of one batch."""
        views = list(map(self._completer.sampling.capped, views))
        prompts = self._maker.prompts(views, self.max_context)
        self._engine.speak_for(self.policy, self.model)
        completions = self._completer.complete(
            views,
            prompts,
            [self._maker.chat is not None and self._uses_chat(view) for view in views],
            stop_ids=self.stop_ids,
            temperature=self.temperature,
            vocab_size=int(self.model.config.get_text_config().vocab_size),
        )
        return [
            self._reply(view, prompt, completion)
            if isinstance(completion, Completion)
            else self._no_reply(view, completion)
            for view, prompt, completion in zip(views, prompts, completions, strict=True)
        ]

    def _with_adapter(self, adapter: Adapter | str | Path | None) -> Adapter | None:
        """Return the adapter; from a folder it is read, and `model` becomes its model."""
        self._adapter_folder = ""
        if adapter is None or isinstance(adapter, Adapter):
            return adapter
        self._adapter_folder = str(adapter)
        base = SharedBase(self.model, self.tokenizer, reference=self.reference)
        loaded = read_adapter(base, Path(adapter))
        self.model = loaded.model
        return loaded

    def _reply(self, view: View, prompt: Prompt, completion: Completion) -> Reply:
        text, decoded, notes = completion
        if isnan(sum(decoded.logprobs)):
            why = "its logits are no numbers: its weights, or config.json, are broken"
            return self._no_reply(view, why)
        if not self._uses_chat(view):
            text = text.removeprefix(" ")
        spoken: Spoken = split_thoughts(text, self.thought_marks, opened=prompt.thinking)
        return Reply(
            text=spoken.text,
            thought=spoken.thought,
            prompt_ids=tuple(prompt.ids),
            token_ids=decoded.token_ids,
            logprobs=decoded.logprobs,
            finish=decoded.finish,
            usage=Usage(len(prompt.ids), len(decoded.token_ids)),
            policy=self.policy,
            notes=prompt.notes | notes | unreadable(view, spoken.text),
        )

    def _no_reply(self, view: View, why: str) -> Reply:
        """Return the failed reply of a view, such as one without a prompt in the context."""
        if not why:
            why = "the prompt is empty: its tokenizer makes no token of what it is shown"
            if view.max_new_tokens >= self.max_context:
                why = (
                    f"a reply of up to {view.max_new_tokens} tokens leaves no room for a "
                    f"prompt in its context of {self.max_context}; lower max_new_tokens, or "
                    "seat a model with a longer context"
                )
        error = f"{self.reference} cannot answer: {why}"
        return Reply("", finish="error", policy=self.policy, error=error)

    def _uses_chat(self, view: View) -> bool:
        return self._maker.uses_chat(view)


def _dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """Return the dtype of a name.

    Raises:
        InvalidOption: torch has no such dtype.
    """
    named = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype is not None and not isinstance(named, torch.dtype):
        raise InvalidOption(f"torch has no dtype {dtype!r}; float32 and bfloat16 are usual")
    return named


def _context_limit(model: PreTrainedModel) -> int:
    """Return the model's longest sequence, in tokens."""
    return int(getattr(model.config, "max_position_embeddings", None) or 2048)


def _with_tokenizer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, name: str
) -> PreTrainedModel:
    """Return a model that was loaded already, with its tokenizer."""
    if tokenizer is None:
        raise InvalidOption("a loaded model needs its tokenizer: tokenizer=...")
    require_kv_cache(model, name=name or "the model")
    return model
