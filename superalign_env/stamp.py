"""What the views of one seat are stamped with."""

from superalign_env.types import Role


class Stamp:
    """Kept from turn to turn: a game stamps every view.

    Args:
        seed: what all seeds of the seat are made from.
        role: of the seat.
        turns: how often it was asked.
    """

    __slots__ = ("role", "seed", "turns")

    def __init__(self, seed: int, role: Role, turns: int) -> None:
        self.seed = seed
        self.role = role
        self.turns = turns
