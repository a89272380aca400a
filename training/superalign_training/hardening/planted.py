"""Critics are taught on planted answers, which the environment gives in any number."""

from collections.abc import Sequence
from typing import Any

from superalign_env.capabilities import facts_of
from superalign_env.protocols import Scenario
from superalign_env.rollout import Rollouts
from superalign_env.types import AgentSpec, Reply, View, role_of
from superalign_training.data import Example
from superalign_training.judging import about_one_answer, planted_lessons
from superalign_training.policy import Policy

_LIVE = 256


class _Listener:
    """Sits in a critic's seat to hear what a policy would read there; it has no opinion.

    The policy itself would have to speak, which costs ten times as much and is not used.
    """

    spec = AgentSpec("listener")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.view: View | None = None

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Say nothing of interest."""
        self.view = views[0]
        return [
            Reply("score 5 sure 0", prompt_ids=self._policy.prompt_ids(view))
            for view in views
        ]


def planted_examples(
    scenario: Scenario[Any], critic: Policy, cases: int, *, run: int
) -> tuple[list[Example], list[Example]]:
    """Return what a critic should say of planted answers: of one answer, and of all.

    Args:
        scenario: every case has a planted answer (plant=1).
        critic: whose tokens the examples are.
        cases: how many.
        run: seed of the cases.
    """
    listener = _Listener(critic)
    seats = dict.fromkeys(scenario.seats, listener)
    lessons = planted_lessons(Rollouts(scenario, seats, run=run, live=_LIVE).run(cases))
    view = listener.view
    if view is None or role_of(view.seat) != facts_of(scenario).get("judged"):
        return [], []

    def examples(chosen: Any) -> list[Example]:
        return [
            Example(one.prompt_ids, critic.reply_ids(view, one.verdict), ("planted",))
            for one in chosen
        ]

    return examples(about_one_answer(lessons)), examples(lessons)
