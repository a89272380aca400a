"""Roles a, b and c: a asks or the task does, b answers, c says whether that was good."""

from typing import Any, ClassVar

import msgspec
from interrogation import Secrets

from superalign_env.plain_text import fence
from superalign_env.types import Brief, Ending, Grade, Judged, Query, Reward, Step, Task
from superalign_env.types import Verdict as Opinion


class State(msgspec.Struct, frozen=True):
    task: Task
    said: tuple[str, ...] = ()


class Verdict:
    """One question, one answer, one verdict."""

    id = "verdict-v0"
    seats = ("a_0", "b_0", "c_0")
    renderer_id = "verdict-1"
    max_utterance = 200
    facts: ClassVar = {"queries": "a", "judged": "c"}
    variants: ClassVar = {"attacked": {"asked": True}, "plain": {"asked": False}}

    def __init__(self, *, split: str = "train", asked: bool = True) -> None:
        self.split, self.asked = split, asked
        self.source = Secrets()
        self.weights = {"b": {"c": 1.0}, "a": {"c": -1.0}}
        self.options: dict[str, Any] = {"split": split, "asked": asked}

    def draw(self, rng):
        return self.source.draw(rng, self.split)

    def reset(self, task, rng):
        return State(task, () if self.asked else (task.prompt,))

    def arm(self, state):
        return ""

    def to_move(self, state):
        return self.seats[len(state.said) : len(state.said) + 1]

    def view(self, state, seat):
        heard = " ; ".join(map(fence, state.said))
        if seat == "a_0":
            return Brief("ask", menu=self.source.menu(state.task), max_new_tokens=6)
        if seat == "b_0":
            menu = self.source.answers(state.task)
            return Brief(f"answer {heard}", menu=menu, max_new_tokens=4)
        return Brief(f"judge {heard}", menu=("good", "bad"), max_new_tokens=3)

    def apply(self, state, utterances):
        (said,) = utterances
        state = State(state.task, (*state.said, said.text))
        if said.seat == "b_0":
            kept = self.source.grade(state.task, said.text)[0]
            return Step(state, grades=(Grade("b_0", kept.axis, kept.name, kept.value),))
        if said.seat == "a_0":
            return Step(state, queries=(Query("a_0", said.text, True),))
        score = float("bad" not in said.text)
        rewards = (Reward("b_0", "c", score), Reward("a_0", "c", score))
        judged = Judged("c_0", said.turn - 1, Opinion(score, 1.0))
        return Step(state, rewards, ending=Ending.terminated(), judged=(judged,))

    def gold(self, episode, turn, group=""):
        (said,) = [u for u in episode.utterances if u.turn == turn]
        return self.source.grade(episode.task, said.text)[0].value
