"""Old checkpoints in the opponent's seat."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from superalign_env.errors import InvalidOption
from superalign_env.protocols import Agent
from superalign_training.league.members import Member, Shelf, load
from superalign_training.league.sampling import Beaten, shares
from superalign_training.mixture import Mixture


class OpponentPool(NamedTuple):
    """Members of a league that are met, and how often each of them."""

    agents: dict[str, Agent]
    """``league-<hash>`` → agent."""
    shares: dict[str, float]
    """The same names → share of the cases that the league plays; together 1."""

    def joined(
        self,
        others: Mapping[str, Agent],
        *,
        share: float,
        shares: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> Mixture:
        """Return one mixture of these and of others.

        Who plays a case depends on its number alone, so all members of a group meet the
        same opponent and its mean stays a fair baseline.

        Args:
            others: name → agent, such as the current opponents.
            share: of cases that the league plays, in [0, 1].
            shares: of the others among themselves, any positive scale; equal when absent.
            seed: of the draw.

        Raises:
            InvalidOption: a share outside [0, 1], or shares that do not fit the others.
        """
        if not 0.0 <= share <= 1.0:
            raise InvalidOption(f"share must lie in [0, 1], not {share}")
        given = dict.fromkeys(others, 1.0) if shares is None else dict(shares)
        total = sum(given.values())
        if set(given) != set(others) or (share < 1.0 and total <= 0):
            raise InvalidOption(
                "who plays beside the league needs one share each, one of them above 0"
            )
        return Mixture(
            {**others, **self.agents},
            shares={
                **{n: (1.0 - share) * s / (total or 1.0) for n, s in given.items()},
                **{n: share * s for n, s in self.shares.items()},
            },
            seed=seed,
        )


def opponent_pool(
    league: Sequence[Member],
    shelf: Shelf,
    *,
    sampling: str = "prioritised",
    beaten: Mapping[str, Beaten] | None = None,
    power: float = 2.0,
    most: int = 8,
) -> OpponentPool:
    """Return the members that are met, loaded.

    Args:
        league: of one role, oldest first.
        shelf: where they lie.
        sampling: `latest`, `uniform` or `prioritised`; see `sampling`.
        beaten: member → how often it beat the agent that is trained, as critics say.
        power: exponent of `prioritised`.
        most: so many are loaded at most.

    Raises:
        UnknownId: no such sampling rule.
        InvalidOption: an empty league.
        RecordDamaged: a checkpoint is missing or was altered.
    """
    names = [member.name for member in league]
    met = shares(sampling, names, beaten=beaten, power=power, most=most)
    chosen = [member for member in league if member.name in met]
    return OpponentPool(
        {_label(m.name): load(m, shelf) for m in chosen},
        {_label(m.name): met[m.name] for m in chosen},
    )


def _label(name: str) -> str:
    return f"league-{name[:12]}"
