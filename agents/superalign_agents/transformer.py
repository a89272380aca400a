"""Agent that samples replies from any causal language model."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from msgspec.structs import replace
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from superalign_agents.adapters import Adapter, SharedBase, read_adapter
from superalign_agents.batching import BatchSplitter
from superalign_agents.checkpoints import (
    Attention,
    check_vocabulary,
    load_model,
    load_tokenizer,
    weights_hash,
)
from superalign_agents.decoding import Decoded
from superalign_agents.engines import Ask, EngineName, Generator, make_engine
from superalign_agents.ladders import MICRO_CHAT_TEMPLATE
from superalign_env.errors import InvalidOption
from superalign_env.types import AgentSpec, Reply, Usage, View

Template = Literal["auto", "plain", "chat"]


class TransformerAgent:
    """A causal LM that replies to a whole batch of views at a time.

    The random numbers of a reply come from its view's seed alone, so a transcript does
    not depend on what else is in the batch (float rounding aside). A prompt and reply
    longer than `max_context` are truncated: the prompt loses its oldest tokens, and
    `prompt_ids` of the reply are the tokens that the model read. Where memory runs out,
    smaller batches are decoded, with a warning and the same replies.

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
        batch: largest number of views decoded at once.
        template: how a view becomes a prompt: ``plain`` is its text, ``chat`` its
            messages through the tokenizer's chat template, ``auto`` takes chat where
            there are both a template and messages. A micro model's template joins the
            messages to exactly the view's text, so the text is taken directly.
        max_context: longest prompt and reply together, in tokens; None is the model's.
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
        batch: int = 256,
        template: Template = "auto",
        max_context: int | None = None,
        blind: Sequence[str] = (),
        reference: str = "",
    ) -> None:
        if not 0 <= temperature < float("inf"):
            raise InvalidOption(f"temperature must be a number ≥ 0, not {temperature}")
        if isinstance(model_or_path, PreTrainedModel):
            if tokenizer is None:
                raise InvalidOption("a loaded model needs its tokenizer: tokenizer=...")
            self.model = model_or_path
            self.reference = reference or "transformer"
        else:
            self.model = load_model(
                model_or_path, device=device, dtype=_dtype(dtype), attention=attention
            )
            self.reference = reference or str(model_or_path)
        self.tokenizer = tokenizer or load_tokenizer(str(model_or_path))
        check_vocabulary(self.model, self.tokenizer)
        self.adapter = self._with_adapter(adapter)
        if template == "chat" and not self.tokenizer.chat_template:
            raise InvalidOption(
                f"{self.reference} has no chat template; use template='plain' or set "
                "tokenizer.chat_template"
            )
        if compiled:
            self.model.compile(dynamic=True)
        self.attention = attention
        self.temperature = temperature
        self.batch = batch
        self.template = template
        self.max_context = max_context or _context_limit(self.model)
        self.blind = checked_words(blind)
        start = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
        self._start_ids = [int(token) for token in start if token is not None][:1]
        self._policy = ""
        source = str(self.model.config.name_or_path)  # of the base, under an adapter
        self._engine = (
            make_engine(engine, source=source, adapter=self.adapter)
            if isinstance(engine, str)
            else engine
        )
        self._splitter = BatchSplitter(batch, name=self.reference)

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

        The oldest tokens are cut where the reply would not fit into the context. A text
        without tokens is read as the tokenizer's first token alone: its beginning of a
        sequence, or its end where it has none.
        """
        if self.blind:
            views = [without_words(view, self.blind) for view in views]
        chat = [self._uses_chat(view) for view in views]
        chat_ids = iter(
            self._chat_ids([v for v, is_chat in zip(views, chat, strict=True) if is_chat])
        )
        text_ids = iter(
            self._text_ids(
                [v.text for v, is_chat in zip(views, chat, strict=True) if not is_chat]
            )
        )
        prompts = []
        for view, is_chat in zip(views, chat, strict=True):
            ids = next(chat_ids) if is_chat else next(text_ids) or self._start_ids
            limit = self.max_context - view.max_new_tokens
            prompts.append(ids[-limit:] if limit > 0 else [])
        return prompts

    def reply_ids(self, view: View, text: str) -> tuple[int, ...]:
        """Return the tokens with which this agent would say a text to a view.

        They end with the end-of-sequence token, as sampled ones do.
        """
        spaced = text if self._uses_chat(view) else f" {text}"
        ids: list[int] = self.tokenizer(spaced, add_special_tokens=False)["input_ids"]
        end = self.tokenizer.eos_token_id
        return (*ids, *([] if end is None else [int(end)]))

    def _answer(self, views: Sequence[View]) -> list[Reply]:
        """Return the replies of one batch."""
        prompts = self.batch_prompt_ids(views)
        self._engine.speak_for(self.policy, self.model)
        decoded = self._engine.generate(
            [
                Ask(prompt, view.max_new_tokens, view.seed)
                for view, prompt in zip(views, prompts, strict=True)
                if prompt
            ],
            stop_ids=self._stop_ids(),
            temperature=self.temperature,
        )
        texts = self.tokenizer.batch_decode(
            [list(row.token_ids) for row in decoded], skip_special_tokens=True
        )
        completions = iter(zip(decoded, texts, strict=True))
        return [
            self._reply(view, prompt, *next(completions))
            if prompt
            else self._empty_prompt(view)
            for view, prompt in zip(views, prompts, strict=True)
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

    def _reply(self, view: View, prompt: list[int], decoded: Decoded, text: str) -> Reply:
        if not self._uses_chat(view):
            text = text.removeprefix(" ")
        return Reply(
            text=text,
            prompt_ids=tuple(prompt),
            token_ids=decoded.token_ids,
            logprobs=decoded.logprobs,
            finish=decoded.finish,
            usage=Usage(len(prompt), len(decoded.token_ids)),
            policy=self.policy,
        )

    def _empty_prompt(self, view: View) -> Reply:
        """Return the failed reply of a view whose prompt has no token within the context."""
        if view.max_new_tokens >= self.max_context:
            why = (
                f"a reply of up to {view.max_new_tokens} tokens leaves no room for a prompt in "
                f"its context of {self.max_context}; seat a model with a longer context (views "
                "in chat English ask for 512 tokens and want a chat model)"
            )
        else:
            why = "the prompt is empty: its tokenizer makes no token of what it is shown"
        return Reply(
            text="",
            finish="error",
            policy=self.policy,
            error=f"{self.reference} cannot answer: {why}",
        )

    def _uses_chat(self, view: View) -> bool:
        if self.template == "auto":
            template = self.tokenizer.chat_template
            return bool(view.messages and template and template != MICRO_CHAT_TEMPLATE)
        return self.template == "chat"

    def _text_ids(self, texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = (
            self.tokenizer(texts, verbose=False)["input_ids"] if texts else []
        )
        return ids

    def _chat_ids(self, views: Sequence[View]) -> list[list[int]]:
        if not views:
            return []
        conversations = [
            [{"role": m.role, "content": m.content} for m in view.messages]
            for view in views
        ]
        ids: Any = self.tokenizer.apply_chat_template(
            conversations, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return [list(row) for row in ids]

    def _stop_ids(self) -> set[int]:
        """Return the end-of-sequence tokens of tokenizer and model."""
        named = getattr(self.model.generation_config, "eos_token_id", None)
        ids = {*named} if isinstance(named, list) else {named}
        return {int(i) for i in (*ids, self.tokenizer.eos_token_id) if i is not None}


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


def checked_words(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words to remove, checked.

    Raises:
        InvalidOption: one text instead of a list, or a word with white space or a marker.
    """
    if isinstance(words, str):
        raise InvalidOption(f"blind must be a list of words; did you mean [{words!r}]?")
    for word in words:
        if not isinstance(word, str) or not re.fullmatch(r"[^\s<>|]+", word):
            raise InvalidOption(f"blind hides whole words, and {word!r} is none")
    return tuple(words)


def without_words(view: View, words: tuple[str, ...]) -> View:
    """Return a view without these words in text and messages; its menu stays as it is."""
    messages = tuple(
        replace(m, content=remove_words(m.content, words)) for m in view.messages
    )
    return replace(view, text=remove_words(view.text, words), messages=messages)


def remove_words(text: str, words: tuple[str, ...]) -> str:
    """Return a text without these words and without the space before each."""
    return _pattern(words).sub("", text) if words else text


@lru_cache(maxsize=64)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    listed = "|".join(map(re.escape, words))
    return re.compile(rf"(?:^| )(?:{listed})(?![\w'-])", re.MULTILINE)
