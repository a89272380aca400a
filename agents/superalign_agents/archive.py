"""Archive of the texts that attackers tried, with their success rates."""

import math
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from superalign_env.canonical import content_hash
from superalign_env.errors import RecordDamaged

Result = tuple[str, float, int]
"""(text, success in [0, 1] or a bool, case) of one query."""

_PRIOR_VISITS = 2.0
"""Weight of the prior mean in a shrunk success rate, in visits."""


def normalised(text: str) -> str:
    """Return the key of a text: NFKC, case folded, white space collapsed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class ArchiveEntry(msgspec.Struct, frozen=True):
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


class ArchiveCoverage(NamedTuple):
    """Numbers of queries, distinct texts and words of an archive."""

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
    """Success counts of every text that was tried, by normalised text.

    It changes only in `update`, which a trainer calls between rollouts, never while
    episodes run: replies then depend on the view and on one fixed state.
    """

    def __init__(self) -> None:
        self._entries: dict[str, ArchiveEntry] = {}
        self._words: dict[str, tuple[float, float]] = {}
        """word → (visits, successes) of the texts that hold it."""
        self._visits = 0
        self._successes = 0.0
        self._winners: tuple[ArchiveEntry, ...] = ()
        self._hash = ""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, text: str) -> bool:
        return normalised(text) in self._entries

    @property
    def hash(self) -> str:
        """Content hash of the whole state; empty while nothing was tried."""
        return self._hash

    @property
    def winners(self) -> tuple[ArchiveEntry, ...]:
        """Texts that ever succeeded: best rate first, then most tried, then by text."""
        return self._winners

    def update(self, results: Iterable[Result]) -> None:
        """Add results of queries; their order does not matter.

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
            self._add(ArchiveEntry(text, 1, success, (case,) if success > 0 else ()))
        if rows:
            self._refresh()

    def lookup(self, text: str) -> ArchiveEntry | None:
        """Return the entry of a text, or None."""
        return self._entries.get(normalised(text))

    def promise(self, text: str) -> float:
        """Return the expected success rate of a text, tried or not, in [0, 1].

        A text's own rate is shrunk towards the mean rate of its words, which is shrunk
        towards the overall rate: what worked elsewhere is tried here.
        """
        overall = self._successes / self._visits if self._visits else 0.5
        words = normalised(text).split()
        prior = 0.0
        for word in words:
            visits, successes = self._words.get(word, (0.0, 0.0))
            prior += (successes + _PRIOR_VISITS * overall) / (visits + _PRIOR_VISITS)
        prior = prior / len(words) if words else overall
        entry = self._entries.get(" ".join(words))
        if entry is None:
            return prior
        return (entry.successes + _PRIOR_VISITS * prior) / (entry.visits + _PRIOR_VISITS)

    def coverage(self) -> ArchiveCoverage:
        """Return the coverage, in all and by word position."""
        slots: list[dict[str, int]] = []
        for key, entry in self._entries.items():
            for place, word in enumerate(key.split()):
                if place == len(slots):
                    slots.append({})
                slots[place][word] = slots[place].get(word, 0) + entry.visits
        return ArchiveCoverage(
            self._visits,
            len(self._entries),
            len(self._winners),
            tuple(len(slot) for slot in slots),
            tuple(_entropy(slot) for slot in slots),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        rows = sorted(self._entries.values(), key=lambda entry: entry.text)
        return {"found": [msgspec.to_builtins(entry) for entry in rows]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned.

        Raises:
            RecordDamaged: the state is none of an archive.
        """
        try:
            rows = msgspec.convert(state["found"], list[ArchiveEntry])
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            raise RecordDamaged(
                f"this is no state of an archive ({error}); use what state_dict returned"
            ) from error
        self._entries, self._words = {}, {}
        self._visits, self._successes = 0, 0.0
        for entry in rows:
            self._add(entry)
        self._refresh()

    def _add(self, new: ArchiveEntry) -> None:
        key = normalised(new.text)
        old = self._entries.get(key)
        if old is None:
            self._entries[key] = new
        else:
            cases = tuple(sorted({*old.cases, *new.cases}))
            self._entries[key] = ArchiveEntry(
                old.text, old.visits + new.visits, old.successes + new.successes, cases
            )
        for word in set(key.split()):
            visits, successes = self._words.get(word, (0.0, 0.0))
            self._words[word] = (visits + new.visits, successes + new.successes)
        self._visits += new.visits
        self._successes += new.successes

    def _refresh(self) -> None:
        won = (entry for entry in self._entries.values() if entry.successes > 0)
        self._winners = tuple(sorted(won, key=lambda f: (-f.rate, -f.visits, f.text)))
        self._hash = content_hash(self.state_dict()) if self._entries else ""


def _entropy(counts: Mapping[str, int]) -> float:
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values())
