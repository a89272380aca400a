"""What talking to endpoints has cost."""

from collections.abc import Mapping, Sequence

import msgspec

from superalign_env.errors import InvalidOption
from superalign_env.types import Usage

Prices = Mapping[str, Sequence[float]]
"""model → dollars per million prompt tokens and per million completion tokens."""


class Ledger(msgspec.Struct, frozen=True):
    """Sums over the replies of one agent; ledgers add up."""

    replies: int = 0
    """Replies that were asked for, failed ones included; attempts are not counted."""
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    """By the price table; 0 without one."""

    def __add__(self, other: "Ledger") -> "Ledger":
        return Ledger(
            self.replies + other.replies,
            self.failures + other.failures,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.dollars + other.dollars,
        )

    @classmethod
    def of(cls, usage: Usage | None) -> "Ledger":
        """Return the ledger of one reply; a reply without usage counts as no tokens."""
        usage = usage or Usage()
        return cls(1, 0, usage.prompt_tokens, usage.completion_tokens, usage.dollars)

    @classmethod
    def of_failure(cls) -> "Ledger":
        """Return the ledger of one reply that failed."""
        return cls(replies=1, failures=1)


def price_of(model: str, prices: Prices) -> tuple[float, float]:
    """Return what a million prompt and a million completion tokens of a model cost.

    Raises:
        InvalidOption: the table has no such model, or no two prices ≥ 0 for it.
    """
    if not prices:
        return (0.0, 0.0)
    if model not in prices:
        raise InvalidOption(
            f"the price table has no {model!r} (it has {', '.join(sorted(prices))}); add it, or "
            "pass no table"
        )
    try:
        prompt, completion = (float(price) for price in prices[model])
    except (TypeError, ValueError) as error:
        raise InvalidOption(
            f"the price of {model!r} must be two numbers, dollars per million prompt and "
            f"completion tokens, not {prices[model]!r}"
        ) from error
    if not (0 <= prompt < float("inf") and 0 <= completion < float("inf")):
        raise InvalidOption(f"prices of {model!r} must be finite and ≥ 0")
    return prompt, completion
