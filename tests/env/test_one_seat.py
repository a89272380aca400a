"""The Gymnasium face: one seat learns, the others are agents."""

import time
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import superalign_env
import superalign_env.numeric
from superalign_env.asking import ask
from superalign_env.errors import InvalidOption, InvalidUtterance, ProtocolError
from superalign_env.rewards import totals


def say(text):
    return "comply"


OTHERS = {
    "attacker_0": lambda text: "no request",
    "critic_0": lambda text: "score 5 sure 5",
}


def test_gymnasium_finds_no_fault():
    for name, seat, others in (
        ("superalign/Echo-v0", "speaker_0", {"speaker_1": lambda text: text}),
        ("superalign/Exam-v0", "learner_0", {}),
        ("superalign/RedTeam-v0", "learner_0", OTHERS),
        ("superalign/RedTeam-v0", "critic_0", {"attacker_0": say, "learner_0": say}),
    ):
        env = gymnasium.make(name, seat=seat, others=others)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_env(env.unwrapped, skip_render_check=True)


def test_the_id_is_registered_with_gymnasium_and_pettingzoo():
    assert "superalign/RedTeam-v0" in gymnasium.registry
    registration = pytest.importorskip("pettingzoo.env_registry.registration")
    assert "superalign/RedTeam-v0" in registration.aec_registry
    assert "superalign/RedTeam-v0" in registration.parallel_registry


def one(relay, by_seed, seat, **options):
    others = {s: by_seed() for s in relay.seats if s != seat}
    return superalign_env.one_seat_env(relay(), seat=seat, others=others, **options)


@pytest.mark.parametrize("seat", ["opener_0", "judge_0", "judge_1"])
def test_a_seat_lives_through_what_it_lives_through_elsewhere(relay, by_seed, seat):
    env = one(relay, by_seed, seat)
    engine = superalign_env.Rollouts(
        relay(), dict.fromkeys(relay.seats, by_seed()), run=4
    ).run(8)
    assert len(engine) == 8
    for case, episode in enumerate(engine):
        _, info = env.reset(seed=4 if not case else None)
        earned, over = 0.0, False
        while not over:
            reply = ask(by_seed(), [info["view"]])[0]
            _, reward, terminated, truncated, info = env.step(reply.text)
            earned += reward
            over = terminated or truncated
        assert [u.text for u in env.game.utterances] == [u.text for u in episode.utterances]
        pay = totals(episode.rewards, episode.weights).get(seat, 0.0)
        assert earned == pytest.approx(pay, abs=1e-9)


def test_an_agent_that_waits_can_play_another_seat(relay, by_seed, late_by_seed):
    others = {"judge_0": late_by_seed(), "judge_1": by_seed()}
    env = superalign_env.one_seat_env(relay(rounds=1), seat="opener_0", others=others)
    env.reset()
    assert env.step("hello")[2] is True


def test_a_failing_neighbour_truncates(relay, by_seed):
    def fail(text):
        raise RuntimeError("no")

    env = superalign_env.one_seat_env(
        relay(), seat="opener_0", others={"judge_0": fail, "judge_1": by_seed()}
    )
    env.reset()
    _, _, terminated, truncated, info = env.step("hello")
    assert (terminated, truncated, info["asked"]) == (False, True, 0)


def test_cases_without_a_turn_of_the_seat_are_skipped_but_not_for_ever(by_seed):
    env = superalign_env.one_seat_env(
        "red-team",
        seat="attacker_0",
        others={"learner_0": say, "critic_0": say},
        vanilla=0.9,
    )
    for _ in range(5):
        observation, _ = env.reset()
        assert observation["asked"] == 1
    never = superalign_env.one_seat_env(
        "red-team",
        seat="attacker_0",
        others={"learner_0": say, "critic_0": say},
        vanilla=1.0,
    )
    with pytest.raises(ProtocolError, match="was asked in none"):
        never.reset()


def test_seats_must_exist_and_be_taken(relay, by_seed):
    with pytest.raises(InvalidOption, match="no seat 'nobody_0'"):
        superalign_env.one_seat_env(relay(), seat="nobody_0")
    with pytest.raises(InvalidOption, match="nobody sits in judge_0, judge_1"):
        superalign_env.one_seat_env(relay(), seat="opener_0")


def test_an_action_that_is_none_is_refused_or_repaired(relay, by_seed):
    env = one(relay, by_seed, "opener_0")
    env.reset()
    for action in (5, "\x00"):
        with pytest.raises(InvalidUtterance):
            env.step(action)
    kind = one(relay, by_seed, "opener_0", on_invalid="penalise")
    kind.reset()
    _, _, _, _, info = kind.step(5)
    assert info["parts"]["format"] == -1.0


@pytest.mark.parametrize("numeric", [False, True])
def test_one_seat_renders_the_transcript_of_all_seats(relay, by_seed, numeric, capsys):
    def made(mode):
        env = one(relay, by_seed, "judge_0", render_mode=mode)
        return env, (superalign_env.numeric.NumericEnv(env) if numeric else env)

    silent, face = made("ansi")
    with pytest.raises(ProtocolError, match="call reset first"):
        face.render()
    silent.reset(seed=1)
    silent.step("\x1b[31mred")
    said = face.render()
    assert "opener_0: " in said and "judge_0: ⟨U+001B⟩[31mred" in said
    human, face = made("human")
    human.reset(seed=1)
    human.step("\x1b[31mred")
    capsys.readouterr()
    assert face.render() is None
    assert capsys.readouterr().out == f"{said}\n"


def test_gymnasium_renders_it_and_an_unknown_mode_is_a_sentence(relay, by_seed):
    env = gymnasium.make(
        "superalign/RedTeam-v0", seat="learner_0", others=OTHERS, render_mode="ansi"
    )
    env.reset(seed=0)
    env.step("comply")
    assert "learner_0: comply" in env.render()
    with pytest.raises(InvalidOption, match="ansi, human or None"):
        one(relay, by_seed, "judge_0", render_mode="rgb_array")


FACES = {
    "aec": superalign_env.env,
    "parallel": superalign_env.parallel_env,
    "one seat": lambda name: superalign_env.one_seat_env(
        name, seat="learner_0", others=OTHERS
    ),
}


@pytest.mark.parametrize("face", [*FACES])
def test_every_face_takes_numbers_of_numpy_and_refuses_what_is_none(face):
    env = FACES[face]("red-team")
    env.reset(seed=np.int64(3), options={"case": np.uint8(4), "member": np.int64(1)})
    assert (env.game.key.run, env.game.key.case, env.game.key.member) == (3, 4, 1)
    env.reset(seed=-3)
    assert env.game.key.run == -3
    for options in ({"case": 1.0}, {"case": np.True_}, {"case": 1 << 64}, [("case", 3)], 5):
        with pytest.raises(InvalidOption, match="reset option"):
            env.reset(options=options)
    for seed in ("1", 1.0, True, np.array([1, 2])):
        with pytest.raises(InvalidOption, match="a seed is an integer"):
            env.reset(seed=seed)


def test_actions_that_are_none_and_what_comes_too_early_are_said_in_words():
    env = superalign_env.parallel_env("red-team")
    one_seat = FACES["one seat"]("red-team")
    for early in (env.render, superalign_env.raw_env("red-team").render, one_seat.render):
        with pytest.raises(ProtocolError, match="call reset first"):
            early()
    with pytest.raises(ProtocolError, match="call reset first"):
        one_seat.step("comply")
    env.reset(seed=1)
    for actions in (None, 5):
        with pytest.raises(ProtocolError, match="a mapping from seat to text"):
            env.step(actions)
    numbers = superalign_env.numeric.NumericEnv(one_seat, choices=2)
    for action in (1.5, "1", None, np.array([1]), float("nan")):
        numbers.reset(seed=0)
        with pytest.raises(ProtocolError, match="a number of the menu"):
            numbers.step(action)
    with pytest.raises(InvalidOption, match="on_invalid='penalize' is not known"):
        superalign_env.env("red-team", on_invalid="penalize")


def test_an_agent_of_another_seat_has_the_time_that_is_set():
    def slow(text):
        time.sleep(60)

    for make in (superalign_env.one_seat_env, numeric_red_team):
        env = make(
            "red-team", seat="learner_0", others=OTHERS | {"critic_0": slow}, timeout=0.05
        )
        env.reset(seed=1)
        env.step("no" if make is superalign_env.one_seat_env else 0)
        ending = getattr(env, "seat_env", env).game.ending
        assert "no reply within 0.05 s" in ending.reason
    for timeout in (0, -1.0, "5", float("nan")):
        with pytest.raises(InvalidOption, match="no number of seconds above 0"):
            superalign_env.one_seat_env(
                "red-team", seat="learner_0", others=OTHERS, timeout=timeout
            )


def numeric_red_team(scenario, **options):
    return superalign_env.numeric.numeric_env(
        superalign_env.make_scenario(scenario), **options
    )
