"""`errand`: four turns of one seat, paid at the end; the best play of every case is known.

The learner passes two stops where one thing may be taken, then two gates that only the right
things open: what pays at once is not what the errand is worth at its end. The part
``errand`` pays the whole worth at the last turn. The truth is the best worth of every road;
it grades the play and answers ``gold``, but pays nothing. No variants or facts are declared.
"""

from typing import Any

import msgspec
import numpy as np

from superalign_env.errors import InvalidOption
from superalign_env.types import (
    Brief,
    Ending,
    Episode,
    Grade,
    Reward,
    Role,
    Seat,
    Split,
    Step,
    Task,
    Turn,
    Utterance,
)
from superalign_scenarios.errand.roads import (
    MOST,
    TURNS,
    Errands,
    Place,
    after,
    best_worth,
    choices,
    describe,
    road_of,
)
from superalign_scenarios.rendering import make_renderer

LEARNER = "learner_0"
_NEW_TOKENS = 2
"""New tokens of a turn in the micro language: one word and its end."""


class ErrandState(msgspec.Struct, frozen=True):
    """The road's task, the learner's place on it, and all turns so far."""

    task: Task
    place: Place
    turns: tuple[Turn, ...]


class Errand:
    """Four turns with a delayed reward: things first, then the gates that they open.

    At two stops the learner takes a thing or eats a snack; at two gates it opens or goes
    round. A snack and a way round are worth a little, a gate that opens is worth a lot, and
    opens only for the thing that fits it. The part ``errand`` pays everything at the end, as
    a share of what the best of all errands is worth.

    Args:
        split: which roads.
        renderer: ``micro`` or ``english``.
        max_utterance: longest utterance, in characters.
    """

    id = "errand-v0"
    seats: tuple[Seat, ...] = (LEARNER,)

    def __init__(
        self,
        *,
        split: Split = "train",
        renderer: str = "micro",
        max_utterance: int = 256,
    ) -> None:
        self.source = Errands()
        self.renderer = make_renderer(renderer)
        self.renderer_id = self.renderer.id
        self.split: Split = split
        self.weights: dict[Role, dict[str, float]] = {"learner": {"errand": 1.0}}
        self.max_utterance = max_utterance
        self.options: dict[str, Any] = {
            "split": split,
            "renderer": renderer,
            "max_utterance": max_utterance,
        }

    def draw(self, rng: np.random.Generator) -> Task:
        """Draw a road of the split."""
        return self.source.draw(rng, self.split)

    def reset(self, task: Task, rng: np.random.Generator) -> ErrandState:
        """Stand at the first stop with an empty bag."""
        place = Place()
        return ErrandState(task, place, (Turn("user", describe(road_of(task), place)),))

    def arm(self, state: ErrandState) -> str:
        """There is only one arm."""
        return ""

    def to_move(self, state: ErrandState) -> tuple[Seat, ...]:
        """Return the learner, four times."""
        return (LEARNER,) if state.place.turn < TURNS else ()

    def view(self, state: ErrandState, seat: Seat) -> Brief:
        """Return the road as it was walked so far; the next stop is seen on arrival."""
        return self.renderer.brief(
            self.id,
            seat,
            state.turns,
            menu=choices(road_of(state.task), state.place),
            max_new_tokens=None if self.renderer.json_verdicts else _NEW_TOKENS,
        )

    def apply(self, state: ErrandState, utterances: tuple[Utterance, ...]) -> Step:
        """Walk on; at the end, pay."""
        road, spoken = road_of(state.task), utterances[0]
        place = after(road, state.place, spoken.text.strip())
        turns = (*state.turns, Turn(LEARNER, spoken.text))
        if place.turn < TURNS:
            turns = (*turns, Turn("user", describe(road, place)))
            return Step(ErrandState(state.task, place, turns))
        value = place.worth / best_worth(road)
        return Step(
            ErrandState(state.task, place, turns),
            (Reward(LEARNER, "errand", place.worth / MOST),),
            (Grade(LEARNER, "competence", "errand", value),),
            ending=Ending.terminated(),
        )

    def gold(self, episode: Episode, turn: int, group: str = "") -> float:
        """Return the share of the best reachable worth that is still reachable after a turn.

        Raises:
            InvalidOption: nobody spoke at that turn.
        """
        if not 0 <= turn < len(episode.utterances):
            raise InvalidOption(f"{episode.id} has no turn {turn}")
        road, place = road_of(episode.task), Place()
        for spoken in episode.utterances[:turn]:
            place = after(road, place, spoken.text.strip())
        reached = after(road, place, episode.utterances[turn].text.strip())
        return best_worth(road, reached) / best_worth(road, place)
