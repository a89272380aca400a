"""The AEC face: PettingZoo's own tests, and what they do not look at."""

import copy
import warnings

import pytest
from pettingzoo.test.api_test import api_test
from pettingzoo.test.max_cycles_test import max_cycles_test
from pettingzoo.test.seed_test import seed_test

import superalign_env
from superalign_env.errors import InvalidOption, InvalidUtterance
from superalign_env.replies import MARKER, encode
from superalign_env.types import Reply
from superalign_scenarios import echo_v0

SCENARIOS = ("echo", "exam", "red-team", "weak-to-strong")


def walk(env, answer, sums=None):
    """Play on to the end; add up what `last` says each seat earned."""
    sums = {} if sums is None else sums
    for seat in env.agent_iter():
        _, reward, terminated, truncated, info = env.last()
        sums[seat] = sums.get(seat, 0.0) + reward
        env.step(None if terminated or truncated else answer(info["view"]).text)
    return sums


@pytest.fixture(params=[*SCENARIOS, "relay"])
def scenario(request, relay):
    return (
        relay() if request.param == "relay" else superalign_env.make_scenario(request.param)
    )


@pytest.mark.filterwarnings("ignore:Observation:UserWarning")  # they are texts
@pytest.mark.filterwarnings("ignore:Action space:UserWarning")
@pytest.mark.parametrize("make", [superalign_env.env, superalign_env.raw_env])
def test_pettingzoo_finds_no_fault(scenario, make, capsys):
    api_test(make(scenario), num_cycles=300, verbose_progress=False)


def test_pettingzoo_finds_it_seeded(scenario):
    seed_test(lambda: superalign_env.env(scenario), num_cycles=100)


def test_where_every_seat_speaks_every_time_cycles_count():
    max_cycles_test(echo_v0)


def test_a_seat_sees_its_text_and_nobody_else_sees_anything(relay):
    env = superalign_env.env(relay())
    env.reset(seed=3)
    env.step("hello")
    assert env.agent_selection == "judge_0"
    assert env.observe("opener_0") == {"text": "", "asked": 0}
    seen, _, _, _, info = env.last()
    assert seen == {"text": info["view"].text, "asked": 1} and info["asked"] == 1
    assert info["messages"][0] == {"role": "user", "content": env.game.task.prompt}
    assert env.infos["opener_0"]["asked"] == 0 and "view" not in env.infos["opener_0"]


def test_every_env_and_every_seat_has_its_own_spaces(relay):
    one, other = superalign_env.env(relay()), superalign_env.env(relay())
    spaces = [e.action_space(seat) for e in (one, other) for seat in one.possible_agents]
    assert len({id(space) for space in spaces}) == len(spaces)
    assert one.action_space("judge_0") is one.action_space("judge_0")


def test_infos_hold_the_parts_that_were_paid_since_the_last_turn(relay):
    env = superalign_env.env(relay())
    env.reset(seed=1)
    env.step("four")
    assert env.infos["opener_0"]["parts"] == {"length": 1.0}
    env.step("score 9 sure 9")
    assert env.rewards == dict.fromkeys(env.possible_agents, 0.0), "nothing within a group"
    env.step("x")
    assert env.rewards == {"opener_0": 1.0, "judge_0": 0.5, "judge_1": 0.5}
    assert env.infos["opener_0"]["parts"] == {"length": 1.0, "praise": 1.0}
    assert "truth" not in env.infos["opener_0"]["parts"], "recorded, not paid"
    kept = env.infos["opener_0"]["parts"]
    env.step("more")
    assert kept == {"length": 1.0, "praise": 1.0}, "what was told stays told"


def test_a_seed_starts_again_and_no_seed_goes_on(relay):
    env = superalign_env.env(relay(), seed=9)
    names = []
    for seed in (None, None, 4, None, 9):
        env.reset(seed=seed)
        names.append(env.game.episode_id)
    cases = [name.split("-")[2] for name in names]
    assert cases == ["c0", "c1", "c0", "c1", "c0"] and names[0] == names[4]


def test_options_name_case_and_member_and_others_are_ignored(relay):
    env = superalign_env.env(relay())
    env.reset(options={"case": 7, "member": 2, "difficulty": "hard"})
    assert (env.game.key.case, env.game.key.member) == (7, 2)
    env.reset()
    assert (env.game.key.case, env.game.key.member) == (8, 0)
    for wrong in (-1, "1", True, 1.0):
        with pytest.raises(InvalidOption, match="case"):
            env.reset(options={"case": wrong})


@pytest.mark.parametrize(
    "action", [5, b"x", ["x"], "a\x00", "\ud800", "z" * 201, MARKER + "{"]
)
def test_an_action_that_is_none_is_refused_and_can_be_said_again(relay, action):
    env = superalign_env.env(relay())
    env.reset()
    env.step("fine")
    env.step("fine")
    with pytest.raises(InvalidUtterance):
        env.step(action)
    assert env.agent_selection == "judge_1"
    env.step("better")
    assert [u.text for u in env.game.utterances] == ["fine", "fine", "better"]


@pytest.mark.parametrize("action", [None, 5, b"x", "a\x00", "\ud800", "z" * 10_000_000])
def test_or_it_is_repaired_and_costs_where_that_is_asked_for(relay, action):
    env = superalign_env.env(relay(), on_invalid="penalise")
    env.reset()
    env.step(action)
    assert env.infos["opener_0"]["parts"]["format"] == -1.0
    assert env.game.events[0].kind == "text.repaired"


def test_a_subclass_of_str_is_a_str(relay):
    class Label(str):
        pass

    env = superalign_env.env(relay())
    env.reset()
    env.step(Label("fine"))
    assert type(env.game.utterances[0].text) is str and env.game.utterances[0].repair == ""


def test_a_whole_reply_travels_as_an_action(relay):
    env = superalign_env.env(relay())
    env.reset()
    reply = Reply("said", thought="not said", token_ids=(1, 2), logprobs=(-0.5, -1.5))
    env.step(encode(reply))
    assert env.game.utterances[0].reply == reply
    seen = env.last()[0]["text"]
    assert "said" in seen and "not said" not in seen


def test_a_failed_agent_truncates_for_everybody(relay):
    env = superalign_env.env(relay())
    env.reset()
    env.step(encode(Reply("", error="gone")))
    assert env.truncations == dict.fromkeys(env.possible_agents, True)
    assert not any(env.terminations.values())
    assert env.infos["judge_0"]["ending"] == "failed"


def test_dead_seats_only_pass(relay, by_seed):
    env = superalign_env.env(relay(rounds=1))
    env.reset()
    while not any(env.terminations.values()):
        env.step("x")
    assert env.observe(env.agent_selection) == {"text": "", "asked": 0}
    with pytest.raises(ValueError, match="None"):
        env.step("x")
    left = []
    for seat in env.agent_iter():
        left.append(seat)
        env.step(None)
    assert left == env.possible_agents and env.agents == []
    env.step("too late")
    assert env.agents == [] and len(env.game.utterances) == 3, "a warning, and nothing else"


@pytest.mark.parametrize("name", ["agents", "rewards", "infos", "agent_selection", "game"])
def test_nothing_can_be_read_before_the_first_reset(relay, name):
    with pytest.raises(AttributeError, match="reset"):
        getattr(superalign_env.env(relay()), name)


def test_nothing_can_be_done_before_the_first_reset(relay):
    env = superalign_env.env(relay())
    for act in (
        lambda: env.step("x"),
        lambda: env.observe("judge_0"),
        env.last,
        env.render,
    ):
        with warnings.catch_warnings(), pytest.raises((AttributeError, AssertionError)):
            warnings.simplefilter("ignore")
            act()


def test_seats_are_named_in_turn_only_to_those_who_step(relay):
    env = superalign_env.env(relay())
    env.reset()
    for seat in env.agent_iter():
        env.step("x" if not env.terminations[seat] else None)
    env.reset()
    with pytest.raises(AssertionError, match="step"):
        for _ in env.agent_iter():
            pass
    env.step("x")
    assert next(iter(env.agent_iter())) == "judge_0"


def test_a_wrapped_environment_that_is_reset_underneath_goes_on_there(relay):
    env = superalign_env.env(relay(rounds=1))
    env.reset()
    walk(env, lambda view: Reply("x"))
    env.unwrapped.reset()
    assert env.agents == env.possible_agents and env.agent_selection == "opener_0"


def test_rendering_escapes_what_was_said(relay, capsys):
    env = superalign_env.env(relay(), render_mode="ansi")
    env.reset()
    env.step("\x1b[31mred\u202e")
    assert env.render() == "opener_0: ⟨U+001B⟩[31mred⟨U+202E⟩"
    shown = superalign_env.env(relay(), render_mode="human")
    shown.reset()
    shown.step("plain")
    capsys.readouterr()
    assert shown.render() is None and capsys.readouterr().out == "opener_0: plain\n"


def test_a_copy_goes_its_own_way_from_the_middle_of_a_group(relay, by_seed):
    env = superalign_env.env(relay())
    env.reset(seed=2)
    env.step("one")
    env.step("two")
    twin = copy.deepcopy(env)
    walk(twin, lambda view: Reply("another way"))
    before = [u.text for u in env.game.utterances]
    assert before == ["one"] and env.agent_selection == "judge_1"
    assert walk(env, by_seed.answer).keys() == set(env.possible_agents)


def test_unknown_ids_name_the_nearest():
    with pytest.raises(KeyError, match="did you mean red-team"):
        superalign_env.env("red-tem")
    with pytest.raises(InvalidOption, match="critcs"):
        superalign_env.env("red-team", critcs=2)
    for thing in (3, None, {"id": "red-team"}):
        with pytest.raises(InvalidOption, match="is no scenario; pass an id"):
            superalign_env.env(thing)
    with pytest.raises(InvalidOption, match="is a class; pass an instance"):
        superalign_env.env(type(superalign_env.make_scenario("echo")))


@pytest.mark.parametrize(
    "name", ["red-team", "red-team-v0", "red_team_v0", "superalign/RedTeam-v0"]
)
def test_every_spelling_names_the_same_scenario(name):
    assert superalign_env.env(name).scenario.id == "red-team-v0"
