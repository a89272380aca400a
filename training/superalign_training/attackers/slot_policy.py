"""An attacker with one softmax for every slot of a grammar, trained by REINFORCE.

Slots are independent. The reward of a query is its success plus ``ent_coef`` times −log p,
so that the policy spreads over all failures that it knows instead of repeating one.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from superalign_env.seeding import generator, label, mix
from superalign_env.types import View
from superalign_training.attackers.red_teaming import QueryOutcome

Numbers = npt.NDArray[np.float64]

_STREAM = label("attackers.slot-policy")

MAX_DRAWS = 64
_BETAS = (0.9, 0.999)


class Grammar(NamedTuple):
    """The slots of a query, their possible words, and the query of a choice."""

    slots: tuple[tuple[str, ...], ...]
    write: Callable[[Sequence[str]], str]
    """One filling for every slot → the query."""


class SlotPolicy:
    """Factorised softmax over slots.

    Args:
        grammar: slots and how they are written.
        accepts: whether a query is valid, where that is public: up to `MAX_DRAWS` draws are
            made for one that is. None takes the first draw.
        learning_rate: of Adam.
        ent_coef: reward of one nat of −log p; 0 lets the policy collapse.
        invalid_penalty: cost of an invalid query, in units of success.
        exploit_temperature: of sampling once the attacker no longer explores.
    """

    id = "slots"

    def __init__(
        self,
        grammar: Grammar,
        *,
        accepts: Callable[[str], bool] | None = None,
        learning_rate: float = 0.15,
        ent_coef: float = 0.03,
        invalid_penalty: float = 1.0,
        exploit_temperature: float = 0.5,
    ) -> None:
        self._grammar = grammar
        self._accepts = accepts
        self._learning_rate = learning_rate
        self._ent_coef = ent_coef
        self._invalid_penalty = invalid_penalty
        self._exploit_temperature = exploit_temperature
        self._draws = MAX_DRAWS if accepts is not None else 1
        self.logits: list[Numbers] = [np.zeros(len(words)) for words in grammar.slots]
        self._moments = [(np.zeros(len(w)), np.zeros(len(w))) for w in grammar.slots]
        self._steps = 0
        self._choices: dict[str, tuple[int, ...]] = {}

    def explore(self, views: Sequence[View]) -> list[str]:
        """Sample queries."""
        return self._sample(views, 1.0)

    def exploit(self, views: Sequence[View]) -> list[str]:
        """Sample queries at a low temperature."""
        return self._sample(views, self._exploit_temperature)

    def learn(
        self,
        views: Sequence[View],
        queries: Sequence[str],
        outcomes: Sequence[QueryOutcome],
    ) -> None:
        """Take one step of REINFORCE; the baseline is the mean reward of the wave."""
        del views
        words = np.array([self._choices[query] for query in queries])  # [N, slots]
        reward = np.array(
            [o.success if o.valid else -self._invalid_penalty for o in outcomes]
        )
        reward += self._ent_coef * self._surprise(words)
        advantages = reward - reward.mean()
        self._steps += 1
        for slot, logits in enumerate(self.logits):
            one_hot = np.eye(len(logits))[words[:, slot]]
            self._climb(slot, advantages @ (one_hot - softmax(logits)) / len(queries))
        self._choices.clear()

    def _sample(self, views: Sequence[View], temperature: float) -> list[str]:
        bounds = [softmax(logits / temperature).cumsum() for logits in self.logits]
        return [self._query(view, bounds) for view in views]

    def _query(self, view: View, bounds: Sequence[Numbers]) -> str:
        points = generator(mix(view.seed, _STREAM)).random((self._draws, len(bounds)))
        places = np.stack(
            [
                np.minimum(bound.searchsorted(points[:, slot]), len(bound) - 1)
                for slot, bound in enumerate(bounds)
            ],
            axis=1,
        )
        fallback = ""
        for row in places.tolist():
            query = self._grammar.write(
                [words[i] for words, i in zip(self._grammar.slots, row, strict=True)]
            )
            self._choices.setdefault(query, tuple(row))
            fallback = fallback or query
            if self._accepts is None or self._accepts(query):
                return query
        return fallback

    def _surprise(self, words: npt.NDArray[np.int64]) -> Numbers:
        """Return −log p of the chosen words, shape [N]."""
        logs = [np.log(softmax(logits)) for logits in self.logits]
        total: Numbers = -sum(log[words[:, slot]] for slot, log in enumerate(logs))  # type: ignore[assignment] # sum of arrays
        return total

    def _climb(self, slot: int, gradient: Numbers) -> None:
        """Take one step of Adam upwards (Kingma and Ba 2015)."""
        mean, variance = self._moments[slot]
        mean += (1 - _BETAS[0]) * (gradient - mean)
        variance += (1 - _BETAS[1]) * (gradient**2 - variance)
        a, b = (1 - beta**self._steps for beta in _BETAS)
        self.logits[slot] += (
            self._learning_rate * (mean / a) / (np.sqrt(variance / b) + 1e-8)
        )


def softmax(logits: Numbers) -> Numbers:
    """Return the probabilities of logits."""
    powers = np.exp(logits - logits.max())
    shares: Numbers = powers / powers.sum()
    return shares
