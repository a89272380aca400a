"""Settings: checked at once, frozen, and the same on the command line."""

from pathlib import Path

import pytest

from superalign_env.errors import InvalidOption
from superalign_training import conf
from superalign_training.cli.composing import composed
from superalign_training.selfplay.settings import Settings, read_settings


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ({"rounds": 0}, "rounds=0"),
        ({"rounds": -1}, "rounds=-1"),
        ({"rounds": "many"}, "rounds='many'"),
        (
            {"train": {"learner": {"num_generations": 1}}},
            "train.learner: grpo: num_generations=1",
        ),
        ({"budget": 1.5}, "budget=1.5"),
        ({"attack": {"serch_share": 0.5}}, "attack.serch_share"),
        ({"evaluate": {"cases": 2}, "seed": -1}, "seed=-1"),
    ],
)
def test_every_wrong_setting_is_named(plain, said):
    with pytest.raises(InvalidOption, match="make no sense") as caught:
        read_settings(plain)
    assert said in str(caught.value)


def test_settings_are_frozen_and_survive_json():
    settings = read_settings(
        {"rounds": 2, "lineup": {"learner": {"id": "micro/3", "temperature": 0.5}}}
    )
    assert read_settings(settings.model_dump(mode="json")) == settings
    with pytest.raises(ValueError, match="frozen"):
        settings.rounds = 3


def test_a_section_that_is_given_in_part_keeps_its_own_defaults():
    settings = read_settings({"judge": {"imitation": {"steps": 3}}})
    default = Settings().judge
    assert settings.judge.imitation.steps == 3
    assert settings.judge.imitation.learning_rate == default.imitation.learning_rate != 1e-3
    assert settings.judge.cases == default.cases


def test_the_command_line_shows_exactly_the_settings():
    plain = composed(["run_dir=x"])
    assert set(plain) == set(Settings.model_fields)
    assert read_settings(plain) == Settings(run_dir="x")


def test_overrides_reach_every_level():
    plain = composed(
        [
            "rounds=5",
            "train.learner.learning_rate=0.1",
            "+options.refine=1",
            "lineup.learner={id: a, b: 2}",
        ]
    )
    settings = read_settings(plain)
    (learning,) = settings.train["learner"]
    assert (settings.rounds, learning.id, learning.learning_rate) == (5, "grpo", 0.1)
    assert settings.options == {"refine": 1}
    assert settings.lineup["learner"] == {"id": "a", "b": 2}


def test_every_preset_makes_sense():
    presets = {
        path.stem for path in Path(conf.__file__).parent.joinpath("preset").glob("*.yaml")
    }
    assert {"chain", "demo", "quick"} <= presets
    for preset in presets:
        read_settings(composed([f"preset={preset}"]))


def test_two_runs_of_one_minute_have_folders_of_their_own():
    assert "s3" in str(composed(["seed=3"])["run_dir"])


def test_python_names_an_algorithm_by_id_or_with_settings():
    def learning(given):
        (found,) = read_settings({"train": {"learner": given}}).train["learner"]
        return found

    assert learning({"id": "rloo", "steps": 3}).steps == 3
    assert learning("ppo").id == "ppo"
    (kept,) = read_settings({"train": {"critic": {"steps": 3}}}).train["critic"]
    (preset,) = Settings().train["critic"]
    assert kept == preset.model_copy(update={"steps": 3}) != type(preset)(steps=3)
    with pytest.raises(InvalidOption, match="clop"):
        learning({"id": "ppo", "clop": 1})
    with pytest.raises(
        InvalidOption, match=r"train.learner: grpo: .*'clip_range'.*known: .*steps"
    ):
        read_settings(composed(["train.learner.clip_range=0.1"]))
