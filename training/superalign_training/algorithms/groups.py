"""Groups of plays of one case, as TRL's GRPO trainer wants them."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

from superalign_training.algorithms.cases import TRIES, Cases, nothing_to_learn
from superalign_training.experience import Row

Score = Callable[[Sequence[float]], list[float]]
"""pay of the members of a group → advantage of each."""


class Groups:
    """Plays cases until a step has the rows that the trainer wants.

    Some cases give the learner no turn (the attacker's query was invalid). They are
    replaced by further cases; if those run dry too, groups are repeated without pay, so
    that they move nothing.

    Args:
        cases: gives the rows of further cases.
        members: rows of one group.
        score: what pay is worth within a group.
    """

    def __init__(self, cases: Cases, members: int, score: Score) -> None:
        self.cases = cases
        self._members = members
        self._score = score
        self.complete = 0
        """How many groups the cases gave."""
        self.rows: list[Row] = []
        """What was rolled out last."""
        self.advantages: list[list[float]] = []
        """For each of these rows, of every turn."""

    def roll_out(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
        """Return one row for every prompt: groups lie together (TRL's `rollout_func`)."""
        wanted = len(prompts) // self._members
        groups = self._collect(wanted)
        self.rows = [row for group in groups for row in group]
        self.advantages = [a for group in groups for a in by_place(group, self._score)]
        pay: list[float | None] = [row.to_go for row in self.rows]
        for filler in range(wanted - len(groups)):
            repeated = groups[filler % len(groups)]
            self.rows += repeated
            self.advantages += [[0.0] * len(row.turns) for row in repeated]
            pay += [None] * self._members
        return {
            "prompt_ids": [list(row.prompt_ids) for row in self.rows],
            "completion_ids": [list(row.completion_ids) for row in self.rows],
            "env_mask": [list(row.env_mask) for row in self.rows],
            "logprobs": None,  # importance weights are ours, not those of an engine
            "pay": pay,
        }

    def _collect(self, wanted: int) -> list[list[Row]]:
        groups: list[list[Row]] = []
        for _ in range(TRIES):
            missing = wanted - len(groups)
            if missing <= 0:
                break
            # As many as will do if cases go on to yield groups as they did so far.
            count = ceil(missing / max(self.share, 1 / TRIES))
            found = complete_groups(self.cases.further(count), self._members)
            self.complete += len(found)
            groups += found
        if not groups:
            raise nothing_to_learn()
        return groups[:wanted]

    @property
    def share(self) -> float:
        """Complete groups for each case that was played."""
        return self.complete / self.cases.played if self.cases.played else 1.0


def complete_groups(rows: Sequence[Row], members: int) -> list[list[Row]]:
    """Return the groups that all members contribute to, by case and place in the episode.

    The n-th rows of all members of one case are comparable; a group in which some
    member has no n-th row is left out.
    """
    places: dict[tuple[int, int], int] = defaultdict(int)
    found: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in rows:
        place = places[row.case, row.member]
        places[row.case, row.member] += 1
        found[row.case, place].append(row)
    return [group for group in found.values() if len(group) == members]


def by_place(group: Sequence[Row], score: Score) -> list[list[float]]:
    """Return the advantage of every turn of every row of a group.

    A turn is credited with what was paid from it on, against what the others' turns at
    the same place were: what came before it was none of its doing.
    """
    advantages: list[list[float]] = [[] for _ in group]
    for place in range(max(len(row.turns) for row in group)):
        there = [member for member, row in enumerate(group) if place < len(row.turns)]
        scores = score([group[member].turns_to_go[place] for member in there])
        for member, value in zip(there, scores, strict=True):
            advantages[member].append(value)
    return advantages


def settled_pay(
    prompts: Sequence[str],
    completions: Sequence[str],
    pay: Sequence[float | None],
    **columns: Any,
) -> list[float | None]:
    """Return what the environment paid; None (no opinion) for rows that only fill up."""
    return list(pay)
