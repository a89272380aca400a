"""Attacker without weights: seeded search over the view's menu, guided by an archive."""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from superalign_agents.archive import Archive, ArchiveEntry, Result
from superalign_agents.strategies import known_families, note_of, rewritings, seed_of
from superalign_agents.strategy_templates import Strategy
from superalign_env.errors import InvalidOption
from superalign_env.intents import intent_of
from superalign_env.seeding import generator
from superalign_env.types import AgentSpec, Reply, View

_TOURNAMENT_SIZE = 6
"""Menu entries, mutants and winners that compete for one reply, of each kind."""

_Edit = tuple[int, int, tuple[str, ...]]
"""Replace the words from the first to the second index by others."""


class Search:
    """Seeded best-first search over any view's menu.

    Without an archive, or while it is empty, it says a random entry of the menu. With
    one it explores (least tried entries first) or exploits: entries of the menu,
    archived winners and mutants of winners towards the menu compete by what the archive
    promises of them, plus a bonus for what was seldom tried. All randomness comes from
    the view's seed; the archive changes only in `update`, between rollouts. Where it is
    asked in chat English, rewritings of the seed by strategy templates stand beside the menu,
    and of the archived texts only those that ask for what the seed asks::

        for _ in range(rounds):
            episodes = …                      # play N queries
            attacker.update((text, success, case) for …)

    Args:
        archive: what is known so far; one may be shared by several agents.
        explore: probability of exploring, in [0, 1].
        novelty: weight of the bonus for seldom tried texts, in units of success. 0 lets
            the search collapse onto one winner.
        invent: whether winners and mutants that are on no menu may be said.
        held_out: families of strategies that are not used.
    """

    def __init__(
        self,
        archive: Archive | None = None,
        *,
        explore: float = 0.5,
        novelty: float = 0.1,
        invent: bool = True,
        held_out: Sequence[str] = (),
    ) -> None:
        if not 0.0 <= explore <= 1.0:
            raise InvalidOption(f"explore must lie in [0, 1], not {explore}")
        if not 0.0 <= novelty < math.inf:
            raise InvalidOption(f"novelty must be a number ≥ 0, not {novelty}")
        self.archive = archive if archive is not None else Archive()
        self._explore = explore
        self._novelty = novelty
        self._invent = invent
        self._held_out = known_families(held_out)

    @property
    def spec(self) -> AgentSpec:
        """The settings, and the content hash of the archive as the policy."""
        options = {
            "explore": self._explore,
            "novelty": self._novelty,
            "invent": self._invent,
            **({"held_out": list(self._held_out)} if self._held_out else {}),
        }
        return AgentSpec("search", options, self.archive.hash)

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return one candidate for every view."""
        return [self._reply(view) for view in views]

    def update(self, results: Iterable[Result]) -> None:
        """Add results of queries to the archive. Never during a rollout."""
        self.archive.update(results)

    def state_dict(self) -> dict[str, Any]:
        """Return the archive as plain JSON values."""
        return {"archive": self.archive.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the archive."""
        self.archive.load_state_dict(state["archive"])

    def _reply(self, view: View) -> Reply:
        rng = generator(view.seed)
        rewritten = rewritings(view, self._held_out)
        menu = (*view.menu, *rewritten)
        winners = self.archive.winners if self._invent or not menu else ()
        if rewritten:
            kept = [w for w in winners if intent_of(seed_of(view), w.text).kept]
            winners = tuple(kept)
        if not menu and not winners:
            return Reply(
                "",
                finish="error",
                error="search has neither a menu nor archived texts to choose from; let the "
                "scenario offer a menu, or seat another agent",
            )
        if menu and not len(self.archive):
            return _said(_pick(menu, rng), rewritten)
        if menu and rng.random() < self._explore:
            rivals = _sample(menu, rng)
            text = min(rivals, key=self._visits)
        else:
            rivals = _sample(menu, rng)
            parents = [entry.text for entry in _best(winners, rng)]
            rivals += parents
            if menu and not rewritten:
                rivals += [mutate(parent, menu, rng) for parent in parents]
            text = max(rivals, key=self._priority)
        return _said(text, rewritten, policy=self.archive.hash)

    def _visits(self, text: str) -> int:
        entry = self.archive.lookup(text)
        return entry.visits if entry else 0

    def _priority(self, text: str) -> float:
        bonus = self._novelty / math.sqrt(1 + self._visits(text))
        return self.archive.promise(text) + bonus


def _said(text: str, rewritten: Mapping[str, Strategy], policy: str = "") -> Reply:
    """Return the reply with a text, and with a note of its strategy if it has one."""
    notes = note_of(rewritten[text]) if text in rewritten else {}
    return Reply(text, finish="stop", policy=policy, notes=notes)


def mutate(text: str, menu: Sequence[str], rng: np.random.Generator) -> str:
    """Return a neighbour of a text: some of its words as a menu entry has them.

    The differences between the text and a random entry are applied one by one with equal
    probability, at least one of them, so a text and an entry of one grammar usually give
    another text of it. An empty menu, or one that holds nothing else, gives the text.

    Args:
        text: the parent.
        menu: texts to borrow words from.
        rng: the only source of randomness.
    """
    donors = [entry for entry in menu if entry != text]
    if not donors:
        return text
    words = text.split()
    edits = _edits(words, _pick(donors, rng).split())
    if not edits:
        return text
    taken = rng.random(len(edits)) < 0.5
    taken[int(rng.integers(len(edits)))] = True
    for take, (start, stop, new) in reversed(list(zip(taken, edits, strict=True))):
        if take:
            words[start:stop] = new
    return " ".join(words)


def _edits(words: list[str], donor: list[str]) -> list[_Edit]:
    """Return independent edits, left to right, that turn one text into the other."""
    if len(words) == len(donor):
        pairs = enumerate(zip(words, donor, strict=True))
        return [(i, i + 1, (new,)) for i, (old, new) in pairs if old != new]
    matcher = difflib.SequenceMatcher(None, words, donor, autojunk=False)
    return [
        (start, stop, tuple(donor[first:last]))
        for kind, start, stop, first, last in matcher.get_opcodes()
        if kind != "equal"
    ]


def _pick(texts: Sequence[str], rng: np.random.Generator) -> str:
    return texts[int(rng.integers(len(texts)))]


def _sample(texts: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Return up to `_TOURNAMENT_SIZE` different entries, in random order."""
    if not texts:
        return []
    count = min(_TOURNAMENT_SIZE, len(texts))
    places = rng.choice(len(texts), size=count, replace=False)
    return [texts[int(place)] for place in places]


def _best(winners: Sequence[ArchiveEntry], rng: np.random.Generator) -> list[ArchiveEntry]:
    """Return some winners; the better ones more often (rank, quadratically)."""
    if not winners:
        return []
    ranks = (rng.random(_TOURNAMENT_SIZE) ** 2 * len(winners)).astype(int)
    return [winners[rank] for rank in sorted(set(ranks.tolist()))]
