"""The critic learns to see faults: first from planted ones, later from people too.

Planted answers are good or faulty with equal chance and the environment knows which, so
a critic can be taught without asking anybody (CriticGPT's tampering, in the small).
"""

from collections.abc import Sequence
from typing import Any

from superalign_env.measures import mean, share
from superalign_env.protocols import Scenario
from superalign_env.store import standing
from superalign_env.types import Episode, Metric, Signal
from superalign_training.algorithms.sft import Example, imitate
from superalign_training.judging import (
    Forecast,
    Lesson,
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
    """Teach the critic on planted faults."""
    return _teach(bench, settings, settings.judge.cases, settings.judge.imitation, ())


def calibrate(bench: Bench, settings: Settings) -> Outcome:
    """Teach the critic again: on planted faults, and on labels up to the stage's begin."""
    labels = standing(bench.run.signals.read(kind="label", upto=bench.signals_to))
    usable = _for_training(bench, labels) if settings.calibrate.label_weight else []
    return _teach(
        bench, settings, settings.calibrate.cases, settings.calibrate.imitation, usable
    )


def _teach(
    bench: Bench,
    settings: Settings,
    cases: int,
    imitation: Imitation,
    labels: Sequence[Signal],
) -> Outcome:
    scenario = stage_scenario(settings, split="train", plant=1.0, vanilla=0.0)
    critic = policy_of(bench, "critic", settings)
    planted = _planted(bench, scenario, critic, cases, part="planted")
    lessons = planted_lessons(planted)
    labelled = [bench.run.episode(name) for name in sorted({s.episode for s in labels})]
    heard = labelled_lessons(labelled, labels) * settings.calibrate.label_weight
    metrics = imitate(
        critic,
        _examples(critic, scenario, planted[0], lessons + heard),
        imitation,
        seed=bench.seed_of("order"),
        on_step=lambda done, numbers: bench.watcher.step(done, imitation.steps, numbers),
    )
    checked = _planted(bench, scenario, critic, settings.judge.check_cases, part="check")
    chain = keep_policy(bench, bench.chain, "critic", critic)
    notes = {**metrics, "labels": len(heard)}
    agent = chain.policies["critic"].agent
    found = planted_metrics(planted_forecasts(checked), len(checked), agent, bench.round)
    return Outcome(chain, found, notes)


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


def _examples(
    critic: Policy, scenario: Scenario[Any], like: Episode, lessons: Sequence[Lesson]
) -> list[Example]:
    view = first_view(scenario, like, seat_of(scenario, "critic"))
    return [Example(one.prompt_ids, critic.reply_ids(view, one.verdict)) for one in lessons]


def _for_training(bench: Bench, labels: Sequence[Signal]) -> list[Signal]:
    """Return the labels that may be trained on: the random slice is for evaluation."""
    return [
        label
        for label in labels
        if not label.question or bench.run.questions.get(label.question).slice == "selected"
    ]
