"""Any role may be improved by what it is paid, by an algorithm of its own."""

import math

import pytest
from small_runs import BRIEF, all_earn

from superalign_env.errors import InvalidOption
from superalign_env.store import Run
from superalign_training.data import Row
from superalign_training.selfplay import SelfPlay
from superalign_training.selfplay.model_cache import ModelCache
from superalign_training.selfplay.stages.attack import with_novelty


def test_three_roles_three_policies_three_algorithms(earned):
    with Run.open(earned, readonly=True) as run:
        stages = run.stages.all()
        notes = {(s.name, s.round): s.outputs["notes"] for s in stages}
        paid = {m.metric.tags["role"] for m in run.metrics.read("reward")}
    assert paid == {"attacker", "learner"}  # the critic is paid and says so in its notes
    assert "policy_loss" in notes["improve-learner", 1]  # PPO's own numbers
    assert math.isfinite(notes["attack", 1]["rl_baseline"])  # REINFORCE's
    assert math.isfinite(notes["calibrate", 1]["rl_reward"])
    weights = [s.outputs["state"]["policies"] for s in stages]
    assert len({w["attacker"]["weights"] for w in weights}) >= 3
    taught = {w["learner"]["weights"] for w in weights}
    assert len(taught) == 5, "the start, and in two rounds lessons and pay"
    assert weights[-1]["attacker"]["baselines"]
    assert weights[-1]["learner"]["head"]  # PPO's value head is kept
    assert not weights[-1]["critic"]["head"]


def test_a_league_plays_and_is_measured_after_each_round(earned):
    with Run.open(earned, readonly=True) as run:
        names = [stage.name for stage in run.stages.all()]
        ratings = run.metrics.read("league.rating")
        spoke = {
            reply.policy
            for stage in run.stages.all()
            if (stage.name, stage.round) == ("improve-learner", 2)
            for episode in run.episodes(stage=stage.id)
            for u in episode.utterances
            if u.seat == "attacker_0" and (reply := u.reply) is not None and reply.policy
        }
    assert names.count("league") == names.count("trial") == 2
    assert ratings
    assert len(spoke) >= 2  # of this round and of an earlier one


def test_lessons_come_before_rewards_where_they_are_asked_for(speaking, tmp_path):
    path = tmp_path / "run"
    few = {"steps": 2, "batch_size": 4}
    lessons = {
        "cases": 24,
        "num_generations": 4,
        "algorithm": {"id": "kto", **few},
        "replay": {"cases": 4, "num_generations": 2, "imitation": few},
    }
    asked = all_earn(speaking, path, rounds=1, supervise=lessons)
    asked["evaluate"] = {**BRIEF, "also": ["microworld-survey"]}
    SelfPlay(**asked).run()
    with Run.open(path, readonly=True) as run:
        stages = {stage.name: stage for stage in run.stages.all()}
        covered = [row.metric for row in run.metrics.read("archive.*")]
    names = list(stages)
    order = ("attack", "supervise", "improve-learner", "evaluation-microworld-survey")
    places = [names.index(name) for name in order]
    assert places == sorted(places)
    assert {m.name for m in covered} >= {"archive.coverage", "archive.coverage.classes"}
    assert all(0 <= m.value <= 1 for m in covered)
    taught = stages["supervise"]
    assert taught.outputs["notes"]["examples"] > 0
    before, after = (
        chain["state"]["policies"]["learner"]["weights"]
        for chain in (taught.inputs, taught.outputs)
    )
    assert before != after


def test_what_made_an_attacker_say_little_is_taken_back(speaking, tmp_path):
    path = tmp_path / "run"
    asked = all_earn(speaking, path, rounds=1)
    asked["attack"] |= {"unexplored_share": 1.0}  # nothing is imitated
    asked["attack"] |= {"min_valid": 1.0, "min_distinct": 1.0}
    SelfPlay(**asked).run()
    with Run.open(path, readonly=True) as run:
        assert run.events.read(kind="attack.collapsed")
        chains = [s.outputs["state"]["policies"] for s in run.stages.all()]
    assert chains[-1]["attacker"]["weights"] == chains[0]["attacker"]["weights"]


def test_three_adapters_stand_on_one_base(speaking, tmp_path):
    path = tmp_path / "run"
    asked = all_earn(speaking, path, rounds=1)
    start = {"id": str(speaking), "adapter": {"rank": 2, "alpha": 4}}
    asked["lineup"] = dict.fromkeys(asked["lineup"], start)
    SelfPlay(**asked).run()
    with Run.open(path, readonly=True) as run:
        last = run.stages.all()[-1].outputs["state"]["policies"]
    assert len({c["base"] for c in last.values()}) == 1
    assert len({c["weights"] for c in last.values()}) == 3
    for checkpoint in last.values():
        folder = path / checkpoint["path"]
        assert (folder / "adapter_model.safetensors").is_file()
        assert not (folder / "model.safetensors").exists()


def test_a_base_is_loaded_once(speaking):
    models = ModelCache()
    base = models.base(str(speaking), device="cpu")
    assert models.base(str(speaking), device="cpu") is base
    assert models.base(str(speaking), device="cpu", dtype="bfloat16") is not base


def test_an_adapter_with_a_wrong_setting_is_named(speaking, tmp_path):
    asked = all_earn(speaking, tmp_path / "run")
    asked["lineup"]["critic"] = {"id": str(speaking), "adapter": {"ranc": 2}}
    with pytest.raises(InvalidOption, match=r"critic\.adapter: .*rank"):
        SelfPlay(**asked).run()
    assert not (tmp_path / "run").exists()


def row(*completion, pay=1.0):
    n = len(completion)
    return Row(
        episode="e",
        case=0,
        member=0,
        seat="attacker_0",
        turns=(0,),
        prompt_ids=(1,),
        completion_ids=completion,
        env_mask=(1,) * n,
        spans=((0, n),),
        logprobs=(0.0,) * n,
        turn_rewards=(pay,),
        to_go=pay,
        policy="",
    )


def test_the_bonus_is_the_surprise_of_the_batch():
    same = [row(5, 6), row(5, 6), row(5, 6), row(7)]
    bonus = [paid.to_go - 1.0 for paid in with_novelty(same, 0.5)]
    assert bonus[3] == pytest.approx(0.5)  # alone
    assert bonus[:3] == pytest.approx([0.5 * math.log(4 / 3) / math.log(4)] * 3)
    assert [p.reward for p in with_novelty(same, 0.5)] == [1.0 + b for b in bonus]
    alike = with_novelty([row(5), row(5)], 0.5)
    assert [p.to_go for p in alike] == [1.0, 1.0]
    assert with_novelty(same, 0.0) == same
    assert with_novelty(same[:1], 0.5) == same[:1]
