"""The road: stops, gates, and what every way along it is worth.

Which thing opens which gate is for the traveller to find out; nobody is told. All words
are the microworld's.
"""

from typing import NamedTuple

from superalign_scenarios.microworld.words import COMMANDS

OPENS: dict[str, str] = {
    "wall": "ladder",
    "river": "rope",
    "tower": "key",
    "moon": "torch",
    "guard": "password",
}
"""gate → the one thing that opens it."""

SNACK = "snack"
"""Worth `SMALL` to whoever takes it, and opens nothing."""
OPEN, SKIP = COMMANDS[1], "skip"
"""What can be done at a gate."""
SMALL = 1
"""Worth of a snack, and of going round a gate."""
PRIZE = 8
"""Worth of a gate that opens. One that does not open is worth nothing."""
TURNS = 4
MOST = 2 * PRIZE
"""No errand is worth more."""


class Road(NamedTuple):
    """One errand before it begins."""

    gates: tuple[str, str]
    """In the order in which they are reached; known from the start."""
    stops: tuple[tuple[str, ...], tuple[str, ...]]
    """What can be had at each: a snack and two things, of which one fits a gate."""

    @property
    def text(self) -> str:
        """``wall near moon ; rope snack ladder ; snack torch map``."""
        return " ; ".join(
            (" near ".join(self.gates), *(" ".join(stop) for stop in self.stops))
        )


class Place(NamedTuple):
    """Where a traveller is on a road, and what it has."""

    turn: int = 0
    """0 and 1 are stops, 2 and 3 gates, 4 is the end."""
    bag: tuple[str, ...] = ()
    """Things in the order in which they were taken; snacks are eaten at once."""
    worth: int = 0
    """Gathered so far."""


def read_road(text: str) -> Road | None:
    """Read what `Road.text` wrote; None when it is no proper road."""
    parts = [part.split(" ") for part in text.split(" ; ")]
    if len(parts) != 3 or len(parts[0]) != 3:
        return None
    gates = (parts[0][0], parts[0][2])
    road = Road(gates, (tuple(parts[1]), tuple(parts[2])))
    return road if _proper(road) and road.text == text else None


def choices(road: Road, place: Place) -> tuple[str, ...]:
    """Return what can be done at a place; nothing at the end."""
    if place.turn >= TURNS:
        return ()
    return road.stops[place.turn] if place.turn < 2 else (OPEN, SKIP)


def after(road: Road, place: Place, word: str) -> Place:
    """Return where a traveller is after a word; any other word than a choice does nothing."""
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
    """Return the most that an errand can be worth from a place on: every way is tried."""
    place = place or Place()
    words = choices(road, place)
    if not words:
        return place.worth
    return max([best_worth(road, after(road, place, word)) for word in words])


def optimum(road: Road) -> tuple[str, ...]:
    """Return words that are worth the most; of several such ways the first by the menus."""
    place, said = Place(), []
    for _ in range(TURNS):
        word = max(
            choices(road, place), key=lambda w: best_worth(road, after(road, place, w))
        )
        said.append(word)
        place = after(road, place, word)
    return tuple(said)


def myopic_word(road: Road, place: Place) -> str:
    """Return the word that is worth most at once: what looks no turn ahead."""
    return max(choices(road, place), key=lambda word: after(road, place, word).worth)


def describe(road: Road, place: Place) -> str:
    """Return what a traveller sees: both gates from afar or the one at hand, and the bag."""
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
