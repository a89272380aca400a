"""Any causal language model in a seat."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from superalign_agents.adapters import Adapter, SharedBase, read_adapter
from superalign_agents.checkpoints import (
    Attention,
    check_vocabulary,
    load_model,
    load_tokenizer,
    weights_hash,
)
from superalign_agents.decoding import Decoded
from superalign_agents.generation import Ask, Generator
from superalign_agents.generation.making import EngineName, make_engine
from superalign_agents.hiding import read_words, without
from superalign_agents.ladders.rungs import MICRO_CHAT_TEMPLATE
from superalign_agents.room import Room
from superalign_env.errors import InvalidOption
from superalign_env.types import AgentSpec, Reply, Usage, View

Template = Literal["auto", "plain", "chat"]


class TransformerAgent:
    """Speaks by sampling from a causal LM, a whole batch of views at a time.

    The random numbers of a reply come from its view's seed alone, so a transcript does
    not depend on what else is in the batch (float rounding aside). A prompt that leaves
    no room for the reply within `max_context` loses its oldest tokens; `prompt_ids` of
    the reply are what the model really read. Where memory runs out, smaller batches are
    decoded, with a warning and the same replies.

    Args:
        model_or_path: a loaded model, a folder, or a hub name. Safetensors only.
        tokenizer: needed with a loaded model, else taken from the same place.
        device: where a model that is loaded here shall live.
        dtype: of a model that is loaded here; None is float32 on a CPU.
        attention: ``sdpa``, ``eager`` or ``flash_attention_2`` for a model that is loaded
            here; None is transformers' choice.
        compiled: whether the model is compiled on first use; worth it on a GPU only.
        adapter: a LoRA adapter to speak with: a folder, or an `Adapter` whose model was
            given.
        engine: what continues prompts: ``transformers`` (the model itself, in this
            process), ``vllm``, or an engine that is made already.
        temperature: of sampling; 0 is greedy.
        batch: largest number of views decoded at once.
        template: how a view becomes a prompt: ``plain`` is its text, ``chat`` its
            messages through the tokenizer's chat template, ``auto`` takes chat where
            there are both a template and messages. A micro model's template joins the
            messages to exactly the view's text, so the text is taken directly.
        max_context: longest prompt and reply together, in tokens; None is the model's.
        blind: words that it does not get to see, in prompts of any kind.
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
                model_or_path, device=device, dtype=_number(dtype), attention=attention
            )
            self.reference = reference or str(model_or_path)
        self.tokenizer = tokenizer or load_tokenizer(str(model_or_path))
        check_vocabulary(self.model, self.tokenizer)
        self.adapter = self._put_on(adapter)
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
        self.max_context = max_context or _context_of(self.model)
        self.blind = read_words(blind)
        start = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
        self._start = [int(token) for token in start if token is not None][:1]
        self._policy = ""
        source = str(self.model.config.name_or_path)  # of the base, under an adapter
        self._engine = (
            make_engine(engine, source=source, adapter=self.adapter)
            if isinstance(engine, str)
            else engine
        )
        self._room = Room(batch, who=self.reference)

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
            return self._room.share_out(views, self._answer)
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
            views = [without(view, self.blind) for view in views]
        chat = [self._speaks_chat(view) for view in views]
        as_chat = iter(self._chat_ids([v for v, it in zip(views, chat, strict=True) if it]))
        as_text = iter(
            self._text_ids([v.text for v, it in zip(views, chat, strict=True) if not it])
        )
        found = []
        for view, speaks_chat in zip(views, chat, strict=True):
            ids = next(as_chat) if speaks_chat else next(as_text) or self._start
            room = self.max_context - view.max_new_tokens
            found.append(ids[-room:] if room > 0 else [])
        return found

    def reply_ids(self, view: View, text: str) -> tuple[int, ...]:
        """Return the tokens with which this agent would say a text to a view.

        They end with the end-of-sequence token, as sampled ones do.
        """
        words = text if self._speaks_chat(view) else f" {text}"
        ids: list[int] = self.tokenizer(words, add_special_tokens=False)["input_ids"]
        end = self.tokenizer.eos_token_id
        return (*ids, *([] if end is None else [int(end)]))

    def _answer(self, views: Sequence[View]) -> list[Reply]:
        """Decode one batch."""
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
            [list(one.token_ids) for one in decoded], skip_special_tokens=True
        )
        said = iter(zip(decoded, texts, strict=True))
        return [
            self._reply(view, prompt, *next(said)) if prompt else self._unable(view)
            for view, prompt in zip(views, prompts, strict=True)
        ]

    def _put_on(self, adapter: Adapter | str | Path | None) -> Adapter | None:
        """Return the adapter to speak with; `model` is what it sits in."""
        self._adapter_folder = ""
        if adapter is None or isinstance(adapter, Adapter):
            return adapter
        self._adapter_folder = str(adapter)
        base = SharedBase(self.model, self.tokenizer, reference=self.reference)
        found = read_adapter(base, Path(adapter))
        self.model = found.model
        return found

    def _reply(self, view: View, prompt: list[int], said: Decoded, text: str) -> Reply:
        if not self._speaks_chat(view):
            text = text.removeprefix(" ")
        return Reply(
            text=text,
            prompt_ids=tuple(prompt),
            token_ids=said.token_ids,
            logprobs=said.logprobs,
            finish=said.finish,
            usage=Usage(len(prompt), len(said.token_ids)),
            policy=self.policy,
        )

    def _unable(self, view: View) -> Reply:
        """Return the failure of a view that leaves nothing to read or no room to speak."""
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

    def _speaks_chat(self, view: View) -> bool:
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


def _number(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """Return the type of numbers that a word names.

    Raises:
        InvalidOption: torch knows no such type.
    """
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype is not None and not isinstance(found, torch.dtype):
        raise InvalidOption(f"torch has no dtype {dtype!r}; float32 and bfloat16 are usual")
    return found


def _context_of(model: PreTrainedModel) -> int:
    """Return how many tokens the model was made for."""
    return int(getattr(model.config, "max_position_embeddings", None) or 2048)
