"""Roads as tasks: stops, gates, the worth of every way along them, and the best one.

Which thing opens which gate is for the learner to find out. All words are the microworld's.
"""

from typing import NamedTuple

import numpy as np

from superalign_env.errors import InvalidOption
from superalign_env.types import Gold, Grade, Split, Task
from superalign_scenarios.microworld.family import competence, make_task
from superalign_scenarios.microworld.heldout import split_of
from superalign_scenarios.microworld.luck import Luck
from superalign_scenarios.microworld.words import COMMANDS

OPENS: dict[str, str] = {
    "wall": "ladder",
    "river": "rope",
    "tower": "key",
    "moon": "torch",
    "guard": "password",
}
"""Gate → the one thing that opens it."""

SNACK = "snack"
"""A thing of worth `SMALL` that opens nothing."""
OPEN, SKIP = COMMANDS[1], "skip"
"""Words that a learner can say at a gate."""
SMALL = 1
"""Worth of a snack, and of going round a gate."""
PRIZE = 8
"""Worth of a gate that opens. One that does not open is worth nothing."""
TURNS = 4
MOST = 2 * PRIZE
"""Upper bound of the worth of an errand."""

_BOTH = 0.75
"""Probability that the stops have the things for both gates, and not one thing twice."""


class Road(NamedTuple):
    """Gates and stops of one errand."""

    gates: tuple[str, str]
    """In the order in which they are reached; known from the start."""
    stops: tuple[tuple[str, ...], tuple[str, ...]]
    """Things at each: a snack and two others, of which one fits a gate."""

    @property
    def text(self) -> str:
        """``wall near moon ; rope snack ladder ; snack torch map``."""
        return " ; ".join(
            (" near ".join(self.gates), *(" ".join(stop) for stop in self.stops))
        )


class Place(NamedTuple):
    """Turn, bag and worth of a learner on a road."""

    turn: int = 0
    """0 and 1 are stops, 2 and 3 gates, 4 is the end."""
    bag: tuple[str, ...] = ()
    """Things in the order in which they were taken; snacks are eaten at once."""
    worth: int = 0
    """Gathered so far."""


def read_road(text: str) -> Road | None:
    """Parse the text of a road; None when it is not exactly a proper one."""
    parts = [part.split(" ") for part in text.split(" ; ")]
    if len(parts) != 3 or len(parts[0]) != 3:
        return None
    gates = (parts[0][0], parts[0][2])
    road = Road(gates, (tuple(parts[1]), tuple(parts[2])))
    return road if _proper(road) and road.text == text else None


def choices(road: Road, place: Place) -> tuple[str, ...]:
    """Return the words that can be said at a place; none at the end."""
    if place.turn >= TURNS:
        return ()
    return road.stops[place.turn] if place.turn < 2 else (OPEN, SKIP)


def after(road: Road, place: Place, word: str) -> Place:
    """Return the place after a word; any other word than a choice does nothing."""
    turn, bag, worth = place
    if word not in choices(road, place):
        return Place(turn + 1, bag, worth)
    if word in (SNACK, SKIP):
        return Place(turn + 1, bag, worth + SMALL)
    if word == OPEN:
        fits = OPENS[road.gates[turn - 2]] in bag
        return Place(turn + 1, bag, worth + (PRIZE if fits else 0))
    return Place(turn + 1, (*bag, word), worth)


def best_worth(road: Road, place: Place | None = None) -> int:
    """Return the largest worth that can be reached from a place, by trying every way."""
    place = place or Place()
    words = choices(road, place)
    if not words:
        return place.worth
    return max([best_worth(road, after(road, place, word)) for word in words])


def optimum(road: Road) -> tuple[str, ...]:
    """Return the words of the best way; of several the first by the menus."""
    place, words = Place(), []
    for _ in range(TURNS):
        word = max(
            choices(road, place), key=lambda w: best_worth(road, after(road, place, w))
        )
        words.append(word)
        place = after(road, place, word)
    return tuple(words)


def myopic_word(road: Road, place: Place) -> str:
    """Return the word of the largest immediate worth, without looking a turn ahead."""
    return max(choices(road, place), key=lambda word: after(road, place, word).worth)


def describe(road: Road, place: Place) -> str:
    """Return the text shown at a place: the gates ahead or the one at hand, and the bag."""
    gates = road.gates if place.turn < 2 else road.gates[place.turn - 2 : place.turn - 1]
    bag = f" with {' '.join(place.bag)}" if place.bag else ""
    return f"{' near '.join(gates)}{bag} ; {' '.join(choices(road, place))}"


def _proper(road: Road) -> bool:
    """Whether gates differ, and each stop has a snack, a thing that fits and one that does not.

    Nobody needs to know what the second stop will have: what fits is worth taking at once,
    and what was had once is worth nothing again.
    """
    if len(set(road.gates)) != 2 or not set(road.gates) <= OPENS.keys():
        return False
    fitting = {OPENS[gate] for gate in road.gates}
    idle = set(OPENS.values()) - fitting
    return all(
        len(stop) == 3
        and SNACK in stop
        and len(fitting & set(stop)) == 1
        and len(idle & set(stop)) == 1
        for stop in road.stops
    )


class Errands:
    """Task source of roads; the truth is the best way along each."""

    id = "errands-1"

    def draw(self, rng: np.random.Generator, split: Split) -> Task:
        """Draw roads until one belongs to the split."""
        luck = Luck(rng)
        while True:
            road = _draw(luck)
            if split_of_road(road) == split:
                return make_task("errand", road.text, 1, split)

    def gold(self, task: Task) -> Gold:
        """Return the words of the best way, and their worth."""
        road = road_of(task)
        return Gold(" ".join(optimum(road)), facts={"optimum": best_worth(road)})

    def grade(self, task: Task, text: str, group: str = "") -> tuple[Grade, ...]:
        """Grade four words, joined by spaces, by the share of the optimum that they earn."""
        road, place = road_of(task), Place()
        for word in text.split(" ")[:4]:
            place = after(road, place, word)
        return competence("errand", place.worth / best_worth(road))

    def parse(self, text: str, split: Split) -> Task | None:
        """Read a road of the split."""
        road = read_road(text)
        if road is None or split_of_road(road) != split:
            return None
        return make_task("errand", text, 1, split)

    def menu(self, task: Task) -> tuple[str, ...]:
        """Return the roads of the split that differ in one word; else the road itself."""
        words = task.prompt.split(" ")
        neighbours = [
            text
            for place in range(len(words))
            for new in (*OPENS, *OPENS.values())
            if new != words[place]
            and self.parse(
                text := " ".join((*words[:place], new, *words[place + 1 :])), task.split
            )
        ]
        return tuple(neighbours) or (task.prompt,)

    def answers(self, task: Task) -> tuple[str, ...]:
        """Return every word that can be said on a road."""
        return (*OPENS.values(), SNACK, OPEN, SKIP)


def road_of(task: Task) -> Road:
    """Return the road of a task.

    Raises:
        InvalidOption: the task is no errand.
    """
    road = read_road(task.prompt)
    if road is None:
        raise InvalidOption(
            f"{task.prompt!r} is no road; an errand's task is drawn or parsed by its source"
        )
    return road


def split_of_road(road: Road) -> Split:
    """Return the split of a road, whatever the order of the things at a stop."""
    plain = Road(road.gates, (tuple(sorted(road.stops[0])), tuple(sorted(road.stops[1]))))
    return split_of(plain.text)


def _draw(luck: Luck) -> Road:
    gates = luck.sample(tuple(OPENS), 2)
    fitting = luck.sample([OPENS[gate] for gate in gates], 2)
    idle = [thing for thing in OPENS.values() if thing not in fitting]
    useful = fitting if luck.chance(_BOTH) else [fitting[0]] * 2
    stops = [tuple(luck.sample((SNACK, thing, luck.pick(idle)), 3)) for thing in useful]
    return Road((gates[0], gates[1]), (stops[0], stops[1]))
