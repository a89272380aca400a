"""The search with its archive, as an attacker among others."""

from collections.abc import Sequence

from superalign_agents.archive import Archive
from superalign_agents.search import Search
from superalign_env.types import View
from superalign_training.attackers.field import Outcome


class Searcher:
    """Explores menus, remembers what worked, and repeats the best of it.

    Args:
        archive: what is known so far.
        explore: probability of exploring while it learns.
        novelty: weight of the bonus for seldom tried texts while it learns.
    """

    id = "search"

    def __init__(
        self, archive: Archive | None = None, *, explore: float = 0.5, novelty: float = 0.1
    ) -> None:
        self.archive = archive if archive is not None else Archive()
        self._curious = Search(self.archive, explore=explore, novelty=novelty)
        self._greedy = Search(self.archive, explore=0.0, novelty=0.0)

    def explore(self, views: Sequence[View]) -> list[str]:
        """Return seldom tried menu entries, mutants of winners, and winners."""
        return [reply.text for reply in self._curious.act(views)]

    def exploit(self, views: Sequence[View]) -> list[str]:
        """Return what the archive promises most of."""
        return [reply.text for reply in self._greedy.act(views)]

    def learn(
        self, views: Sequence[View], queries: Sequence[str], outcomes: Sequence[Outcome]
    ) -> None:
        """Put the wave into the archive."""
        self.archive.update(
            (query, outcome.success, view.case)
            for view, query, outcome in zip(views, queries, outcomes, strict=True)
            if query
        )
