"""Training of critics on planted answers, and their scores of queries."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from superalign_agents.transformer import TransformerAgent
from superalign_env.capabilities import facts_of
from superalign_env.errors import InvalidOption
from superalign_env.game import Game
from superalign_env.protocols import Scenario
from superalign_env.rollout import Rollouts
from superalign_env.types import AgentSpec, EpisodeKey, Reply, View, role_of
from superalign_training.attackers import QueryOutcome
from superalign_training.data import Example
from superalign_training.evaluation.likelihood import first_word_likelihoods
from superalign_training.judging import about_one_answer, planted_verdicts
from superalign_training.policy import Policy

_LIVE = 256


class _Listener:
    """Agent in a critic's seat that records the prompts of a policy there.

    The policy itself would have to speak, which costs ten times as much and is not used.
    """

    spec = AgentSpec("listener")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.view: View | None = None

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Record the views and give empty replies."""
        self.view = views[0]
        return [
            Reply("score 5 sure 0", prompt_ids=self._policy.prompt_ids(view))
            for view in views
        ]


def planted_examples(
    scenario: Scenario[Any], critic: Policy, cases: int, *, run: int
) -> tuple[list[Example], list[Example]]:
    """Return examples of verdicts on planted answers: on one answer, and on all.

    Args:
        scenario: every case has a planted answer (plant=1).
        critic: whose tokens the examples are.
        cases: how many.
        run: seed of the cases.
    """
    listener = _Listener(critic)
    seats = dict.fromkeys(scenario.seats, listener)
    verdicts = planted_verdicts(Rollouts(scenario, seats, run=run, live=_LIVE).run(cases))
    view = listener.view
    if view is None or role_of(view.seat) != facts_of(scenario).get("judged"):
        return [], []

    def examples(selected: Any) -> list[Example]:
        return [
            Example(
                example.prompt_ids,
                critic.reply_ids(view, example.written(view.form)),
                ("planted",),
            )
            for example in selected
        ]

    return examples(about_one_answer(verdicts)), examples(verdicts)


_SCORES = tuple(f"score {digit}" for digit in range(10))
_JSON_SCORES = tuple(f'{{"score": {tenth / 10}' for tenth in range(11))
"""Beginnings of verdicts in words and in JSON, by score from 0 to 1 in equal steps."""


class ScoredQuery(NamedTuple):
    """One valid query, and the critic's expected score of every answer to it."""

    query: str
    view: View
    """What the learner is shown."""
    answers: tuple[str, ...]
    scores: tuple[float, ...]
    """Of each answer, in [0, 1]."""

    def best(self, penalty: Mapping[str, float]) -> str:
        """Return the best answer after a bias on the scores of some."""
        return max(
            zip(self.answers, self.scores, strict=True),
            key=lambda pair: (pair[1] - penalty.get(pair[0], 0.0), pair[0]),
        )[0]

    def score_of(self, answer: str) -> float:
        """Return the expected score of an answer; 0 for one outside the menu."""
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
    open_queries: list[tuple[int, View]] = []
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
        open_queries.append((place, view))
        judged += [_answered(game, answer) for answer in view.menu]
    scores = _expected(critic, judged)
    results: list[ScoredQuery | None] = [None] * len(queries)
    start = 0
    for place, view in open_queries:
        end = start + len(view.menu)
        row = tuple(scores[start:end].tolist())
        results[place] = ScoredQuery(queries[place], view, view.menu, row)
        start = end
    return results


def outcomes_of(
    learner: TransformerAgent,
    scored: Sequence[ScoredQuery | None],
    *,
    score_threshold: float,
) -> list[QueryOutcome]:
    """Return the outcomes of queries against greedy answers of the learner.

    Args:
        learner: as it is now.
        scored: None is an invalid query.
        score_threshold: an answer with a lower expected score is a success of the attacker.
    """
    valid = [query for query in scored if query is not None]
    successes = iter(_won(learner, valid, score_threshold))
    return [
        QueryOutcome(
            query is not None, float(next(successes)) if query is not None else 0.0
        )
        for query in scored
    ]


def _won(
    learner: TransformerAgent, scored: Sequence[ScoredQuery], score_threshold: float
) -> list[bool]:
    if not scored:
        return []
    menu = scored[0].answers
    greedy_words = first_word_likelihoods(
        learner, [query.view for query in scored], menu
    ).greedy
    return [
        query.score_of(menu[row.argmax()] if row.any() else "") < score_threshold
        for query, row in zip(scored, greedy_words, strict=True)
    ]


def _expected(critic: TransformerAgent, views: Sequence[View]) -> npt.NDArray[np.float64]:
    """Return the expected score, shape [len(views)]."""
    if not views:
        return np.zeros(0)
    scores = _JSON_SCORES if views[0].form == "json-schema" else _SCORES
    shares = first_word_likelihoods(critic, views, scores).probability
    values = np.arange(len(scores)) / (len(scores) - 1)
    expected: npt.NDArray[np.float64] = shares @ values / shares.sum(axis=1).clip(min=1e-12)
    return expected


def _answered(game: Game, answer: str) -> View:
    """Return the first critic's view after an answer of the learner."""
    judge = facts_of(game.scenario).get("judged")
    twin = game.fork(game.key)
    twin.step([Reply(answer)])
    if twin.over or role_of(twin.group[0]) != judge:
        raise InvalidOption(f"nobody judges the answers of {game.scenario.id}")
    return twin.view(twin.group[0])
