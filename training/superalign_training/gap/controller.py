"""Gap controllers: their input, their protocol, and controllers by id.

A gap is the number of ladder levels from one generation up to the next: δ of Kim et al.
(2025) counted in steps of the ladder. Settings hold a controller as a field of the type
`GapRule`: ``gap=adaptive`` or ``gap={id: fixed-large, steps: 3}`` on the command line
becomes an object, and is written into the record with all of its settings.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Protocol

import msgspec
from pydantic import PlainSerializer, PlainValidator

from superalign_env.errors import InvalidOption, UnknownId
from superalign_training.registered import make_registered, plain_registered

PEOPLE = -1
"""The level of those who supervise the first generation."""


class GenerationStats(msgspec.Struct, frozen=True):
    """Gold-free statistics of one generation, the only input of a gap controller."""

    generation: int
    level: int
    """Index on the ladder of levels."""
    accepted: bool = True
    """Whether the gate accepted it."""
    disagreement: float = 0.0
    """Mean share of control tasks on which two sources say different things."""
    misfit: float = 0.0
    """Share of control tasks on which the generation differs from its label."""
    confidence: float = 0.0
    """Mean probability that the generation gives its own answer, on control tasks."""
    human_agreement: float | None = None
    """Share of people's labels on control tasks that the generation agrees with; None
    where nobody was asked."""
    human_labels: int = 0
    """How many labels that share rests on."""


class GapController(Protocol):
    """Chooses levels for the generations of a chain; its settings are the fields.

    A level is an index on a ladder of agents of rising capability; people stand below its
    first level. A gap is the number of levels from the newest accepted generation, or from
    people, up to the next one: δ of Kim et al. (2025) counted in steps of the ladder.
    """

    @property
    def id(self) -> str:
        """As the registry knows it."""
        ...

    @property
    def oracle(self) -> bool:
        """Whether it reads gold labels; its chains are reported as such."""
        ...

    def check(self, levels: int, generations: int) -> None:
        """Raise for settings that cannot work, before training starts.

        Args:
            levels: number of levels on the ladder.
            generations: wanted in all.

        Raises:
            InvalidOption: says what to change.
        """
        ...

    def choose(
        self, history: Sequence[GenerationStats], *, levels: int, generations: int
    ) -> int:
        """Return the level of the next generation; a pure function of its arguments.

        Args:
            history: of all finished generations, oldest first, accepted or not.
            levels: number of levels on the ladder.
            generations: wanted in all, those that were rolled back included.

        Returns:
            An index in [0, levels).
        """
        ...


class Standing(NamedTuple):
    """The position of a chain before its next generation."""

    level: int
    """Of the newest accepted generation; `PEOPLE` before the first."""
    accepted: int
    """How many generations were accepted."""
    failures: int
    """How many were rolled back since."""
    tried: int
    """Steps of the newest attempt if it was rolled back, else 0."""


def standing(history: Sequence[GenerationStats]) -> Standing:
    """Return the position of a chain after these generations."""
    level, accepted, failures, attempted_gap = PEOPLE, 0, 0, 0
    for stats in history:
        if stats.accepted:
            level, accepted, failures, attempted_gap = stats.level, accepted + 1, 0, 0
        else:
            failures, attempted_gap = failures + 1, stats.level - level
    return Standing(level, accepted, failures, attempted_gap)


def climb(level: int, steps: int, *, levels: int) -> int:
    """Return the level so many steps above, or the top of the ladder."""
    return min(max(level + steps, 0), levels - 1)


def check_ladder(levels: int, generations: int) -> None:
    """Raise for a ladder without levels or a chain without generations.

    Raises:
        InvalidOption: says what to change.
    """
    if levels < 1:
        raise InvalidOption("a chain needs a ladder of at least one level; add to levels")
    if generations < 1:
        raise InvalidOption("a chain needs at least one generation; raise generations")


GapReference = str | Mapping[str, Any] | GapController
"""``adaptive``, ``{id: fixed-large, steps: 3}``, or a controller that is made already."""


def make_controller(reference: GapReference) -> GapController:
    """Return a checked controller.

    Args:
        reference: an id, a mapping with an id, or a controller, which is returned as is.

    Raises:
        UnknownId: nothing is called so; names the nearest ids.
        InvalidOption: names every wrong key, its value and what is allowed.
    """
    if not isinstance(reference, (str, Mapping)):
        if callable(getattr(reference, "choose", None)):
            return reference
        raise InvalidOption(f"{reference!r} chooses no gap; give an id or {{id: …}}")
    options = {"id": reference} if isinstance(reference, str) else dict(reference)
    controller: GapController = make_registered(
        "gap", options, noun="controller", example="adaptive"
    )
    return controller


def _read(reference: Any) -> GapController:
    try:
        return make_controller(reference)
    except UnknownId as error:
        raise ValueError(str(error)) from error  # pydantic names the key then


GapRule = Annotated[
    GapController,
    PlainValidator(_read),
    PlainSerializer(plain_registered, return_type=dict[str, Any]),
]
"""A controller, as a field of settings."""
