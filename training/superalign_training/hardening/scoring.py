"""A critic's expected score of every answer to a query, and attackers that are paid by it.

A verdict's score is one digit; its expectation under the critic says more than the digit
that it would say, and costs one pass instead of a reply.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from superalign_agents.transformer import TransformerAgent
from superalign_env.capabilities import facts_of
from superalign_env.errors import InvalidOption
from superalign_env.game import Game
from superalign_env.protocols import Scenario
from superalign_env.types import EpisodeKey, Reply, View, role_of
from superalign_training.attackers import QueryOutcome
from superalign_training.evaluation.likelihood import first_words

_SCORES = tuple(f"score {digit}" for digit in range(10))


class ScoredQuery(NamedTuple):
    """One valid query, and the critic's expected score of every answer to it."""

    query: str
    view: View
    """What the learner is shown."""
    answers: tuple[str, ...]
    scores: tuple[float, ...]
    """Of each answer, in [0, 1]."""

    def best(self, penalty: Mapping[str, float]) -> str:
        """Return the best answer after the scores of some were lowered."""
        return max(
            zip(self.answers, self.scores, strict=True),
            key=lambda pair: (pair[1] - penalty.get(pair[0], 0.0), pair[0]),
        )[0]

    def score_of(self, answer: str) -> float:
        """Return the expected score of an answer; 0 for one that is not on the menu."""
        return dict(zip(self.answers, self.scores, strict=True)).get(answer, 0.0)


def score_queries(
    scenario: Scenario[Any], critic: TransformerAgent, queries: Sequence[str]
) -> list[ScoredQuery | None]:
    """Return the critic's scores of the answers on the learner's menu, query by query.

    None for a query that the rules do not accept.

    Args:
        scenario: every case is opened by the attacker, who is followed by the learner and
            the critics; its views are what everyone is shown.
        critic: judges.
        queries: what the attacker says.

    Raises:
        InvalidOption: a learner without a menu, or one whom no critic judges.
    """
    asked: list[tuple[int, View]] = []
    judged: list[View] = []
    for place, query in enumerate(queries):
        game = Game(scenario, EpisodeKey())
        game.step([Reply(query)])
        if game.over:
            continue
        view = game.view(game.group[0])
        if not view.menu:
            raise InvalidOption(
                f"the {view.role} of {scenario.id} is shown no menu of answers, and hardening "
                "compares the answers of a menu"
            )
        asked.append((place, view))
        judged += [_answered(game, answer) for answer in view.menu]
    scores = _expected(critic, judged)
    found: list[ScoredQuery | None] = [None] * len(queries)
    start = 0
    for place, view in asked:
        end = start + len(view.menu)
        row = tuple(scores[start:end].tolist())
        found[place] = ScoredQuery(queries[place], view, view.menu, row)
        start = end
    return found


def outcomes_of(
    learner: TransformerAgent, scored: Sequence[ScoredQuery | None], *, below: float
) -> list[QueryOutcome]:
    """Return what became of queries that the learner answers at temperature 0.

    Args:
        learner: as it is now.
        scored: None is an invalid query.
        below: an answer with a lower expected score is a success of the attacker.
    """
    valid = [one for one in scored if one is not None]
    won = iter(_won(learner, valid, below))
    return [
        QueryOutcome(one is not None, float(next(won)) if one is not None else 0.0)
        for one in scored
    ]


def _won(
    learner: TransformerAgent, scored: Sequence[ScoredQuery], below: float
) -> list[bool]:
    if not scored:
        return []
    menu = scored[0].answers
    said = first_words(learner, [one.view for one in scored], menu).greedy
    return [
        one.score_of(menu[row.argmax()] if row.any() else "") < below
        for one, row in zip(scored, said, strict=True)
    ]


def _expected(critic: TransformerAgent, views: Sequence[View]) -> npt.NDArray[np.float64]:
    """Return the expected score, shape [len(views)]."""
    if not views:
        return np.zeros(0)
    shares = first_words(critic, views, _SCORES).probability
    expected: npt.NDArray[np.float64] = (
        shares @ (np.arange(10) / 9) / shares.sum(axis=1).clip(min=1e-12)
    )
    return expected


def _answered(game: Game, answer: str) -> View:
    """Return what the first critic is shown once the learner has given an answer."""
    judge = facts_of(game.scenario).get("judged")
    twin = game.fork(game.key)
    twin.step([Reply(answer)])
    if twin.over or role_of(twin.group[0]) != judge:
        raise InvalidOption(f"nobody judges the answers of {game.scenario.id}")
    return twin.view(twin.group[0])
