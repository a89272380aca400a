"""Texts that attackers found, and what became of them."""

import math
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from superalign_env.canonical import content_hash
from superalign_env.errors import RecordDamaged

Result = tuple[str, float, int]
"""(text, success in [0, 1] or a bool, case): what became of one query."""

_PRIOR = 2.0
"""Weight, in visits, of what is believed of a text that was never tried."""


def normalised(text: str) -> str:
    """Return the key of a text: NFKC, case folded, white space collapsed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class Found(msgspec.Struct, frozen=True):
    """One archived text."""

    text: str
    """As it was first written."""
    visits: int
    """How often it was tried."""
    successes: float
    """Sum of its successes."""
    cases: tuple[int, ...] = ()
    """Cases in which it succeeded, ascending."""

    @property
    def rate(self) -> float:
        """Successes per visit."""
        return self.successes / self.visits if self.visits else 0.0


class Coverage(NamedTuple):
    """How much of the space of texts was looked at."""

    visits: int
    """Queries so far."""
    distinct: int
    """Different texts among them."""
    winners: int
    """Different texts that ever succeeded."""
    slots: tuple[int, ...]
    """Different words seen at each word position."""
    entropy: tuple[float, ...]
    """Entropy of the words at each position over all queries, in nats."""


class Archive:
    """Remembers every text that was tried, by normalised text.

    It changes only in `update`, which a trainer calls between rollouts, never while
    episodes run: replies then depend on the view and on one fixed state.
    """

    def __init__(self) -> None:
        self._found: dict[str, Found] = {}
        self._words: dict[str, tuple[float, float]] = {}
        """word → (visits, successes) of the texts that hold it."""
        self._visits = 0
        self._successes = 0.0
        self._winners: tuple[Found, ...] = ()
        self._hash = ""

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, text: str) -> bool:
        return normalised(text) in self._found

    @property
    def hash(self) -> str:
        """Content hash of the whole state; empty while nothing was tried."""
        return self._hash

    @property
    def winners(self) -> tuple[Found, ...]:
        """Texts that ever succeeded: best rate first, then most tried, then by text."""
        return self._winners

    def update(self, results: Iterable[Result]) -> None:
        """Add what became of some queries; their order does not matter.

        Args:
            results: (text, success, case) for each query.

        Raises:
            ValueError: a success outside [0, 1].
        """
        rows = sorted((text, float(success), case) for text, success, case in results)
        for text, success, _ in rows:
            if not 0.0 <= success <= 1.0:
                raise ValueError(f"success must lie in [0, 1], not {success}, for {text!r}")
        for text, success, case in rows:
            self._add(Found(text, 1, success, (case,) if success > 0 else ()))
        if rows:
            self._refresh()

    def lookup(self, text: str) -> Found | None:
        """Return what is known of a text, or None."""
        return self._found.get(normalised(text))

    def promise(self, text: str) -> float:
        """Return the expected success of a text, tried or not, in [0, 1].

        A text's own record is shrunk towards the mean record of its words, which is
        shrunk towards the record of everything: what worked elsewhere is tried here.
        """
        overall = self._successes / self._visits if self._visits else 0.5
        words = normalised(text).split()
        belief = 0.0
        for word in words:
            visits, successes = self._words.get(word, (0.0, 0.0))
            belief += (successes + _PRIOR * overall) / (visits + _PRIOR)
        belief = belief / len(words) if words else overall
        own = self._found.get(" ".join(words))
        if own is None:
            return belief
        return (own.successes + _PRIOR * belief) / (own.visits + _PRIOR)

    def coverage(self) -> Coverage:
        """Return how much was looked at, in all and by word position."""
        slots: list[dict[str, int]] = []
        for key, found in self._found.items():
            for place, word in enumerate(key.split()):
                if place == len(slots):
                    slots.append({})
                slots[place][word] = slots[place].get(word, 0) + found.visits
        return Coverage(
            self._visits,
            len(self._found),
            len(self._winners),
            tuple(len(slot) for slot in slots),
            tuple(_entropy(slot) for slot in slots),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        rows = sorted(self._found.values(), key=lambda found: found.text)
        return {"found": [msgspec.to_builtins(found) for found in rows]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become what `state_dict` returned.

        Raises:
            RecordDamaged: the state is none of an archive.
        """
        try:
            rows = msgspec.convert(state["found"], list[Found])
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            raise RecordDamaged(
                f"this is no state of an archive ({error}); use what state_dict returned"
            ) from error
        self._found, self._words = {}, {}
        self._visits, self._successes = 0, 0.0
        for found in rows:
            self._add(found)
        self._refresh()

    def _add(self, new: Found) -> None:
        key = normalised(new.text)
        old = self._found.get(key)
        if old is None:
            self._found[key] = new
        else:
            cases = tuple(sorted({*old.cases, *new.cases}))
            self._found[key] = Found(
                old.text, old.visits + new.visits, old.successes + new.successes, cases
            )
        for word in set(key.split()):
            visits, successes = self._words.get(word, (0.0, 0.0))
            self._words[word] = (visits + new.visits, successes + new.successes)
        self._visits += new.visits
        self._successes += new.successes

    def _refresh(self) -> None:
        won = (found for found in self._found.values() if found.successes > 0)
        self._winners = tuple(sorted(won, key=lambda f: (-f.rate, -f.visits, f.text)))
        self._hash = content_hash(self.state_dict()) if self._found else ""


def _entropy(counts: Mapping[str, int]) -> float:
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values())
