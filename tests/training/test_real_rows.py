"""Rows of a file, several critics, refining: the page's own command lines, made small."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from superalign_env.cli import build
from superalign_env.errors import InvalidOption
from superalign_env.seeding import generator
from superalign_env.store import Run
from superalign_scenarios.microworld.source import MicroWorld

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"
TINY = [
    "lineup.learner=micro/0", "lineup.attacker=micro/0", "lineup.critic=micro/0",
    "train.attacker.steps=1", "train.learner.steps=1", "train.learner.batch_size=2",
    "train.learner.num_generations=2", "train.learner.fork=false", "train.critic.steps=1",
    "judge.cases=8", "judge.check_cases=4", "judge.single_answer_steps=1",
    "judge.imitation.steps=1", "attack.cases=6", "calibrate.cases=4",
    "evaluate.cases=10", "evaluate.attack_cases=4", "evaluate.fresh_queries=4",
    "evaluate.fresh_waves=2", "evaluate.family_cases=0",
]  # fmt: skip


def commands():
    """The command lines of the section, as words."""
    section = PAGE.read_text("utf-8").partition("## Real rows")[2].partition("\n## ")[0]
    (code,) = re.findall(r"^```bash\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for line in code.splitlines()]


def rows(path):
    """Write some requests of the microworld as people would write theirs."""
    world, rng = MicroWorld(), generator(3)
    tasks = {}
    for split, count in (("train", 80), ("gate", 40), ("test", 40)):
        drawn = {
            task.prompt: task for task in (world.draw(rng, split) for _ in range(count))
        }
        tasks |= drawn
    # In other splits than those in which the microworld has them.
    moved = {"train": "gate", "gate": "test", "test": "train"}
    lines = [
        {"prompt": prompt, "label": world.gold(task).label, "split": moved[task.split]}
        for prompt, task in tasks.items()
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {line["prompt"]: line["split"] for line in lines}


def trained(words, folder, *more):
    done = CliRunner().invoke(build(), [*words[1:], *TINY, *more, f"run_dir={folder}"])
    assert done.exit_code == 0, done.exception
    return folder


@pytest.fixture(scope="module")
def refined(tmp_path_factory):
    return trained(commands()[0], tmp_path_factory.mktemp("refined") / "run")


def test_two_critics_judge_and_the_learner_answers_again(refined):
    with Run.open(refined, readonly=True) as run:
        assert run.info.config["options"] == {"critics": 2, "refine": 1}
        episodes = [e for e in run.episodes(split="train") if e.arm != "planted"]
        spoken = [
            [u.seat for u in e.utterances if u.seat != "attacker_0"] for e in episodes
        ]
        paid = {reward.part for e in episodes for reward in e.rewards}
    whole = ["learner_0", "critic_0", "critic_1"]
    assert 2 * whole in spoken
    assert all(seats in (2 * whole, []) for seats in spoken), "else its query was invalid"
    assert "gain" in paid


def test_rows_of_a_file_are_trained_on_and_measured_by_their_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = rows(tmp_path / "requests.jsonl")
    folder = trained(commands()[1], tmp_path / "run", "evaluate.cases=60")
    with Run.open(folder, readonly=True) as run:
        asked = [e for e in run.episodes() if e.scenario.startswith("red-team")]
        assert asked and {e.task.prompt for e in asked} <= known.keys()
        assert all(e.task.split == known[e.task.prompt] for e in asked), "as the file says"
        measured = run.metrics.read("refusals.miss", tags={"split": "test", "who": "final"})
        assert measured[0].metric.n > 0, "harmful rows were asked"
        held_out: dict[tuple[object, ...], list[str]] = {}
        for e in run.episodes(split="test"):
            if e.arm == "vanilla":
                held_out.setdefault((e.key.run, e.key.take), []).append(e.task.id)
        assert held_out and all(len(set(ids)) == len(ids) for ids in held_out.values())


@pytest.mark.parametrize("missing", ["train", "gate", "test"])
def test_rows_that_leave_a_split_empty_are_refused_before_anything_is_done(
    tmp_path, monkeypatch, missing
):
    monkeypatch.chdir(tmp_path)
    rows(tmp_path / "requests.jsonl")
    lines = (tmp_path / "requests.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["split"] != missing]
    (tmp_path / "requests.jsonl").write_text("\n".join(kept))
    done = CliRunner().invoke(build(), [*commands()[1][1:], *TINY, "run_dir=run"])
    assert isinstance(done.exception, InvalidOption)
    assert f"no row of the split '{missing}'" in str(done.exception)
    assert not (tmp_path / "run").exists()
