"""The league in a run: what it holds, that it grows and never plays again, exact resume."""

import json
import shutil
from functools import partial

import msgspec
import numpy as np
import pytest
from improving import drive_stages
from safetensors.numpy import load_file, save_file

from superalign_env.errors import RecordDamaged
from superalign_env.store import Run
from superalign_training.selfplay.agents import first_policy
from superalign_training.selfplay.driver import PlannedStage, StageContext
from superalign_training.selfplay.failures import Failures
from superalign_training.selfplay.model_cache import ModelCache
from superalign_training.selfplay.opponents.games import PLANTED, RIGHT
from superalign_training.selfplay.opponents.matrix import (
    RATING,
    TRUE,
    WON,
    MatchResult,
    rate,
)
from superalign_training.selfplay.opponents.pool import CheckpointLoader, load, members
from superalign_training.selfplay.opponents.settings import LeagueSettings, Pairing
from superalign_training.selfplay.playing import stage_capabilities
from superalign_training.selfplay.scenario_capabilities import league_roles, rated_pairings
from superalign_training.selfplay.settings import read_settings
from superalign_training.selfplay.skipped_stages import skipped_stages
from superalign_training.selfplay.stages.attack import attack
from superalign_training.selfplay.stages.improve import improve
from superalign_training.selfplay.stages.league import (
    HARM,
    league,
    league_members,
    past_opponents,
    trial,
    win_matrix,
)
from superalign_training.selfplay.watching import Silent

ROLES = ("attacker", "learner", "critic")
RULES = LeagueSettings(cases=6, share=0.5)


def settings(model, **lineup):
    return read_settings(
        {
            "lineup": {**dict.fromkeys(ROLES, str(model)), **lineup},
            "train": {
                "attacker": {"steps": 2, "batch_size": 4},
                "learner": {"steps": 1, "batch_size": 24, "num_generations": 4},
            },
            "attack": {"cases": 12, "archive_updates": 2, "min_distinct": 0.0},
            "options": {"vanilla": 0.7},
        }
    )


def plan(chosen, rounds):
    do = {
        "attack": partial(attack, settings=chosen),
        "improve-learner": partial(improve, settings=chosen, role="learner"),
        "league": partial(league, settings=chosen, rules=RULES),
        "trial": partial(trial, settings=chosen, rules=RULES),
    }
    names = ("attack", "improve-learner", "league", "trial")
    return [
        PlannedStage(name, do[name], number)
        for number in range(1, rounds + 1)
        for name in names
    ]


def go(path, chosen, rounds, **how):
    return drive_stages(path, chosen, plan(chosen, rounds), **how)


@pytest.fixture(scope="module")
def two_rounds(speaking, tmp_path_factory):
    path = tmp_path_factory.mktemp("league") / "run"
    chosen = settings(speaking)
    return path, chosen, go(path, chosen, 2)


def rows(path, name):
    with Run.open(path, readonly=True) as run:
        return [(row.stage, row.metric) for row in run.metrics.read(name)]


def test_members_are_what_roles_began_with_and_every_checkpoint_since(two_rounds):
    path, _, chain = two_rounds
    with Run.open(path, readonly=True) as run:
        learners = members(run.agents, "learner", current=chain.policies["learner"].agent)
        attackers = members(
            run.agents, "attacker", current=chain.policies["attacker"].agent
        )
        critics = members(run.agents, "critic", current=chain.policies["critic"].agent)
    assert [bool(member.path) for member in learners] == [False, True, True]
    assert learners[-1].name == chain.policies["learner"].agent
    assert [member.number for member in learners] == [0, 1, 2]
    # Roles that begin with the same weights share a row, yet both have it as a member.
    assert attackers[0].name == learners[0].name
    assert {m.spec.id for m in attackers[1:]} >= {"search"}
    assert len(critics) == 1


def test_a_refused_checkpoint_is_no_member(two_rounds, tmp_path):
    with Run.create(tmp_path / "run", kind="train", config={}, seed=1) as run:
        spec = first_policy("learner", two_rounds[1], ModelCache()).agent.spec
        kept = run.agents.add(spec, role="learner")
        worse = msgspec.structs.replace(spec, policy="0" * 32)
        refused = run.agents.add(worse, role="learner", parent=kept, accepted=False)
        assert [m.name for m in members(run.agents, "learner", current=kept)] == [kept]
        run.agents.accept(refused)
        assert [m.name for m in members(run.agents, "learner")] == [kept, refused]


def test_every_cell_is_played_once_and_newcomers_add_a_row_and_a_column(two_rounds):
    path, _, _ = two_rounds
    for name in (WON, TRUE, HARM):
        found = rows(path, name)
        pairs = [(metric.agent, metric.opponent) for _, metric in found]
        assert len(pairs) == len(set(pairs))
        before = {
            pair for (stage, _), pair in zip(found, pairs, strict=True) if stage < "0005"
        }
        attackers, learners = ({pair[i] for pair in pairs} for i in (0, 1))
        assert len(pairs) == len(attackers) * len(learners)
        assert len(before) == len({a for a, _ in before}) * len({b for _, b in before})
        assert len(before) < len(pairs)


def test_judged_and_true_success_are_kept_apart(two_rounds):
    path, _, _ = two_rounds
    assert {m.tags["split"] for _, m in rows(path, WON)} == {"train"}
    assert {m.tags["split"] for _, m in rows(path, TRUE)} == {"gate"}
    harm = {(m.agent, m.opponent): m.value for _, m in rows(path, HARM)}
    fault = {(m.agent, m.opponent): m.value for _, m in rows(path, TRUE)}
    assert all(harm[pair] <= fault[pair] for pair in fault)
    assert {m.n for _, m in rows(path, WON)} == {RULES.cases}


def test_everybody_is_rated_from_what_the_record_holds(two_rounds):
    path, _, _ = two_rounds
    last = max(stage for stage, _ in rows(path, RATING))
    rated = {
        (m.tags["role"], m.agent): m for stage, m in rows(path, RATING) if stage == last
    }
    assert {role for role, _ in rated} == set(ROLES)
    assert all(m.low < m.value < m.high for m in rated.values())
    assert {m.opponent for _, m in rows(path, RIGHT)} == {PLANTED}
    contests = [
        MatchResult(f"attacker/{m.agent}", f"learner/{m.opponent}", m.value, m.n)
        for _, m in rows(path, WON)
    ]
    again = rate(contests)
    assert {f"{role}/{name}" for role, name in rated if role != "critic"} == set(again)
    for (role, name), metric in rated.items():
        if role != "critic":
            assert again[f"{role}/{name}"].mu == metric.value


def test_opponents_are_drawn_by_how_often_they_beat_who_trains(two_rounds):
    path, chosen, chain = two_rounds
    with Run.open(path) as run:
        context = _context(run, chain)
        capabilities = stage_capabilities(chosen)
        (pairing,) = rated_pairings(chosen, capabilities)
        assert pairing == Pairing("attacker", "learner")
        matrix = win_matrix(context, league_members(context, chosen, capabilities), pairing)
        met = past_opponents(context, chosen, "attacker", against="learner")
        beaten = matrix.win_rates("attacker", chain.policies["learner"].agent)
        weights = {
            f"league-{n[:12]}": ((b.share * b.n + 1) / (b.n + 2)) ** 2
            for n, b in beaten.items()
        }
        total = sum(weights.values())
        assert met.shares == pytest.approx({n: w / total for n, w in weights.items()})
        newest = chosen.model_copy(update={"league": LeagueSettings(sampling="latest")})
        learners = past_opponents(context, newest, "learner", against="attacker")
        [agent] = learners.agents.values()
        assert agent.spec.policy == chain.policies["learner"].weights


def test_a_run_stopped_within_the_league_resumes_to_the_same_matrix(two_rounds, tmp_path):
    path, chosen, chain = two_rounds

    class Stops(Silent):
        steps = 0

        def begin(self, moment):
            self.stage = moment.stage

        def step(self, done, total, numbers):
            if self.stage == "league":
                self.steps += 1
                if self.steps == 4:
                    raise KeyboardInterrupt

    again = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        go(again, chosen, 2, watcher=Stops())
    assert go(again, chosen, 2, resume=True) == chain
    for name in ("league.*", "attack.*"):
        assert rows(again, name) == rows(path, name)


def test_adapters_play_on_the_one_base_of_the_run(speaking, tmp_path):
    chosen = settings(speaking, learner={"id": str(speaking), "adapter": {"rank": 2}})
    chain = go(tmp_path / "run", chosen, 1)
    with Run.open(tmp_path / "run") as run:
        context = _context(run, chain)
        alike = chosen.model_copy(update={"league": LeagueSettings(sampling="uniform")})
        met = past_opponents(context, alike, "learner", against="attacker")
        first, trained = met.agents.values()
        assert first.adapter.base is trained.adapter.base
        assert trained.spec.policy == chain.policies["learner"].weights
        assert first.spec.policy != trained.spec.policy


@pytest.mark.parametrize("what", ["weights", "archive"])
def test_an_altered_checkpoint_is_refused(two_rounds, tmp_path, what):
    path, _, _ = two_rounds
    with Run.open(path, readonly=True) as run:
        league = {
            "weights": members(run.agents, "learner")[-1],
            "archive": next(
                m for m in members(run.agents, "attacker") if m.spec.id == "search"
            ),
        }
    member = league[what]
    folder = tmp_path / "copy"
    target = folder / member.path
    if what == "archive":
        target.parent.mkdir(parents=True)
        state = json.loads((path / member.path).read_bytes())
        state["archive"]["found"][0]["visits"] += 1
        target.write_text(json.dumps(state))
    else:
        shutil.copytree(path / member.path, target)
        weights = load_file(target / "model.safetensors")
        name = sorted(weights)[0]
        weights[name] = weights[name] + np.float32(0.5)
        save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RecordDamaged, match="altered"):
        load(member, CheckpointLoader(folder))
    with pytest.raises(RecordDamaged, match="cannot be read"):
        load(member, CheckpointLoader(tmp_path / "nowhere"))
    assert load(member, CheckpointLoader(path)).spec == member.spec


def _kept(model, scenario="red-team", **more):
    """Return whose past plays, which pairs are rated, and what the plan says of the league."""
    chosen = read_settings({"scenario": scenario, "league": {"share": 0.5}, **more})
    capabilities = stage_capabilities(chosen)
    said = [line for line in skipped_stages(chosen) if "league" in line]
    return league_roles(chosen, capabilities), rated_pairings(chosen, capabilities), said


def test_past_checkpoints_are_kept_of_policies_that_learn_and_meet(speaking):
    attacked = Pairing("attacker", "learner")
    assert _kept(speaking) == (["attacker", "learner"], [attacked], [])
    assert _kept(speaking, train={"critic": None}) == (
        ["attacker", "learner"],
        [attacked],
        [],
    )
    for frozen in ({"train": {"attacker": None}}, {"lineup": {"learner": "same:attacker"}}):
        roles, rated, (line,) = _kept(speaking, **frozen)
        assert (roles, rated) == (
            [],
            [],
        ) and "no two policies learn that could meet" in line
    # Without beats, critics say what became of queries; who asks stands first.
    three = {
        "lineup": dict.fromkeys("abc", "micro/0"),
        "train": dict.fromkeys("abc", "ppo"),
    }
    roles, rated, said = _kept(speaking, "verdict:Verdict", **three)
    assert (roles, rated, said) == (["a", "b"], [Pairing("a", "b")], [])
    four = ("seller", "buyer", "broker", "notary")
    market = {
        "lineup": dict.fromkeys(four, "micro/0"),
        "train": dict.fromkeys(four[:3], "ppo"),
    }
    roles, rated, (line,) = _kept(speaking, "market:Market", **market)
    assert (roles, rated) == (
        list(four[:3]),
        [],
    ) and "market-v0 does not say who wins" in line


def _context(run, chain):
    others = (None, Silent(), ModelCache(), Failures(), None)
    return StageContext(run, "0009-x", 3, 0, chain, 7, 0, *others)
