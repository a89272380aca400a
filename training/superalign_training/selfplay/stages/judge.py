"""Stages judge and calibrate: train the critic on planted faults, later on labels too.

Planted answers are good or faulty with equal chance and the environment, which made them,
says which: a critic can be taught without asking anybody (CriticGPT's tampering, in the
small). This is where a run is told the truth, of these answers and of no other: they are the
examples, and they decide when the critic has learned enough. How many there were is in the
run's summary; with `judge.cases`, `judge.check_cases` and `calibrate.cases` 0 there are none.
"""

from collections.abc import Sequence

import msgspec

from superalign_env.asking import Anyone
from superalign_env.game import Game
from superalign_env.measures import brier, share
from superalign_env.types import Episode, EpisodeKey, Metric, Role, Seat
from superalign_training.algorithms.algorithm import OnPolicy, Supervised
from superalign_training.data import Example
from superalign_training.judging import (
    Forecast,
    VerdictExample,
    about_one_answer,
    labelled_verdicts,
    planted_forecasts,
    planted_verdicts,
)
from superalign_training.oversight.alarms import Statistics, raised
from superalign_training.selfplay.agents import keep_policy, policy_of
from superalign_training.selfplay.alarm_statistics import act_on, misjudged
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.playing import (
    play,
    seat_of,
    stage_capabilities,
    stage_scenario,
)
from superalign_training.selfplay.rl_training import (
    RolloutSetup,
    episodes_name,
    train_on_rewards,
)
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.supervisors.candidates import training_signals


def judge(context: StageContext, settings: Settings) -> StageResult:
    """Train the critic on planted faults: first on one answer, then on all."""
    rules = settings.judge
    if not rules.cases:
        return StageResult(context.state, notes={"courses": 0})
    training = CriticTraining(context, settings, rules.cases)
    examples = training.examples
    if rules.single_answer_steps:
        short = rules.imitation.model_copy(update={"steps": rules.single_answer_steps})
        training.teach(about_one_answer(examples), short)
    metrics: tuple[Metric, ...] = ()
    for _ in range(rules.max_fits):
        training.teach(examples, rules.imitation)
        metrics = training.check()
        if metrics and metrics[0].value >= rules.target_accuracy:
            break
    for accuracy in metrics[:1]:
        check_untaught_critic(context, settings, accuracy)
    return training.outcome(metrics)


def check_untaught_critic(
    context: StageContext, settings: Settings, accuracy: Metric
) -> None:
    """Read the alarm on untaught critics before anything else uses this critic."""
    statistics = Statistics(missed=misjudged(accuracy))
    name = "untaught-critic"
    act_on(
        context, raised({name: settings.alarms[name]}, statistics), "the critic's training"
    )


def calibrate(context: StageContext, settings: Settings) -> StageResult:
    """Train the critic on planted faults, and on labels and vetoes up to the stage's begin."""
    rules = settings.calibrate
    judges = stage_capabilities(settings).judges
    signals = [
        signal for signal in training_signals(context) if signal.kind in ("label", "veto")
    ]
    recorded = set(context.run.episode_ids(split="train")) if signals else set()
    spoken = context.run.named(sorted({s.episode for s in signals} & recorded))
    labelled = labelled_verdicts(spoken, signals)
    if not (rules.cases or labelled or settings.rl_algorithms(judges)):
        return StageResult(context.state, notes={"courses": 0})
    training = CriticTraining(context, settings, rules.cases)
    examples = training.examples + labelled
    if examples:
        for course in settings.supervised_algorithms(judges):
            training.teach(examples, course)
    for place, algorithm in enumerate(settings.rl_algorithms(judges)):
        training.reward(algorithm, place)
    return training.outcome(training.check())


class CriticTraining:
    """Training and checks of a stage's critic.

    Args:
        context: of the stage.
        settings: of the run.
        cases: how many planted answers to learn from; none may be.
    """

    def __init__(self, context: StageContext, settings: Settings, cases: int) -> None:
        self._context, self._settings = context, settings
        self._state = context.state
        self._people_metrics: tuple[Metric, ...] = ()
        self._cases = settings.judge.check_cases
        self._role = stage_capabilities(settings).judges
        self._critic = policy_of(context, self._role, settings)
        self._scenario = stage_scenario(settings, split="train", variant="planted")
        self._courses = 0
        self._checks = 0
        self._notes: dict[str, float] = {"steps": 0.0}
        # Only its form is looked at: in planted cases critics are asked first.
        begun = Game(self._scenario, EpisodeKey(run=context.seed))
        self._view = begun.view(seat_of(self._scenario, self._role))
        self.examples = planted_verdicts(self._planted(cases, "planted") if cases else ())
        """What should have been said of planted answers."""

    def teach(self, examples: Sequence[VerdictExample], imitation: Supervised) -> None:
        """Run one supervised fit."""
        numbers = imitation.improve(
            self._critic,
            [
                Example(
                    example.prompt_ids,
                    self._critic.reply_ids(self._view, example.written(self._view.form)),
                )
                for example in examples
            ],
            seed=self._context.seed_of(f"order-{self._courses}"),
            on_step=self._context.on_step(self._role, self._critic, imitation),
        )
        self._courses += 1
        self._notes = {**numbers, "steps": self._notes["steps"] + numbers["steps"]}

    def reward(self, algorithm: OnPolicy, place: int) -> None:
        """Train the critic on the rewards of its verdicts on planted answers.

        Args:
            algorithm: by which.
            place: of the algorithm among those of the stage.
        """
        part = episodes_name("verdicts", place)
        setup = RolloutSetup(self._role, self._scenario, self._alone(), part)
        result = train_on_rewards(
            self._context, self._settings, self._state, self._critic, setup, algorithm
        )
        self._state, self._people_metrics = (
            result.state,
            self._people_metrics + result.metrics,
        )
        self._notes |= {f"rl_{name}": value for name, value in result.numbers.items()}

    def check(self) -> tuple[Metric, ...]:
        """Measure the critic on further planted answers, if there are any."""
        if not self._cases:
            return ()
        checked = self._planted(self._cases, f"check-{self._checks}")
        self._checks += 1
        verdicts = sum(
            len(episode.utterances) for episode in checked
        )  # critics alone speak
        if not verdicts:
            return ()  # each of them failed
        forecasts = planted_forecasts(checked)
        return planted_metrics(
            forecasts, verdicts, role=self._role, agent="", step=self._context.round
        )

    def outcome(self, checks: Sequence[Metric]) -> StageResult:
        """Save the critic and return the stage's result."""
        state = keep_policy(self._context, self._state, self._role, self._critic)
        agent = state.policies[self._role].agent
        metrics = tuple(msgspec.structs.replace(metric, agent=agent) for metric in checks)
        notes = {**self._notes, "courses": self._courses}
        return StageResult(state, (*metrics, *self._people_metrics), notes)

    def _planted(self, cases: int, part: str) -> list[Episode]:
        return play(self._context, self._scenario, self._alone(), cases, part=part)

    def _alone(self) -> dict[Role | Seat, Anyone]:
        """Seat the critic everywhere: only critics move in planted cases."""
        return dict.fromkeys(self._scenario.seats, self._critic.agent)


def planted_metrics(
    forecasts: Sequence[Forecast], verdicts: int, *, role: Role, agent: str, step: int
) -> tuple[Metric, ...]:
    """Return accuracy and Brier score on planted answers.

    An unparsable verdict counts as wrong, and as a forecast of one half.
    """
    correct = sum((f.score > 0.5) == (f.outcome > 0.5) for f in forecasts)
    unsaid = verdicts - len(forecasts)
    scores = [f.score for f in forecasts] + [0.5] * unsaid
    outcomes = [f.outcome for f in forecasts] + [1.0] * unsaid
    rows = (
        ("verdicts.accuracy", share(correct, verdicts)),
        ("verdicts.brier", brier(scores, outcomes)),
    )
    return tuple(
        Metric(
            name, *estimate, agent=agent, tags={"on": "planted", "role": role}, step=step
        )
        for name, estimate in rows
    )
