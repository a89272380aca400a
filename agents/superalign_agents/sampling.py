"""Sampling options of an agent, and the notes that its replies carry about them."""

import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

from msgspec.structs import replace

from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.types import View

Constrained = Literal["auto", "never", "always"]
"""When replies are decoded under the form that a view asks for."""

_MODES: tuple[Constrained, ...] = get_args(Constrained)

CONSTRAINED, UNCONSTRAINED, TRUNCATED_SAMPLING, UNREADABLE = (
    "reply.constrained",
    "reply.unconstrained",
    "reply.truncated-sampling",
    "reply.unreadable",
)
"""Notes: decoded under a form; not, since tokenizer or form cannot be compiled; sampled with top_p, top_k or min_p; not of the form that the
view asks for."""

NOT_TRAINED = frozenset({CONSTRAINED, TRUNCATED_SAMPLING})
"""Notes of replies whose log-probabilities trainers do not recompute: those of a masked or a
truncated distribution. RL leaves these turns out."""


class Sampling(NamedTuple):
    """Sampling options beside the temperature; the defaults change nothing."""

    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    max_new_tokens: int | None = None
    stop: tuple[str, ...] = ()

    @property
    def truncates(self) -> bool:
        """Whether unlikely tokens are never sampled."""
        return self.top_p < 1 or self.top_k > 0 or self.min_p > 0

    @property
    def options(self) -> dict[str, Any]:
        """The options that differ from their defaults, as plain values."""
        defaults = Sampling._field_defaults
        return {
            name: list(value) if name == "stop" else value
            for name, value in self._asdict().items()
            if value != defaults[name]
        }

    def capped(self, view: View) -> View:
        """Return a view whose limit is no longer than the agent's."""
        if self.max_new_tokens is None or view.max_new_tokens <= self.max_new_tokens:
            return view
        return replace(view, max_new_tokens=self.max_new_tokens)

    def up_to_stop(self, text: str) -> str:
        """Return a text up to the first stop text."""
        ends = [place for place in map(text.find, self.stop) if place >= 0]
        return text[: min(ends)] if ends else text


DEFAULT_SAMPLING = Sampling()


def checked_mode(constrained: str) -> Constrained:
    """Return when replies are constrained, checked.

    Raises:
        UnknownId: no such mode.
    """
    for mode in _MODES:
        if mode == constrained:
            return mode
    raise UnknownId("constrained", str(constrained), _MODES)


def checked_sampling(
    *,
    top_p: float = 1.0,
    top_k: int = 0,
    min_p: float = 0.0,
    max_new_tokens: int | None = None,
    stop: Sequence[str] = (),
) -> Sampling:
    """Return sampling options, checked.

    Raises:
        InvalidOption: one of them makes no sense.
    """
    if not 0 < top_p <= 1:
        raise InvalidOption(f"top_p must be above 0 and at most 1, not {top_p}")
    if top_k < 0:
        raise InvalidOption(f"top_k must be a whole number ≥ 0 (0: all), not {top_k}")
    if not 0 <= min_p < 1:
        raise InvalidOption(f"min_p must be at least 0 and below 1, not {min_p}")
    if max_new_tokens is not None and max_new_tokens < 1:
        raise InvalidOption(f"max_new_tokens must be at least 1, not {max_new_tokens}")
    if isinstance(stop, str):
        raise InvalidOption(f"stop must be a list of texts; did you mean [{stop!r}]?")
    if not all(isinstance(text, str) and text for text in stop):
        raise InvalidOption(f"stop must be a list of texts, none empty, not {stop!r}")
    return Sampling(top_p, top_k, min_p, max_new_tokens, tuple(stop))


def unreadable(view: View, text: str) -> dict[str, int]:
    """Return the note of a reply that has not the form that its view asks for, if so."""
    if view.form == "choices" and view.menu:
        fits = text.strip() in {choice.strip() for choice in view.menu}
    else:
        fits = view.form != "json-schema" or _is_json(text)
    return {} if fits else {UNREADABLE: 1}


def _is_json(text: str) -> bool:
    bare = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        json.loads(bare)
    except (ValueError, RecursionError):
        return False
    return True
