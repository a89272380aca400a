"""Errands as tasks: many thousand roads, and the most that each is worth."""

import numpy as np

from superalign_env.errors import InvalidOption
from superalign_env.types import Gold, Grade, Split, Task
from superalign_scenarios.errand.road import (
    OPEN,
    OPENS,
    SKIP,
    SNACK,
    Place,
    Road,
    after,
    best_worth,
    optimum,
    read_road,
)
from superalign_scenarios.microworld.family import competence, make_task
from superalign_scenarios.microworld.heldout import split_of
from superalign_scenarios.microworld.luck import Luck

_BOTH = 0.75
"""Chance that the stops have the things for both gates, and not one thing twice."""


class Errands:
    """Draws roads, and knows the best way along each."""

    id = "errands-1"

    def draw(self, rng: np.random.Generator, split: Split) -> Task:
        """Draw roads until one belongs to the split."""
        luck = Luck(rng)
        while True:
            road = _draw(luck)
            if split_of_road(road) == split:
                return make_task("errand", road.text, 1, split)

    def gold(self, task: Task) -> Gold:
        """Return words that are worth the most, and how much that is."""
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
        found = [
            text
            for place in range(len(words))
            for new in (*OPENS, *OPENS.values())
            if new != words[place]
            and self.parse(
                text := " ".join((*words[:place], new, *words[place + 1 :])), task.split
            )
        ]
        return tuple(found) or (task.prompt,)

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
    """Return the split of a road; in which order a stop shows its things is no matter."""
    plain = Road(road.gates, (tuple(sorted(road.stops[0])), tuple(sorted(road.stops[1]))))
    return split_of(plain.text)


def _draw(luck: Luck) -> Road:
    gates = luck.sample(tuple(OPENS), 2)
    fitting = luck.sample([OPENS[gate] for gate in gates], 2)
    idle = [thing for thing in OPENS.values() if thing not in fitting]
    found = fitting if luck.chance(_BOTH) else [fitting[0]] * 2
    stops = [tuple(luck.sample((SNACK, thing, luck.pick(idle)), 3)) for thing in found]
    return Road((gates[0], gates[1]), (stops[0], stops[1]))
