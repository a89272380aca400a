"""RL training of a role on its own episodes, with rewards of the environment and of people.

Which role, against whom, by which algorithm and with what added to the pay is for the
stage to say; how episodes become rows, what people are asked about them, where the policy is
kept and what is reported is the same for all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from superalign_env.asking import Anyone
from superalign_env.protocols import Scenario
from superalign_env.store import declare
from superalign_env.types import Event, Metric, Paid, Role, Seat
from superalign_training.algorithms.algorithm import OnPolicy
from superalign_training.algorithms.own import Own
from superalign_training.data import (
    Live,
    PaidExperience,
    Row,
    left_out,
    paid_episodes,
    training_rows,
)
from superalign_training.policy import AnyPolicy, LearnerPolicy, Policy
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.late import LateCases, LearningPolicy, late_cases
from superalign_training.selfplay.playing import agents_by_seat, play
from superalign_training.selfplay.recorder import RewardMeans
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.skipped_stages import unused_answers_reason
from superalign_training.selfplay.state import NO_PAID_ANSWERS, PaidAnswers, RunState
from superalign_training.selfplay.supervisors.feedback import HumanFeedback

Shaping = Callable[[Sequence[Row]], Sequence[Row]]
"""Rows of one batch → the same rows, other pay."""

REPORTED = ("reward_first", "reward", "frac_reward_zero_std")


declare("reward", "Reward", better="higher")
declare("reward_first", "Reward at first")
declare(
    "turns_left_out", "Turns without log-probs to learn from", unit="turns", better="lower"
)
declare(
    "frac_reward_zero_std",
    "Groups without a difference in reward",
    unit="share",
    better="lower",
)


class RolloutSetup(NamedTuple):
    """Scenario and agents of a role's training episodes."""

    role: Role
    scenario: Scenario[Any]
    agents: Mapping[Role | Seat, Anyone]
    """Everybody; seats of the policy hold its own agent, and all of them are learned from."""
    part: str
    """Name of the episodes within the stage."""


def episodes_name(part: str, place: int) -> str:
    """Return the name of the episodes of the n-th algorithm of a stage, from 0.

    Of one name they would be the same cases with the same seeds: people would be asked about
    a turn twice, and what was said by other weights could not be stored under it.
    """
    return f"{part}-{place + 1}" if place else part


class TrainingResult(NamedTuple):
    """Run state, numbers and metrics after training."""

    state: RunState
    """Knows which answers of people have paid; the policy is put in by the stage."""
    numbers: dict[str, float]
    """Of the algorithm."""
    metrics: tuple[Metric, ...] = ()
    """About people's answers."""


def train_on_rewards(
    context: StageContext,
    settings: Settings,
    state: RunState,
    policy: Policy,
    setup: RolloutSetup,
    algorithm: OnPolicy,
    *,
    shaping: Shaping | None = None,
) -> TrainingResult:
    """Train a policy in place on its own episodes.

    Args:
        context: of the stage.
        settings: of the run.
        state: of the stage so far.
        policy: of the role.
        setup: where it plays, and with whom.
        algorithm: how it learns.
        shaping: adds to the pay of each batch, such as a bonus for novelty.
    """
    training = _RewardTraining.of(context, settings, state, policy, setup, algorithm)
    batches = _Batches(context, setup, algorithm, training, shaping)
    report_step = context.on_step(setup.role, policy, algorithm)
    numbers = algorithm.improve(
        policy,
        Live(batches.rows, training.late.cap),
        seed=context.seed_of(f"trainer-{setup.part}"),
        on_step=lambda step, numbers: report_step(step, {**numbers, **batches.earned()}),
    )
    return training.left(context, state, setup.role, numbers)


class _RewardTraining(NamedTuple):
    """LearningPolicy seats of a stage, with human feedback and late answers."""

    settings: Settings
    seats: Sequence[Seat]
    paid_answers: PaidAnswers
    feedback: HumanFeedback
    late: LateCases

    @classmethod
    def of(
        cls,
        context: StageContext,
        settings: Settings,
        state: RunState,
        policy: AnyPolicy,
        setup: RolloutSetup,
        algorithm: OnPolicy | Own,
    ) -> "_RewardTraining":
        """Build it at the beginning of a stage."""
        agents = agents_by_seat(setup.scenario, setup.agents)
        seats = [seat for seat, agent in agents.items() if agent is policy.agent]
        paid_answers = state.paid_answers.get(state.holder(setup.role), NO_PAID_ANSWERS)
        feedback = HumanFeedback(
            context,
            settings,
            setup.scenario,
            seats,
            state.question_remainders,
            paid_answers,
        )
        staleness = settings.people.staleness
        learning = LearningPolicy(policy, seats, algorithm, feedback.rules, staleness)
        late = late_cases(context, paid_answers, learning)
        return cls(settings, seats, paid_answers, feedback, late)

    def left(
        self, context: StageContext, state: RunState, role: Role, numbers: dict[str, float]
    ) -> TrainingResult:
        """Return run state and metrics at the end of the stage."""
        metrics = self.feedback.metrics(role) + self.late.metrics(role, context.round)
        metrics += _stored(context, self.settings, role, self.late.expired)
        state = state.with_question_remainders(self.feedback.question_remainders)
        if metrics or context.signals_to > self.paid_answers.upto:
            state = state.with_paid_answers(
                role, self.feedback.paid_answers(self.late.unpaid)
            )
        return TrainingResult(state, numbers, metrics)


def _stored(
    context: StageContext, settings: Settings, role: Role, expired: int
) -> tuple[Metric, ...]:
    """Record and count late answers that no training uses."""
    reason = unused_answers_reason(settings, role) if expired else ""
    if not reason:
        return ()
    evidence = {"role": role, "answers": expired, "reason": reason}
    context.run.events.add(Event("people.stored", evidence=evidence), stage=context.stage)
    tags = {"role": role}
    return (Metric("people.late_stored", float(expired), tags=tags, step=context.round),)


class _Batches:
    """Training rows of batches: plays cases, asks people about them, settles rewards.

    Args:
        context: of the stage.
        setup: what is played.
        algorithm: says how often each case is played.
        training: learning seats, human feedback, and late cases that take some of the
            places of a batch.
        shaping: adds to the pay of what is played.
    """

    def __init__(
        self,
        context: StageContext,
        setup: RolloutSetup,
        algorithm: OnPolicy,
        training: _RewardTraining,
        shaping: Shaping | None,
    ) -> None:
        self._context, self._setup, self._algorithm = context, setup, algorithm
        self._seats, self._feedback, self._late = (
            training.seats,
            training.feedback,
            training.late,
        )
        self._shaping = shaping
        self._earnings = RewardMeans()
        self._left_out = 0

    def rows(self, first: int, count: int) -> Sequence[Row]:
        """Return the rows of `count` cases, rows of late answers included."""
        returned = self._late.take(count)
        fresh = count - len(returned)
        rows = self._played(first, fresh)
        late_rows = [
            row._replace(case=case)
            for case, case_rows in enumerate(returned, start=first + fresh)
            for row in case_rows
        ]
        # First: who plays more cases than needed leaves out the last ones.
        return [*late_rows, *rows]

    def earned(self) -> dict[str, float]:
        """Return the mean reward by part since the last call, and turns left out, if any."""
        turns, self._left_out = self._left_out, 0
        return self._earnings.take() | ({"turns_left_out": float(turns)} if turns else {})

    def _played(self, first: int, count: int) -> Sequence[Row]:
        setup, algorithm = self._setup, self._algorithm
        episodes = play(
            self._context,
            setup.scenario,
            setup.agents,
            count,
            part=setup.part,
            first_case=first,
            group=algorithm.num_generations,
            fork_at=self._seats[0] if algorithm.fork else None,
        )
        signals = self._feedback.of(episodes)
        rules = self._feedback.rules
        rows: Sequence[Row] = [
            row
            for seat in self._seats
            for row in training_rows(episodes, seat, signals, rules=rules)
        ]
        self._left_out += sum(left_out(episodes, self._seats).values())
        learners = [(row.episode, row.seat) for row in rows]
        self._earnings.add(episodes, learners, signals, rules)
        return rows if self._shaping is None else self._shaping(rows)


def train_by_all(
    context: StageContext,
    settings: Settings,
    policy: AnyPolicy,
    setup: RolloutSetup,
    algorithms: Sequence[OnPolicy | Own],
) -> TrainingResult:
    """Train a policy in place by one algorithm after the other."""
    total = TrainingResult(context.state, {})
    for place, algorithm in enumerate(algorithms):
        numbered_setup = setup._replace(part=episodes_name(setup.part, place))
        if isinstance(policy, LearnerPolicy):
            assert isinstance(algorithm, Own)
            practised = _improve_itself(
                context, settings, total.state, policy, numbered_setup, algorithm
            )
        else:
            assert not isinstance(algorithm, Own)
            practised = train_on_rewards(
                context, settings, total.state, policy, numbered_setup, algorithm
            )
        numbers, metrics = (
            total.numbers | practised.numbers,
            total.metrics + practised.metrics,
        )
        total = TrainingResult(practised.state, numbers, metrics)
    return total


def _improve_itself(
    context: StageContext,
    settings: Settings,
    state: RunState,
    policy: LearnerPolicy,
    setup: RolloutSetup,
    algorithm: Own,
) -> TrainingResult:
    """Train a self-improving learner on its own episodes."""
    training = _RewardTraining.of(context, settings, state, policy, setup, algorithm)
    feedback = training.feedback
    earnings = RewardMeans()
    report_step = context.on_step(setup.role, policy, algorithm)

    def cases(first: int, count: int) -> Sequence[Paid]:
        with policy.agent.watched() as watched:
            episodes = play(
                context,
                setup.scenario,
                setup.agents,
                count,
                part=setup.part,
                first_case=first,
                group=algorithm.num_generations,
            )
            signals = feedback.of(episodes)
            rules = feedback.rules
            paid = paid_episodes(
                episodes, training.seats, watched.shown, signals, rules=rules
            )
        learners = [(row.episode.id, row.seat) for row in paid]
        earnings.add(episodes, learners, signals, rules)
        return paid

    numbers = algorithm.improve(
        policy,
        PaidExperience(cases),
        seed=context.seed_of(f"trainer-{setup.part}"),
        on_step=lambda step, numbers: report_step(step, {**numbers, **earnings.take()}),
    )
    return training.left(context, state, setup.role, numbers)


def reward_metrics(
    role: Role, numbers: Mapping[str, float], *, agent: str, step: int
) -> tuple[Metric, ...]:
    """Return the reward metrics of a role's training."""
    return tuple(
        Metric(name, numbers[name], agent=agent, tags={"role": role}, step=step)
        for name in REPORTED
        if name in numbers
    )
