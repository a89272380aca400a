"""Episodes to learn from, with every sampled token counted.

The members of a case share its road, or (``forked``) everything up to a turn drawn for the
case: then they differ in what came of that turn on, and in nothing else.
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from superalign_env.game import Game
from superalign_env.protocols import Agent, Scenario
from superalign_env.seeding import mix
from superalign_env.types import Episode, EpisodeKey
from superalign_training.experience import Row, training_rows

SEAT = "learner_0"
TURNS = 4


class Play:
    """Plays further cases whenever it is asked to (`superalign_training.experience`).

    Args:
        scenario: four turns of one seat.
        agent: who plays.
        run: seed of the cases.
        members: plays of each case.
        forked: whether members share the turns before one that is drawn for each case.
    """

    def __init__(
        self,
        scenario: Scenario[Any],
        agent: Agent,
        *,
        run: int,
        members: int = 1,
        forked: bool = False,
    ) -> None:
        self._scenario = scenario
        self._agent = agent
        self._run = run
        self._members = members
        self._forked = forked
        self.cases = 0
        """How many were played."""
        self.tokens = 0
        """How many were sampled, those of shared turns once."""

    @property
    def tokens_per_case(self) -> float:
        """As it was so far; before that a word and its end in every turn of every member."""
        return self.tokens / self.cases if self.tokens else 2.0 * TURNS * self._members

    def __call__(self, first: int, count: int) -> list[Row]:
        """Return the rows of the next cases; every call of ``improve`` counts from 0 anew."""
        keys = [EpisodeKey(run=self._run, case=self.cases + i) for i in range(count)]
        self.cases += count
        trunks = [Game(self._scenario, key) for key in keys]
        parts = [mix(key.run, key.case) % TURNS if self._forked else 0 for key in keys]
        for turn in range(TURNS):
            going = zip(trunks, parts, strict=True)
            self._advance([trunk for trunk, part in going if turn < part])
        found = []
        games = [
            (trunk.fork(replace(trunk.key, member=member)), part)
            for trunk, part in zip(trunks, parts, strict=True)
            for member in range(self._members)
        ]
        while live := [game for game, _ in games if not game.over]:
            self._advance(live)
        found = [_from_turn(game.episode(), part) for game, part in games]
        return training_rows(found, SEAT)

    def _advance(self, games: Sequence[Game]) -> None:
        replies = self._agent.act([game.view(SEAT) for game in games])
        for game, reply in zip(games, replies, strict=True):
            self.tokens += len(reply.token_ids)
            game.step([reply])


def _from_turn(episode: Episode, turn: int) -> Episode:
    """Return an episode as if what was said before a turn had been given."""
    return replace(episode, utterances=episode.utterances[turn:])
