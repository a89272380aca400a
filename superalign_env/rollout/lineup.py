"""Which games are played, in which order, and how members of a case share a prefix."""

from collections import deque
from collections.abc import Callable, Iterator

from superalign_env.game import Game
from superalign_env.types import EpisodeKey, Seat

MakeGame = Callable[[EpisodeKey], Game]


class Lineup:
    """Hands out games: case by case, and member by member within a case.

    Args:
        make: makes the game of a key.
        first: key of the first episode.
        n_cases: how many cases.
        group: members of each case.
        fork_at: where the members of a case part; see `Rollouts`.
        copies: whether members are copied at the fork instead of played from the start.
    """

    def __init__(
        self,
        make: MakeGame,
        first: EpisodeKey,
        n_cases: int,
        *,
        group: int,
        fork_at: Seat | None,
        copies: bool,
    ) -> None:
        self._first = first
        self._group = group
        self._fork_at = fork_at
        self.branches = copies and fork_at is not None and group > 1
        """Whether members branch off: then `moved` must be told of every move."""
        self._games = self._from_start(make, n_cases)
        self._forked: deque[Game] = deque()
        self._whole: set[int] = set()
        self.total = n_cases * group

    def __iter__(self) -> Iterator[Game]:
        return self

    def __next__(self) -> Game:
        return self._forked.popleft() if self._forked else next(self._games)

    def moved(self, game: Game) -> None:
        """Note that a game has moved: where it reached the fork its members branch off."""
        case = game.key.case
        if case in self._whole and (game.over or self._fork_at in game.group):
            self._whole.remove(case)
            self._forked.extend(
                [game.fork(self._key(case, member)) for member in range(1, self._group)]
            )

    def _from_start(self, make: MakeGame, n_cases: int) -> Iterator[Game]:
        members = 1 if self.branches else self._group
        for case in range(self._first.case, self._first.case + n_cases):
            if self.branches:
                self._whole.add(case)
            for member in range(members):
                yield make(self._key(case, member))

    def _key(self, case: int, member: int) -> EpisodeKey:
        first = self._first
        return EpisodeKey(
            first.run, first.generation, first.round, case, member, first.take
        )
