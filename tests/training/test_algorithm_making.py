"""Algorithms by id: every registered one, wrong ones explained, settings that hold them."""

import json
from typing import ClassVar, Literal

import pytest
from pydantic import ValidationError

from superalign_env import registry
from superalign_env.errors import InvalidOption, UnknownId
from superalign_training.algorithms.algorithm import (
    AnyAlgorithm,
    SupervisedAlgorithm,
    algorithms_for,
    experience_kinds,
    make_algorithm,
    plain_algorithm,
)
from superalign_training.algorithms.dpo import Dpo
from superalign_training.algorithms.grpo import Grpo
from superalign_training.algorithms.kto import Kto
from superalign_training.algorithms.ppo import Ppo
from superalign_training.algorithms.sft import Sft
from superalign_training.sections import Section

IDS = sorted(registry.entries("algorithm"))


class Learning(Section):
    lessons: SupervisedAlgorithm = Sft()
    extra: AnyAlgorithm = Kto()


@pytest.mark.parametrize("name", IDS)
def test_every_registered_algorithm_is_made_by_its_id_and_goes_through_json(name):
    made = make_algorithm(name)
    assert made.id == name
    plain = json.loads(json.dumps(plain_algorithm(made)))
    assert plain["id"] == name
    assert make_algorithm(plain) == made
    assert make_algorithm(made) is made
    assert experience_kinds(made) == experience_kinds(type(made))


def test_settings_are_taken_and_the_rest_is_the_default():
    made = make_algorithm({"id": "dpo", "loss_type": "robust", "label_smoothing": "0.2"})
    assert made == Dpo(loss_type="robust", label_smoothing=0.2)
    course = Sft(steps=200, batch_size=64)
    assert make_algorithm({"steps": 5}, default=course) == Sft(steps=5, batch_size=64)
    assert make_algorithm({"id": "sft", "steps": 5}, default=course) == Sft(
        steps=5, batch_size=64
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
    with pytest.raises(InvalidOption, match="0 < label_smoothing < 0"):
        make_algorithm({"id": "dpo", "loss_type": "robust"})
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
    assert plain["extra"]["batch_size"] == Sft().batch_size
    assert found.model_dump(mode="json") == plain
    assert Learning.model_validate(plain) == found


def test_a_field_takes_only_algorithms_that_learn_from_what_it_has():
    with pytest.raises(
        ValidationError,
        match=r"grpo does not learn from examples or preferences or unpaired_preferences; dpo, kto",
    ):
        Learning(lessons=Grpo())
    with pytest.raises(ValidationError, match="did you mean grpo"):
        Learning(extra="grppo")


class Nameless(Section):
    id: Literal["nameless"] = "nameless"
    steps: int = 1

    def improve(self, policy, experience, *, seed, on_step=None):
        return {}


class Both(Nameless):
    learns_from: ClassVar = ("examples", "unpaired_preferences")
    weight: float = 0.5


def test_what_an_algorithm_learns_from_is_an_attribute():
    assert algorithms_for("episodes") == ["grpo", "ppo", "reinforce", "rloo"]
    assert algorithms_for("preferences") == ["dpo", "reward-model"]
    assert algorithms_for("examples", "unpaired_preferences") == [
        "kto",
        "sft",
        "weak-to-strong",
    ]
    assert experience_kinds(Both) == {"examples", "unpaired_preferences"}
    assert Learning(lessons=Both()).lessons == Both()


def test_an_algorithm_that_does_not_say_it_is_refused_by_name(monkeypatch):
    entry = registry.entry("algorithm", "sft")
    monkeypatch.setattr(
        registry, "entries", lambda kind: {"nameless": entry, "ppo": entry, "sft": entry}
    )
    monkeypatch.setattr(
        registry,
        "load",
        lambda kind, name: {"nameless": Nameless, "ppo": Ppo}.get(name, Sft),
    )
    with pytest.raises(InvalidOption, match=r"Nameless has no learns_from; .*ClassVar"):
        make_algorithm("nameless")
    with pytest.warns(RuntimeWarning, match="nameless is left out: .*no learns_from"):
        assert algorithms_for("episodes") == ["ppo"]
    for wrong in ("lessons", (), ("examples", "pairs"), 3):
        monkeypatch.setattr(Nameless, "learns_from", wrong, raising=False)
        with pytest.raises(InvalidOption, match=r"Nameless has learns_from=.*preferences"):
            make_algorithm(Nameless())
    monkeypatch.setattr(Nameless, "learns_from", "episodes", raising=False)
    with pytest.raises(
        InvalidOption, match="no setting batch_size and no num_generations and no fork"
    ):
        make_algorithm(Nameless())


def test_one_that_is_not_registered_is_named_by_its_module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_sft.py").write_text(
        "from superalign_training.algorithms.sft import Sft\n\n\n"
        "class Mine(Sft):\n    pass\n\n\nthing = 3\n"
    )
    made = make_algorithm({"id": "my_sft:Mine", "steps": 3})
    plain = json.loads(json.dumps(plain_algorithm(made)))
    assert plain["id"] == "my_sft:Mine", "its id is that of another class"
    assert make_algorithm(plain) == made
    assert make_algorithm({"batch_size": 7}, default=made).batch_size == 7
    with pytest.raises(InvalidOption, match="there is no setting 'step'"):
        make_algorithm({"id": "my_sft:Mine", "step": 3})
    for name in ("my_sft:Yours", "no_such_module:Mine"):
        with pytest.raises(InvalidOption, match=f"{name} cannot be imported.*PYTHONPATH"):
            make_algorithm(name)
    with pytest.raises(InvalidOption, match="is no class"):
        make_algorithm("my_sft:thing")
