"""Four roles: a seller, a buyer, a broker who adds a word, and a notary who repeats it."""

from typing import Any

import msgspec
from duel import Numbered

from superalign_env.plain_text import fence
from superalign_env.types import Brief, Ending, Reward, Step, Task

PRICES = ("one", "two", "three", "four")


class State(msgspec.Struct, frozen=True):
    task: Task
    said: tuple[str, ...] = ()


class Market:
    """They speak in turn; seller and buyer are paid by opposite prices, the notary by echo."""

    id = "market-v0"
    seats = ("seller_0", "buyer_0", "broker_0", "notary_0")
    renderer_id = "market-1"
    max_utterance = 200

    def __init__(self, *, split: str = "train") -> None:
        self.split = split
        self.source = Numbered("thing", PRICES)
        self.weights = {
            "seller": {"price": 1.0},
            "buyer": {"price": 1.0},
            "notary": {"echo": 1.0},
        }
        self.options: dict[str, Any] = {"split": split}

    def draw(self, rng):
        return self.source.draw(rng, self.split)

    def reset(self, task, rng):
        return State(task)

    def arm(self, state):
        return ""

    def to_move(self, state):
        done = len(state.said)
        return self.seats[done : done + 1]

    def view(self, state, seat):
        heard = " ; ".join([state.task.prompt, *state.said])
        return Brief(f"{seat} hears {heard}", menu=PRICES, max_new_tokens=3)

    def apply(self, state, utterances):
        (said,) = utterances
        state = State(state.task, (*state.said, fence(said.text.strip())))
        if len(state.said) < len(self.seats):
            return Step(state)
        seller, buyer, broker, notary = state.said
        price = (len(seller) % 4 + len(buyer) % 4) / 6
        rewards = (
            Reward("seller_0", "price", price),
            Reward("buyer_0", "price", 1.0 - price),
            Reward("notary_0", "echo", float(notary == broker)),
        )
        return Step(state, rewards, ending=Ending.terminated())
