"""Stage competence: train A_i⁻ on labels of its sources.

Earlier aligned generations, other models and personas answer the tasks in supervisors'
seats, the generation beside them; people are asked about a few tasks, where sources differ and
at random. What all say becomes one label for each task, and the learner is taught it by a
weak-to-strong method. What a controller may know of the generation is measured on control
tasks, against labels alone. The truth is not asked: it is only looked up at the end, for
people to read.
"""

import shlex
from collections.abc import Sequence
from typing import cast

import msgspec

from superalign_env.errors import InvalidOption
from superalign_env.final_answers import final_answer
from superalign_env.measures import mean
from superalign_env.types import Episode
from superalign_training.algorithms.algorithm import Supervised, make_algorithm
from superalign_training.data import Example
from superalign_training.gap.controller import GenerationStats
from superalign_training.oversight.labels import Consensus, disagreement
from superalign_training.policy import Policy
from superalign_training.selfplay.agents import keep_policy, policy_of
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.playing import competence_scenario
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.supervisors.labelling import (
    LabelledTasks,
    Labelling,
    labelled_examples,
)
from superalign_training.selfplay.supervisors.sources import (
    answer_of,
    play_tasks,
    probability_of,
    supervisors_of,
    temperature_set,
)


def competence(
    context: StageContext, settings: Settings, *, effort: int = 1
) -> StageResult:
    """Have tasks labelled, aggregate the labels, and train on them.

    Args:
        context: of the stage.
        settings: of the run.
        effort: how many times as many tasks and steps are spent as usual.

    Raises:
        InvalidOption: too few labels to teach anything.
    """
    role = context.state.generation_role
    learner = policy_of(context, role, settings)
    members = supervisors_of(context, settings)
    labelling = Labelling(context, settings, members)
    rules = settings.competence
    with temperature_set(learner.agent, settings.signals.temperature):
        taught = labelling.answer_tasks("train", rules.cases * effort, learner)
        control = labelling.answer_tasks("control", rules.control_cases, learner)
    trust = labelling.source_reliability(taught, control)
    labels = [
        label
        for label in labelling.labels(taught, taught.chosen, trust, drop=True)
        if label.confidence >= rules.min_confidence
    ]
    _require_labels(context, settings, len(labels))
    examples = labelled_examples(taught, labels, learner)
    numbers = _teach(context, settings, learner, examples, effort)
    with temperature_set(learner.agent, settings.signals.temperature):
        episodes_after = play_tasks(
            context,
            competence_scenario(settings, "control", 0),
            (),
            learner.agent,
            len(control.episodes),
            part="control-after",
            tasks=[episode.task for episode in control.episodes],
        )
    control_labels = labelling.labels(control, control.drawn, trust, drop=False)
    state = keep_policy(context, context.state, role, learner, side="-")
    stats = state.stats or GenerationStats(context.generation, state.level)
    stats = _seen(stats, control, episodes_after, control_labels)
    state = msgspec.structs.replace(state, before=state.current, stats=stats)
    labelling.record(labels)
    agent = state.current.agent
    metrics = labelling.metrics(
        agent, taught, control, labels=labels, stats=stats, reliabilities=trust
    )
    notes = {
        **numbers,
        "labels": len(labels),
        "answers of people": len([*taught.drawn, *taught.chosen, *control.drawn]),
        "sources": [member.source for member in members],
    }
    return StageResult(state, metrics, notes)


def _require_labels(context: StageContext, settings: Settings, labels: int) -> None:
    """Raise for too few labels to train on."""
    if labels < settings.competence.min_labels:
        path = shlex.quote(str(context.run.path))
        raise InvalidOption(
            f"only {labels} tasks were labelled, and competence.min_labels asks for "
            f"{settings.competence.min_labels}: raise signals.labels, name signals.models or "
            "signals.personas that answer, or let people answer what is open (superalign "
            f"label {path}) and go on: superalign train run_dir={path} --resume"
        )


def _teach(
    context: StageContext,
    settings: Settings,
    learner: Policy,
    examples: Sequence[Example],
    effort: int,
) -> dict[str, float]:
    base = settings.competence.algorithm
    steps = base.steps * effort
    algorithm = cast(Supervised, make_algorithm({"steps": steps}, default=base))
    return algorithm.improve(
        learner,
        examples,
        seed=context.seed_of("lessons"),
        on_step=context.on_step(context.state.generation_role, learner, algorithm),
    )


def _seen(
    stats: GenerationStats,
    control: LabelledTasks,
    episodes: Sequence[Episode],
    labels: Sequence[Consensus],
) -> GenerationStats:
    """Return the statistics of a generation after training, without gold labels."""
    answers = {
        episode.task.id: final_answer(answer_of(episode).text) for episode in episodes
    }
    task = {episode.id: episode.task.id for episode in control.episodes}
    differs = [
        final_answer(label.answer) != answers[task[label.item]]
        for label in labels
        if task[label.item] in answers
    ]
    agrees = [
        final_answer(label.answer) == answers[task[label.item]]
        for label in control.drawn
        if task[label.item] in answers
    ]
    confidences = [probability_of(answer_of(episode)) for episode in episodes]
    return msgspec.structs.replace(
        stats,
        disagreement=disagreement(control.statements),
        misfit=_mean(differs),
        confidence=_mean(confidences),
        human_agreement=_mean(agrees) if agrees else None,
        human_labels=len(agrees),
    )


def _mean(values: Sequence[float]) -> float:
    return mean(values).value if values else 0.0
