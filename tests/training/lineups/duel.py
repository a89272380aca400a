"""Two roles that play against each other: rock, paper and scissors, said at once."""

from typing import Any

import msgspec

from superalign_env.types import Brief, Ending, Gold, Reward, Step, Task

SIGNS = ("rock", "paper", "scissors")


class Numbered:
    """A source of numbered tasks; there is no truth about them."""

    def __init__(self, noun, menu):
        self.id, self.noun, self._menu = f"{noun}-1", noun, menu

    def draw(self, rng, split):
        text = f"{self.noun} {int(rng.integers(40))}"
        return Task(f"{text}:{split}", self.noun, text, split=split)

    def gold(self, task):
        return Gold("")

    def grade(self, task, text, group=""):
        return ()

    def parse(self, text, split):
        return None

    def menu(self, task):
        return self._menu

    def answers(self, task):
        return self._menu


class State(msgspec.Struct, frozen=True):
    task: Task
    over: bool = False


def lead(one: str, other: str) -> float:
    """Return 1 where the first sign wins, -1 where it loses."""
    return (0.0, 1.0, -1.0)[(sign(one) - sign(other)) % 3]


def sign(text: str) -> int:
    """Return a sign's number; other words count as one by their length."""
    said = text.strip()
    return SIGNS.index(said) if said in SIGNS else len(said) % 3


class Duel:
    """Red and blue show a sign without seeing the other's."""

    id = "duel-v0"
    seats = ("red_0", "blue_0")
    renderer_id = "duel-1"
    max_utterance = 200

    def __init__(self, *, split: str = "train") -> None:
        self.split = split
        self.source = Numbered("duel", SIGNS)
        self.weights = {"red": {"won": 1.0}, "blue": {"won": 1.0}}
        self.options: dict[str, Any] = {"split": split}

    def draw(self, rng):
        return self.source.draw(rng, self.split)

    def reset(self, task, rng):
        return State(task)

    def arm(self, state):
        return ""

    def to_move(self, state):
        return () if state.over else self.seats

    def view(self, state, seat):
        return Brief(f"{state.task.prompt} : show", menu=SIGNS, max_new_tokens=3)

    def apply(self, state, utterances):
        red, blue = utterances
        won = lead(red.text, blue.text)
        rewards = (Reward("red_0", "won", won), Reward("blue_0", "won", -won))
        return Step(State(state.task, over=True), rewards, ending=Ending.terminated())

    def beats(self, episode):
        red, blue = (u.text for u in episode.utterances)
        return {1.0: "red_0", -1.0: "blue_0"}.get(lead(red, blue))
