"""An attacker that is a softmax for every slot of a grammar, learned by REINFORCE.

The policy of the feasibility study (``phenomena.md`` 6): slots are independent, the pay of
a query is its success plus ``bonus`` times its surprise −log p, so that the policy spreads
over all failures that it knows instead of repeating one.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from superalign_env.seeding import generator, label, mix
from superalign_env.types import View
from superalign_training.attackers.field import Outcome

Numbers = npt.NDArray[np.float64]

_STREAM = label("attackers.slot-policy")
_BETAS = (0.9, 0.999)


class Grammar(NamedTuple):
    """Slots, what may stand in each, and how a choice is written."""

    slots: tuple[tuple[str, ...], ...]
    write: Callable[[Sequence[str]], str]
    """One filling for every slot → the query."""


class SlotPolicy:
    """Factorised softmax over slots.

    Args:
        grammar: slots and how they are written.
        accepts: whether a query is valid, where that is public: up to `tries` draws are
            made for one that is. None says the first draw.
        rate: of Adam.
        bonus: weight of the surprise in the pay; 0 lets the policy collapse.
        price: what an invalid query costs, in units of success: the validity floor.
        tries: see `accepts`.
        sharpness: by how much logits are multiplied to succeed instead of to explore.
    """

    id = "slots"

    def __init__(
        self,
        grammar: Grammar,
        *,
        accepts: Callable[[str], bool] | None = None,
        rate: float = 0.15,
        bonus: float = 0.03,
        price: float = 1.0,
        tries: int = 64,
        sharpness: float = 2.0,
    ) -> None:
        self._grammar = grammar
        self._accepts = accepts
        self._rate = rate
        self._bonus = bonus
        self._price = price
        self._tries = tries if accepts is not None else 1
        self._sharpness = sharpness
        self.logits: list[Numbers] = [np.zeros(len(words)) for words in grammar.slots]
        self._moments = [(np.zeros(len(w)), np.zeros(len(w))) for w in grammar.slots]
        self._steps = 0
        self._choices: dict[str, tuple[int, ...]] = {}

    def explore(self, views: Sequence[View]) -> list[str]:
        """Sample queries."""
        return self._say(views, 1.0)

    def exploit(self, views: Sequence[View]) -> list[str]:
        """Sample from the sharpened policy."""
        return self._say(views, self._sharpness)

    def learn(
        self, views: Sequence[View], queries: Sequence[str], outcomes: Sequence[Outcome]
    ) -> None:
        """Take one step of REINFORCE against the mean pay of the wave."""
        del views
        chosen = np.array([self._choices[query] for query in queries])  # [N, slots]
        pay = np.array([o.success if o.valid else -self._price for o in outcomes])
        pay += self._bonus * self._surprise(chosen)
        lead = pay - pay.mean()
        self._steps += 1
        for slot, logits in enumerate(self.logits):
            said = np.eye(len(logits))[chosen[:, slot]]
            self._climb(slot, lead @ (said - softmax(logits)) / len(queries))
        self._choices.clear()

    def _say(self, views: Sequence[View], sharpness: float) -> list[str]:
        bounds = [softmax(sharpness * logits).cumsum() for logits in self.logits]
        return [self._one(view, bounds) for view in views]

    def _one(self, view: View, bounds: Sequence[Numbers]) -> str:
        points = generator(mix(view.seed, _STREAM)).random((self._tries, len(bounds)))
        places = np.stack(
            [
                np.minimum(bound.searchsorted(points[:, slot]), len(bound) - 1)
                for slot, bound in enumerate(bounds)
            ],
            axis=1,
        )
        first = ""
        for row in places.tolist():
            query = self._grammar.write(
                [words[i] for words, i in zip(self._grammar.slots, row, strict=True)]
            )
            self._choices.setdefault(query, tuple(row))
            first = first or query
            if self._accepts is None or self._accepts(query):
                return query
        return first

    def _surprise(self, chosen: npt.NDArray[np.int64]) -> Numbers:
        """Return −log p of the chosen words, shape [N]."""
        logs = [np.log(softmax(logits)) for logits in self.logits]
        total: Numbers = -sum(log[chosen[:, slot]] for slot, log in enumerate(logs))  # type: ignore[assignment] # sum of arrays
        return total

    def _climb(self, slot: int, gradient: Numbers) -> None:
        """Take one step of Adam upwards (Kingma and Ba 2015)."""
        first, second = self._moments[slot]
        first += (1 - _BETAS[0]) * (gradient - first)
        second += (1 - _BETAS[1]) * (gradient**2 - second)
        a, b = (1 - beta**self._steps for beta in _BETAS)
        self.logits[slot] += self._rate * (first / a) / (np.sqrt(second / b) + 1e-8)


def softmax(logits: Numbers) -> Numbers:
    """Return the probabilities of logits."""
    powers = np.exp(logits - logits.max())
    shares: Numbers = powers / powers.sum()
    return shares
