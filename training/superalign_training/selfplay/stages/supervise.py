"""Stage supervise: train the learner on ratings of its answers by critics and people.

It answers each query several times and revises after the critics' verdicts. Better and
worse answers become examples, labelled answers of earlier rounds among them; what its
untrained original can do besides is replayed in between, so that it is not forgotten. The
truth is not asked.
"""

from collections.abc import Sequence
from typing import Any

from superalign_env.store import declare
from superalign_env.types import Episode, Event, Metric, Role, Signal
from superalign_training.algorithms.supervision import (
    ALTERNATIONS,
    Supervise,
    examples_for,
)
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

declare("supervise.examples", "Supervised examples")
declare("supervise.loss", "Loss of supervised training", better="lower")


def supervise(context: StageContext, settings: Settings, rules: Supervise) -> StageResult:
    """Train the learner on new examples and replay in turn."""
    role = stage_capabilities(settings).answers
    learner = policy_of(context, role, settings)
    examples = rated_examples(context, settings, rules, learner)
    if not examples:
        return StageResult(context.state, notes={"examples": 0})
    # What trains something else leaves nothing to forget, and begins anew at each call.
    others = bool(getattr(rules.algorithm, "keeps_policy", ""))
    replay = [] if others else _replay(context, settings, rules, role, learner)
    numbers = teach(
        context,
        learner,
        TeachingPlan(
            rules.algorithm,
            examples,
            replay,
            rules.replay.imitation,
            turns=1 if others else ALTERNATIONS,
        ),
        role=role,
    )
    state = keep_policy(context, context.state, role, learner)
    agent = state.policies[role].agent
    notes = {**numbers, "examples": len(examples), "replayed": len(replay)}
    metrics = tuple(
        Metric(
            f"supervise.{name}",
            float(value),
            agent=agent,
            tags={"role": role},
            step=context.round,
        )
        for name, value in (("examples", len(examples)), ("loss", numbers["loss"]))
    )
    return StageResult(state, metrics, notes)


def _replay(
    context: StageContext, settings: Settings, rules: Supervise, role: Role, learner: Policy
) -> list[Any]:
    """Return what the untrained original of the learner says to general tasks."""
    original = (
        learner.agent  # of a chain: it is what its generation made of it
        if context.generation
        else first_policy(role, settings, context.models).agent
    )
    return replayed(context, settings, rules.replay, original, tasks_of(settings))


def rated_examples(
    context: StageContext, settings: Settings, rules: Supervise, learner: Policy
) -> list[Any]:
    """Roll out answers of the learner, and return examples from their ratings and labels."""
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
    signals = training_signals(context)
    finished = [e for e in (*_labelled(context, signals), *episodes) if not e.failed]
    rated = rated_answers(finished, seat, signals)
    turns = {(e.id, u.turn) for e in finished for u in e.utterances if u.seat == seat}
    if unpaired_count := unpaired(
        rated, [s for s in signals if (s.episode, s.turn) in turns]
    ):
        event = Event(
            "preferences.unpaired", seat, evidence={"preferences": unpaired_count}
        )
        context.run.events.add(event, stage=context.stage)
    return examples_for(rules, rated, key=context.seed_of("evened"), choices=signals)


def _labelled(context: StageContext, signals: Sequence[Signal]) -> list[Episode]:
    """Return the episodes with signals of people, by name."""
    names = {name for s in signals for name in (s.episode, s.versus_episode) if name}
    return context.run.named(sorted(names))
