"""GRPO on environment rewards: whole episodes, exact rows, the policy improves."""

import math

import pytest

from superalign_agents.references import make_agent
from superalign_env.envs import make_scenario
from superalign_env.errors import InvalidOption
from superalign_env.rollout import Rollouts
from superalign_env.seating import as_agent
from superalign_training.algorithms.advantages import group_relative
from superalign_training.algorithms.cases import CaseSampler, Groups, complete_groups
from superalign_training.algorithms.group_trainer import GroupTrainer
from superalign_training.algorithms.grpo import Grpo
from superalign_training.data import Live, Row, training_rows
from superalign_training.policy import Policy


def row(case, member, *, pay=0.0, place=0):
    name = f"c{case}-m{member}"
    ids = (5, 6), (7, 1)
    return Row(
        name,
        case,
        member,
        "learner_0",
        (place,),
        *ids,
        (1, 1),
        ((0, 2),),
        (0.0, 0.0),
        (pay,),
        pay,
        "",
    )


def groups_of(policy, play, members):
    return Groups(CaseSampler(Live(play), policy), members, group_relative)


def lenient(text):
    """A critic that likes whoever complies."""
    return "score 9 sure 9" if "<|learner|> comply" in text else "score 0 sure 9"


def player(policy, **options):
    """Plays red-team with this policy as the learner; remembers the rows."""
    scenario = make_scenario("red-team", **options)
    agents = {
        "attacker_0": make_agent("search"),
        "learner_0": policy.agent,
        "critic_0": as_agent(lenient),
    }
    seen = []

    def play(first, count):
        rollouts = Rollouts(
            scenario, agents, run=3, first_case=first, group=4, fork_at="learner_0"
        )
        rows = training_rows(rollouts.run(count), "learner_0")
        seen.extend(rows)
        return rows

    return play, seen


def test_a_policy_learns_what_the_environment_pays_for(speaking):
    policy = Policy.from_reference(str(speaking))
    play, seen = player(policy)
    before = policy.hash
    numbers = Grpo(
        steps=12, batch_size=6, num_generations=4, learning_rate=5e-3, beta=0.0
    ).improve(policy, Live(play), seed=1)
    assert policy.hash != before
    assert all(math.isfinite(value) for value in numbers.values())
    assert numbers["reward"] > numbers["reward_first"] + 0.3
    assert {r.policy for r in seen[:4]} == {before}
    assert len({r.policy for r in seen}) > 6, "each step plays with the newest weights"
    assert not policy.model.training


def test_the_trainer_gets_recorded_ids_masks_and_advantages(speaking, monkeypatch):
    policy = Policy.from_reference(str(speaking))
    play, seen = player(policy, vanilla=1.0, refine=1)
    given = []

    def remember(self, inputs):
        given.append(generate(self, inputs))
        return dict(given[-1])

    generate = GroupTrainer._generate_and_score_completions
    monkeypatch.setattr(GroupTrainer, "_generate_and_score_completions", remember)
    Grpo(steps=1, batch_size=2, num_generations=4).improve(policy, Live(play), seed=1)
    (batch,) = given
    assert len(batch["advantages"]) == len(seen) == 8
    for place, row in enumerate(seen):
        real = {
            name: batch[f"{name}_ids"][place][batch[f"{name}_mask"][place] == 1].tolist()
            for name in ("prompt", "completion")
        }
        assert real["prompt"] == list(row.prompt_ids)
        assert real["completion"] == list(row.completion_ids)
        length = len(row.env_mask)
        assert batch["tool_mask"][place][:length].tolist() == list(row.env_mask)
        assert not batch["tool_mask"][place][length:].any()
        others = batch["advantages"][place][batch["tool_mask"][place] == 0]
        assert not others.any(), "nothing is learned from what was heard"
    assert any(0 in row.env_mask for row in seen), "refining learners are told things"
    assert batch["num_items_in_batch"] == sum(sum(row.env_mask) for row in seen)


def test_groups_lie_together_and_incomplete_ones_are_left_out():
    rows = [row(0, 0), row(0, 1), row(1, 0), row(2, 0), row(2, 1), row(2, 0, place=4)]
    groups = complete_groups(rows, 2)
    assert [[(r.case, r.member) for r in group] for group in groups] == [
        [(0, 0), (0, 1)],
        [(2, 0), (2, 1)],
    ]


def test_cases_without_a_turn_are_replaced_and_a_step_may_be_smaller(speaking):
    policy = Policy.from_reference(str(speaking))
    asked = []

    def scarce(first, count):
        asked.append((first, count))
        cases = [case for case in range(first, first + count) if case in (1, 9)]
        return [row(case, member, pay=member) for case in cases for member in range(2)]

    groups = groups_of(policy, scarce, 2)
    step = groups.compare(3)
    assert [(r.case, r.member) for r in step.rows] == [(1, 0), (1, 1), (9, 0), (9, 1)]
    assert (
        step.advantages
        == [pytest.approx([side / 2**0.5], abs=1e-3) for side in (-1, 1)] * 2
    )
    assert [first for first, _ in asked] == sorted({first for first, _ in asked})
    assert groups.cases.played == sum(count for _, count in asked)
    assert groups.share == 2 / groups.cases.played


def test_the_share_of_groups_without_a_difference_is_reported(speaking):
    policy = Policy.from_reference(str(speaking))
    rows = [
        row(case, member, pay=case * member) for case in range(4) for member in range(2)
    ]
    assert groups_of(policy, lambda *_: rows, 2).compare(4).frac_reward_zero_std == 0.25


def test_a_late_case_adds_what_its_answer_changes_in_advantages_and_no_more(speaking):
    """However small a change is, a group's deviation would blow it up to a whole one."""
    before, after = [0.0, 1.0], [0.01, 1.0]
    late = [
        row(0, member, pay=now - was)._replace(origin="late", paid_before=(was,))
        for member, (was, now) in enumerate(zip(before, after, strict=True))
    ]
    policy = Policy.from_reference(str(speaking))
    step = groups_of(policy, lambda *_: late, 2).compare(1)
    expected = zip(group_relative(after), group_relative(before), strict=True)
    changes = [[pytest.approx(now - was)] for now, was in expected]
    assert step.advantages == changes
    assert max(abs(change) for (change,) in step.advantages) < 0.01


def test_no_turn_at_all_is_an_error_that_says_what_to_do(speaking):
    policy = Policy.from_reference(str(speaking))
    with pytest.raises(InvalidOption, match=r"no turn to learn from.*play more cases"):
        groups_of(policy, lambda *_: [], 2).compare(2)
