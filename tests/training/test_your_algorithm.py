"""The algorithm of docs/your_algorithm.md learns, and is known once it is installed."""

import json
import re
import sys
from pathlib import Path

import pytest

from superalign_env import registry
from superalign_training.algorithms.algorithm import make_algorithm, plain_algorithm
from superalign_training.cli import composing
from superalign_training.data import Live
from superalign_training.selfplay.settings import read_settings

PAGE = Path(__file__).parents[2] / "docs" / "your_algorithm.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that can be imported from, with the page's first block as a module."""
    code = re.search(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)[1]
    (tmp_path / "my_a2c.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("my_a2c", None)


@pytest.fixture
def installed(folder):
    """The same, with the page's entry point, as pip would install it."""
    group, name, target = re.search(
        r'project\.entry-points\."(.+?)"\]\n(\S+) = "(.+?)"', PAGE.read_text("utf-8")
    ).groups()
    info = folder / "my_a2c-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: my_a2c\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
    registry.refresh()
    yield
    (info / "entry_points.txt").unlink()
    registry.refresh()


def test_it_is_about_sixty_lines():
    code = re.search(r"^class A2c.*?\n\n\n", PAGE.read_text("utf-8"), re.M | re.S)[0]
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 65


@pytest.mark.parametrize("task, best", [("Bandit", 0.9), ("Delayed", 0.7)])
def test_it_learns(folder, toys, task, best):
    policy = toys.small_policy()
    given = {"steps": 60, "batch_size": 64, "learning_rate": 1e-2}
    algorithm = make_algorithm({"id": "my_a2c:A2c", **given})
    play = getattr(toys, task)(policy, members=algorithm.num_generations)
    reports = []
    numbers = algorithm.improve(
        policy, Live(play), seed=1, on_step=lambda _, said: reports.append(said)
    )
    assert numbers["reward_first"] < 0.6 and numbers["reward"] > best
    errors = [said["value_loss"] for said in reports]
    assert sum(errors[-10:]) < sum(errors[:10]), "values learn, too"


def test_without_a_registration_the_record_names_its_module(folder):
    given = {"id": "my_a2c:A2c", "ent_coef": 0.02}
    settings = read_settings({"train": {"learner": given}})
    plain = json.loads(settings.model_dump_json())
    assert plain["train"]["learner"][0]["id"] == "my_a2c:A2c"
    assert read_settings(plain).train == settings.train


def test_installed_it_has_an_id_and_the_command_line_knows_its_settings(installed):
    words = ["train.learner=a2c", "train.learner.ent_coef=0.02"]
    (algorithm,) = read_settings(composing.composed(words)).rl_algorithms("learner")
    assert (algorithm.ent_coef, algorithm.vf_coef) == (0.02, 0.5)
    assert plain_algorithm(algorithm)["id"] == "a2c"
    assert make_algorithm("a2c") == algorithm.model_copy(update={"ent_coef": 0.01})
