"""Self-consistency: the most frequent answer wins, whatever else is in the batch."""

from collections.abc import Sequence

import pytest

from superalign_agents.wrappers import BestOf
from superalign_env.errors import InvalidOption
from superalign_env.seeding import generator
from superalign_env.types import AgentSpec, Reply, Usage, View


class Wavering:
    """Says `comply` with probability 0.7."""

    spec = AgentSpec("wavering", {}, "w1")
    temperature = 1.0

    def act(self, views: Sequence[View]) -> list[Reply]:
        return [
            Reply(
                "comply" if generator(view.seed).random() < 0.7 else "refuse",
                usage=Usage(3, 1),
                policy="w1",
            )
            for view in views
        ]


class Failing(Wavering):
    """Fails half of the time."""

    def act(self, views: Sequence[View]) -> list[Reply]:
        return [
            Reply("", finish="error", error="no")
            if generator(view.seed).random() < 0.5
            else Reply("comply")
            for view in views
        ]


def views(n: int) -> list[View]:
    return [View(str(k), k, "learner_0", "learner", 0, 1000 + k, "") for k in range(n)]


def share(agent: BestOf) -> float:
    said = agent.act(views(400))
    return sum(reply.text == "comply" for reply in said) / len(said)


def test_more_answers_say_the_likelier_thing_more_often() -> None:
    shares = [share(BestOf(Wavering(), n)) for n in (1, 3, 9)]
    assert shares == sorted(shares) and shares[0] < 0.75 and shares[-1] > 0.87


def test_what_all_answers_used_is_recorded_with_the_one_that_is_said() -> None:
    (reply,) = BestOf(Wavering(), 5).act(views(1))
    assert reply.usage == Usage(15, 5)
    assert reply.policy == "w1"


def test_of_equally_frequent_answers_the_first_is_said() -> None:
    once, twice = BestOf(Wavering(), 1), BestOf(Wavering(), 2)
    first = [reply.text for reply in once.act(views(50))]
    assert [reply.text for reply in twice.act(views(50))] == first


def test_failures_count_only_where_nothing_else_was_said() -> None:
    replies = BestOf(Failing(), 2).act(views(200))
    errors = sum(reply.finish == "error" for reply in replies)
    assert 20 < errors < 80
    assert all(reply.text == "comply" for reply in replies if not reply.error)


def test_the_recorded_form_names_who_is_asked() -> None:
    assert BestOf(Wavering(), 3).spec == AgentSpec(
        "best-of", {"agent": {"id": "wavering"}, "n": 3}, "w1"
    )


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidOption, match="from 1, not 0"):
        BestOf(Wavering(), 0)
    greedy = Wavering()
    greedy.temperature = 0
    with pytest.raises(InvalidOption, match="temperature above 0"):
        BestOf(greedy, 3)
    with pytest.raises(InvalidOption, match="waits for each reply"):
        BestOf({"id": "endpoint", "model": "m", "base_url": "http://127.0.0.1:9/v1"})
