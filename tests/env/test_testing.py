"""The checks for users find what they are for, and nothing else."""

import importlib
import itertools
import random
import threading
import types

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

import superalign_env
from superalign_env import registry
from superalign_env.errors import NotReproducible, ProtocolError, UnknownId
from superalign_env.seeding import mix
from superalign_env.testing import check_agent, check_env, check_scenario, example_views
from superalign_env.types import (
    AgentSpec,
    Brief,
    Ending,
    Gold,
    Grade,
    Judged,
    Message,
    Query,
    Reply,
    Reward,
    Step,
    ToolCall,
    Usage,
    Verdict,
    View,
)
from superalign_scenarios.exam import Exam
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


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("token_ids", lambda n: (n,)),
        ("thought", str),
        ("tool_calls", lambda n: (ToolCall("look", {"n": n}),)),
        ("logprobs", lambda n: (-1.0 * n,)),
        ("policy", str),
    ],
)
def test_an_agent_that_counts_its_calls_in_another_field_is_found(field, value):
    class Counts(Agent):
        def __init__(self):
            self.calls = itertools.count(1)

        def act(self, views):
            return [self.reply(view) for view in views]

        def reply(self, view):
            said = {"token_ids": (1,), field: value(next(self.calls))}
            return Reply("x", **said)

    with pytest.raises(NotReproducible, match=f"another {field}"):
        check_agent(Counts())


def test_what_a_reply_costs_and_the_last_digits_may_differ():
    class Costs(Agent):
        calls = 0

        def act(self, views):
            self.calls += 1
            noise = 1e-4 * self.calls
            return [
                Reply(
                    "x",
                    token_ids=(1,),
                    logprobs=(-1.0 - noise,),
                    usage=Usage(dollars=noise),
                )
                for _ in views
            ]

    check_agent(Costs())


class ByEpisode(Agent):
    """Numbers what an episode asks for, once and for all."""

    def __init__(self):
        self.heard = {}

    def act(self, views):
        said = []
        for view in views:
            words = self.heard.setdefault(view.episode, {})
            said.append(
                Reply(words.setdefault(f"{view.seat} {view.turn}", str(len(words))))
            )
        return said

    def state_dict(self):
        return {"heard": {episode: dict(words) for episode, words in self.heard.items()}}

    def load_state_dict(self, state):
        self.heard = {episode: dict(words) for episode, words in state["heard"].items()}


TWO_TURNS = [
    View("e", 0, "learner_0", "learner", turn, seed=turn, text="x") for turn in range(2)
]


def stores(self, state):
    """Keep the state, and nothing of what it means."""
    self.state_dict = lambda: state


@pytest.mark.parametrize(
    ("methods", "why"),
    [
        ({"state_dict": lambda self: {"heard": object()}}, "is no JSON"),
        ({"state_dict": lambda self: {"heard": {1: "a"}}}, "dicts with texts as keys"),
        ({"state_dict": lambda self: 1 / 0}, "ZeroDivisionError"),
        ({"load_state_dict": lambda self, state: state["herd"]}, "cannot load"),
        ({"load_state_dict": lambda self, state: None}, "another state_dict"),
        ({"load_state_dict": stores}, "asked after load_state_dict"),
    ],
)
def test_a_state_that_a_resumed_run_could_not_use_is_found(methods, why):
    apart = [replace(view, episode=f"e{view.turn}") for view in TWO_TURNS]
    check_agent(ByEpisode(), apart)
    views = apart if why != "asked after load_state_dict" else TWO_TURNS
    with pytest.raises(ProtocolError, match=why):
        check_agent(type("Broken", (ByEpisode,), methods)(), views)


def test_the_memory_of_an_agent_that_cannot_be_copied_is_compared_with_nothing():
    class Forgets(ByEpisode):
        def __init__(self):
            super().__init__()
            self.states = []

        def load_state_dict(self, state):
            self.states.append(state)

    class Locked(Forgets):
        def __init__(self):
            super().__init__()
            self.lock = threading.Lock()

    with pytest.raises(ProtocolError, match="another state_dict"):
        check_agent(Forgets(), TWO_TURNS)
    locked = Locked()
    check_agent(locked, TWO_TURNS)
    assert locked.states == []  # it was not asked to agree with itself
    broken = type("Broken", (Locked,), {"state_dict": lambda self: {"heard": object()}})
    with pytest.raises(ProtocolError, match="is no JSON"):
        check_agent(broken(), TWO_TURNS)


def test_another_process_that_hangs_or_says_something_else_is_named(tmp_path, monkeypatch):
    (tmp_path / "odd_agents.py").write_text(
        "import os, time\n"
        "from superalign_env import as_agent\n"
        "def slow():\n"
        "    time.sleep(60)\n"
        "def loud():\n"
        "    os.write(1, b'loading ...')\n"
        "    return as_agent(str.upper, name='loud')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    shout = superalign_env.as_agent(str.upper, name="shout")
    with pytest.raises(ProtocolError, match=r"shout gave no reply .* within 0\.5 s"):
        check_agent(shout, timeout=0.5, elsewhere="odd_agents:slow")
    with pytest.raises(ProtocolError, match=r"no replies .* not to file descriptor 1"):
        check_agent(shout, elsewhere="odd_agents:loud")


def test_an_agent_may_be_asked_in_another_process(tmp_path, monkeypatch):
    (tmp_path / "hashing_agents.py").write_text(
        "from superalign_env import as_agent\n"
        "def by_hash():\n"
        "    return as_agent(lambda text: str(hash(text)), name='by-hash')\n"
        "def honest():\n"
        "    print('loading …')\n"
        "    return as_agent(lambda text: text.upper(), name='honest')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    made = importlib.import_module("hashing_agents")
    check_agent(made.by_hash())
    with pytest.raises(NotReproducible, match="in another process"):
        check_agent(made.by_hash(), elsewhere="hashing_agents:by_hash")
    check_agent(made.honest(), elsewhere="hashing_agents:honest")
    with pytest.raises(ProtocolError, match="elsewhere='my_package"):
        check_agent(made.honest(), elsewhere=True)
    with_menu = [view for view in example_views() if view.menu]
    check_agent(registry.make("agent", "search", explore=0.8), with_menu, elsewhere=True)


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda views: [Reply(str(random.random())) for _ in views], "asked again"),
        (
            lambda views: [Reply(str(place)) for place, _ in enumerate(views)],
            "another order",
        ),
        (lambda views: [Reply(str(len(views))) for _ in views], "one by one"),
    ],
)
def test_an_agent_that_looks_beyond_its_view_is_found(act, why):
    agent = Agent()
    agent.act = act
    with pytest.raises(NotReproducible, match=why):
        check_agent(agent)


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


@pytest.mark.parametrize("by_hand", [True, False])
def test_gold_that_is_planted_in_view_is_found_unless_it_is_meant(by_hand):
    options = {"plant": 1.0, "vanilla": 0.0}
    world = MicroWorld()
    flipped = RedTeam(source=FlippedGold(world), **options) if by_hand else None
    with pytest.raises(ProtocolError, match="a view"):
        check_scenario(RedTeam(source=world, **options), flipped=flipped)
    check_scenario(RedTeam(source=world, **options), blind=False)
    check_env("red-team", episodes=1, blind=False, **options)


class Leaks(RedTeam):
    """Tells what is right, in the smallest print; the text and the menu are tried."""

    def __init__(self, **leak):
        super().__init__()
        self.leak = leak

    def view(self, state, seat):
        brief = super().view(state, seat)
        answer = self.source.gold(state.task).answer
        return msgspec.structs.replace(
            brief, **{field: brief_of(answer) for field, brief_of in self.leak.items()}
        )


@pytest.mark.parametrize(
    "leak",
    [
        {"text": lambda answer: f"(psst: {answer})"},
        {"menu": lambda answer: (answer, "comply", "refuse")},
        {"max_new_tokens": lambda answer: 8 + (answer == "refuse")},
    ],
)
def test_gold_that_reaches_a_view_is_found_without_a_twin_made_by_hand(leak):
    (field,) = leak
    with pytest.raises(ProtocolError, match=f"leaked to .*{field}: .* became "):
        check_scenario(Leaks(**leak))
    with pytest.raises(ProtocolError, match="leaked to"):
        check_env(Leaks(**leak))


@pytest.mark.parametrize(
    "tell",
    [
        lambda source, task: source.gold(task).label,
        lambda source, task: source.gold(task).facts["kind"],
        lambda source, task: source.gold(task).facts["severity"],
        lambda source, task: source.grade(task, "comply")[0].value,
        lambda source, task: source.grade(task, "comply")[0].name,
        lambda source, task: isinstance(source, MicroWorld) and source.gold(task).answer,
    ],
)
def test_whatever_is_told_of_the_truth_is_found(tell):
    """By rules that keep the source in several places, and what it told them as well."""

    class Tells(RedTeam):
        def __init__(self):
            super().__init__()
            self.deep = {"sources": [self.source]}
            self.told = {}

        def view(self, state, seat):
            if state.task.id not in self.told:
                self.told[state.task.id] = str(tell(self.deep["sources"][0], state.task))
            brief = super().view(state, seat)
            return msgspec.structs.replace(
                brief, text=brief.text + self.told[state.task.id]
            )

    with pytest.raises(ProtocolError, match="leaked to"):
        check_scenario(Tells())


def test_rules_that_cannot_be_copied_are_told_so_and_pass_no_leak():
    """A shallow copy would keep the helper, and the true source in it."""

    class Locked(Exam):
        def __init__(self, source="microworld"):
            super().__init__(source=source)
            self.lock = threading.Lock()
            self.helper = types.SimpleNamespace(source=self.source)

        def view(self, state, seat):
            brief = super().view(state, seat)
            answer = self.helper.source.gold(state.task).answer
            return msgspec.structs.replace(brief, text=brief.text + answer)

    why = r"exam-v0 cannot be copied .*lock.*flipped=.*blind=False"
    with pytest.raises(ProtocolError, match=why):
        check_scenario(Locked())
    check_scenario(Locked(), blind=False)
    world = MicroWorld()
    with pytest.raises(ProtocolError, match="leaked to"):
        check_scenario(Locked(world), flipped=Locked(FlippedGold(world)))


def test_the_truth_pays_under_its_own_name_only():
    class Pays(RedTeam):
        def apply(self, state, utterances):
            step = super().apply(state, utterances)
            extra = tuple(
                [Reward("learner_0", "critic", grade.value) for grade in step.grades]
            )
            return msgspec.structs.replace(step, rewards=step.rewards + extra)

    check_scenario(RedTeam(truth=True))
    alike = r"\S+ to learner_0 by 'critic' on turn \d+"
    why = rf"learner_0 is paid by the part 'critic' \(case \d+, {alike} became {alike}\)"
    with pytest.raises(ProtocolError, match=why):
        check_scenario(Pays())


def test_an_end_that_the_truth_brings_about_is_found(relay):
    def apply(self, state, utterances):
        step = relay.apply(self, state, utterances)
        over = Ending.terminated("right") if any(g.value for g in step.grades) else None
        return msgspec.structs.replace(step, ending=over or step.ending)

    with pytest.raises(ProtocolError, match="how long"):
        check_scenario(broken(relay, apply=apply))


def test_sources_whose_truth_is_hard_to_flip(relay):
    """A class's own source, one that is made anew, rules that read only some values."""
    letters = relay().source

    class OfTheClass(relay):
        source = property(lambda self: letters, lambda self, new: None)

    with pytest.raises(ProtocolError, match=r"cannot be exchanged .* blind=False"):
        check_scenario(OfTheClass())
    check_scenario(OfTheClass(), blind=False)

    def reset(self, task, rng):
        number = {"yes": 1.0, "no": 0.0}[self.source.gold(task).answer]
        return msgspec.structs.replace(relay.reset(self, task, rng), luck=0.5 + number)

    check_scenario(broken(relay, reset=reset))  # the other value is one it has given before

    class Numbered(letters.__class__):
        def gold(self, task):
            return Gold("", facts={"place": "abcdefgh".index(task.prompt), "one": "1"})

        def answers(self, task):
            return ()

        def grade(self, task, text, group=""):
            return ()

    def careful(self, task, rng):
        int(self.source.gold(task).facts["one"])
        return relay.reset(self, task, rng)

    picky = broken(relay, reset=careful)
    picky.source = Numbered()
    with pytest.raises(ProtocolError, match=r"could not guess: pass flipped="):
        check_scenario(picky)
    check_scenario(picky, blind=False)


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


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), "1", None])
def test_weights_that_are_no_numbers_are_found(relay, weight):
    made = relay()
    made.weights = {"opener": {"x": weight}}
    with pytest.raises(ProtocolError, match="must be finite numbers by part"):
        check_scenario(made)


def declaring(relay, **attributes):
    """A relay that judges: its facts and declarations are those given."""

    def apply(self, state, utterances):
        step = relay.apply(self, state, utterances)
        facts = attributes.get("made", lambda said: {})(utterances[-1])
        return msgspec.structs.replace(step, **facts)

    own = {key: value for key, value in attributes.items() if key != "made"}
    return broken(relay, apply=apply, **own)


def praising(relay, value=0.5, turn=-1):
    """A relay whose judges' praise is an opinion, paid to the opener."""

    def apply(self, state, utterances):
        step = relay.apply(self, state, utterances)
        if len(utterances) == 1:
            return step
        paid = Reward(
            "opener_0", "praise", value, utterances[turn].turn if turn >= 0 else -1
        )
        return msgspec.structs.replace(step, rewards=(paid,))

    return broken(relay, apply=apply, opinions=("praise",))


def test_opinions_that_labels_cannot_replace_are_found(relay):
    check_scenario(praising(relay))
    with pytest.raises(
        ProtocolError, match=r"opinion 'praise' at turn 2, which judge_1 said"
    ):
        check_scenario(praising(relay, turn=1))
    for value in (1.5, -1.5):
        with pytest.raises(
            ProtocolError, match=r"stands for the score .* −1 and 1: scale it"
        ):
            check_scenario(praising(relay, value=value))
    for edge in (1.0, -1.0):
        check_scenario(praising(relay, value=edge))


def judging(said, **fields):
    return {"judged": (Judged(said.seat, said.turn, Verdict(0.5), **fields),)}


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({"variants": ("plain",)}, "variants gave a tuple"),
        (
            {"variants": {"plain": {"nil": 1}}},
            "variant 'plain' sets 'nil', which is no option",
        ),
        ({"facts": {"judgd": "opener"}}, "did you mean judged"),
        (
            {"facts": {"judged": "critic"}},
            "'judged' is made by 'critic', a role nobody has",
        ),
        ({"facts": {"judged": "opener"}}, "'judged' of 'opener', and no step"),
        ({"opinions": ("nothing",)}, "a part that weights pay nobody"),
        ({"lowest_pay": "low"}, "a finite number"),
        ({"lowest_pay": 1.0}, "a finite number"),
        ({"baselines": {"nobody": ("fixed",)}}, "role 'nobody', but nobody has it"),
        ({"baselines": {"opener": "fixed"}}, "baselines of opener gave a str"),
        ({"beats": lambda self, episode: "nobody_0"}, "beats gave 'nobody_0'"),
        ({"made": judging}, "makes 'judged' and does not declare it"),
        (
            {"made": lambda s: judging(s, turn=99), "facts": {"judged": "opener"}},
            "(names turn 99, which it did not speak|is declared of)",
        ),
        (
            {
                "made": lambda s: {"queries": (Query("opener_0", s.text, True, 0),)},
                "facts": {"queries": "guest"},
            },
            "(declared of 'guest'|a role nobody has)",
        ),
    ],
)
def test_declarations_that_are_wrong_are_found(relay, attributes, why):
    with pytest.raises(ProtocolError, match=why):
        check_scenario(declaring(relay, **attributes))


def test_what_a_trainer_can_do_is_said():
    found = check_scenario("red-team", cases=12)
    assert found.facts == {"queries": "attacker", "planted": "learner", "judged": "critic"}
    assert set(found.pays) == {"attacker", "learner", "critic"}
    assert "can be trained by pay: attacker, learner, critic" in str(found)
    assert check_scenario("echo", cases=2).facts == {}


def test_who_won_may_not_come_from_the_truth(relay):
    def beats(self, episode):
        return "opener_0" if episode.grades else None

    def apply(self, state, utterances):
        step = relay.apply(self, state, utterances)
        return msgspec.structs.replace(step, grades=(Grade("opener_0", "a", "b", 1.0),))

    with pytest.raises(ProtocolError, match="beats reads grades"):
        check_scenario(broken(relay, apply=apply, beats=beats))


def test_a_variant_that_cannot_be_made_is_found():
    class Odd(RedTeam):
        variants = {"odd": {"critics": -1}}  # noqa: RUF012 - read only

    with pytest.raises(ProtocolError, match="variant 'odd' cannot be made"):
        check_scenario(Odd())


def test_rewards_that_are_wrong_are_found(relay):
    for reward, why in (
        (Reward("nobody_0", "x", 1.0), "for nobody"),
        (Reward("opener_0", "x", float("inf")), "not finite"),
        (Reward("opener_0", "x", np.float32(1)), "is a float32; write float"),
        (Reward("opener_0", "x", True), "is a bool; write float"),
        (Reward("opener_0", "x", "1"), "is a str; write float"),
        (Reward("opener_0", "x", None), "is a NoneType; write float"),
    ):

        def apply(self, state, utterances, reward=reward):
            return Step(relay.apply(self, state, utterances).state, (reward,))

        with pytest.raises(ProtocolError, match=why):
            check_scenario(broken(relay, apply=apply))


def test_what_is_missing_is_named_first():
    class Half:
        id = "half-v0"
        seats = ("learner_0",)
        to_move = apply = view = "no method"

    for thing, missing in (
        (object(), "renderer_id: Name"),
        (Half(), "apply\\(self, state"),
    ):
        with pytest.raises(ProtocolError, match=f"is no scenario yet.*(.|\n)*{missing}"):
            check_scenario(thing)
    with pytest.raises(ProtocolError, match="RedTeam is a class; pass an instance"):
        check_scenario(RedTeam)
    with pytest.raises(ProtocolError, match="no task source yet"):
        check_scenario(sourceless())
    with pytest.raises(ProtocolError, match="takes the id of a scenario"):
        check_env(5)
    with pytest.raises(ProtocolError, match="Half is no scenario yet"):
        check_env(Half())


def sourceless():
    made = RedTeam()
    made.source = "microworld"
    return made


def test_an_id_will_do():
    check_scenario("red-team", cases=2)
    with pytest.raises(UnknownId, match="red-team"):
        check_scenario("red-taem")


def test_methods_that_return_something_else_are_found(relay):
    for name, value, why in (
        ("apply", (1, 2), "apply gave a tuple"),
        ("draw", "a task", "draw gave a str"),
        ("arm", None, "arm gave a NoneType"),
        ("to_move", ["opener_0"], "to_move gave a list"),
        ("view", "text", "view gave a str"),
        ("apply", Step(None, [Reward("opener_0", "x", 1.0)]), "rewards gave a list"),
        ("apply", Step(None, (("opener_0", 1.0),)), "rewards gave a tuple .* a Reward"),
    ):
        with pytest.raises(ProtocolError, match=why):
            check_scenario(broken(relay, **{name: lambda *_, value=value: value}))


def test_what_rules_raise_is_told_with_the_words_that_did_it(relay):
    def apply(self, state, utterances):
        if "\x1b" in utterances[-1].text:
            return {}[1]
        return relay.apply(self, state, utterances)

    why = r"apply raised KeyError.* after opener_0 said '\\x1b\[31mred"
    with pytest.raises(ProtocolError, match=why) as found:
        check_scenario(broken(relay, apply=apply))
    assert isinstance(found.value.__cause__, KeyError)

    def view(self, state, seat):
        return {"opener_0": relay.view(self, state, seat)}[seat]

    with pytest.raises(
        ProtocolError, match=r"view raised KeyError: .* after opener_0 said"
    ):
        check_scenario(broken(relay, view=view))


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


def test_what_an_environment_raises_is_told_with_the_action_that_did_it(relay):
    class Breaks(superalign_env.parallel_env(relay()).__class__):
        played = 0

        def step(self, actions):
            self.played += 1
            # Past what the foreign checker plays.
            if self.played > 250:
                raise RuntimeError("tired")
            return super().step(actions)

    with pytest.raises(ProtocolError, match="raised RuntimeError: tired after the action"):
        check_env(Breaks(relay()), episodes=50)


def test_options_are_for_ids(relay):
    with pytest.raises(ProtocolError, match="made already"):
        check_env(superalign_env.env(relay()), critics=2)
