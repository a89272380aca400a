"""Walks through the cases of an experience, as many at a time as a step wants."""

from collections.abc import Sequence

from superalign_env.errors import InvalidOption
from superalign_env.store import declare
from superalign_training.data import Experience, Row, learnable
from superalign_training.policy import Policy

TRIES = 4
"""How often more cases are played when some gave nothing to learn from."""


class Cases:
    """Plays further cases whenever it is asked to.

    Args:
        experience: what is learned from.
        policy: who learns.
    """

    def __init__(self, experience: Experience, policy: Policy) -> None:
        self._experience = experience
        self._policy = policy
        self.played = 0
        """How many cases were played; the next one has this number."""

    def further(self, count: int) -> list[Row]:
        """Play the next cases; those that give the policy no turn give no rows.

        Raises:
            InvalidOption: pay that is no finite number.
        """
        self._policy.agent.refresh()  # its weights have moved: replies bear the new hash
        rows = learnable(self._experience.play(self.played, count))
        self.played += count
        return rows

    def rows(self, count: int) -> list[Row]:
        """Play so many cases, and as many again should they give no rows at all.

        Raises:
            InvalidOption: there is nothing to learn from, or pay that is no finite number.
        """
        for _ in range(TRIES):
            found = self.further(count)
            if found:
                return found
        raise nothing_to_learn()


def nothing_to_learn() -> InvalidOption:
    """Return the error for a step without a single row."""
    return InvalidOption(
        "the learner had no turn to learn from in a whole step: are all of the attacker's "
        "queries invalid? Change the attacker, or play more cases without one"
    )


declare("train/reward", "Reward", better="higher")


def totals(rows: Sequence[Row]) -> list[float]:
    """Return the pay of every episode, from the first turn that is learned from.

    Differences that late answers make are left out: they are not what an episode pays.
    """
    first: dict[tuple[str, str], Row] = {}
    for row in [row for row in rows if row.origin != "late"] or rows:
        key = (row.episode, row.seat)
        if key not in first or row.turns[0] < first[key].turns[0]:
            first[key] = row
    return [row.to_go for row in first.values()]


declare(
    "train/frac_reward_zero_std", "Groups without any difference in reward", unit="share"
)


def is_zero_std(pay: Sequence[float]) -> bool:
    """Return whether several episodes were paid alike: nothing says which did better."""
    return len(pay) > 1 and max(pay) == min(pay)


def nothing_differs(rows: Sequence[Row]) -> bool:
    """Return whether a batch says nowhere what was better: alike pay, and no late answer."""
    return is_zero_std(totals(rows)) and all(row.origin != "late" for row in rows)
