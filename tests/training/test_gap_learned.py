"""The learned controller: trained by a seed, stored as numbers, read without running any."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from superalign_env.errors import InvalidOption
from superalign_training.gap import GenerationStats, make_controller
from superalign_training.gap.commands import app
from superalign_training.gap.learned import (
    SHARES,
    SHIPPED,
    SIZE,
    Layer,
    Learned,
    Network,
    read_policy,
    write_policy,
)
from superalign_training.gap.surrogate import rehearse
from superalign_training.gap.train import CHAINS, PpoTraining, _learn, _network, train

SHORT = PpoTraining(steps=CHAINS * 16, num_steps=8, batch_size=128, update_epochs=1)


def test_the_same_course_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    train(SHORT, out=one)
    train(SHORT, out=two)
    train(SHORT.model_copy(update={"seed": 1}), out=other)
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()
    course = json.loads(one.read_text())["course"]
    assert PpoTraining.model_validate(course) == SHORT


def test_a_stored_policy_says_what_the_trained_one_says(tmp_path: Path) -> None:
    model = _learn(SHORT, None)
    write_policy(_network(model), {}, tmp_path / "policy.json")
    network = read_policy(tmp_path / "policy.json")
    seen = np.random.default_rng(0).random((50, SIZE)).astype(np.float32)
    chosen, _ = model.predict(seen, deterministic=True)
    ours = np.array([int(network.scores(row).argmax()) for row in seen])
    assert (ours == chosen).mean() >= 0.96  # six digits may turn a tie


def test_the_shipped_policy_says_how_it_was_trained_and_beats_every_small_step() -> None:
    assert (
        PpoTraining.model_validate(json.loads(SHIPPED.read_text())["course"])
        == PpoTraining()
    )
    seeds = range(10_000, 10_150)
    learned = rehearse(make_controller("learned"), seeds)
    small = rehearse(make_controller("fixed-small"), seeds)
    assert learned.following > small.following and learned.fixed > small.fixed


@pytest.mark.slow
def test_the_shipped_policy_can_be_made_again(tmp_path: Path) -> None:
    train(PpoTraining(), out=tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == SHIPPED.read_bytes()


def test_a_choice_is_a_pure_function_of_what_was_seen() -> None:
    sights = [
        GenerationStats(1, 2, misfit=0.2, confidence=0.8),
        GenerationStats(2, 4, accepted=False),
    ]
    made = Learned()
    first = made.choose(sights, levels=8, generations=5)
    made.choose([], levels=3, generations=2)
    assert made.choose(tuple(sights), levels=8, generations=5) == first
    for levels in range(1, 9):
        assert 0 <= made.choose([], levels=levels, generations=4) < levels


def _stored(path: Path, **changes: object) -> Learned:
    layers = [{"weights": np.zeros((SHARES, SIZE)).tolist(), "bias": [0.0] * SHARES}]
    content = {"format": "superalign-gap-1", "layers": layers, **changes}
    path.write_text(json.dumps(content))
    return Learned(policy=str(path))


def test_a_file_that_holds_no_policy_is_refused_before_training(tmp_path: Path) -> None:
    _stored(tmp_path / "fine").check(4, 3)
    with pytest.raises(InvalidOption, match="superalign gap train"):
        Learned(policy=str(tmp_path / "missing")).check(4, 3)
    (tmp_path / "pickle").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(InvalidOption, match="holds no learned gap controller"):
        Learned(policy=str(tmp_path / "pickle")).check(4, 3)
    with pytest.raises(InvalidOption, match="other observations"):
        _stored(tmp_path / "other", format="superalign-gap-0").check(4, 3)
    with pytest.raises(InvalidOption, match="other observations"):
        _stored(tmp_path / "none", layers=[]).check(4, 3)
    for name, weights in (
        ("nan", [[float("nan")] * SIZE] * SHARES),
        ("few", [[0.0]] * SHARES),
    ):
        layers = [{"weights": weights, "bias": [0.0] * SHARES}]
        with pytest.raises(InvalidOption, match="other observations"):
            _stored(tmp_path / name, layers=layers).check(4, 3)


def test_scores_are_those_of_a_network_with_tanh_between_layers() -> None:
    first = Layer(np.array([[2.0, 0.0]]), np.array([0.5]))
    last = Layer(np.array([[1.0], [-1.0]]), np.array([0.0, 1.0]))
    scores = Network((first, last)).scores([0.25, 9.0])
    assert scores == pytest.approx([np.tanh(1.0), 1 - np.tanh(1.0)])


def test_the_commands_train_and_rehearse(tmp_path: Path) -> None:
    runner, out = CliRunner(), tmp_path / "policy.json"
    trained = runner.invoke(app, ["train", "--out", str(out), "--steps", "4096"])
    assert trained.exit_code == 0, trained.output
    Learned(policy=str(out)).check(4, 3)
    shown = runner.invoke(app, ["rehearse", "direct", "adaptive", "--chains", "8"])
    assert shown.exit_code == 0, shown.output
    assert "direct" in shown.output and "adaptive" in shown.output
    assert "linear" not in shown.output
