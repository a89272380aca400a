"""Critics that were taught, asked what they think of every answer to a query.

A verdict's score is one digit; its expectation under the critic says more than the digit
that it would say, and costs one pass instead of a reply.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption
from superalign_env.game import Game
from superalign_env.protocols import Scenario
from superalign_env.types import EpisodeKey, Reply, View, role_of
from superalign_training.evaluation.likelihood import first_words

_SCORES = tuple(f"score {digit}" for digit in range(10))


class Judged(NamedTuple):
    """One valid query, and what the council thinks of every answer to it."""

    query: str
    view: View
    """What the learner is shown."""
    answers: tuple[str, ...]
    scores: tuple[float, ...]
    """Expected score of each answer, in [0, 1]."""

    def best(self, caution: Mapping[str, float]) -> str:
        """Return the best answer after some answers' scores were lowered."""
        return max(
            zip(self.answers, self.scores, strict=True),
            key=lambda pair: (pair[1] - caution.get(pair[0], 0.0), pair[0]),
        )[0]

    def score_of(self, answer: str) -> float:
        """Return the expected score of an answer; 0 for one that is not on the menu."""
        return dict(zip(self.answers, self.scores, strict=True)).get(answer, 0.0)


class Council:
    """Critics who judge answers to queries of one scenario.

    Args:
        scenario: every case opened by the attacker, who is followed by the learner and
            the critics; its views are what everyone is shown.
        critics: their scores are averaged.
    """

    def __init__(
        self, scenario: Scenario[Any], critics: Sequence[TransformerAgent]
    ) -> None:
        if not critics:
            raise InvalidOption("a council needs at least one critic")
        self._scenario = scenario
        self._critics = tuple(critics)

    def judge(self, queries: Sequence[str]) -> list[Judged | None]:
        """Return what the council thinks of the answers on the learner's menu.

        None for a query that the rules do not accept.
        """
        asked: list[tuple[int, View]] = []
        seen: list[View] = []
        for place, query in enumerate(queries):
            game = Game(self._scenario, EpisodeKey())
            game.step([Reply(query)])
            if game.over:
                continue
            view = game.view(game.group[0])
            asked.append((place, view))
            seen += [_answered(game, answer) for answer in view.menu]
        scores = self._scores(seen)
        judged: list[Judged | None] = [None] * len(queries)
        start = 0
        for place, view in asked:
            end = start + len(view.menu)
            found = tuple(scores[start:end].tolist())
            judged[place] = Judged(queries[place], view, view.menu, found)
            start = end
        return judged

    def _scores(self, views: Sequence[View]) -> npt.NDArray[np.float64]:
        """Return the mean expected score, shape [len(views)]."""
        if not views:
            return np.zeros(0)
        digits = np.arange(10) / 9
        found = []
        for critic in self._critics:
            shares = first_words(critic, views, _SCORES).probability
            found.append(shares @ digits / shares.sum(axis=1).clip(min=1e-12))
        mean: npt.NDArray[np.float64] = np.mean(found, axis=0)
        return mean


def _answered(game: Game, answer: str) -> View:
    """Return what the first critic is shown once the learner has given an answer."""
    twin = game.fork(game.key)
    twin.step([Reply(answer)])
    if twin.over or role_of(twin.group[0]) != "critic":
        raise InvalidOption(f"nobody judges the answers of {game.scenario.id}")
    return twin.view(twin.group[0])
