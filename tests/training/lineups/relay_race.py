"""Two cooperating roles: a giver names a word by a hint, a guesser says the word."""

from typing import Any

import msgspec

from superalign_env.plain_text import fence
from superalign_env.types import Brief, Ending, Gold, Grade, Reward, Step, Task

WORDS = ("knife", "book", "door", "plant", "boat")
HINTS = ("cut", "read", "open", "water", "row")


class Pairs:
    """A source of words; which hint belongs to a word is public."""

    id = "pairs-1"

    def draw(self, rng, split):
        word = WORDS[int(rng.integers(len(WORDS)))]
        return Task(f"word:{word}:{split}", "pairs", word, split=split)

    def gold(self, task):
        return Gold(task.prompt)

    def grade(self, task, text, group=""):
        return (Grade("", "competence", "guessed", float(text.strip() == task.prompt)),)

    def parse(self, text, split):
        return Task(f"word:{text}:{split}", "pairs", text, split=split)

    def menu(self, task):
        return HINTS

    def answers(self, task):
        return WORDS


class State(msgspec.Struct, frozen=True):
    task: Task
    hint: str = ""
    over: bool = False


class RelayRace:
    """The giver sees the word, the guesser the hint; both are paid for a good guess."""

    id = "relay-race-v0"
    seats = ("giver_0", "guesser_0")
    renderer_id = "relay-race-1"
    max_utterance = 200

    def __init__(self, *, split: str = "train") -> None:
        self.split = split
        self.source = Pairs()
        self.weights = {"giver": {"guess": 1.0}, "guesser": {"guess": 1.0}}
        self.options: dict[str, Any] = {"split": split}

    def draw(self, rng):
        return self.source.draw(rng, self.split)

    def reset(self, task, rng):
        return State(task)

    def arm(self, state):
        return ""

    def to_move(self, state):
        if state.over:
            return ()
        return self.seats[1:] if state.hint else self.seats[:1]

    def view(self, state, seat):
        if seat == "giver_0":
            return Brief(f"give {state.task.prompt}", menu=HINTS, max_new_tokens=3)
        return Brief(f"guess {state.hint}", menu=WORDS, max_new_tokens=3)

    def apply(self, state, utterances):
        (said,) = utterances
        if not state.hint:
            return Step(State(state.task, fence(said.text) or "nothing"))
        right = float(said.text.strip() == state.task.prompt)
        near = len(set(said.text) & set(state.task.prompt)) / 5
        rewards = tuple(Reward(seat, "guess", right + near) for seat in self.seats)
        grades = (Grade(said.seat, "competence", "guessed", right),)
        over = State(state.task, state.hint, over=True)
        return Step(over, rewards, grades, ending=Ending.terminated())
