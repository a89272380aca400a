"""Settings: checked at once, frozen, and the same on the command line."""

import pytest

from superalign_env.errors import InvalidOption
from superalign_training.launch.composing import FOLDER, composed
from superalign_training.settings import Settings, read_settings


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ({"rounds": 0}, "rounds=0"),
        ({"rounds": -1}, "rounds=-1"),
        ({"rounds": "many"}, "rounds='many'"),
        ({"learn": {"rl": {"members": 1}}}, "learn.rl: grpo: members=1"),
        ({"budget": 1.5}, "budget=1.5"),
        ({"learn": {"vanila": 0.5}}, "learn.vanila"),
        ({"evaluate": {"cases": 2}, "seed": -1}, "seed=-1"),
    ],
)
def test_every_wrong_setting_is_named(plain, said):
    with pytest.raises(InvalidOption, match="make no sense") as caught:
        read_settings(plain)
    assert said in str(caught.value)


def test_settings_are_frozen_and_survive_json():
    settings = read_settings(
        {"rounds": 2, "learner": {"id": "micro/3", "temperature": 0.5}}
    )
    assert read_settings(settings.model_dump(mode="json")) == settings
    with pytest.raises(ValueError, match="frozen"):
        settings.rounds = 3


def test_a_section_that_is_given_in_part_keeps_its_own_defaults():
    settings = read_settings({"calibrate": {"imitation": {"steps": 3}}})
    default = Settings().calibrate
    assert settings.calibrate.imitation.steps == 3
    assert settings.calibrate.imitation.rate == default.imitation.rate != 1e-3
    assert settings.calibrate.cases == default.cases


def test_the_command_line_shows_exactly_the_settings():
    plain = composed(["run_dir=x"])
    assert set(plain) == set(Settings.model_fields)
    assert read_settings(plain) == Settings(run_dir="x")


def test_overrides_reach_every_level():
    plain = composed(
        ["rounds=5", "learn.rl.rate=0.1", "+options.refine=1", "learner={id: a, b: 2}"]
    )
    settings = read_settings(plain)
    assert (settings.rounds, settings.learn.rl.rate) == (5, 0.1)
    assert settings.options == {"refine": 1}
    assert settings.learner == {"id": "a", "b": 2}


def test_every_preset_makes_sense():
    presets = {path.stem for path in (FOLDER / "preset").glob("*.yaml")}
    assert {"chain", "demo", "quick"} <= presets
    for preset in presets:
        read_settings(composed([f"preset={preset}"]))


def test_two_runs_of_one_minute_have_folders_of_their_own():
    assert "s3" in str(composed(["seed=3"])["run_dir"])


def test_an_algorithm_is_a_choice_with_settings_of_its_own():
    def settings(*overrides):
        return read_settings(composed(overrides))

    chosen = settings("learn/rl=ppo", "learn.rl.clip=0.1", "attack/rl=reinforce")
    assert (chosen.learn.rl.id, chosen.learn.rl.clip) == ("ppo", 0.1)
    assert chosen.attack.rl.id == "reinforce"
    assert chosen.calibrate.rl is None
    assert settings().learn.rl == Settings().learn.rl
    assert read_settings(chosen.model_dump(mode="json")) == chosen


def test_python_names_an_algorithm_by_id_or_with_settings():
    assert read_settings({"learn": {"rl": {"id": "rloo", "steps": 3}}}).learn.rl.steps == 3
    assert read_settings({"learn": {"rl": "ppo"}}).learn.rl.id == "ppo"
    kept = read_settings({"learn": {"rl": {"steps": 3}}}).learn.rl
    assert (kept.id, kept.steps, kept.kl) == ("grpo", 3, Settings().learn.rl.kl)
    with pytest.raises(InvalidOption, match="sft does not learn from episodes"):
        read_settings({"learn": {"rl": "sft"}})
    with pytest.raises(InvalidOption, match="clop"):
        read_settings({"learn": {"rl": {"id": "ppo", "clop": 1}}})
