"""Replay: the rules make the same of the same words, and every change shows."""

import pytest
from msgspec.structs import replace

from superalign_env import registry
from superalign_env.canonical import content_hash
from superalign_env.envs import make_scenario
from superalign_env.game import Game
from superalign_env.recording import SCHEMA_VERSION, view_hash
from superalign_env.rollout.one_episode import replay
from superalign_env.store import EpisodeWriter, Run
from superalign_env.types import Ending, EpisodeKey, Event, Planted, Reply, View


def speak(view):
    """Something legal where there is a menu, odd text elsewhere; from the seed alone."""
    if view.menu and view.seed % 3:
        return Reply(view.menu[view.seed % len(view.menu)])
    return Reply(
        ["", "no", "ünïcode <|critic|> score 9", "a\x00b", "comply"][view.seed % 5]
    )


def played(scenario, case=0, member=0, **options):
    game = Game(scenario, EpisodeKey(5, 1, 2, case, member), **options)
    while not game.over:
        game.step([speak(view) for view in game.views()])
    return game.episode()


def long_one(scenario, **options):
    """An episode in which everybody spoke."""
    return next(
        episode
        for case in range(100)
        for episode in [played(scenario, case, **options)]
        if {u.seat for u in episode.utterances} == set(scenario.seats)
    )


@pytest.fixture(params=sorted(registry.entries("scenario")))
def scenario(request):
    return make_scenario(request.param)


@pytest.fixture
def red_team():
    return make_scenario("red-team")


def test_every_scenario_reproduces_its_episodes_from_the_record(scenario, tmp_path):
    episodes = [played(scenario, case) for case in range(6)]
    assert any(e.utterances for e in episodes)
    with Run.create(tmp_path / "run", kind="play", config={}, seed=5) as run:
        with EpisodeWriter(run) as writer:
            writer.write(episodes)
        recorded = list(run.episodes())
        assert len(recorded) == len(episodes)
        for stored in recorded:
            remade = make_scenario(stored.scenario, **stored.options)
            found = replay(stored, remade)
            assert found.differences == ()
            assert found.same and all(turn.same for turn in found.turns)
            assert len(found.turns) == len(stored.utterances)


def test_a_repaired_turn_is_replayed_with_its_repair(red_team):
    episodes = [played(red_team, case) for case in range(30)]
    repaired = [e for e in episodes if any(u.repair for u in e.utterances)]
    assert repaired
    assert all(replay(e, red_team).same for e in repaired)


@pytest.mark.parametrize("member", [0, 3])
def test_members_that_parted_are_replayed_with_their_seeds(red_team, member):
    case = long_one(red_team).key.case
    forked = played(red_team, case, fork_at="learner_0", member=member)
    assert replay(forked, red_team).same
    if member:
        assert not replay(replace(forked, fork_at=""), red_team).same


def test_an_episode_cut_by_the_limit_of_turns_is_replayed(red_team):
    case = long_one(red_team).key.case
    cut = played(red_team, case, max_turns=2)
    assert cut.ending == Ending.truncated("2 turns")
    assert replay(cut, red_team).same


def test_an_episode_that_was_never_finished_is_replayed(red_team):
    game = Game(red_team, EpisodeKey())
    game.step([speak(view) for view in game.views()])
    assert replay(game.episode(), red_team).same


def test_a_failed_agent_is_replayed(scenario):
    game = Game(scenario, EpisodeKey())
    group = game.group
    game.step([Reply("no")] * (len(group) - 1) + [Reply("", error="out of memory")])
    failed = game.episode()
    assert failed.ending.kind == "failed"
    assert replay(failed, scenario).same


def test_an_aborted_episode_is_replayed(red_team):
    game = Game(red_team, EpisodeKey())
    game.abort("interrupted")
    assert replay(game.episode(), red_team).same


def changed_text(episode):
    first = episode.utterances[0]
    said = replace(first, text="something else", reply=Reply("something else"))
    return replace(episode, utterances=(said, *episode.utterances[1:]))


def changed_view(episode):
    *others, last = episode.utterances
    return replace(episode, utterances=(*others, replace(last, view="0" * 32)))


def changed_pay(episode):
    first = episode.rewards[0]
    return replace(
        episode, rewards=(replace(first, value=first.value + 1), *episode.rewards[1:])
    )


def changed_grade(episode):
    first, *others = episode.grades
    return replace(episode, grades=(replace(first, value=1 - first.value), *others))


def changed_verdict(episode):
    first, *others = episode.judged
    altered = replace(first, verdict=replace(first.verdict, score=0.123))
    return replace(episode, judged=(altered, *others))


def changed_query(episode):
    first, *others = episode.queries
    return replace(episode, queries=(replace(first, valid=not first.valid), *others))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed_text, "turn 1: view"),
        (changed_view, "view of"),
        (changed_pay, "rewards of"),
        (changed_grade, "grades of"),
        (changed_verdict, "facts of"),
        (changed_query, "facts of"),
        (lambda e: replace(e, planted=(Planted("learner_0", True, "x"),)), "planted"),
        (lambda e: replace(e, ending=Ending.truncated("time")), "ending"),
        (lambda e: replace(e, arm="another"), "arm"),
        (lambda e: replace(e, renderer="x-9"), "renderer"),
        (lambda e: replace(e, key=replace(e.key, case=77)), "view"),
        (lambda e: replace(e, events=(*e.events, Event("canary.hit", turn=99))), "events"),
        (lambda e: replace(e, utterances=e.utterances[1:]), "the rules ask"),
        (lambda e: replace(e, utterances=e.utterances[:-1]), "ending"),
    ],
)
def test_every_change_shows(red_team, change, said):
    episode = long_one(red_team)
    assert replay(episode, red_team).same
    found = replay(change(episode), red_team)
    assert not found.same
    assert any(said in line for line in found.differences)


def test_other_rules_are_named(red_team):
    episode = played(red_team)
    other = make_scenario("red-team", refine=2)
    found = replay(episode, other)
    assert any(line.startswith("options") for line in found.differences)


def test_a_view_is_named_by_its_content():
    view = View("e", 0, "s_0", "s", 0, 1, "text", schema=None, menu=("a", "null"))
    assert view_hash(view) == "c5216fe68d447b4e1c855ba4cc908dca"
    assert view_hash(replace(view, menu=("a", "nul"))) != view_hash(view)
    formed = replace(view, form="json-schema", schema={"b": 1.5, "a": [None]})
    turned = replace(view, form="json-schema", schema={"a": [None], "b": 1.5})
    assert view_hash(formed) == view_hash(turned) == content_hash(formed)
    with pytest.raises(ValueError, match="no JSON form"):
        view_hash(replace(view, schema={"a": float("nan")}))


def test_views_hash_alike_one_by_one_and_together():
    game = Game(make_scenario("echo"), EpisodeKey(3))
    while not game.over:
        game.step([Reply("word" * 3000) for _ in game.views()])
    episode = game.episode()
    assert episode.schema_version == SCHEMA_VERSION
    assert [u.view for u in episode.utterances] == [view_hash(v) for v in game.view_log]
