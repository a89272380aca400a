"""The critic learns to see faults: first from planted ones, later from people too.

Planted answers are good or faulty with equal chance and the environment knows which, so
a critic can be taught without asking anybody (CriticGPT's tampering, in the small).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from superalign_env.measures import mean, share
from superalign_env.protocols import Scenario
from superalign_env.store import standing
from superalign_env.types import Episode, Metric, Signal, View
from superalign_training.algorithms.arguments import OnStep
from superalign_training.algorithms.sft import Example, imitate
from superalign_training.judging import (
    Forecast,
    Lesson,
    about_one_answer,
    labelled_lessons,
    planted_forecasts,
    planted_lessons,
)
from superalign_training.loop.cast import (
    first_view,
    keep_policy,
    play,
    policy_of,
    seat_of,
    stage_scenario,
)
from superalign_training.loop.driver import Bench, Outcome
from superalign_training.policy import Policy
from superalign_training.settings import Imitation, Settings


def judge(bench: Bench, settings: Settings) -> Outcome:
    """Teach the critic on planted faults; about one answer first, then about all."""
    course = settings.judge
    lessons, view = _planted_lessons(bench, settings, course.cases)
    first = Imitation(
        steps=max(1, course.one_answer_first),
        batch=course.imitation.batch,
        rate=course.imitation.rate,
    )
    parts = [(about_one_answer(lessons), first)] if course.one_answer_first else []
    return _teach(bench, settings, view, [*parts, (lessons, course.imitation)])


def calibrate(bench: Bench, settings: Settings) -> Outcome:
    """Teach the critic again: on planted faults, and on labels up to the stage's begin."""
    course = settings.calibrate
    lessons, view = _planted_lessons(bench, settings, course.cases)
    labels = _for_training(
        bench, standing(bench.run.signals.read(kind="label", upto=bench.signals_to))
    )
    labelled = [bench.run.episode(name) for name in sorted({s.episode for s in labels})]
    heard = labelled_lessons(labelled, labels) * course.label_weight
    return _teach(bench, settings, view, [(lessons + heard, course.imitation)])


def _planted_lessons(
    bench: Bench, settings: Settings, cases: int
) -> tuple[list[Lesson], View]:
    """Return lessons from planted answers, and a view like those that critics had."""
    scenario = _scenario(settings)
    critic = policy_of(bench, "critic", settings)
    episodes = _planted(bench, scenario, critic, cases, part="planted")
    view = first_view(scenario, episodes[0], seat_of(scenario, "critic"))
    return planted_lessons(episodes), view


def _teach(
    bench: Bench,
    settings: Settings,
    view: View,
    course: Sequence[tuple[Sequence[Lesson], Imitation]],
) -> Outcome:
    critic = policy_of(bench, "critic", settings)
    total = sum(imitation.steps for _, imitation in course)
    before = 0
    notes: dict[str, float] = {}
    for number, (lessons, imitation) in enumerate(course):
        notes = imitate(
            critic,
            [
                Example(one.prompt_ids, critic.reply_ids(view, one.verdict))
                for one in lessons
            ],
            imitation,
            seed=bench.seed_of(f"order-{number}"),
            on_step=_steps_of(bench, before, total),
        )
        before += imitation.steps
    cases = settings.judge.check_cases
    checked = _planted(bench, _scenario(settings), critic, cases, part="check")
    chain = keep_policy(bench, bench.chain, "critic", critic)
    agent = chain.policies["critic"].agent
    found = planted_metrics(planted_forecasts(checked), len(checked), agent, bench.round)
    return Outcome(chain, found, notes)


def _steps_of(bench: Bench, before: int, total: int) -> OnStep:
    """Return what reports the steps of one part of a course."""

    def report(done: int, numbers: Mapping[str, float]) -> None:
        bench.watcher.step(before + done, total, numbers)

    return report


def _scenario(settings: Settings) -> Scenario[Any]:
    return stage_scenario(settings, split="train", plant=1.0, vanilla=0.0)


def planted_metrics(
    forecasts: Sequence[Forecast], verdicts: int, agent: str, step: int
) -> tuple[Metric, ...]:
    """Return accuracy and Brier score on planted answers.

    An unparsable verdict counts as wrong, and as a forecast of one half.
    """
    right = sum((f.score > 0.5) == (f.outcome > 0.5) for f in forecasts)
    errors = [(f.score - f.outcome) ** 2 for f in forecasts]
    errors += [0.25] * (verdicts - len(forecasts))
    accuracy, brier = share(right, verdicts), mean(errors)
    tags = {"on": "planted"}
    return (
        Metric("critic.accuracy", *accuracy, agent=agent, tags=tags, step=step),
        Metric("critic.brier", *brier, agent=agent, tags=tags, step=step),
    )


def _planted(
    bench: Bench, scenario: Scenario[Any], critic: Policy, cases: int, *, part: str
) -> list[Episode]:
    # In planted cases nobody but the critics is ever asked.
    agents = dict.fromkeys(("attacker", "learner", "critic"), critic.agent)
    return play(bench, scenario, agents, cases, part=part)


def _for_training(bench: Bench, labels: Sequence[Signal]) -> list[Signal]:
    """Return the labels that may be trained on: the random slice is for evaluation."""
    return [
        label
        for label in labels
        if not label.question or bench.run.questions.get(label.question).slice == "selected"
    ]
