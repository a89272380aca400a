"""A seat as numbers: valid for every checker, deterministic, blind to gold."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import parallel_api_test

from superalign_agents.scripted import RandomMenu
from superalign_env.envs import make_scenario
from superalign_env.errors import InvalidOption, ProtocolError
from superalign_env.features import LIMIT, HashedText, _digest, read_features
from superalign_env.numeric import NumericParallelEnv, entry, numeric_env
from superalign_env.types import Brief, Message, Turn, View
from superalign_scenarios.echo import Echo

ROOT = Path(__file__).parents[2]
WORDS = ("river", "stone", "lamp", "cloud")


class MenuEcho(Echo):
    """Echo in which one can only choose words."""

    def view(self, state, seat):
        return Brief(super().view(state, seat).text, menu=WORDS)


def echo(**options):
    others = {"speaker_1": RandomMenu()}
    return numeric_env(MenuEcho(max_cycles=4), "speaker_0", others=others, **options)


def red_team(seat, **options):
    scenario = make_scenario("red-team", truth=True)
    others = {name: RandomMenu() for name in scenario.seats if name != seat}
    return numeric_env(scenario, seat, others=others, **options)


def view(text="", menu=("comply", "refuse"), turns=(), **fields):
    return View("e", 0, "learner_0", "learner", len(turns), 7, text, turns=turns, menu=menu)


@pytest.mark.parametrize("seat", ["attacker_0", "learner_0", "critic_0"])
def test_every_seat_with_a_menu_passes_gymnasiums_checker(seat):
    check_env(red_team(seat), skip_render_check=True)


def test_a_seat_that_speaks_several_times_passes_both_checkers():
    check_env(echo(), skip_render_check=True)
    sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
    sb3.check_env(echo())
    sb3.check_env(red_team("critic_0"))


def played(env, actions, seed):
    seen, _ = env.reset(seed=seed)
    trace = [seen.tobytes()]
    for action in actions:
        seen, reward, terminated, truncated, info = env.step(action)
        trace.append((seen.tobytes(), reward, terminated, info["action_mask"].tobytes()))
        if terminated or truncated:
            seen, _ = env.reset()
            trace.append(seen.tobytes())
    return trace


def test_same_seed_same_numbers_and_another_seed_others():
    actions = np.random.default_rng(0).integers(0, 32, size=24)
    assert played(echo(), actions, 3) == played(echo(), actions, 3)
    assert played(echo(), actions, 3) != played(echo(), actions, 4)


def test_an_action_says_the_entry_counted_round_the_menu():
    env = echo(choices=6)
    assert env.action_space == gymnasium.spaces.Discrete(6)
    for action in range(6):
        env.reset(seed=1)
        env.step(np.int64(action))
        said = env.seat_env.game.utterances[0].text
        assert said == WORDS[action % 4] == entry(view(menu=WORDS), action)


def test_the_mask_marks_the_menu_and_nothing_after_the_end():
    env = echo(choices=6)
    _, info = env.reset(seed=0)
    assert info["action_mask"].tolist() == [1, 1, 1, 1, 0, 0]
    assert env.action_masks().tolist() == [True] * 4 + [False] * 2
    for _ in range(4):
        seen, _, terminated, _, info = env.step(np.int64(0))
    assert terminated and info["asked"] == 0
    assert not info["action_mask"].any() and not seen.any()


def test_a_mask_never_marks_what_cannot_be_said():
    _, info = echo(choices=3).reset(seed=0)
    assert info["action_mask"].tolist() == [1, 1, 1]


def test_pay_is_what_the_text_environment_pays():
    env = echo(seed=5)
    env.reset()
    rewards, wanted = [], []
    for turn in range(4):
        heard = env.seat_env.game.view("speaker_0").text
        choice = WORDS.index(heard) if heard in WORDS and turn % 2 else 3
        wanted.append(float(WORDS[choice] == heard))
        rewards.append(env.step(np.int64(choice))[1])
    assert rewards == wanted and 1.0 in rewards and 0.0 in rewards


def test_a_seat_without_a_menu_is_told_so():
    env = numeric_env(Echo(), "speaker_0", others={"speaker_1": "x".join})
    with pytest.raises(ProtocolError, match="speaker_0 has no menu at turn 0"):
        env.reset(seed=0)


def test_infos_hold_neither_views_nor_texts():
    _, info = red_team("learner_0").reset(seed=0)
    assert set(info) == {"asked", "parts", "action_mask"}


@pytest.mark.parametrize("choices", [1, "2", 2.5, None])
def test_choices_that_are_no_number_from_two_are_refused(choices):
    with pytest.raises(InvalidOption, match="integer ≥ 2"):
        echo(choices=choices)


def test_features_are_the_same_in_every_process():
    assert _digest("naïve") == 15874322196465251006
    assert _digest("\ud800") == 7497787021708494914


def test_features_tell_words_and_their_order_apart():
    features = HashedText()
    same = features(view("ann helps dan"))
    assert np.array_equal(same, features(view("ann  helps\ndan")))
    assert not np.array_equal(same, features(view("dan helps ann")))
    bag = HashedText(placed=0)
    swapped = bag(view("dan helps ann"))
    assert np.array_equal(bag(view("ann helps dan")), swapped)
    assert not np.array_equal(swapped, bag(view("dan helps eve")))


def test_words_that_share_a_bucket_cancel_as_often_as_they_add_up():
    one = HashedText(words=1, placed=0)
    signs = [one(view(f"word{n}"))[0] for n in range(200)]
    assert set(signs) == {1.0, -1.0}
    assert 70 < signs.count(1.0) < 130


def test_menu_entries_are_seen_only_when_asked_for():
    one, other = view("x", menu=("a", "b")), view("x", menu=("b", "a"))
    assert np.array_equal(HashedText()(one), HashedText()(other))
    reading = HashedText(entries=2)
    assert not np.array_equal(reading(one), reading(other))
    assert reading.size == HashedText().size + 32
    assert np.isfinite(reading(view("x", menu=("a",) * 9))).all()


def test_features_stay_inside_their_box_whatever_is_read():
    texts = ("", "word " * 5000, "\U0001f642 naïve \x1b[2J", " ".join(map(str, range(999))))
    for features in (HashedText(), HashedText(words=1, placed=0), HashedText(entries=3)):
        for text in texts:
            turns = (Turn("a", text),) * 40
            vector = features(view(text, turns=turns, menu=("y",) * 900))
            assert vector.shape == (features.size,) and vector.dtype == np.float32
            assert (np.abs(vector) <= LIMIT).all()


def test_features_read_nothing_but_what_is_shown():
    """Messages are the text again; seeds and names are not to be learned from."""
    features = HashedText(entries=2)
    plain = view("x")
    other = View(
        "f", 9, "learner_0", "learner", 0, 8, "x", (Message("user", "y"),), menu=plain.menu
    )
    assert np.array_equal(features(plain), features(other))


def test_options_make_the_same_features_again():
    features = HashedText(words=8, entries=2)
    assert read_features(features.options) == features
    assert read_features(None) == HashedText()
    assert read_features(features) is features


@pytest.mark.parametrize(
    "options", [{"word": 3}, {"words": "many"}, {"words": 0}, {"reach": -1}]
)
def test_features_that_make_no_sense_are_refused(options):
    with pytest.raises(InvalidOption):
        read_features(options)


# ---------------------------------------------------------------- all seats at once


@pytest.mark.parametrize(
    ("scenario", "others"),
    [
        (MenuEcho(max_cycles=4), {}),
        (make_scenario("red-team"), {}),
        (make_scenario("red-team", critics=2), {"attacker_0": RandomMenu()}),
        (make_scenario("weak-to-strong"), {}),
    ],
)
def test_all_seats_with_menus_pass_pettingzoos_checker(scenario, others):
    env = NumericParallelEnv(scenario, others=others)
    assert env.possible_agents == [s for s in scenario.seats if s not in others]
    parallel_api_test(env, num_cycles=200)


def parallel_case(env, action, seed=5):
    """Play one case; return (observation, pay, infos) of every step."""
    seen, infos = env.reset(seed=seed)
    steps = [(seen, {}, infos)]
    while env.agents:
        chosen = {seat: np.int64(action(seat)) for seat in env.agents}
        seen, pay, _, _, infos = env.step(chosen)
        steps.append((seen, pay, infos))
    return steps


def test_only_who_is_asked_sees_speaks_and_has_a_mask():
    env = NumericParallelEnv(make_scenario("red-team", vanilla=0.0), choices=40)
    steps = parallel_case(env, lambda seat: 1)
    asked = [[s for s in env.possible_agents if infos[s]["asked"]] for _, _, infos in steps]
    assert asked == [["attacker_0"], ["learner_0"], ["critic_0"], []]
    for (seen, _, infos), who in zip(steps, asked, strict=True):
        for seat in env.possible_agents:
            assert seen[seat].any() == (seat in who)
            assert infos[seat]["action_mask"].any() == (seat in who)
    assert steps[1][2]["learner_0"]["action_mask"].tolist() == [1, 1] + [0] * 38


def test_pay_is_that_of_the_one_seat_view_and_of_the_parts():
    """Seats that an agent holds earn the same as those that are played by number."""
    scenario = MenuEcho(max_cycles=4)
    both = parallel_case(NumericParallelEnv(scenario), lambda seat: 2)
    total = {s: sum(pay.get(s, 0.0) for _, pay, _ in both) for s in scenario.seats}
    assert total["speaker_0"] >= 3.0  # from the second cycle on each hears its own word
    lone = numeric_env(scenario, "speaker_0", others={"speaker_1": lambda text: WORDS[2]})
    lone.reset(seed=5)
    pay, over = 0.0, False
    while not over:
        _, earned, over, _, _ = lone.step(np.int64(2))
        pay += earned
    assert total["speaker_0"] == pay
    for _, earned, infos in both[1:]:
        assert earned == {s: sum(infos[s]["parts"].values()) for s in scenario.seats}


def test_a_seat_without_a_menu_is_refused_and_may_be_held_by_an_agent():
    with pytest.raises(ProtocolError, match="no menu"):
        NumericParallelEnv(Echo()).reset(seed=1)
    with pytest.raises(InvalidOption, match="has no seat"):
        NumericParallelEnv(Echo(), others={"speker_0": RandomMenu()})
    with pytest.raises(InvalidOption, match="leave one out"):
        NumericParallelEnv(Echo(), others=dict.fromkeys(Echo.seats, RandomMenu()))
    env = NumericParallelEnv(MenuEcho())
    env.reset(seed=1)
    with pytest.raises(ProtocolError, match="speaker_1 must speak now"):
        env.step({"speaker_0": np.int64(0)})
