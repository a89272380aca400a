"""Algorithms by id: every registered one, wrong ones explained, settings that hold them."""

import json

import pytest
from pydantic import ValidationError

from superalign_env import registry
from superalign_env.errors import InvalidOption, UnknownId
from superalign_training.algorithms.dpo import Dpo
from superalign_training.algorithms.grpo import Grpo
from superalign_training.algorithms.kto import Kto
from superalign_training.algorithms.making import (
    AnyAlgorithm,
    LessonAlgorithm,
    RlAlgorithm,
    learns_from,
    make_algorithm,
    plain_algorithm,
)
from superalign_training.algorithms.sft import Sft
from superalign_training.experience import Example, Opinion, Preference
from superalign_training.sections import Section

IDS = sorted(registry.entries("algorithm"))


class Learning(Section):
    rl: RlAlgorithm = Grpo()
    lessons: LessonAlgorithm = Sft()
    extra: AnyAlgorithm = Kto()


@pytest.mark.parametrize("name", IDS)
def test_every_registered_algorithm_is_made_by_its_id_and_goes_through_json(name):
    made = make_algorithm(name)
    assert made.id == name
    plain = json.loads(json.dumps(plain_algorithm(made)))
    assert plain["id"] == name
    assert make_algorithm(plain) == made
    assert make_algorithm(made) is made
    assert learns_from(type(made)), "improve() says by annotation what it learns from"


def test_settings_are_taken_and_the_rest_is_the_default():
    made = make_algorithm({"id": "dpo", "loss": "robust", "flip": "0.2"})
    assert made == Dpo(loss="robust", flip=0.2)
    course = Sft(steps=200, batch=64)
    assert make_algorithm({"steps": 5}, default=course) == Sft(steps=5, batch=64)
    assert make_algorithm({"id": "sft", "steps": 5}, default=course) == Sft(
        steps=5, batch=64
    )
    assert make_algorithm({"id": "kto", "steps": 5}, default=course) == Kto(steps=5)


def test_what_is_wrong_is_named_with_what_is_allowed():
    with pytest.raises(UnknownId, match="did you mean dpo"):
        make_algorithm("dpoo")
    with pytest.raises(InvalidOption, match=r"kto: beta=-1: .*greater than 0"):
        make_algorithm({"id": "kto", "beta": -1})
    with pytest.raises(InvalidOption, match=r"sft: there is no setting 'step'.*steps"):
        make_algorithm({"id": "sft", "step": 3})
    with pytest.raises(InvalidOption, match=r"known: .*batch"):
        make_algorithm({"id": "sft", "zzz": 3})
    with pytest.raises(InvalidOption, match="0 < flip < 0"):
        make_algorithm({"id": "dpo", "loss": "robust"})
    with pytest.raises(InvalidOption, match=r"beta=0.*; .*steps='many'"):
        make_algorithm({"id": "dpo", "beta": 0, "steps": "many"})
    with pytest.raises(InvalidOption, match="names no algorithm"):
        make_algorithm({"steps": 3})
    with pytest.raises(InvalidOption, match="is no algorithm"):
        make_algorithm(3)


def test_settings_hold_algorithms_and_write_them_with_their_own_fields():
    found = Learning.model_validate({"lessons": {"id": "dpo", "beta": 0.5}, "extra": "sft"})
    assert found.lessons == Dpo(beta=0.5)
    plain = json.loads(found.model_dump_json())
    assert plain["lessons"]["beta"] == 0.5
    assert plain["rl"]["members"] == Grpo().members
    assert found.model_dump(mode="json") == plain
    assert Learning.model_validate(plain) == found


def test_a_field_takes_only_algorithms_that_learn_from_what_it_has():
    with pytest.raises(
        ValidationError, match=r"rl\n.*sft does not learn from live episodes; .*grpo"
    ):
        Learning(rl="sft")
    with pytest.raises(
        ValidationError, match=r"grpo does not learn from lessons; dpo, kto"
    ):
        Learning(lessons=Grpo())
    with pytest.raises(ValidationError, match="did you mean grpo"):
        Learning(rl="grppo")


def test_what_an_algorithm_learns_from_is_its_annotation():
    assert Example in learns_from(Sft)
    assert Preference in learns_from(Dpo)
    assert Opinion in learns_from(Kto)
