"""The order in which an environment plays its cases: shared by every face of Game."""

from collections.abc import Mapping
from typing import Any

from superalign_env.errors import InvalidOption
from superalign_env.game import Game, OnInvalid
from superalign_env.protocols import Scenario
from superalign_env.seeding import whole_seed
from superalign_env.types import AgentSpec, EpisodeKey, Seat


class Cases:
    """Hands out one Game after another: case 0, case 1 and so on.

    Args:
        scenario: the rules.
        seed: the run's seed until a reset names another.
        on_invalid: see `Game`.
        seats: who plays, for the record.
    """

    def __init__(
        self,
        scenario: Scenario[Any],
        *,
        seed: int = 0,
        on_invalid: OnInvalid = "raise",
        seats: Mapping[Seat, AgentSpec] | None = None,
    ) -> None:
        self.scenario = scenario
        self.seed = whole_seed(seed)
        self.on_invalid: OnInvalid = on_invalid
        self.seats = seats or {}
        self._next = 0

    def next(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> Game:
        """Return the next game.

        Args:
            seed: starts again at case 0 of another run.
            options: may name ``case`` and ``member``; others are ignored.
        """
        if seed is not None:
            self.seed, self._next = whole_seed(seed), 0
        case, member = self._next, 0
        if options:
            case = _natural(options, "case", case)
            member = _natural(options, "member", 0)
        self._next = case + 1
        key = EpisodeKey(run=self.seed, case=case, member=member)
        return Game(self.scenario, key, seats=self.seats, on_invalid=self.on_invalid)


def _natural(options: Mapping[str, Any], name: str, default: int) -> int:
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidOption(f"reset option {name!r} must be an integer ≥ 0, not {value!r}")
    return value
