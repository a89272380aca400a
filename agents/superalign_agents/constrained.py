"""Constrained decoding: the tokens that a view's menu or JSON schema allows next.

llguidance compiles the form and gives the mask of every step. Shortly before a reply's limit
its JSON is closed, so that the limit does not cut it: strings and lists end, and only what
is required is still written.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from superalign_agents.chat_messages import ThoughtMarks
from superalign_env.errors import InvalidOption
from superalign_env.types import View

_JSON_STYLE = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
"""JSON as models write it on one line; free white space can go on until the limit."""

_CLOSING = ("}", "]", ",")
"""What ends a value outside of strings, best first."""

_SPARE = 12
"""Tokens kept beside those of the shortest JSON: for numbers, escapes and the turn's end."""

_MARK_WINDOW = 16
"""How many of the newest tokens are searched for the end of a thought."""

_ESCAPES = re.compile(r"\\.", re.DOTALL)


class Grammars:
    """Compiled forms for one tokenizer.

    Args:
        tokenizer: a fast one.
        stop_ids: tokens that end a reply.
        vocab_size: number of the model's logits.
        marks: pairs of texts between which the model thinks; the form holds none of them.
        name: of the model, in messages.

    Raises:
        InvalidOption: llguidance is missing, or cannot read the tokenizer.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        stop_ids: Collection[int],
        vocab_size: int,
        marks: ThoughtMarks = (),
        name: str,
    ) -> None:
        try:
            self._library: Any = import_module("llguidance")
            bridge: Any = import_module("llguidance.hf")
        except ImportError as error:
            raise InvalidOption(
                "constrained decoding needs llguidance: pip install "
                "'superalign-env[train]', or set constrained='never'"
            ) from error
        try:
            self._tokens: Any = bridge.from_tokenizer(
                tokenizer, n_vocab=vocab_size, eos_token=sorted(stop_ids)
            )
        except Exception as error:  # the library raises what its Rust part says
            raise InvalidOption(
                f"replies of {name} cannot be constrained, since llguidance does not read "
                f"its tokenizer ({error}); set constrained='never'"
            ) from error
        self._matcher = lru_cache(maxsize=64)(self._compiled)
        self.tokenizer = tokenizer
        self.stop_ids = sorted(stop_ids)
        self.closing = [i for text in _CLOSING for i in self._single(text)]
        self.quote = self._single('"')
        self.thought_ends = [closing for _, closing in marks]
        self.openings = [i for opening, _ in marks for i in self._single(opening)]
        self.marks = [
            *self.openings,
            *(i for closing in self.thought_ends for i in self._single(closing)),
        ]

    def constraint(
        self, view: View, *, spaced: bool = False, thinking: bool = False
    ) -> "Constraint":
        """Return the constraint of one reply.

        Args:
            view: asks for a form, see `has_form`.
            spaced: whether replies begin with a space.
            thinking: whether the prompt has begun a thought, after which the form begins.

        Raises:
            InvalidOption: llguidance does not know the schema.
        """
        schema = form_schema(view)
        if schema is None:
            quoted = [json.dumps(choice, ensure_ascii=False) for choice in view.menu]
            start = f"({' | '.join(quoted)})"
            if spaced:
                start = f'" " {start}'
            grammar = self._library.LLMatcher.grammar_from_lark(f"start: {start}")
            reserve = max(len(self.ids(choice)) for choice in view.menu) + 2
        else:
            grammar = self._library.LLMatcher.grammar_from_json_schema(
                schema, overrides=_JSON_STYLE
            )
            shortest = json.dumps(shortest_value(schema), ensure_ascii=False)
            reserve = len(self.ids(shortest)) + _SPARE
        matcher = self._matcher(grammar)
        if matcher.is_error():
            raise InvalidOption(
                f"the form of its reply cannot be constrained: {matcher.get_error()}; set "
                "constrained='never', or simplify the schema"
            )
        return Constraint(
            self,
            matcher.deep_copy(),
            view.max_new_tokens,
            reserve=reserve,
            is_json=schema is not None,
            thinking=thinking,
        )

    def ids(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        ids: list[int] = self._tokens.tokenize_str(text, parse_special=True)
        return ids

    def _single(self, text: str) -> list[int]:
        ids = self.ids(text)
        return ids if len(ids) == 1 else []

    def _compiled(self, grammar: str) -> Any:
        return self._library.LLMatcher(self._tokens, grammar, log_level=0)


class Constraint:
    """Tokens that one reply may go on with.

    Args:
        grammars: of the tokenizer.
        matcher: at the beginning of the form.
        limit: of the reply, in tokens.
        reserve: tokens of the limit that the form may need: a thought ends before them, and
            JSON is closed within them.
        is_json: whether it is JSON.
        thinking: whether the reply begins within a thought, after which the form begins.
    """

    def __init__(
        self,
        grammars: Grammars,
        matcher: Any,
        limit: int,
        *,
        reserve: int,
        is_json: bool,
        thinking: bool,
    ) -> None:
        self._grammars, self._matcher = grammars, matcher
        self._limit, self._reserve, self._is_json = limit, reserve, is_json
        self._thinking = thinking
        self._forced: list[int] = []
        self._start = 0

    def allowed(self, said: Sequence[int], width: int) -> NDArray[np.bool_] | None:
        """Return which tokens may come next; None where all may, or the reply has ended.

        Called once for each step.

        Args:
            said: tokens of the reply so far.
            width: number of tokens there are.
        """
        left = self._limit - len(said)
        if self._thinking:
            if not self._thought_has_ended(said):
                return self._end_of_thought(left, width)
            self._thinking, self._start = False, len(said)
        elif said and not self._matcher.consume_token(said[-1]):
            return None
        if self._matcher.is_stopped() and self._matcher.is_error():
            return None
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        mask = np.zeros(width, dtype=np.bool_)
        known = np.unpackbits(bits, bitorder="little")[:width]
        mask[: len(known)] = known
        mask[self._grammars.marks] = False
        if not self._matcher.is_accepting():
            mask[self._grammars.stop_ids] = False  # also ends that are ordinary tokens
        if self._is_json and left <= self._reserve:
            self._close(mask, said)
        return mask if mask.any() else None

    def _thought_has_ended(self, said: Sequence[int]) -> bool:
        newest = self._grammars.tokenizer.decode(list(said[-_MARK_WINDOW:]))
        return any(mark in newest for mark in self._grammars.thought_ends)

    def _end_of_thought(self, left: int, width: int) -> NDArray[np.bool_] | None:
        """Return the next token of the mark once the form needs the rest of the limit."""
        mark = self._grammars.ids(self._grammars.thought_ends[0])
        if not self._forced and left <= self._reserve + len(mark):
            self._forced = mark
        if not self._forced:
            mask = np.ones(width, dtype=np.bool_)
            mask[[*self._grammars.stop_ids, *self._grammars.openings]] = False
            return mask
        first, *self._forced = self._forced
        return only([first], width)

    def _close(self, mask: NDArray[np.bool_], said: Sequence[int]) -> None:
        """Leave only the tokens that end what is open, where there are any."""
        if self._matcher.is_accepting():
            preferred = [token for token in self._grammars.stop_ids if mask[token]]
        else:
            text = str(self._grammars.tokenizer.decode(list(said[self._start :])))
            within = _ESCAPES.sub("", text).count('"') % 2 == 1
            ends = self._grammars.quote if within else self._grammars.closing
            preferred = [token for token in ends if mask[token]][:1]
        if preferred:
            mask[:] = False
            mask[preferred] = True


def has_form(view: View) -> bool:
    """Whether a view asks for JSON or for a choice of its menu."""
    return view.form == "json-schema" or (view.form == "choices" and bool(view.menu))


def form_schema(view: View) -> dict[str, Any] | None:
    """Return the JSON schema that a view asks for, as plain values; None for choices."""
    if view.form != "json-schema":
        return None
    schema = json.dumps(view.schema or {"type": "object"}, default=dict)
    plain: dict[str, Any] = json.loads(schema)
    return plain


def shortest_value(schema: object) -> Any:
    """Return a short value of a schema, with one item in every list.

    It need not be valid: it says how many tokens to keep for closing what is open.
    """
    if not isinstance(schema, Mapping):
        return ""
    if schema.get("enum"):
        return max(schema["enum"], key=lambda value: len(str(value)))
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return {k: shortest_value(v) for k, v in schema.get("properties", {}).items()}
    if kind == "array":
        return [shortest_value(schema.get("items"))]
    return 0.25 if kind in ("number", "integer") else ""


def only(tokens: Sequence[int], width: int) -> NDArray[np.bool_]:
    """Return a mask that allows these tokens alone."""
    mask = np.zeros(width, dtype=np.bool_)
    mask[list(tokens)] = True
    return mask
