"""One live game: views, seeds, turns, repairs, endings, forks."""

import copy
import pickle

import pytest
from msgspec.structs import replace

from superalign_env.canonical import from_json, to_json
from superalign_env.envs import make_scenario
from superalign_env.errors import EpisodeOver, InvalidUtterance, ProtocolError
from superalign_env.game import Game
from superalign_env.recording import episode_id
from superalign_env.types import AgentSpec, Ending, Episode, EpisodeKey, Reply, ToolCall

KEY = EpisodeKey(run=1, case=4)


def replies(game, text="hello"):
    return [Reply(f"{text} from {seat}") for seat in game.group]


def played(game, text="hello"):
    while not game.over:
        game.step(replies(game, text))
    return game


def test_groups_follow_the_rules_and_all_seats_end_together(relay):
    game = Game(relay(rounds=2), KEY)
    groups = []
    while not game.over:
        groups.append(game.group)
        game.step(replies(game))
    assert groups == [("opener_0",), ("judge_0", "judge_1")] * 2
    assert game.group == () and game.views() == () and game.ending == Ending.terminated()


def test_views_are_made_only_for_seats_that_are_asked(relay):
    game = Game(relay(), KEY)
    assert [view.seat for view in game.views()] == ["opener_0"]
    with pytest.raises(ProtocolError, match="judge_0 is not asked"):
        game.view("judge_0")


def test_a_view_is_stamped_with_who_when_and_a_seed_of_63_bits(relay):
    game = Game(relay(), KEY)
    game.step(replies(game))
    first, second = game.views()
    assert (first.episode, first.case, first.role, first.turn) == (
        game.episode_id,
        4,
        "judge",
        0,
    )
    assert second.turn == 0 and first.seed != second.seed
    assert all(0 <= view.seed < 1 << 63 for view in (first, second))


def test_a_member_of_a_case_has_the_same_rules_and_other_seeds(relay):
    one = Game(relay(), KEY)
    other = Game(relay(), EpisodeKey(run=1, case=4, member=1))
    assert one.task == other.task and one.state == other.state
    assert one.views()[0].seed != other.views()[0].seed


def test_a_group_does_not_hear_itself_speak(relay):
    game = Game(relay(), KEY)
    game.step([Reply("first")])
    before = game.views()
    game.say(Reply("spoken by the first judge"))
    assert game.views() == before


@pytest.mark.parametrize("text", ["plain", "", "a\x00b", "z" * 201])
def test_a_text_alone_is_heard_as_a_reply_of_it(relay, text):
    games = [Game(relay(), KEY) for _ in range(2)]
    for _ in range(4):
        games[0].say(Reply(text))
        games[1].say_ascii(text)
    assert to_json(games[0].episode()) == to_json(games[1].episode())


def test_a_group_is_taken_in_its_own_order(relay):
    game = played(Game(relay(rounds=1), KEY))
    assert [u.seat for u in game.utterances] == ["opener_0", "judge_0", "judge_1"]
    assert [u.turn for u in game.utterances] == [0, 1, 2]
    assert [u.group for u in game.utterances] == [0, 1, 1]


def test_speaking_one_by_one_is_the_same_as_all_at_once(relay):
    whole, single = Game(relay(), KEY), Game(relay(), KEY)
    while not whole.over:
        said = replies(whole)
        whole.step(said)
        steps = [single.say(reply) for reply in said]
        assert steps[:-1] == [None] * (len(said) - 1) and steps[-1] is not None
    assert whole.episode() == single.episode()


def test_rewards_and_grades_name_the_turn_that_earned_them(relay):
    game = played(Game(relay(rounds=2), KEY))
    assert {r.turn for r in game.rewards if r.part == "praise"} == {0, 3}
    assert {(r.seat, r.turn) for r in game.rewards if r.part == "speech"} == {
        ("judge_0", 1),
        ("judge_1", 2),
        ("judge_0", 4),
        ("judge_1", 5),
    }
    assert [g.turn for g in game.grades] == [0, 3]


@pytest.mark.parametrize("said", [[], [Reply("a"), Reply("b")]])
def test_a_wrong_number_of_replies_is_an_error(relay, said):
    with pytest.raises(ProtocolError, match="1 seats"):
        Game(relay(), KEY).step(said)


def test_nothing_can_be_said_after_the_end(relay):
    game = played(Game(relay(), KEY))
    with pytest.raises(EpisodeOver):
        game.step([])
    with pytest.raises(EpisodeOver):
        game.say(Reply("more"))


@pytest.mark.parametrize(
    ("text", "becomes", "why"),
    [
        (7, "", "is a int, not a str"),
        (None, "", "is a NoneType, not a str"),
        (b"bytes", "", "is a bytes, not a str"),
        ("a\x00b", "a\ufffdb", "contains NUL"),
        ("a\ud800b", "a\ufffdb", "contains a lone surrogate at character 1"),
        ("x" * 201, "x" * 200, "has 201 characters, more than 200"),
        ("y" * 10_000_000, "y" * 200, "has 10000000 characters, more than 200"),
        ("\x00" * 300, "\ufffd" * 200, "has 300 characters, more than 200"),
    ],
)
def test_a_text_that_is_none_is_repaired_recorded_and_paid_for(relay, text, becomes, why):
    game = Game(relay(), KEY)
    step = game.step([Reply(text)])
    said = game.utterances[0]
    assert (said.text, said.repair, said.reply.text) == (becomes, why, becomes)
    assert game.events[0].kind == "text.repaired" and game.events[0].evidence == {
        "reason": why
    }
    assert [r.value for r in step.rewards if r.part == "format"] == [-1.0]
    episode = played(game).episode()
    assert from_json(to_json(episode), Episode) == episode


@pytest.mark.parametrize("text", [7, "a\x00b", "\ud800", "x" * 201])
def test_it_is_an_error_instead_where_that_is_asked_for(relay, text):
    game = Game(relay(), KEY, on_invalid="raise")
    with pytest.raises(InvalidUtterance, match="opener_0: the text"):
        game.step([Reply(text)])
    assert game.utterances == [] and not game.over
    game.step([Reply("better")])
    with pytest.raises(InvalidUtterance, match="judge_1"):
        game.step([Reply("fine"), Reply(text)])
    game.step([Reply("fine"), Reply("better")])
    assert len(game.utterances) == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\t",
        "\x1b[31mred\x1b[0m",
        "\u202eright to left",
        "日本語",
        "🙂e\u0301",
        "a" * 200,
    ],
)
def test_every_other_text_passes_unchanged(relay, text):
    game = Game(relay(), KEY)
    game.step([Reply(text)])
    assert game.utterances[0].text == text and game.utterances[0].repair == ""


@pytest.mark.parametrize(
    "reply",
    [
        Reply("fine", thought="\ud800 hm"),
        Reply("fine", tool_calls=(ToolCall("look", {"at": "\ud800"}),)),
        Reply("fine", token_ids=(1,), logprobs=(float("nan"),)),
        Reply("fine", token_ids=(1,), logprobs=(float("-inf"),)),
    ],
)
def test_what_has_no_json_form_is_dropped_and_said_so(relay, reply):
    game = Game(relay(), KEY)
    game.step([reply])
    assert game.utterances[0].text == "fine"
    repair = game.utterances[0].repair
    assert repair.endswith("a lone surrogate") or "are not finite" in repair
    to_json(played(game).episode())


def test_an_agent_that_failed_ends_the_episode_and_loses_nothing_said_before(relay):
    game = Game(relay(), KEY)
    game.step([Reply("said")])
    step = game.step([Reply("lost"), Reply("", error="the server is gone")])
    assert step.ending == Ending.failed("judge_1: the server is gone")
    episode = game.episode()
    assert [u.text for u in episode.utterances] == ["said"]
    assert episode.events[-1].kind == "agent.failed"
    assert episode.events[-1].evidence == {"error": "the server is gone"}


def test_an_endless_game_is_truncated(relay):
    game = played(Game(relay(rounds=100), KEY, max_turns=6))
    assert game.ending == Ending.truncated("6 turns") and len(game.utterances) == 6


def test_a_recorded_group_is_taken_as_it_is(relay):
    game = Game(relay(), KEY)
    game.step([Reply("x" * 300)])
    original = played(game).episode()
    again = Game(relay(), KEY)
    while not again.over:
        turn = len(again.utterances)
        again.step_recorded(original.utterances[turn : turn + len(again.group)])
    assert again.episode() == original


def test_an_episode_says_by_which_rules_it_was_played(relay):
    game = played(Game(relay(rounds=1), KEY, seats={"opener_0": AgentSpec("me")}))
    episode = game.episode()
    assert (episode.scenario, episode.source, episode.renderer) == (
        "relay-v0",
        "letters-1",
        "relay-1",
    )
    assert episode.options == {"rounds": 1, "early_end": 0.0}
    assert episode.seats["opener_0"].id == "me" and episode.seats["judge_0"].id == "unknown"
    assert all(len(u.view) == 32 for u in episode.utterances)
    assert from_json(to_json(episode), Episode) == episode


def test_another_run_or_case_is_another_game(relay):
    def game(**key):
        return Game(relay(), EpisodeKey(**key))

    tasks = {
        game(run=run, case=case).views()[0].seed for run in range(5) for case in range(5)
    }
    assert len(tasks) == 25
    assert game(generation=1).views()[0].seed != game(round=1).views()[0].seed


def test_a_game_in_progress_survives_copying_and_pickling(relay):
    game = Game(relay(), KEY)
    game.step(replies(game))
    game.say(Reply("half a group"))
    twins = copy.deepcopy(game), pickle.loads(pickle.dumps(game))
    game.say(Reply("the other half"))
    played(game)
    for twin in twins:
        twin.say(Reply("the other half"))
        assert played(twin).episode() == game.episode()


def test_a_fork_equals_the_member_played_from_the_start(relay):
    fork = EpisodeKey(run=1, case=4, member=3)
    trunk = Game(relay(), KEY, fork_at="judge_1")
    trunk.step(replies(trunk))
    twin = trunk.fork(fork)
    whole = Game(relay(), fork, fork_at="judge_1", parent=trunk.episode_id)
    whole.step(replies(whole))
    assert twin.views() == whole.views()
    assert twin.views()[0].seed == trunk.views()[0].seed, "judge_0 has no part in it"
    assert twin.views()[1].seed != trunk.views()[1].seed
    assert played(twin).episode() == played(whole).episode()


def test_a_fork_does_not_touch_the_game_it_came_from(relay):
    trunk = Game(relay(), KEY)
    trunk.step(replies(trunk))
    before = trunk.episode()
    played(trunk.fork(EpisodeKey(run=1, case=4, member=1)), "something else")
    assert trunk.episode() == before and not trunk.over


def test_an_abort_from_outside_is_a_failure(relay):
    game = Game(relay(), KEY)
    game.abort("interrupted")
    game.abort("again")
    assert game.ending == Ending.failed("interrupted")


def test_names_are_unique_within_a_run():
    keys = [
        EpisodeKey(generation=g, round=r, case=c, member=m)
        for g in range(3)
        for r in range(3)
        for c in range(12)
        for m in range(12)
    ]
    assert len({episode_id(key) for key in keys}) == len(keys)


def test_an_episode_of_any_length_has_a_short_repr():
    game = Game(make_scenario("echo"), EpisodeKey(0, 0, 1, 0))
    while not game.over:
        game.step([Reply("word " * 5000) for _ in game.views()])
    episode = game.episode()
    failed = replace(episode, ending=Ending.failed("why " * 5000))
    for shown in (episode, failed):
        assert len(repr(shown)) < 300 and "\n" not in repr(shown)
        assert episode.id in repr(shown) and "echo-v0" in repr(shown)
    assert repr(failed).endswith(">") and "failed: why" in repr(failed)
    assert len(repr([episode] * 3)) < 900
