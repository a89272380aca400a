"""Admission: whatever an agent gives is repaired on record, or fails its own episode."""

import asyncio
import copy
import json
import sys
import time
from fractions import Fraction

import numpy as np
import pytest

import superalign_env
from superalign_env import Rollouts, admission, plain_values, play, replies
from superalign_env.asking import MOST_ALONE, ask
from superalign_env.canonical import from_json, to_json
from superalign_env.errors import InvalidVerdict
from superalign_env.store import EpisodeWriter, Run
from superalign_env.testing.agent_check import example_views
from superalign_env.types import AgentSpec, Episode, Reply, ToolCall, Usage
from superalign_env.verdicts import SCHEMA, parse


class Odd(str):
    """A text whose own methods break."""

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    def __str__(self):
        raise RuntimeError("no text")

    __hash__ = str.__hash__


def nested(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def calls(arguments, name="look"):
    return Reply("a", tool_calls=(ToolCall(name, arguments),))


def verdict(**parts):
    return json.dumps(
        {"score": 0.5, "confidence": 1, "faults": [], "critique": "", **parts}
    )


REPAIRED = {
    "text": Reply("\ud800"),
    "thought": Reply("a", thought="\udfff"),
    "long thought": Reply("a", thought="x" * (admission.MAX_THOUGHT + 1)),
    "whole number": calls({"a": 10**40}),
    "deep": calls(nested(5000)),
    "wide": calls({"a": list(range(plain_values.MAX_VALUES))}),
    "large": calls({"a": "x" * (plain_values.MAX_CHARACTERS + 1)}),
    "argument": calls({"\ud800": "\ud800"}),
    "not finite": calls({"a": float("nan")}),
    "name": calls({}, "x" * (plain_values.MAX_NAME + 1)),
    "many": Reply("a", tool_calls=(ToolCall("look"),) * (plain_values.MAX_CALLS + 1)),
    "logprobs": Reply("a", token_ids=(1,), logprobs=(float("-inf"),)),
    "probabilities": Reply("a", token_ids=(1, 2), logprobs=(-0.5, 0.25)),
    "below 32 bits": Reply("a", token_ids=(1, 2), logprobs=(-1e300, -0.5)),
}
FAILED = {
    "error": Reply("a", error="\ud800 gone"),
    "error type": Reply("a", error=5),
    "thought type": Reply("a", thought=5),
    "thought none": Reply("a", thought=None),
    "policy type": Reply("a", policy=5),
    "policy": Reply("a", policy="\ud800"),
    "finish type": Reply("a", finish=3),
    "finish": Reply("a", finish="odd"),
    "usage type": Reply("a", usage={}),
    "usage text": Reply("a", usage=Usage("x")),
    "usage below": Reply("a", usage=Usage(-1)),
    "usage above": Reply("a", usage=Usage(2**80)),
    "price": Reply("a", usage=Usage(1, 1, float("nan"))),
    "token": Reply("a", token_ids=(2**33,)),
    "token below": Reply("a", token_ids=(-1,)),
    "token none": Reply("a", prompt_ids=(None,)),
    "token float": Reply("a", prompt_ids=(1.5,)),
    "logprob none": Reply("a", logprobs=(None,)),
    "logprob text": Reply("a", logprobs=("0.5",)),
    "lengths": Reply("a", token_ids=(1, 2), logprobs=(-0.5,)),
    "calls text": Reply("a", tool_calls="abc"),
    "calls none": Reply("a", tool_calls=None),
    "call": Reply("a", tool_calls=(None,)),
    "call name": calls({}, 5),
    "arguments": calls([1]),
    "arguments set": calls({"a": {1}}),
    "arguments key": calls({1: 2}),
    "nothing": None,
    "mapping": {"text": "a"},
    "only text": "a",
    "generator": (letter for letter in "ab"),
}
EQUAL = {
    "subclasses": Reply(Odd("a"), thought=Odd("b"), policy=Odd("c"), finish=Odd("stop")),
    "lists": Reply("a", tool_calls=[ToolCall("look")], token_ids=[True], logprobs=[-1]),
    "tuple": calls({"a": (1, 2)}),
}
RAISED = {
    "exit": lambda: sys.exit(0),
    "error": lambda: 1 / 0,
    "surrogate": lambda: (_ for _ in ()).throw(ValueError("\ud800")),
    "unreadable": lambda: (_ for _ in ()).throw(
        type("E", (Exception,), {"__str__": Odd})()
    ),
    "base": lambda: (_ for _ in ()).throw(type("Panic", (BaseException,), {})("x")),
    "cancelled": lambda: (_ for _ in ()).throw(asyncio.CancelledError()),
}


EVERYTHING = REPAIRED | FAILED | EQUAL | RAISED


class Once:
    """Says something odd in case 2, and a verdict else."""

    spec = AgentSpec("once")

    def __init__(self, reply):
        self.reply = reply

    def answer(self, view):
        if view.case != 2:
            return Reply("score 5 sure 5")
        return self.reply() if callable(self.reply) else self.reply

    def act(self, views):
        return [self.answer(view) for view in views]


class OnceLater:
    """The same, asynchronously."""

    spec = AgentSpec("once-later")

    def __init__(self, reply):
        self.once = Once(reply)

    async def reply(self, view):
        return self.once.answer(view)


def test_one_odd_reply_costs_one_episode_and_all_are_recorded(tmp_path):
    """Every kind at once: as many cases are played with each, batching and waiting."""
    scenario = superalign_env.make_scenario("red-team")
    with Run.create(tmp_path / "run", kind="test", config={}, seed=1) as run:
        played, failed = [], {}
        with EpisodeWriter(run) as writer:
            for number, (name, reply) in enumerate(EVERYTHING.items()):
                kind = Once if number % 2 else OnceLater
                agents = dict.fromkeys(scenario.seats, kind(reply))
                episodes = Rollouts(scenario, agents, run=number, sinks=[writer]).run(4)
                played += episodes
                failed[name] = [e.key.case for e in episodes if e.failed]
        assert failed == {name: [2] * (name in FAILED | RAISED) for name in EVERYTHING}
    with Run.open(tmp_path / "run") as run:
        assert {e.id: e for e in run.episodes()} == {e.id: e for e in played}


@pytest.mark.parametrize("name", [*REPAIRED])
def test_a_repair_is_on_record_and_costs(name):
    scenario = superalign_env.make_scenario("red-team")
    agents = dict.fromkeys(scenario.seats, Once(REPAIRED[name]))
    episode = Rollouts(scenario, agents, first_case=2).run(1)[0]
    assert not episode.failed
    repairs = [u for u in episode.utterances if u.repair]
    assert repairs and len(repairs) == len(
        [e for e in episode.events if e.kind == "text.repaired"]
    )
    assert [r.value for r in episode.rewards if r.part == "format"].count(-1.0) >= len(
        repairs
    )
    assert from_json(to_json(episode), Episode) == episode


@pytest.mark.parametrize("name", [*EVERYTHING])
def test_every_face_makes_the_same_of_it(name):
    scenario = superalign_env.make_scenario("red-team")
    reply = EVERYTHING[name]
    if name == "generator":
        reply = [1]  # one that is used up differs
    agents = dict.fromkeys(scenario.seats, Once(reply))
    episodes = Rollouts(scenario, agents).run(3)
    env = superalign_env.env(scenario, on_invalid="penalise")
    assert [play(env, agents) for _ in range(3)] == episodes
    one = superalign_env.one_seat_env(
        scenario,
        seat="critic_0",
        others=dict.fromkeys(scenario.seats[:-1], Once(reply)),
        on_invalid="penalise",
    )
    one.reset(seed=0, options={"case": 2})
    assert one.game.utterances or one.game.key.case != 2


@pytest.mark.parametrize("stop", [KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("kind", [Once, OnceLater])
def test_an_interrupt_ends_the_run_and_keeps_what_was_played(stop, kind):
    def interrupt():
        raise stop

    kept = []

    class Sink:
        def write(self, episodes):
            kept.extend(episodes)

    scenario = superalign_env.make_scenario("red-team")
    agents = dict.fromkeys(scenario.seats, kind(interrupt))
    rollouts = Rollouts(scenario, agents, live=1, sinks=[Sink()])
    with pytest.raises(stop):
        rollouts.run(5)
    assert [e.key.case for e in kept] == [0, 1]


class Broken:
    """Raises whenever an even case is among the views."""

    spec = AgentSpec("broken")

    def __init__(self, bad=lambda case: case % 2 == 0):
        self.bad, self.asked = bad, 0

    def act(self, views):
        self.asked += 1
        if any(self.bad(view.case) for view in views):
            raise ValueError("not this one")
        return [Reply("score 5 sure 5") for _ in views]


def test_an_exception_costs_only_the_episodes_that_cannot_be_answered():
    scenario = superalign_env.make_scenario("echo")
    agents = dict.fromkeys(scenario.seats, Broken())
    episodes = Rollouts(scenario, agents).run(6)
    assert [e.failed for e in episodes] == [True, False] * 3


def test_an_agent_that_always_raises_is_not_asked_for_every_view():
    scenario = superalign_env.make_scenario("echo")
    agent = Broken(lambda case: True)
    episodes = Rollouts(scenario, dict.fromkeys(scenario.seats, agent), live=64).run(64)
    assert all([e.failed for e in episodes]) and len(episodes) == 64
    assert agent.asked == 1 + MOST_ALONE


def test_an_agent_with_memory_is_not_asked_twice():
    class Remembering(Broken):
        def state_dict(self):
            return {"asked": self.asked}

        def load_state_dict(self, state):
            self.asked = state["asked"]

    scenario = superalign_env.make_scenario("echo")
    agent = Remembering()
    episodes = Rollouts(scenario, dict.fromkeys(scenario.seats, agent)).run(4)
    assert all([e.failed for e in episodes]) and agent.asked == 1


def test_an_agent_may_do_with_the_list_of_views_what_it_likes():
    class Empties:
        spec = AgentSpec("empties")

        def act(self, views):
            replies = [Reply("a") for _ in views]
            views.clear()
            return replies

    scenario = superalign_env.make_scenario("echo")
    assert not Rollouts(scenario, dict.fromkeys(scenario.seats, Empties())).run(1)[0].failed


def test_an_endless_answer_is_cut():
    class Endless:
        spec = AgentSpec("endless")

        def act(self, views):
            while True:
                yield Reply("a")

    (reply,) = ask(Endless(), example_views()[:1])
    assert "2 replies to 1 views" in reply.error


@pytest.mark.parametrize(
    "spec", [AgentSpec(5), AgentSpec("a", {"b": "\ud800"}), AgentSpec("a", {"b": object()})]
)
def test_a_spec_that_cannot_be_recorded_is_refused_early(spec):
    agent = Once(Reply("a"))
    agent.spec = spec
    agents = {"speaker_0": agent, "speaker_1": agent}
    with pytest.raises(
        superalign_env.errors.InvalidOption, match="speaker_0: the spec of Once"
    ):
        Rollouts("echo", agents)


# ---------------------------------------------------------------- views


def test_nobody_can_change_what_others_are_shown():
    scenario = superalign_env.make_scenario("red-team", renderer="english")
    kept = []

    class Adapts:
        spec = AgentSpec("adapts")

        def act(self, views):
            kept.extend(views)
            for view in views:
                if view.schema is not None:
                    view.schema["properties"].clear()
            return [Reply("comply") for _ in views]

    before = json.dumps(SCHEMA)
    seats = {"attacker_0": "search", "learner_0": "random-menu", "critic_0": Adapts()}
    episode = Rollouts(scenario, seats).run(1)[0]
    assert json.dumps(SCHEMA) == before
    assert "copy.deepcopy(view.schema)" in episode.ending.reason
    schema = next(view.schema for view in kept if view.schema is not None)
    mine = copy.deepcopy(schema)
    mine["required"].append("more")
    assert type(mine) is dict and "more" not in schema["required"]
    with pytest.raises(TypeError):
        schema["required"] += ["more"]


def test_infos_are_copies():
    env = superalign_env.env("red-team")
    env.reset(seed=1)
    info = env.last()[4]
    info["parts"]["critic"] = 100.0
    info["messages"].clear()
    assert env.last()[4]["parts"] == {} and env.last()[4]["messages"]


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    "text",
    [
        verdict(critique="\ud800"),
        verdict(faults=[{"kind": "\ud800", "span": "", "severity": 0.5}]),
        verdict(faults=[{"kind": "a"}] * (admission.MAX_FAULTS + 1)),
        "score 5 sure 5" + " fault a 5" * (admission.MAX_FAULTS + 1),
        "score 5 sure 5 note \ud800",
        " " * admission.MAX_VERDICT + "score 5 sure 5",
        '{"score": 1' + "0" * 5000 + "}",
        '{"score": 1, "faults": ' + "[" * 20_000 + "]" * 20_000 + "}",
        "```{" * 10_000,
        "score 5 sure 5 " + "fault a 5 at " * 4_000,
        Odd("score 5 sure 5"),
        None,
    ],
    ids=range(12),
)
def test_a_text_beyond_the_limits_is_no_verdict(text):
    with pytest.raises(InvalidVerdict, match="expected score D sure D") as raised:
        parse(text)
    assert len(str(raised.value)) < 1000 and str(raised.value).encode()


@pytest.mark.parametrize(
    "notes",
    [None, "abc", {"": 1}, {5: 1}, {"a\ud800": 1}, {"a": "b"}, {"a": 1 << 70}, {"a": True}],
)
def test_notes_that_cannot_be_recorded_fail_the_reply(notes):
    reply, _ = admission.admitted(Reply("hi", notes=notes), 100)
    assert "notes" in reply.error
    kept, reason = admission.admitted(
        Reply("hi", thought="t", notes={"prompt.truncated": 3}), 100
    )
    assert (kept.notes, reason) == ({"prompt.truncated": 3}, "")
    assert not admission.is_plain(Reply("hi", notes=notes or {"a": 1}), 100)


# ------------------------------------------------- numbers, notes and agents of odd types


class Counts:
    """A number that only its own methods make one."""

    def __index__(self):
        return 5

    def __radd__(self, other):
        return float(other)


class Exits:
    def __index__(self):
        raise SystemExit(3)


class AlwaysEqual:
    def __eq__(self, other):
        return True

    __hash__ = None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"token_ids": (np.int64(7),)}, {"token_ids": (7,)}),
        ({"token_ids": (True,)}, {"token_ids": (1,)}),
        ({"prompt_ids": (Counts(),)}, {"prompt_ids": (5,)}),
        ({"logprobs": (Fraction(-1, 2),)}, {"logprobs": (-0.5,)}),
        ({"logprobs": (False,)}, {"logprobs": (0.0,)}),
        ({"logprobs": (-(10**30),)}, {"logprobs": (-1e30,)}),
        ({"logprobs": (np.float64(-5.0),)}, {"logprobs": (-5.0,)}),
        ({"token_ids": (Exits(),)}, "SystemExit: 3"),
        ({"token_ids": {1, 2}}, "token_ids must be a tuple, not a set"),
        ({"notes": AlwaysEqual()}, "whole numbers by name"),
        ({"notes": {"agent.failed": 1}}, "whole numbers by name"),
        ({"notes": {"prompt.a\n\x1b[2J": 1}}, "whole numbers by name"),
        ({"notes": {f"prompt.{n}": 1 for n in range(65)}}, "more than 64 notes"),
        ({"error": " \n"}, "no reason given"),
    ],
    ids=range(14),
)
def test_numbers_and_notes_of_odd_types_are_converted_or_fail(fields, expected):
    reply = Reply("hi", **fields)
    assert not admission.is_plain(reply, 100)
    proper, reason = admission.admitted(reply, 100)
    if isinstance(expected, str):
        assert expected in proper.error
    else:
        assert (proper, reason) == (Reply("hi", **expected), "")
        assert from_json(to_json(proper), Reply) == proper


class EndlessList(list):
    def __iter__(self):
        while True:
            yield Reply("a")


class Unreadable(Exception):
    def __str__(self):
        raise SystemExit


class LateList:
    def __iter__(self):
        time.sleep(60)
        yield Reply("a")


def raises_unreadable():
    raise Unreadable


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (EndlessList, "2 replies to 1 views"),
        (LateList, "no reply within 0.05 s"),
        (raises_unreadable, "an exception that cannot be read"),
    ],
)
def test_what_stands_for_a_list_of_replies_is_read_within_limits(answer, reason):
    class Odd:
        spec = AgentSpec("odd")

        def act(self, views):
            return answer()

    (reply,) = ask(Odd(), example_views()[:1], timeout=0.05)
    assert reason in reply.error


def test_a_pair_of_surrogates_is_no_character_in_any_face():
    reply = Reply("a", thought="\ud83d\ude00")
    assert replies.decode(replies.encode(reply)).thought == reply.thought


def test_a_spec_that_raises_is_refused_by_name():
    class Broken:
        @property
        def spec(self):
            sys.exit("gone")

        def act(self, views):
            return []

    with pytest.raises(superalign_env.errors.InvalidOption, match="spec of Broken"):
        superalign_env.as_agent(Broken())


@pytest.mark.parametrize(
    "reply",
    [
        Reply("comply"),
        Reply("grün", finish="stop"),
        Reply("a b", prompt_ids=(1, 2, 3), token_ids=(4, 5), logprobs=(-0.5, -2.0)),
        Reply("a", token_ids=(4,), logprobs=(-0.5,), policy="0" * 32, usage=Usage(3, 1)),
    ],
)
def test_a_usual_reply_needs_no_closer_look(reply):
    assert admission.is_plain(reply, 100)
