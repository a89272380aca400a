"""The learner is taught by what critics and people said of its answers.

It answers each query several times and revises after the critics' verdicts. Better and
worse answers become lessons, labelled answers of earlier rounds among them; what its
untrained original can do besides is replayed in between, so that it is not forgotten. The
truth is not asked.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from superalign_env.canonical import content_hash
from superalign_env.protocols import Agent
from superalign_env.types import Episode, Metric, Role, Signal
from superalign_training.algorithms.making import Taught, make_algorithm
from superalign_training.algorithms.supervision import Replay, Supervise, lessons_for
from superalign_training.evaluation.exams import exam
from superalign_training.experience import Example
from superalign_training.experience.answers import answers
from superalign_training.experience.critiques import own_words
from superalign_training.loop.cast import (
    first_policy,
    keep_policy,
    play,
    policy_of,
    seat_of,
    stage_scenario,
)
from superalign_training.loop.driver import Bench, Outcome
from superalign_training.loop.heard import heard
from superalign_training.loop.stages.learn import attackers
from superalign_training.policy import Policy
from superalign_training.settings import Settings


def supervise(bench: Bench, settings: Settings, rules: Supervise) -> Outcome:
    """Teach the learner in courses, lessons and replay by turns."""
    learner = policy_of(bench, "learner", settings)
    lessons = lessons_of(bench, settings, rules, learner)
    if not lessons:
        return Outcome(bench.chain, notes={"lessons": 0})
    replay = replayed(bench, settings, rules.replay) if rules.replay.cases else []
    course = _one_course(rules)
    total = rules.courses * course.steps
    numbers: dict[str, float] = {}
    for place in range(rules.courses):

        def on_step(done: int, n: Mapping[str, float], past: int = place) -> None:
            bench.watcher.step(past * course.steps + done, total, n)

        numbers = course.improve(
            learner, lessons, seed=bench.seed_of(f"order-{place}"), on_step=on_step
        )
        if replay:
            rules.replay.imitation.improve(
                learner, replay, seed=bench.seed_of(f"replay-{place}")
            )
    chain = keep_policy(bench, bench.chain, "learner", learner)
    agent = chain.policies["learner"].agent
    notes = {**numbers, "lessons": len(lessons), "replayed": len(replay)}
    metrics = tuple(
        Metric(f"learner.{name}", float(value), agent=agent, step=bench.round)
        for name, value in (("lessons", len(lessons)), ("lessons.loss", numbers["loss"]))
    )
    return Outcome(chain, metrics, notes)


def lessons_of(
    bench: Bench, settings: Settings, rules: Supervise, learner: Policy
) -> list[Any]:
    """Let the learner answer, and return what that teaches; labels join in."""
    scenario = stage_scenario(
        settings, split="train", plant=0.0, vanilla=rules.vanilla, refine=rules.refine
    )
    agents: dict[Role, Agent] = {
        "attacker": attackers(bench, settings),
        "learner": learner.agent,
        "critic": policy_of(bench, "critic", settings).agent,
    }
    seat = seat_of(scenario, "learner")
    episodes = play(
        bench,
        scenario,
        agents,
        rules.cases,
        part="answers",
        group=rules.members,
        fork_at=seat if rules.members > 1 else None,
    )
    said = heard(bench)
    found = answers([*_labelled(bench, said), *episodes], seat, said)
    return lessons_for(rules, found, key=bench.seed_of("evened"), choices=said)


def replayed(bench: Bench, settings: Settings, rules: Replay) -> list[Example]:
    """Return what the learner's untrained original says to general tasks."""
    original = first_policy("learner", settings, bench.residents).agent
    source = {"id": "microworld", "families": list(rules.families)}
    paper = exam("train", source, renderer=settings.options.get("renderer", "micro"))
    sat = play(
        bench,
        paper,
        {"learner": original},
        rules.cases,
        part="replay",
        group=rules.members,
    )
    said = answers(sat, seat_of(paper, "learner"))
    return own_words(said, source=content_hash(original.spec), agree=rules.agree)


def _labelled(bench: Bench, said: Sequence[Signal]) -> list[Episode]:
    """Return the episodes that people spoke about, by name."""
    return [bench.run.episode(name) for name in sorted({signal.episode for signal in said})]


def _one_course(rules: Supervise) -> Taught:
    """Return the algorithm with its share of the steps."""
    steps = max(1, rules.algorithm.steps // rules.courses)
    return cast(Taught, make_algorithm({"steps": steps}, default=rules.algorithm))
