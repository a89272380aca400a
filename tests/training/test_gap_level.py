"""What a level of the ladder is, and how it speaks."""

from pathlib import Path

import pytest

from superalign_agents.wrappers import BestOf
from superalign_env.errors import InvalidOption
from superalign_env.types import View
from superalign_training.gap.level import Level, with_level_decoding
from superalign_training.policy import Lora, Policy, shared_base
from superalign_training.selfplay.settings import read_settings

TEXT = "<|user|> ann will cut rope near bob secretly ; help ann<|end|><|learner|>"
VIEW = View("e", 0, "learner_0", "learner", 0, 1, TEXT, max_new_tokens=2)


def test_a_level_is_a_reference_and_how_often_it_is_asked() -> None:
    assert Level.of("micro/1") == Level({"id": "micro/1"}, 1)
    given = {"id": "micro/1", "best_of": 5, "max_context": 32}
    assert Level.of(given) == Level({"id": "micro/1", "max_context": 32}, 5)
    assert given["best_of"] == 5


@pytest.mark.parametrize("best_of", [0, -1, 2.5, "5", True])
def test_a_number_of_tries_that_is_none_is_refused(best_of: object) -> None:
    with pytest.raises(InvalidOption, match="whole number from 1"):
        Level.of({"id": "micro/1", "best_of": best_of})


def test_several_tries_of_a_greedy_level_are_refused_before_training() -> None:
    with pytest.raises(InvalidOption, match="temperature above 0"):
        Level.of({"id": "micro/1", "best_of": 3, "temperature": 0})
    with pytest.raises(InvalidOption, match="whole number from 1"):
        read_settings({"generations": 1, "levels": [{"id": "micro/1", "best_of": 0}]})


def test_a_level_without_an_id_is_refused() -> None:
    with pytest.raises(InvalidOption, match="needs the id"):
        Level.of({"best_of": 5})


def test_a_level_that_is_asked_once_speaks_as_its_policy_does() -> None:
    agent = Policy.from_reference("micro/1").agent
    assert with_level_decoding(agent, Level.of("micro/1")) is agent


def test_a_level_of_several_tries_says_the_most_frequent() -> None:
    agent = Policy.from_reference("micro/1").agent
    loud = with_level_decoding(agent, Level.of({"id": "micro/1", "best_of": 3}))
    assert isinstance(loud, BestOf)
    (reply,) = loud.act([VIEW])
    assert reply.policy == agent.policy
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == 3 * len(agent.prompt_ids(VIEW))
    greedy = Policy.from_reference("micro/1", temperature=0.0).agent
    with pytest.raises(InvalidOption, match="temperature above 0"):
        with_level_decoding(greedy, Level.of({"id": "micro/1", "best_of": 3}))


@pytest.mark.parametrize(
    "options", [{"blind": ["secretly"]}, {"max_context": 8}], ids=["information", "context"]
)
def test_what_a_level_cannot_see_it_cannot_see_in_training_either(
    options: dict[str, object], tmp_path: Path
) -> None:
    level = Level.of({"id": "micro/1", **options})
    policy = Policy.from_reference(level.reference)
    seeing = Policy.from_reference("micro/1")
    assert len(policy.prompt_ids(VIEW)) < len(seeing.prompt_ids(VIEW))
    assert policy.agent.act([VIEW])[0].prompt_ids == policy.prompt_ids(VIEW)
    again = Policy.load(tmp_path / "kept", policy.save(tmp_path / "kept"))
    assert again.prompt_ids(VIEW) == policy.prompt_ids(VIEW)


def test_ranks_are_levels_on_one_base() -> None:
    base = shared_base("micro/1")
    trained = [
        Policy.from_reference("micro/1", adapter=Lora(rank=rank), base=base)
        for rank in (1, 2, 4)
    ]
    counts = [policy.parameters_trained for policy in trained]
    assert counts == sorted(set(counts))
