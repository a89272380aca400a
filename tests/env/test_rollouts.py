"""Many episodes at once: the same words as one by one, and no lost episode."""

import asyncio
import itertools
import threading
from concurrent.futures import Future

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

import superalign_env
from superalign_env.errors import InvalidOption, ProtocolError, RecordFull
from superalign_env.game import Game
from superalign_env.rollout import Rollouts, play
from superalign_env.types import (
    AgentSpec,
    Ending,
    EpisodeKey,
    Reply,
    Reward,
    Step,
    Task,
    Turn,
)


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self):
        self.batches = []

    def write(self, episodes):
        self.batches.append(list(episodes))

    @property
    def ids(self):
        return sorted([episode.id for batch in self.batches for episode in batch])


def everywhere(scenario, agent):
    return dict.fromkeys(scenario.seats, agent)


def words(episodes):
    return [[u.text for u in episode.utterances] for episode in episodes]


# ---------------------------------------------------------------- the same episodes


@pytest.mark.parametrize("live", [1, 2, 7, 64, 1000])
def test_any_number_of_live_episodes_gives_the_same_as_play(relay, by_seed, live):
    scenario = relay(early_end=0.3)
    env = superalign_env.env(scenario, seed=5, on_invalid="penalise")
    agents = everywhere(scenario, by_seed())
    one_by_one = [play(env, agents) for _ in range(20)]
    assert Rollouts(scenario, agents, run=5, live=live).run(20) == one_by_one


@pytest.mark.parametrize("live", [1, 5, 64])
def test_agents_that_wait_give_the_same_words(relay, by_seed, late_by_seed, live):
    scenario = relay()
    expected = Rollouts(scenario, everywhere(scenario, by_seed()), run=5).run(12)
    late = late_by_seed()
    mixed = {"opener_0": by_seed(), "judge_0": late, "judge_1": by_seed()}
    assert (
        Rollouts(scenario, everywhere(scenario, late), run=5, live=live).run(12) == expected
    )
    assert Rollouts(scenario, mixed, run=5, live=live).run(12) == expected


def test_real_scenarios_too(by_seed):
    for name, options in (
        ("red-team", {"critics": 2, "refine": 1}),
        ("exam", {}),
        ("weak-to-strong", {"supervisors": 2, "critics": 1}),
        ("echo", {}),
    ):
        scenario = superalign_env.make_scenario(name, **options)
        agents = everywhere(scenario, by_seed())
        env = superalign_env.env(scenario, seed=2, on_invalid="penalise")
        expected = [play(env, agents) for _ in range(8)]
        for live in (1, 3, 8):
            assert Rollouts(scenario, agents, run=2, live=live).run(8) == expected


def test_the_key_says_where_an_episode_belongs(relay, by_seed):
    scenario = relay()
    agents = everywhere(scenario, by_seed())
    rollouts = Rollouts(
        scenario, agents, run=3, generation=2, round=4, first_case=100, group=2
    )
    keys = [episode.key for episode in rollouts.run(3)]
    assert keys == [EpisodeKey(3, 2, 4, 100 + c, m) for c in range(3) for m in range(2)]
    later = Rollouts(scenario, agents, run=3, generation=2, round=4, first_case=101).run(1)
    assert later[0].key.case == 101


def test_members_of_a_case_share_task_and_rules_but_not_words(relay, by_seed):
    scenario = relay()
    episodes = Rollouts(scenario, everywhere(scenario, by_seed()), group=4).run(5)
    for case in range(5):
        group = episodes[case * 4 : case * 4 + 4]
        assert len({e.task.id for e in group}) == 1 and len({e.arm for e in group}) == 1
        assert len({str(w) for w in words(group)}) > 1


# ---------------------------------------------------------------- forks


@pytest.mark.parametrize("seat", ["opener_0", "judge_0", "judge_1"])
@pytest.mark.parametrize("live", [1, 4, 64])
def test_a_copied_fork_equals_the_replayed_prefix(relay, by_seed, seat, live):
    class Remembers(by_seed):
        """Has memory, so it must live through every prefix itself."""

        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            pass

    scenario = relay(early_end=0.2)
    options = {"run": 8, "group": 3, "fork_at": seat, "live": live}
    copied = Rollouts(scenario, everywhere(scenario, by_seed()), **options).run(6)
    replayed = Rollouts(scenario, everywhere(scenario, Remembers()), **options).run(6)
    assert copied == replayed


def test_all_members_answer_one_identical_view_and_part_there(relay, by_seed):
    scenario = relay()
    agents = everywhere(scenario, by_seed())
    for group in range(5):
        members = Rollouts(
            scenario, agents, group=4, fork_at="judge_0", first_case=group
        ).run(1)
        prefixes = {tuple(words([m])[0][:1]) for m in members}
        assert len(prefixes) == 1
        assert len({m.utterances[1].text for m in members}) > 1 or group
        assert len({m.utterances[2].text for m in members}) == 1, (
            "not judge_1's turn to part"
        )
        assert [m.parent for m in members] == ["", *[members[0].id] * 3]
        assert {m.fork_at for m in members} == {"judge_0"}


def test_the_prefix_is_played_once(relay, by_seed):
    scenario = relay(rounds=1)
    opener, judges = by_seed(), by_seed()
    agents = {"opener_0": opener, "judge_0": judges, "judge_1": judges}
    Rollouts(scenario, agents, group=5, fork_at="judge_0").run(4)
    assert sum(opener.batches) == 4 and sum(judges.batches) == 4 * 5 * 2


def test_a_case_that_never_reaches_the_fork_has_all_its_members(by_seed):
    scenario = superalign_env.make_scenario("red-team", vanilla=0.0)
    agents = everywhere(scenario, lambda text: "no request at all")
    episodes = Rollouts(scenario, agents, group=3, fork_at="learner_0").run(2)
    assert len(episodes) == 6 and len({e.id for e in episodes}) == 6
    assert all(e.ending.reason == "invalid query" for e in episodes)


# ---------------------------------------------------------------- batches and slots


def test_an_agent_is_asked_once_for_all_games_and_seats(relay, by_seed):
    scenario = relay(rounds=1)
    agent = by_seed()
    Rollouts(scenario, everywhere(scenario, agent), live=10).run(10)
    assert agent.batches == [10, 20]


def test_equal_references_are_one_agent_and_others_are_not(relay):
    scenario = relay(rounds=1)
    said = dict(zip(scenario.seats, ["no", "no", "yes", "no"], strict=False))
    references = {seat: {"id": "fixed", "text": text} for seat, text in said.items()}
    agents = Rollouts(scenario, references).agents
    assert len({id(agent) for agent in agents.values()}) == 2
    for one, other in itertools.combinations(scenario.seats, 2):
        assert (agents[one] is agents[other]) == (said[one] == said[other])


def test_the_slot_of_an_ended_episode_is_filled_at_once(relay, by_seed):
    scenario = relay(early_end=0.5)
    agent = by_seed()
    Rollouts(scenario, {**everywhere(scenario, by_seed()), "opener_0": agent}, live=4).run(
        40
    )
    # With lockstep rounds of four, late in each round one game would play alone.
    assert len(agent.batches) < 40 and max(agent.batches) <= 4
    assert sum(agent.batches) == sum(
        len([u for u in e.utterances if u.seat == "opener_0"])
        for e in Rollouts(scenario, everywhere(scenario, by_seed())).run(40)
    )


@pytest.fixture
def uneven(relay):
    """The relay, where the opener speaks once or twice before the judges take turns."""

    class Uneven(relay):
        id = "uneven-v0"

        def to_move(self, state):
            openings = 1 if state.luck < 0.5 else 2
            place = max(0, len(state.turns) - openings + 1)
            return self.seats[place : place + 1]

        def apply(self, state, utterances):
            (said,) = utterances
            turns = (*state.turns, Turn(said.seat, said.text))
            return Step(msgspec.structs.replace(state, turns=turns))

    return Uneven()


@pytest.mark.parametrize("live", [10, 64])
def test_batches_stay_full_where_episodes_differ_in_length(uneven, by_seed, live):
    agents = {seat: by_seed(seat) for seat in uneven.seats}
    episodes = Rollouts(uneven, agents, live=live).run(30 * live)
    assert {len(episode.utterances) for episode in episodes} == {3, 4}
    asked = [len(agent.batches) for agent in agents.values()]
    # Batches of `live` would be 105 calls; whoever asks everybody at every tick makes 300.
    assert sum(asked) < 150


def test_replies_that_have_landed_are_taken_before_anybody_is_asked(
    relay, by_seed, late_by_seed, monkeypatch
):
    def landed(agent, view, *, timeout=None):
        future = Future()
        future.set_result(by_seed.answer(view))
        return future

    monkeypatch.setattr("superalign_env.rollout.live_games.start", landed)
    scenario = relay(rounds=1)
    judge = by_seed()
    agents = {"opener_0": late_by_seed(), "judge_0": judge, "judge_1": judge}
    Rollouts(scenario, agents, live=10).run(100)
    assert judge.batches == [20] * 10


def test_one_slow_reply_delays_no_other_episode(relay, by_seed):
    """Two episodes at once; case 0 waits until all other cases have been played."""
    scenario = relay(rounds=1)
    others_done = asyncio.Event()
    ended = []

    class Waits:
        spec = AgentSpec("waits")

        async def reply(self, view):
            if view.case == 0:
                await others_done.wait()
            elif view.case == 9:
                asyncio.get_running_loop().call_soon(others_done.set)
            return Reply(f"{view.case}")

    rollouts = Rollouts(
        scenario, {**everywhere(scenario, by_seed()), "opener_0": Waits()}, live=2
    )
    for episode in rollouts.stream(10):
        ended.append(episode.key.case)
    assert ended[0] != 0 and sorted(ended) == list(range(10))
    assert len(ended[: ended.index(0)]) >= 8


# ---------------------------------------------------------------- agents that fail


def raising(text):
    raise RuntimeError("out of memory \ud800")


def test_an_agent_that_raises_ends_its_episodes_as_failed(relay, by_seed):
    scenario = relay()
    agents = {**everywhere(scenario, by_seed()), "judge_1": raising}
    episodes = Rollouts(scenario, agents, run=1).run(6)
    expected = Ending.failed("judge_1: RuntimeError: out of memory \ufffd")
    assert [e.ending for e in episodes] == [expected] * 6
    assert all(len(e.utterances) == 1 for e in episodes), "what was said before is kept"
    env = superalign_env.env(scenario, seed=1)
    assert play(env, agents).ending == expected


class Once:
    """Fails for one case only."""

    spec = AgentSpec("once")

    def act(self, views):
        return [Reply("", error="no") if view.case == 2 else Reply("yes") for view in views]


def test_only_the_episode_that_failed_is_lost(relay):
    scenario = relay()
    episodes = Rollouts(scenario, everywhere(scenario, Once())).run(5)
    assert [e.ending.kind for e in episodes] == ["terminated"] * 2 + ["failed"] + [
        "terminated"
    ] * 2


class Short:
    """Loses a reply of every batch."""

    spec = AgentSpec("short")

    def act(self, views):
        return [Reply("x") for _ in views][1:]


class Text:
    """Returns texts instead of replies."""

    spec = AgentSpec("text")

    def act(self, views):
        return ["x" for _ in views]


class Number:
    """Returns a reply whose text is none."""

    spec = AgentSpec("number")

    def act(self, views):
        return [Reply(5) for _ in views]


class Nothing:
    """Forgets to return."""

    spec = AgentSpec("nothing")

    def act(self, views):
        pass


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (Short, "short gave 3 replies to 4 views"),
        (Text, "returned a str; return a Reply"),
        (Number, "text is a int"),
        (Nothing, "NoneType"),
    ],
)
def test_an_agent_that_breaks_the_protocol_fails_with_a_clear_reason(
    relay, by_seed, broken, why
):
    scenario = relay()
    agents = {**everywhere(scenario, by_seed()), "opener_0": broken()}
    episodes = Rollouts(scenario, agents).run(4)
    assert len(episodes) == 4
    for episode in episodes:
        assert episode.ending.kind == "failed" and why in episode.ending.reason


def test_lists_and_subclasses_are_taken_where_tuples_and_texts_are_meant(relay, by_seed):
    class Label(str):
        pass

    class Loose:
        spec = AgentSpec("loose")

        def act(self, views):
            return [Reply(Label("x"), token_ids=[1, 2], logprobs=[-1, -2.0]) for _ in views]

    scenario = relay()
    reply = Rollouts(scenario, everywhere(scenario, Loose())).run(1)[0].utterances[0].reply
    assert (
        reply == Reply("x", token_ids=(1, 2), logprobs=(-1.0, -2.0))
        and type(reply.text) is str
    )


def test_a_call_that_hangs_is_given_up(relay, by_seed):
    scenario = relay()
    release = threading.Event()

    class Hangs:
        spec = AgentSpec("hangs")

        def act(self, views):
            release.wait()
            return [Reply("late") for _ in views]

    agents = {**everywhere(scenario, by_seed()), "judge_0": Hangs()}
    episodes = Rollouts(scenario, agents, timeout=0.3, live=3).run(6)
    release.set()
    reasons = {e.ending.reason for e in episodes}
    assert "judge_0: TimeoutError: hangs gave no reply within 0.3 s" in reasons
    assert all(e.ending.kind == "failed" for e in episodes) and len(episodes) == 6


def test_a_wait_that_lasts_too_long_is_given_up_alone(relay, by_seed):
    scenario = relay(rounds=1)

    class Sometimes:
        spec = AgentSpec("sometimes")

        async def reply(self, view):
            if view.case == 1:
                await asyncio.sleep(60)
            return Reply("in time")

    agents = {**everywhere(scenario, by_seed()), "opener_0": Sometimes()}
    episodes = Rollouts(scenario, agents, timeout=0.2).run(3)
    assert [e.ending.kind for e in episodes] == ["terminated", "failed", "terminated"]
    assert "within 0.2 s" in episodes[1].ending.reason


def test_an_async_agent_that_raises_fails_alone(relay, by_seed):
    scenario = relay(rounds=1)

    async def picky(view):
        if view.case == 1:
            raise ValueError("not this one")
        return "fine"

    agents = {**everywhere(scenario, by_seed()), "opener_0": picky}
    episodes = Rollouts(scenario, agents).run(3)
    assert [e.ending.kind for e in episodes] == ["terminated", "failed", "terminated"]
    assert episodes[1].ending.reason == "opener_0: ValueError: not this one"


@pytest.mark.parametrize("text", [7, "a\x00", "\ud800", "z" * 10_000_000])
def test_a_text_that_is_none_costs_or_fails_but_loses_no_episode(relay, by_seed, text):
    class Says:
        spec = AgentSpec("says")

        def act(self, views):
            return [Reply(text) for _ in views]

    scenario = relay()
    agents = {**everywhere(scenario, by_seed()), "judge_0": Says()}
    repaired = Rollouts(scenario, agents).run(2)
    strict = Rollouts(scenario, agents, on_invalid="raise").run(2)
    assert [e.ending.kind for e in strict] == ["failed"] * 2
    if text != 7:  # not even a text: the agent is broken, not what it says
        assert [e.ending.kind for e in repaired] == ["terminated"] * 2
        assert all(e.events[0].kind == "text.repaired" for e in repaired)
    for on_invalid, expected in (("penalise", repaired), ("raise", strict)):
        env = superalign_env.env(scenario, on_invalid=on_invalid)
        assert [play(env, agents) for _ in range(2)] == expected


# ---------------------------------------------------------------- sinks and progress


def test_sinks_get_every_episode_once_in_batches(relay, by_seed):
    one, other = Kept(), Kept()
    scenario = relay(rounds=1)
    rollouts = Rollouts(scenario, everywhere(scenario, by_seed()), sinks=[one, other])
    episodes = rollouts.run(600)
    assert one.ids == other.ids == sorted(e.id for e in episodes)
    assert len(one.batches) < 100


def test_play_writes_to_its_sinks(relay, by_seed):
    kept = Kept()
    scenario = relay()
    episode = play(
        superalign_env.env(scenario), everywhere(scenario, by_seed()), sinks=[kept]
    )
    assert kept.batches == [[episode]]


def test_a_sink_that_fails_keeps_no_other_from_its_batch(relay, by_seed):
    class Full:
        def write(self, episodes):
            raise RecordFull("no room left")

    kept = Kept()
    scenario = relay()
    rollouts = Rollouts(scenario, everywhere(scenario, by_seed()), sinks=[Full(), kept])
    with pytest.raises(RecordFull):
        rollouts.run(3)
    assert len(kept.ids) == 3


def test_an_interrupt_keeps_what_has_ended_and_is_raised(relay, by_seed):
    kept = Kept()
    scenario = relay()
    count = []

    class Stops(by_seed):
        def act(self, views):
            count.append(len(views))
            if len(count) > 40:
                raise KeyboardInterrupt
            return super().act(views)

    rollouts = Rollouts(scenario, everywhere(scenario, Stops()), live=2, sinks=[kept])
    with pytest.raises(KeyboardInterrupt):
        rollouts.run(1000)
    assert 5 < len(kept.ids) < 1000


def test_a_stream_that_is_left_early_keeps_what_has_ended(relay, by_seed):
    kept = Kept()
    scenario = relay()
    stream = Rollouts(
        scenario, everywhere(scenario, by_seed()), live=3, sinks=[kept]
    ).stream(50)
    seen = [next(stream).id for _ in range(5)]
    stream.close()
    assert set(seen) <= set(kept.ids) and len(kept.ids) < 50


def test_a_stream_yields_the_same_episodes_in_the_order_of_their_ends(relay, by_seed):
    scenario = relay(early_end=0.4)
    rollouts = Rollouts(scenario, everywhere(scenario, by_seed()), live=5)
    streamed = list(rollouts.stream(20))
    assert sorted(streamed, key=lambda e: e.key.case) == rollouts.run(20)


def test_progress_is_told_after_every_episode(relay, by_seed):
    told = []
    scenario = relay(rounds=1)
    agents = everywhere(scenario, by_seed())
    Rollouts(scenario, agents, group=2, progress=lambda *so_far: told.append(so_far)).run(3)
    assert told == [(n, 6) for n in range(1, 7)]


def test_a_bar_can_be_shown(relay, by_seed, capsys):
    scenario = relay(rounds=1)
    Rollouts(scenario, everywhere(scenario, by_seed()), progress=True).run(3)
    assert "100%" in capsys.readouterr().out


# ---------------------------------------------------------------- arguments


def test_cases_can_be_about_given_tasks(relay, by_seed):
    scenario = relay()
    tasks = [Task(f"letter:{x}", "letters", x) for x in "hgf"]
    rollouts = Rollouts(
        scenario, everywhere(scenario, by_seed()), first_case=7, tasks=tasks
    )
    assert [e.task for e in rollouts.run()] == tasks
    assert [e.task for e in rollouts.run(2)] == tasks[:2]
    with pytest.raises(InvalidOption, match="there are 3 tasks"):
        rollouts.run(4)


def test_a_given_task_does_not_move_the_draws_of_the_rules(relay):
    key = EpisodeKey(case=3)
    drawn = Game(relay(), key)
    given = Game(relay(), key, task=Task("letter:z", "letters", "z"))
    assert given.state.luck == drawn.state.luck and given.arm == drawn.arm


def test_impossible_arguments_say_what_is_possible(relay, by_seed):
    scenario = relay()
    agents = everywhere(scenario, by_seed())
    for options, why in (
        ({"group": 0}, "group must be an integer ≥ 1"),
        ({"live": 0}, "live must be an integer ≥ 1"),
        ({"fork_at": "judge_9"}, "no seat of relay-v0"),
    ):
        with pytest.raises(InvalidOption, match=why):
            Rollouts(scenario, agents, **options)
    with pytest.raises(InvalidOption, match="how many cases"):
        Rollouts(scenario, agents).run()
    with pytest.raises(InvalidOption, match="nobody sits in judge_1"):
        Rollouts(scenario, {s: agents[s] for s in ("opener_0", "judge_0")})
    with pytest.raises(InvalidOption, match="no seat 'jugde_0'"):
        Rollouts(scenario, {**agents, "jugde_0": by_seed()})
    assert Rollouts(scenario, agents).run(0) == []


def test_who_played_is_recorded(relay, by_seed):
    scenario = relay()
    agents = {
        "opener_0": by_seed("me"),
        "judge_0": by_seed("you"),
        "judge_1": lambda text: "x",
    }
    for episode in (
        Rollouts(scenario, agents).run(1)[0],
        play(superalign_env.env(scenario), agents),
    ):
        assert [spec.id for spec in episode.seats.values()] == ["me", "you", "lambda"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", None, 10**400])
def test_pay_that_is_no_finite_number_ends_the_rollout(relay, by_seed, value):
    class Odd(relay):
        """Pays what nobody can be paid."""

        def apply(self, state, utterances):
            step = super().apply(state, utterances)
            return replace(step, rewards=(Reward(self.seats[0], "odd", value, 0),))

    scenario = Odd()
    agents = everywhere(scenario, by_seed())
    with pytest.raises(ProtocolError, match=r"paid .* to \w+ \(part 'odd'\)"):
        Rollouts(scenario, agents).run(2)


def test_what_is_no_seed_sink_or_task_is_refused_before_anything_is_played(relay, by_seed):
    scenario = relay()
    agents = everywhere(scenario, by_seed())
    for options, said in (
        ({"run": "x"}, "a seed is an integer, not 'x'"),
        ({"run": 1.5}, "a seed is an integer, not 1.5"),
        ({"sinks": [print]}, r"is no sink; a sink has write\(episodes\)"),
        ({"tasks": ["a"]}, "'a' is no Task"),
        ({"tasks": 5}, "tasks=5 is no list of tasks"),
        ({"tasks": "ab"}, "tasks='ab' is no list of tasks"),
        ({"sinks": 5}, "sinks=5 is no list of sinks"),
    ):
        with pytest.raises(InvalidOption, match=said):
            Rollouts(scenario, agents, **options).run(1)
    assert Rollouts(scenario, agents, run=np.int64(3)).run(1) == Rollouts(
        scenario, agents, run=3
    ).run(1)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("live", 1.5),
        ("live", "a"),
        ("group", None),
        ("fork_at", 5),
        ("first_case", -1),
        ("first_case", 1 << 64),
        ("take", True),
        ("generation", 1.5),
        ("round", None),
        ("timeout", 0),
        ("timeout", "5"),
        ("timeout", float("nan")),
        ("timeout", float("inf")),
        ("on_invalid", "penalize"),
        ("n_cases", -1),
        ("n_cases", 2.0),
        ("n_cases", "2"),
    ],
)
def test_options_of_the_wrong_kind_are_named_before_anybody_plays(option, value):
    options = {option: value}
    n_cases = options.pop("n_cases", 2)
    name = "number of cases" if option == "n_cases" else option
    with pytest.raises(InvalidOption, match=name):
        Rollouts(
            "echo",
            everywhere(superalign_env.make_scenario("echo"), lambda text: text),
            **options,
        ).run(n_cases)
