"""Everything computed while training is a metric with its step, declared where it is computed."""

import math

import pytest
import torch

from superalign_env.store import TRAINING, Run, declare, declared
from superalign_env.types import Metric
from superalign_training.algorithms.losses import clipped, explained_variance
from superalign_training.algorithms.trl import _LOGGED
from superalign_training.selfplay.recorder import BATCH, MetricRecorder


@pytest.fixture(scope="module")
def rows(earned):
    """Metrics of updates, and declarations, of a run in which all roles are paid."""
    with Run.open(earned, readonly=True) as run:
        kinds = run.metrics.kinds()
        return [row.metric for row in run.metrics.read(TRAINING)], kinds


def of(rows, **tags):
    """Metric → values by step, of the rows that bear some tags."""
    found = {}
    for row in rows[0]:
        if tags.items() <= row.tags.items():
            found.setdefault(row.name, {}).setdefault(row.step, []).append(row.value)
    return found


def test_ppo_says_all_that_the_field_looks_at(rows):
    found = of(rows, role="learner", algorithm="ppo")
    wanted = {
        *("loss", "policy_loss", "value_loss", "approx_kl", "kl", "clip_fraction"),
        *("entropy", "grad_norm", "learning_rate", "reward", "frac_reward_zero_std"),
    }
    assert {f"train/{name}" for name in wanted} <= set(found)
    steps = list(found["train/policy_loss"])
    assert len(steps) == 4
    assert steps == sorted(steps)
    assert steps[-1] - steps[0] >= 4, "the step is the policy's count of updates"
    assert all(math.isfinite(v) for by in found.values() for vs in by.values() for v in vs)


def test_parts_of_the_reward_add_up(rows):
    found = of(rows, role="learner", algorithm="ppo")
    parts = [by for name, by in found.items() if name.startswith("train/reward/")]
    assert parts
    for step, (total,) in found["train/reward"].items():
        # A part that has paid nobody yet, such as people's first label, has no number.
        paid = [by[step][0] for by in parts if step in by]
        assert sum(paid) == pytest.approx(total)


def test_every_role_and_algorithm_is_told_apart_by_tags(rows):
    told = {(row.tags["role"], row.tags["algorithm"]) for row in rows[0]}
    learned = {("learner", "ppo"), ("attacker", "reinforce"), ("critic", "rloo")}
    assert learned | {("critic", "sft")} <= told
    assert {row.name.partition("/")[0] for row in rows[0]} == {"train"}
    taught = [row for row in rows[0] if row.tags["stage"] == "supervise"]
    assert {row.tags.get("part", "") for row in taught} == {"", "replay"}


def test_every_metric_of_ours_is_declared_with_its_first_value(rows):
    metrics, kinds = rows
    assert {row.name for row in metrics} <= set(kinds)
    assert kinds["train/explained_variance"].better == "higher"
    assert kinds["train/kl"].unit == "nats"
    assert all(kinds[row.name].title and kinds[row.name].chart == "line" for row in metrics)


@pytest.mark.parametrize("recorded", ["earned", "finished", "finished_chain"])
def test_a_stage_declares_its_metrics_whatever_else_is_imported(
    recorded, undeclared, request
):
    assert undeclared(request.getfixturevalue(recorded)) == set()


def test_every_number_that_a_trainer_of_trl_logs_is_declared():
    assert {f"train/{name}" for name in _LOGGED.values()} <= set(declared())


def test_explained_variance_is_what_values_predict():
    returns = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert explained_variance(returns, returns) == 1.0
    assert explained_variance(returns + 7.0, returns) == 1.0, "a constant is no variance"
    assert explained_variance(torch.full((4,), 9.0), returns) == pytest.approx(0.0)
    assert explained_variance(-returns, returns) == pytest.approx(-3.0)
    assert explained_variance(returns, torch.ones(4)) is None


def test_the_clip_fraction_counts_tokens_beyond_the_range():
    old = torch.zeros(4)
    new = torch.tensor([0.0, 0.19, 0.5, -0.5])
    assert clipped(new, old, 0.2).tolist() == [0.0, 1.0, 1.0, 1.0]


def test_a_metric_is_declared_once():
    declare("train/loss", "Loss")  # the same again says nothing new
    with pytest.raises(ValueError, match="declared twice"):
        declare("train/loss", "Lost")


class Trained:
    id = "mine"
    updates = 0


def test_rows_are_written_in_batches_and_in_order(tmp_path):
    heard = []

    class Sink:
        def log(self, rows):
            heard.append(len(rows))

    trained = Trained()
    with Run.create(tmp_path / "run", kind="train", config={}, seed=0) as run:
        stage = run.stages.begin("learn", generation=2, round=3)
        with MetricRecorder(run, stage, Sink()) as recorder:
            told = recorder.on_step("solver", trained, trained)
            for trained.updates in range(1, BATCH):
                told(trained.updates, {"loss": 1.0, "mine": math.nan, "own": 2.0})
            recorder.write([Metric("learner.safety", 0.5, step=3)])
        found = [row.metric for row in run.metrics.read(stage=stage.id)]
        assert run.metrics.read(without=TRAINING)[0].metric == found[-1]
        assert "train/own" not in run.metrics.kinds(), "nobody declared it"
    assert heard == [BATCH, BATCH - 2, 1]
    assert [m.step for m in found[:-1:2]] == list(range(1, BATCH))
    assert {m.name for m in found} == {"train/loss", "train/own", "learner.safety"}
    assert found[0].tags == {
        **{"role": "solver", "stage": "learn", "algorithm": "mine"},
        **{"round": "3", "generation": "2"},
    }
