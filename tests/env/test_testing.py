"""The checks for users find what they are for, and nothing else."""

import itertools
import random

import msgspec
import numpy as np
import pytest

import superalign_env
from superalign_env import registry
from superalign_env.errors import NotReproducible, ProtocolError
from superalign_env.seeding import mix
from superalign_env.testing import check_agent, check_env, check_scenario, example_views
from superalign_env.types import AgentSpec, Brief, Message, Reply, Reward, Step, ToolCall
from superalign_scenarios.microworld.flipped import FlippedGold
from superalign_scenarios.microworld.source import MicroWorld
from superalign_scenarios.red_team import RedTeam

# ---------------------------------------------------------------- agents


class Agent:
    """Answers from the view; the parts below break one thing each."""

    spec = AgentSpec("agent")

    def act(self, views):
        return [Reply(str(mix(view.seed, 1))) for view in views]


def test_good_agents_pass(by_seed, late_by_seed):
    for agent in (Agent(), by_seed(), late_by_seed(), lambda text: text.upper()):
        check_agent(agent)


@pytest.mark.parametrize("name", ["random-menu", "always-comply", "search", "keyword"])
def test_our_own_agents_pass(name):
    check_agent(
        registry.make("agent", name), [view for view in example_views() if view.menu]
    )


def test_an_agent_that_remembers_an_episode_passes():
    class Remembers(Agent):
        def __init__(self):
            self.said = {}

        def act(self, views):
            return [Reply(str(self.count(view))) for view in views]

        def count(self, view):
            memory = self.said.setdefault(view.episode, {})
            return memory.setdefault((view.seat, view.turn), view.turn)

    check_agent(Remembers())


def test_an_agent_that_counts_its_calls_is_found():
    counter = itertools.count()
    with pytest.raises(NotReproducible, match="never count calls"):
        check_agent(lambda text: str(next(counter)))


def test_an_agent_that_rolls_its_own_dice_is_found():
    with pytest.raises(NotReproducible, match="asked again"):
        check_agent(lambda text: str(random.random()))


def test_an_agent_that_looks_at_its_place_in_the_batch_is_found():
    class Place(Agent):
        def act(self, views):
            return [Reply(str(i)) for i, _ in enumerate(views)]

    with pytest.raises(NotReproducible, match="another order"):
        check_agent(Place())


def test_an_agent_that_looks_at_its_company_is_found():
    class Company(Agent):
        def act(self, views):
            return [Reply(str(len(views))) for _ in views]

    with pytest.raises(NotReproducible, match="one by one"):
        check_agent(Company())


def test_memory_by_seat_instead_of_episode_is_found():
    class BySeat(Agent):
        def __init__(self):
            self.heard = {}

        def act(self, views):
            for view in views:
                self.heard[view.seat] = self.heard.get(view.seat, 0) + 1
            return [Reply(str(self.heard[view.seat])) for view in views]

    with pytest.raises(NotReproducible):
        check_agent(BySeat())


class Spec(Agent):
    spec = AgentSpec("x", {"array": np.zeros(2)})


class Tuple(Agent):
    spec = AgentSpec("x", {"options": (1, 2)})


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda views: ["x" for _ in views], "return a Reply"),
        (lambda views: [Reply("x")], "1 replies to 12 views"),
        (lambda views: [Reply("x")] * (len(views) + 1), "13 replies to 12 views"),
        (lambda views: [Reply(None) for _ in views], "text is a NoneType"),
        (lambda views: [Reply("a\x00") for _ in views], "contains NUL"),
        (lambda views: [Reply("\ud800") for _ in views], "surrogate"),
        (lambda views: [Reply("x" * (1 << 21)) for _ in views], "characters, more than"),
        (lambda views: [Reply("", error="down") for _ in views], "gave no reply: down"),
        (
            lambda views: [Reply("x", token_ids=(1,), logprobs=(-1.0, -1.0))] * 12,
            "2 logprobs",
        ),
        (lambda views: [Reply("x", token_ids=(1,), logprobs=(0.5,))] * 12, "positive"),
        (lambda views: [Reply("x", logprobs=(float("nan"),))] * 12, "JSON"),
        (lambda views: [Reply("x", tool_calls=(ToolCall("t", {"a": {1}}),))] * 12, "JSON"),
        (lambda views: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_replies_that_are_none_are_found(act, why):
    agent = Agent()
    agent.act = act
    with pytest.raises(ProtocolError, match=why):
        check_agent(agent)


@pytest.mark.parametrize("agent", [Spec(), Tuple()])
def test_options_that_are_no_json_are_found(agent):
    with pytest.raises(ProtocolError, match="JSON"):
        check_agent(agent)


def test_an_agent_that_answers_nobody_is_found():
    class Eager(Agent):
        def act(self, views):
            return super().act(views) or [Reply("hello?")]

    with pytest.raises(ProtocolError, match="no view at all"):
        check_agent(Eager())


def test_users_may_bring_their_own_views():
    views = [v for v in example_views() if v.role == "critic"]
    check_agent(lambda view: view.role[:-20] or "critic", views)
    with pytest.raises(ProtocolError, match="at least one"):
        check_agent(Agent(), [])


# ---------------------------------------------------------------- scenarios


@pytest.mark.parametrize("name", sorted(registry.entries("scenario")))
def test_every_registered_scenario_passes(name):
    check_env(name)


def test_the_small_one_of_the_tests_passes(relay):
    check_scenario(relay())


def test_flipped_gold_changes_nothing_while_truth_is_off():
    world = MicroWorld()
    for options in ({}, {"critics": 2, "refine": 1, "renderer": "english"}):
        check_scenario(
            RedTeam(source=world, **options),
            flipped=RedTeam(source=FlippedGold(world), **options),
        )


@pytest.mark.parametrize(
    ("options", "why"),
    [({"truth": True}, "is paid"), ({"plant": 1.0, "vanilla": 0.0}, "a view")],
)
def test_flipped_gold_is_seen_where_truth_is_on(options, why):
    world = MicroWorld()
    with pytest.raises(ProtocolError, match=why):
        check_scenario(
            RedTeam(source=world, **options),
            flipped=RedTeam(source=FlippedGold(world), **options),
        )


class Mutable(msgspec.Struct):
    turns: list
    task: object
    rounds: int = 0
    luck: float = 0.0


def broken(relay, **methods):
    """Return the small scenario with some methods replaced."""
    made = type("Broken", (relay,), methods)()
    return made


def test_a_state_that_is_changed_in_place_is_found(relay):
    def reset(self, task, rng):
        return Mutable([], task)

    def apply(self, state, utterances):
        state.rounds += len(utterances)
        return Step(state)

    def to_move(self, state):
        return self.seats[:1] if state.rounds < 3 else ()

    def view(self, state, seat):
        return Brief("x")

    with pytest.raises(ProtocolError, match="apply changed the state"):
        check_scenario(broken(relay, reset=reset, apply=apply, to_move=to_move, view=view))


def test_dice_outside_reset_are_found(relay):
    def reset(self, task, rng):
        return msgspec.structs.replace(relay.reset(self, task, rng), luck=random.random())

    with pytest.raises(NotReproducible, match="reset of case 0"):
        check_scenario(broken(relay, reset=reset))

    def view(self, state, seat):
        return Brief(str(random.random()))

    with pytest.raises(NotReproducible, match="shown in two ways"):
        check_scenario(broken(relay, view=view))

    def apply(self, state, utterances):
        step = relay.apply(self, state, utterances)
        return Step(step.state, (Reward("opener_0", "luck", random.random()),))

    with pytest.raises(NotReproducible, match="two different steps"):
        check_scenario(broken(relay, apply=apply))


def test_a_generator_in_a_state_is_found(relay):
    def reset(self, task, rng):
        return msgspec.structs.replace(relay.reset(self, task, rng), luck=rng)

    with pytest.raises(ProtocolError, match="random generator"):
        check_scenario(broken(relay, reset=reset, arm=lambda self, state: ""))


def test_a_role_marker_that_an_author_wrote_is_found(relay):
    def view(self, state, seat):
        return Brief("\n".join([turn.text for turn in state.turns]))

    with pytest.raises(ProtocolError, match="fence"):
        check_scenario(broken(relay, view=view))


def test_chat_messages_that_are_rewritten_are_found(relay):
    def view(self, state, seat):
        return Brief("x", (Message("user", f"turn {len(state.turns)}"),))

    with pytest.raises(ProtocolError, match="may only grow"):
        check_scenario(broken(relay, view=view))


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({"id": "relay"}, "no 'name-v0'"),
        ({"seats": ("opener",)}, "no 'role_0'"),
        ({"seats": ("opener_0", "opener_0")}, "different names"),
        ({"max_utterance": 0}, "must be positive"),
        ({"renderer_id": ""}, "empty"),
    ],
)
def test_a_card_that_is_wrong_is_found(relay, attributes, why):
    with pytest.raises(ProtocolError, match=why):
        check_scenario(broken(relay, **attributes))


def test_rewards_that_are_wrong_are_found(relay):
    for reward, why in (
        (Reward("nobody_0", "x", 1.0), "for nobody"),
        (Reward("opener_0", "x", float("inf")), "not finite"),
    ):

        def apply(self, state, utterances, reward=reward):
            return Step(relay.apply(self, state, utterances).state, (reward,))

        with pytest.raises(ProtocolError, match=why):
            check_scenario(broken(relay, apply=apply))


# ---------------------------------------------------------------- environments


def test_every_kind_of_environment_can_be_checked(relay, by_seed):
    check_env(superalign_env.env(relay()))
    check_env(superalign_env.raw_env(relay()))
    check_env(superalign_env.parallel_env(relay()))
    others = {"judge_0": by_seed(), "judge_1": by_seed()}
    check_env(superalign_env.one_seat_env(relay(), seat="opener_0", others=others))


def test_an_environment_that_forgets_its_seed_late_is_found(relay):
    """PettingZoo's own test of the seed stops after one step of a parallel environment."""

    class Forgets(superalign_env.parallel_env(relay()).__class__):
        def step(self, actions):
            observations, *rest = super().step(actions)
            if len(self.game.utterances) > 3:
                for seen in observations.values():
                    seen["text"] += str(random.random())
            return (observations, *rest)

    with pytest.raises(NotReproducible, match="another step"):
        check_env(Forgets(relay()))


def test_what_the_foreign_checkers_find_is_passed_on(relay):
    class Wrong(superalign_env.raw_env(relay()).__class__):
        def step(self, action):
            super().step(action)
            self.rewards = {}

    with pytest.raises(ProtocolError, match="api_test"):
        check_env(Wrong(relay()))


def test_options_are_for_ids(relay):
    with pytest.raises(ProtocolError, match="made already"):
        check_env(superalign_env.env(relay()), critics=2)
