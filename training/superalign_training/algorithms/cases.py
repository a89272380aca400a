"""Sampling of cases from an experience, and groups of episodes of one case."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from math import ceil
from typing import NamedTuple

from superalign_env.errors import InvalidOption
from superalign_env.store import declare
from superalign_env.types import Seat
from superalign_training.data import Experience, Row, learnable
from superalign_training.policy import Policy

TRIES = 4
"""How often more cases are played when some gave nothing to learn from."""


class CaseSampler:
    """Rollouts of the cases of an experience, in order.

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
        """Roll out the next cases; those without a turn of the policy give no rows.

        Raises:
            InvalidOption: pay that is no finite number.
        """
        self._policy.agent.refresh()  # its weights have moved: replies bear the new hash
        rows = learnable(self._experience.play(self.played, count))
        self.played += count
        return rows

    def rows(self, count: int) -> list[Row]:
        """Roll out so many cases, and as many again if they give no rows at all.

        Raises:
            InvalidOption: there is nothing to learn from, or pay that is no finite number.
        """
        for _ in range(TRIES):
            rows = self.further(count)
            if rows:
                return rows
        raise nothing_to_learn()


def nothing_to_learn() -> InvalidOption:
    """Return the error for a step without a single row."""
    return InvalidOption(
        "the learner had no turn to learn from in a whole step: are all of the attacker's "
        "queries invalid? Change the attacker, or play more cases without one. Or were all "
        "its replies sampled under a form or with top_p, top_k or min_p (events "
        "reply.constrained, reply.truncated-sampling)? Train it with constrained='never' "
        "and without these"
    )


declare("train/reward", "Reward", better="higher")


def episode_returns(rows: Sequence[Row]) -> list[float]:
    """Return the undiscounted return of every episode, from the first turn that is learned from.

    Differences that late answers make are left out: they are not what an episode pays.
    """
    first_rows: dict[tuple[str, str], Row] = {}
    for row in [row for row in rows if row.origin != "late"] or rows:
        key = (row.episode, row.seat)
        if key not in first_rows or row.turns[0] < first_rows[key].turns[0]:
            first_rows[key] = row
    return [row.to_go for row in first_rows.values()]


declare(
    "train/frac_reward_zero_std", "Groups without any difference in reward", unit="share"
)


def is_zero_std(pay: Sequence[float]) -> bool:
    """Return whether the pay of several episodes has standard deviation 0."""
    return len(pay) > 1 and max(pay) == min(pay)


def all_rewards_equal(rows: Sequence[Row]) -> bool:
    """Return whether all returns of a batch are equal and it has no late answers."""
    return is_zero_std(episode_returns(rows)) and all(row.origin != "late" for row in rows)


Score = Callable[[Sequence[float]], list[float]]
"""pay of the members of a group → advantage of each."""


class Compared(NamedTuple):
    """Rows of complete groups with their advantages, for one step."""

    rows: list[Row]
    advantages: list[list[float]]
    """For each row, of every turn."""
    frac_reward_zero_std: float
    """Share of groups without any difference in pay."""


class Groups:
    """Groups of episodes of one case, rolled out until a step has enough complete ones.

    Some cases give the learner no turn (the attacker's query was invalid), or not to all
    members. They are replaced by further cases; if those run dry too, a step is smaller.

    Args:
        cases: gives the rows of further cases.
        num_generations: plays of one case.
        score: what pay is worth within a group.
    """

    def __init__(self, cases: CaseSampler, num_generations: int, score: Score) -> None:
        self.cases = cases
        self._num_generations = num_generations
        self._score = score
        self._complete = 0

    @property
    def share(self) -> float:
        """Complete cases per case played."""
        return self._complete / self.cases.played if self.cases.played else 1.0

    def compare(self, count: int) -> Compared:
        """Return the rows of so many cases, or of fewer if not enough are complete.

        Raises:
            InvalidOption: there is nothing to learn from, or pay that is no finite number.
        """
        groups = [group for case in self._collect(count) for group in case]
        return Compared(
            rows=[row for group in groups for row in group],
            advantages=[a for group in groups for a in by_place(group, self._score)],
            frac_reward_zero_std=sum(
                is_zero_std([row.to_go for row in group]) for group in groups
            )
            / len(groups),
        )

    def _collect(self, count: int) -> list[list[list[Row]]]:
        """Return the groups of each complete case."""
        cases: list[list[list[Row]]] = []
        for _ in range(TRIES):
            missing = count - len(cases)
            if missing <= 0:
                break
            # As many as will do if cases go on to be complete as they were so far.
            rows = self.cases.further(ceil(missing / max(self.share, 1 / TRIES)))
            by_case: dict[int, list[list[Row]]] = defaultdict(list)
            for group in complete_groups(rows, self._num_generations):
                by_case[group[0].case].append(group)
            self._complete += len(by_case)
            cases += by_case.values()
        if not cases:
            raise nothing_to_learn()
        return cases[:count]


def complete_groups(rows: Sequence[Row], num_generations: int) -> list[list[Row]]:
    """Return the groups that all members contribute to: by case, seat and place in the episode.

    The n-th rows of one seat in all members of a case are comparable; a group in which some
    member has no n-th row is left out.
    """
    places: dict[tuple[int, int, Seat], int] = defaultdict(int)
    groups: dict[tuple[int, Seat, int], list[Row]] = defaultdict(list)
    for row in rows:
        place = places[row.case, row.member, row.seat]
        places[row.case, row.member, row.seat] += 1
        groups[row.case, row.seat, place].append(row)
    return [group for group in groups.values() if len(group) == num_generations]


def by_place(group: Sequence[Row], score: Score) -> list[list[float]]:
    """Return the advantage of every turn of every row of a group.

    A turn is credited with what was paid from it on, against what the others' turns at
    the same place were: what came before it was none of its doing. A late group is credited
    with what its answers change in that: scores need not be linear in pay.
    """
    advantages: list[list[float]] = [[] for _ in group]
    for place in range(max(len(row.turns) for row in group)):
        members = [member for member, row in enumerate(group) if place < len(row.turns)]
        scores = _scores([group[member] for member in members], place, score)
        for member, value in zip(members, scores, strict=True):
            advantages[member].append(value)
    return advantages


def _scores(rows: Sequence[Row], place: int, score: Score) -> list[float]:
    """Return the advantage of the turns at one place, of each row."""
    pay = [row.turns_to_go[place] for row in rows]
    if not any(row.paid_before for row in rows):
        return score(pay)
    before = [row.paid_before[place] for row in rows]
    after = [old + change for old, change in zip(before, pay, strict=True)]
    return [now - then for now, then in zip(score(after), score(before), strict=True)]
