"""Held-out tasks that are set to many policies, and what each of them makes of it.

Every policy of a run sits the same paper, so that their scores can be compared task by
task. Nothing is recorded as an episode and nobody is trained on a paper.
"""

import copy
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption
from superalign_env.final_answers import final_answer
from superalign_env.protocols import Agent, Scenario, TaskSource
from superalign_env.seeding import generator, label, mix
from superalign_env.types import Brief, Seat, Split, Task, View, role_of
from superalign_training.evaluation.exams import exam

_BRIEF = ("text", "messages", "turns", "tools", "form", "schema", "menu", "max_new_tokens")
"""What a brief and a view have in common."""

_PATIENCE = 64
"""Draws in a row that bring no new task: there are no more."""

_RIGHT = 1.0 - 1e-9


class Paper(NamedTuple):
    """N different tasks of one split, as they are shown."""

    exam: Scenario[Any]
    tasks: tuple[Task, ...]
    views: tuple[View, ...]

    @property
    def rungs(self) -> dict[tuple[str, int], list[int]]:
        """(family, tier) → places of its tasks."""
        found: dict[tuple[str, int], list[int]] = {}
        for place, task in enumerate(self.tasks):
            found.setdefault((task.family, task.tier), []).append(place)
        return dict(sorted(found.items()))


class Sat(NamedTuple):
    """What somebody made of a paper."""

    keys: tuple[str, ...]
    """[N] what each answer comes to."""
    scores: tuple[float, ...]
    """[N] 1 where the truth finds it right in every respect, else 0."""


def draw_paper(
    sources: Iterable[Any],
    split: Split,
    cases: int,
    *,
    whole: Any,
    renderer: str = "micro",
    seed: int = 0,
) -> Paper:
    """Draw different tasks, up to `cases` of each source.

    Args:
        sources: specs, such as one for each family and tier.
        split: of the tasks.
        cases: of each source at most; fewer where it has no more.
        whole: spec of a source that knows all of these tasks.
        renderer: how they are shown.
        seed: of the draw.

    Raises:
        UnknownId: no such source, family or renderer.
        InvalidOption: no task of the split.
    """
    tasks: dict[str, Task] = {}
    for number, spec in enumerate(sources):
        source = exam(split, spec).source
        tasks |= _drawn(source, split, cases, mix(seed, label(split), number))
    if not tasks:
        raise InvalidOption(f"there is no task of the split {split!r} to measure with")
    paper = exam(split, whole, renderer=renderer)
    (seat,) = paper.seats
    rng = generator(0)  # an exam draws nothing once it has its task
    views = [
        view_of(paper.view(paper.reset(task, rng), seat), seat, case, seed=mix(seed, case))
        for case, task in enumerate(tasks.values())
    ]
    return Paper(paper, tuple(tasks.values()), tuple(views))


def sit(agent: Agent, paper: Paper) -> Sat:
    """Let somebody answer a paper, at temperature 0 where it is a causal LM."""
    said = greedy(agent).act(paper.views)
    return graded(paper, [reply.text for reply in said])


def graded(paper: Paper, texts: Sequence[str]) -> Sat:
    """Return what answers to a paper come to."""
    source = paper.exam.source
    return Sat(
        tuple(final_answer(text) for text in texts),
        tuple(
            solved(source, task, text)
            for task, text in zip(paper.tasks, texts, strict=True)
        ),
    )


def solved(source: TaskSource, task: Task, text: str) -> float:
    """Return 1 where the truth finds an answer right in every respect, else 0."""
    grades = source.grade(task, text)
    return float(bool(grades) and min(grade.value for grade in grades) >= _RIGHT)


def greedy(agent: Agent) -> Agent:
    """Return an agent that gives its likeliest answers; the one given is left as it is."""
    return at_temperature(agent, 0.0)


def at_temperature(agent: Agent, temperature: float) -> Agent:
    """Return an agent as it speaks at another temperature; others than LMs are returned."""
    if not isinstance(agent, TransformerAgent):
        return agent
    other = copy.copy(agent)  # the same weights
    other.refresh()
    other.temperature = temperature
    return other


def view_of(brief: Brief, seat: Seat, case: int, *, turn: int = 0, seed: int = 0) -> View:
    """Return the view of a brief outside of any game."""
    stamped = {field: getattr(brief, field) for field in _BRIEF}
    return View(f"scene-{case}", case, seat, role_of(seat), turn, seed, **stamped)


def _drawn(source: TaskSource, split: Split, cases: int, seed: int) -> dict[str, Task]:
    rng = generator(seed)
    found: dict[str, Task] = {}
    missed = 0
    while len(found) < cases and missed < _PATIENCE:
        task = source.draw(rng, split)
        missed = missed + 1 if task.id in found else 0
        found.setdefault(task.id, task)
    return found
