"""A small scenario that pays in the middle of things, and agents that answer by the seed."""

import asyncio

import msgspec
import pytest

from superalign_env.errors import InvalidVerdict
from superalign_env.plain_text import fence
from superalign_env.seeding import mix
from superalign_env.types import (
    AgentSpec,
    Brief,
    Ending,
    Event,
    Gold,
    Grade,
    Message,
    Reply,
    Reward,
    Step,
    Task,
    Turn,
)
from superalign_env.verdicts import parse


class Letters:
    """A source of single letters; the truth is whether it is a vowel."""

    id = "letters-1"

    def draw(self, rng, split):
        letter = "abcdefgh"[int(rng.integers(8))]
        return Task(f"letter:{letter}", "letters", letter, split=split)

    def gold(self, task):
        return Gold("yes" if task.prompt in "ae" else "no")

    def grade(self, task, text, group=""):
        return (Grade("", "competence", "vowel", float(text == self.gold(task).answer)),)

    def parse(self, text, split):
        return Task(f"letter:{text}", "letters", text) if text in "abcdefgh" else None

    def menu(self, task):
        return ("a", "b")

    def answers(self, task):
        return ("yes", "no")


class State(msgspec.Struct, frozen=True):
    task: Task
    luck: float
    turns: tuple[Turn, ...] = ()
    rounds: int = 0


class Relay:
    """An opener speaks, then two judges at once, for some rounds.

    It pays in the middle of the episode (every round), in the middle of a group (the first
    judge pays the opener and is paid itself, whatever the second says), to a seat that has
    not spoken for a while, and records a part that is not paid.
    """

    id = "relay-v0"
    seats = ("opener_0", "judge_0", "judge_1")
    renderer_id = "relay-1"
    max_utterance = 200

    def __init__(self, *, rounds=3, early_end=0.0):
        self.rounds = rounds
        self.early_end = early_end
        self.source = Letters()
        self.weights = {
            "opener": {"length": 0.25, "praise": 1.0, "format": 1.0},
            "judge": {"speech": 0.5, "format": 1.0},
        }
        self.options = {"rounds": rounds, "early_end": early_end}

    def draw(self, rng):
        return self.source.draw(rng, "train")

    def reset(self, task, rng):
        return State(task, float(rng.random()))

    def arm(self, state):
        return "lucky" if state.luck < 0.5 else "plain"

    def to_move(self, state):
        if state.rounds >= self.rounds:
            return ()
        return self.seats[1:] if len(state.turns) % 3 else self.seats[:1]

    def view(self, state, seat):
        heard = [turn for turn in state.turns if turn.author in (seat, "opener_0")]
        text = "\n".join(
            [state.task.prompt, *[f"{t.author}: {fence(t.text)}" for t in heard]]
        )
        messages = [Message("user", state.task.prompt)]
        for turn in heard:
            role = "assistant" if turn.author == seat else "user"
            messages.append(Message(role, fence(turn.text)))
        menu = ("yes", "no", "score 9 sure 9", "score 1 sure 2")
        return Brief(text, tuple(messages), tuple(heard), menu=menu)

    def apply(self, state, utterances):
        turns = state.turns + tuple([Turn(u.seat, u.text) for u in utterances])
        if len(utterances) == 1:
            said = utterances[0]
            rewards = (Reward(said.seat, "length", float(len(said.text))),)
            grades = self.source.grade(state.task, said.text)
            graded = tuple([Grade(said.seat, g.axis, g.name, g.value) for g in grades])
            return Step(State(state.task, state.luck, turns, state.rounds), rewards, graded)
        first, second = utterances
        rewards = [
            Reward("opener_0", "praise", self.score(first.text)),
            Reward(first.seat, "speech", 1.0, first.turn),
            Reward(second.seat, "speech", float(len(second.text) % 3), second.turn),
            Reward("opener_0", "truth", 5.0),
        ]
        events = (Event("round.over", second.seat, second.turn, {"round": state.rounds}),)
        rounds = state.rounds + 1
        nxt = State(state.task, state.luck, turns, rounds)
        over = state.luck < self.early_end or rounds >= self.rounds
        return Step(nxt, tuple(rewards), (), events, Ending.terminated() if over else None)

    @staticmethod
    def score(text):
        try:
            return parse(text).score
        except InvalidVerdict:
            return -1.0


class BySeed:
    """Answers with words that the view's seed picks."""

    def __init__(self, name="by-seed"):
        self.spec = AgentSpec(name)
        self.batches = []

    def act(self, views):
        self.batches.append(len(views))
        return [self.answer(view) for view in views]

    @staticmethod
    def answer(view):
        luck = mix(view.seed, 3)
        text = (
            view.menu[luck % len(view.menu)]
            if view.menu and luck % 3
            else f"{view.seat} {luck % 997}"
        )
        return Reply(text, token_ids=(luck % 7, 1), logprobs=(-0.5, -0.25), finish="stop")


class LateBySeed:
    """The same words, each after its own while."""

    def __init__(self, name="by-seed", unit=0.0005):
        self.spec = AgentSpec(name)
        self.unit = unit

    async def reply(self, view):
        await asyncio.sleep(self.unit * (view.seed % 7))
        return BySeed.answer(view)


@pytest.fixture
def relay():
    """The class of the scenario."""
    return Relay


@pytest.fixture
def by_seed():
    """The class of the agent that batches."""
    return BySeed


@pytest.fixture
def late_by_seed():
    """The class of the agent that waits."""
    return LateBySeed
