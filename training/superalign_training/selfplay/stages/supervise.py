"""The learner is taught by what critics and people said of its answers.

It answers each query several times and revises after the critics' verdicts. Better and
worse answers become lessons, labelled answers of earlier rounds among them; what its
untrained original can do besides is replayed in between, so that it is not forgotten. The
truth is not asked.
"""

from collections.abc import Sequence
from typing import Any

from superalign_env.store import declare
from superalign_env.types import Episode, Event, Metric, Signal
from superalign_training.algorithms.supervision import Supervise, examples_for
from superalign_training.data.rated import rated_answers, unpaired
from superalign_training.policy import Policy
from superalign_training.selfplay.agents import (
    first_policy,
    keep_policy,
    lineup_of,
    policy_of,
)
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.playing import (
    play,
    seat_of,
    stage_capabilities,
    stage_scenario,
    tasks_of,
)
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.stages.improve import opponents
from superalign_training.selfplay.supervisors.candidates import training_signals
from superalign_training.selfplay.teaching import TeachingPlan, replayed, teach

declare("lessons", "Lessons")
declare("lessons.loss", "Loss of lessons", better="lower")


def supervise(context: StageContext, settings: Settings, rules: Supervise) -> StageResult:
    """Teach the learner in courses, lessons and replay by turns."""
    role = stage_capabilities(settings).answers
    learner = policy_of(context, role, settings)
    lessons = lessons_of(context, settings, rules, learner)
    if not lessons:
        return StageResult(context.state, notes={"lessons": 0})
    original = (
        learner.agent  # of a chain: it is what its generation made of it
        if context.generation
        else first_policy(role, settings, context.models).agent
    )
    replay = replayed(context, settings, rules.replay, original, tasks_of(settings))
    numbers = teach(
        context,
        learner,
        TeachingPlan(
            rules.algorithm,
            lessons,
            replay,
            rules.replay.imitation,
            turns=rules.alternations,
        ),
        role=role,
    )
    state = keep_policy(context, context.state, role, learner)
    agent = state.policies[role].agent
    notes = {**numbers, "lessons": len(lessons), "replayed": len(replay)}
    metrics = tuple(
        Metric(name, float(value), agent=agent, tags={"role": role}, step=context.round)
        for name, value in (("lessons", len(lessons)), ("lessons.loss", numbers["loss"]))
    )
    return StageResult(state, metrics, notes)


def lessons_of(
    context: StageContext, settings: Settings, rules: Supervise, learner: Policy
) -> list[Any]:
    """Let the learner answer, and return what that teaches; labels join in."""
    variant = "revised" if rules.revised else ""
    scenario = stage_scenario(settings, split="train", variant=variant)
    role = stage_capabilities(settings).answers
    agents = {
        **lineup_of(context, settings),
        **opponents(context, settings, role),
        role: learner.agent,
    }
    seat = seat_of(scenario, role)
    episodes = play(
        context,
        scenario,
        agents,
        rules.cases,
        part="answers",
        group=rules.num_generations,
        fork_at=seat if rules.num_generations > 1 else None,
    )
    said = training_signals(context)
    whole = [e for e in (*_labelled(context, said), *episodes) if not e.failed]
    found = rated_answers(whole, seat, said)
    spoken = {(e.id, u.turn) for e in whole for u in e.utterances if u.seat == seat}
    if lost := unpaired(found, [s for s in said if (s.episode, s.turn) in spoken]):
        event = Event("preferences.unpaired", seat, evidence={"preferences": lost})
        context.run.events.add(event, stage=context.stage)
    return examples_for(rules, found, key=context.seed_of("evened"), choices=said)


def _labelled(context: StageContext, said: Sequence[Signal]) -> list[Episode]:
    """Return the episodes that people spoke about, by name."""
    names = {name for s in said for name in (s.episode, s.versus_episode) if name}
    return context.run.named(sorted(names))
