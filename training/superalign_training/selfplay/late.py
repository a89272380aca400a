"""Late answers of people: given after the update on their episodes.

Each returns its whole case to the next improvement of the policy, as stored experience that
is paid only the difference which the answer makes.
"""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from superalign_env.errors import InvalidOption
from superalign_env.rewards import HumanPay, by_episode
from superalign_env.store import Run, declare, standing
from superalign_env.types import Episode, EpisodeKey, Metric, Role, Seat, Signal
from superalign_training.algorithms.algorithm import OnPolicy
from superalign_training.algorithms.own import Own
from superalign_training.data import Row
from superalign_training.data.experience import EpisodeCheck
from superalign_training.data.rows import difference, late_rows
from superalign_training.policy import AnyPolicy, Policy
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.state import PaidAnswers
from superalign_training.selfplay.supervisors.candidates import case_of, random_slice

CAP = 2.0
"""Clip of the importance weights of late rows (rho-bar)."""

declare("people.late", "Late answers that returned as stored experience")
declare("people.late_examples", "Late answers too old, or unweighable: examples at most")
declare("people.late_stored", "Of these: kept in the record, and learned from by nobody")

PAYING = ("label", "preference", "veto")
"""Kinds of signals that change pay."""


class LateCase(NamedTuple):
    """A case returned to training by late answers."""

    rows: list[Row]
    signals: frozenset[int]
    """Ids of what was said about it and has not paid yet; a preference between two members
    is one."""
    answers: frozenset[int]
    """Those of them that stand."""


class LateCases:
    """Cases returned to training by late answers, spread over the steps of a stage.

    Args:
        cases: that return.
        algorithm: takes so many steps of so many cases.
        expired: number of answers too late to enter a reward.
    """

    def __init__(
        self,
        cases: Sequence[LateCase] = (),
        algorithm: OnPolicy | Own | None = None,
        *,
        expired: int = 0,
    ) -> None:
        self._cases = list(cases)
        self._answers, self._expired = 0, expired
        # Spread over the stage, so that what is played now is never crowded out.
        self._each = ceil(len(cases) / algorithm.steps) if algorithm else 0

    @property
    def cap(self) -> float | None:
        """Limit of importance weights; None without late rows."""
        return CAP if self._cases else None

    def take(self, count: int) -> list[list[Row]]:
        """Return the next cases for a batch of so many: at most half of it."""
        limit = min(max(1, self._each), count // 2)
        cases, self._cases = self._cases[:limit], self._cases[limit:]
        self._answers += sum(len(case.answers) for case in cases)
        return [case.rows for case in cases]

    @property
    def unpaid(self) -> tuple[int, ...]:
        """Ids of the signals about cases that entered no batch."""
        return tuple(sorted(id for case in self._cases for id in case.signals))

    @property
    def expired(self) -> int:
        """Number of answers too late to enter a reward."""
        return self._expired

    def metrics(self, role: Role, step: int) -> tuple[Metric, ...]:
        """Return the number of late answers; empty without any."""
        counts = {"late": self._answers, "late_examples": self._expired}
        return tuple(
            Metric(f"people.{name}", float(count), tags={"role": role}, step=step)
            for name, count in counts.items()
            if self._answers or self._expired
        )


class LearningPolicy(NamedTuple):
    """The policy that learns, its seats and its algorithm."""

    policy: AnyPolicy
    seats: Sequence[Seat]
    algorithm: OnPolicy | Own
    rules: HumanPay
    staleness: int
    """How many rounds ago an episode may have been played."""


def late_cases(
    context: StageContext, paid_answers: PaidAnswers, learning: LearningPolicy
) -> LateCases:
    """Return the cases with answers of people that are in no reward yet.

    Args:
        context: of the stage; no later signals are read than it may read.
        paid_answers: answers already in the policy's reward.
        learning: policy, seats and algorithm.
    """
    signals_read = context.run.signals.read(upto=context.signals_to)
    if all(paid_answers.has(signal.id) for signal in signals_read):
        return LateCases()
    random = random_slice(context)
    by_id = {s.id: s for s in signals_read if s.kind == "veto" or s.question not in random}
    paying = [s for s in by_id.values() if s.kind in PAYING or "undoes" in s.payload]
    unpaid = by_episode(s for s in paying if not paid_answers.has(s.id))
    before = by_episode(standing(s for s in paying if paid_answers.has(s.id)))
    after = by_episode(standing(paying))
    cases: dict[EpisodeKey, LateCase] = {}
    expired: set[int] = set()
    for episode in _trained_on(context.run, sorted(unpaid)):
        answers = {s.id for s in after[episode.id] if not paid_answers.has(s.id)}
        earlier, later = before[episode.id], after[episode.id]
        changes = difference(episode, earlier, later, learning.rules)
        if not any(seat in learning.seats for seat, _ in changes):
            continue
        rows = _case(context, episode, before, after, learning)
        if rows:
            case = case_of(episode.key)
            case_so_far = cases.get(case, LateCase([], frozenset(), frozenset()))
            signals = case_so_far.signals.union(s.id for s in unpaid[episode.id])
            cases[case] = LateCase(rows, signals, case_so_far.answers | answers)
        else:
            expired |= answers
    return LateCases(list(cases.values()), learning.algorithm, expired=len(expired))


def _trained_on(run: Run, names: Sequence[str]) -> list[Episode]:
    """Return those of the named episodes that are of the training split."""
    recorded = set(run.episode_ids(split="train"))
    return run.named([name for name in names if name in recorded])


def _case(
    context: StageContext,
    episode: Episode,
    before: dict[str, list[Signal]],
    after: dict[str, list[Signal]],
    learning: LearningPolicy,
) -> list[Row]:
    """Return the rows of all members of an episode's case; none if stale or unweighable."""
    algorithm, policy = learning.algorithm, learning.policy
    if not isinstance(policy, Policy) or not getattr(algorithm, "weighs_stored", False):
        return []
    members = _members(context.run, episode)
    if algorithm.num_generations not in (1, len(members)):
        return []  # nothing to compare it with
    now = (context.generation, context.round)
    rows: list[Row] = []
    try:
        for member in members:
            learning_seats = [seat for seat in member.seats if seat in learning.seats]
            for seat in learning_seats:
                check = EpisodeCheck(seat, policy, now=now, staleness=learning.staleness)
                check.check(member)
                earlier, later = before[member.id], after[member.id]
                rows += late_rows(member, seat, earlier, later, learning.rules)
    except InvalidOption:  # too old, of other words, greedy, or without log-probs
        return []
    return rows


def _members(run: Run, episode: Episode) -> list[Episode]:
    """Return all members of an episode's case without failed ones."""
    key = episode.key
    names = run.episode_ids(case=key.case, round=key.round, split="train")
    tail = episode.id.rpartition("-")[2]
    mates = run.named([name for name in names if name.endswith(f"-{tail}")])
    same = case_of(key)
    return [e for e in mates if case_of(e.key) == same and not e.failed]
