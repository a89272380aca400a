"""Held-out tasks and the answers of policies and people to them.

Every policy of a run answers the same tasks, so scores are compared task by task. Nothing
is recorded as an episode, and nobody is trained on these tasks.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from superalign_env.errors import InvalidOption
from superalign_env.final_answers import final_answer
from superalign_env.game import Game
from superalign_env.humans.simulated import SimulatedAnnotator
from superalign_env.lookup import make_scenario
from superalign_env.measures import Estimate, share
from superalign_env.protocols import Agent, HasGold, Scenario, TaskSource
from superalign_env.seeding import generator, label, mix
from superalign_env.store import declare
from superalign_env.types import (
    Brief,
    Episode,
    EpisodeKey,
    Question,
    Reply,
    Seat,
    Split,
    Task,
    View,
    role_of,
)

_BRIEF = ("text", "messages", "turns", "tools", "form", "schema", "menu", "max_new_tokens")
"""What a brief and a view have in common."""

_PATIENCE = 64
"""Draws in a row that bring no new task: there are no more."""

_RIGHT = 1.0 - 1e-9

_DRAWS = 16
"""Tasks of which one must have a gold answer before a chain begins."""

declare("competence", "Competence", unit="share", better="higher")


class Holdout(NamedTuple):
    """N different tasks of one split and their views."""

    scenario: Scenario[Any]
    tasks: tuple[Task, ...]
    views: tuple[View, ...]

    @property
    def rungs(self) -> dict[tuple[str, int], list[int]]:
        """(family, tier) → places of its tasks."""
        places: dict[tuple[str, int], list[int]] = {}
        for place, task in enumerate(self.tasks):
            places.setdefault((task.family, task.tier), []).append(place)
        return dict(sorted(places.items()))


class HoldoutAnswers(NamedTuple):
    """Answers to a holdout: final answers and scores by the truth."""

    keys: tuple[str, ...]
    """[N] final answers."""
    scores: tuple[float, ...]
    """[N] 1 where the truth finds it right in every respect, else 0."""


def draw_holdout(
    sources: Iterable[Any],
    split: Split,
    cases: int,
    *,
    source_of_all: Any,
    renderer: str = "micro",
    seed: int = 0,
) -> Holdout:
    """Draw different tasks, up to `cases` of each source.

    Args:
        sources: specs, such as one for each family and tier.
        split: of the tasks.
        cases: of each source at most; fewer where it has no more.
        source_of_all: spec of a source that knows all of these tasks.
        renderer: how they are shown.
        seed: of the draw.

    Raises:
        UnknownId: no such source, family or renderer.
        InvalidOption: no task of the split.
    """
    tasks: dict[str, Task] = {}
    for number, spec in enumerate(sources):
        source = exam_scenario(split, spec).source
        tasks |= _drawn(source, split, cases, mix(seed, label(split), number))
    if not tasks:
        raise InvalidOption(f"there is no task of the split {split!r} to measure with")
    holdout = exam_scenario(split, source_of_all, renderer=renderer)
    (seat,) = holdout.seats
    rng = generator(0)  # an exam draws nothing once it has its task
    views = [
        view_of(
            holdout.view(holdout.reset(task, rng), seat), seat, case, seed=mix(seed, case)
        )
        for case, task in enumerate(tasks.values())
    ]
    return Holdout(holdout, tuple(tasks.values()), tuple(views))


def answer_holdout(agent: Agent, holdout: Holdout) -> HoldoutAnswers:
    """Return an agent's answers, at temperature 0 where it is a causal LM."""
    replies = greedy(agent).act(holdout.views)
    return grade_answers(holdout, [reply.text for reply in replies])


def grade_answers(holdout: Holdout, texts: Sequence[str]) -> HoldoutAnswers:
    """Grade answers to a holdout by the truth."""
    source = holdout.scenario.source
    return HoldoutAnswers(
        tuple(final_answer(text) for text in texts),
        tuple(
            solved(source, task, text)
            for task, text in zip(holdout.tasks, texts, strict=True)
        ),
    )


def solved(source: TaskSource, task: Task, text: str) -> float:
    """Return 1 where gold labels call an answer right in every respect, else 0."""
    grades = source.grade(task, text)
    return float(bool(grades) and min(grade.value for grade in grades) >= _RIGHT)


def greedy(agent: Agent) -> Agent:
    """Return a copy of an agent with greedy decoding; agents other than LMs are returned."""
    return at_temperature(agent, 0.0)


def at_temperature(agent: Agent, temperature: float) -> Agent:
    """Return a copy of an agent at another temperature; agents other than LMs are returned."""
    from superalign_agents.transformer import TransformerAgent  # noqa: PLC0415 - brings torch

    if not isinstance(agent, TransformerAgent):
        return agent
    changed = copy.copy(agent)  # the same weights
    changed.refresh()
    changed.temperature = temperature
    return changed


def view_of(brief: Brief, seat: Seat, case: int, *, turn: int = 0, seed: int = 0) -> View:
    """Return the view of a brief outside of any game."""
    stamped = {field: getattr(brief, field) for field in _BRIEF}
    return View(f"scene-{case}", case, seat, role_of(seat), turn, seed, **stamped)


def _drawn(source: TaskSource, split: Split, cases: int, seed: int) -> dict[str, Task]:
    rng = generator(seed)
    tasks: dict[str, Task] = {}
    misses = 0
    while len(tasks) < cases and misses < _PATIENCE:
        task = source.draw(rng, split)
        misses = misses + 1 if task.id in tasks else 0
        tasks.setdefault(task.id, task)
    return tasks


PlayExam = Callable[[Scenario[Any], str, int], Sequence[Episode]]
"""(scenario, name of the part, how many tasks) → episodes."""


def exam_scenario(split: Split, source: Any, *, renderer: str = "micro") -> Scenario[Any]:
    """Return the scenario `exam` over the tasks of a source."""
    return make_scenario("exam", source=source, split=split, renderer=renderer)


def passed(episodes: Sequence[Episode]) -> Estimate:
    """Return the share of answers that are right on every axis."""
    correct = [
        bool(episode.grades) and min(grade.value for grade in episode.grades) >= 1.0
        for episode in episodes
    ]
    return share(sum(correct), len(correct))


def competence(
    play: PlayExam,
    sources: Mapping[str, Any],
    cases: int,
    *,
    split: Split,
    renderer: str = "micro",
) -> dict[str, Estimate]:
    """Return the share of held-out exercises solved, by family.

    Args:
        play: plays a scenario.
        sources: family → source of its tasks.
        cases: tasks of each; 0 measures nothing.
        split: of the tasks.
        renderer: how they are shown.
    """
    estimates = {}
    for family, source in sources.items() if cases else ():
        holdout = exam_scenario(split, source, renderer=renderer)
        estimates[family] = passed(play(holdout, f"exam-{family}", cases))
    return estimates


def people_answers(
    people: Sequence[SimulatedAnnotator], holdout: Holdout
) -> HoldoutAnswers:
    """Let simulated people answer a holdout, in turns as they take turns at labelling.

    It costs no label: nothing that they say here is recorded or taught.

    Args:
        people: at least one.
        holdout: of a source that knows candidate answers.

    Raises:
        InvalidOption: nobody, or a source that cannot be answered for.
    """
    if not people:
        raise InvalidOption("nobody is there to answer; name signals.people")
    return grade_answers(
        holdout,
        [
            _answer(people[place % len(people)], holdout, place)
            for place in range(len(holdout.tasks))
        ],
    )


def _answer(person: SimulatedAnnotator, holdout: Holdout, place: int) -> str:
    # Who cannot tell words apart takes a task for one that looks the same; those are looked
    # for in the task's own split, and a held-out one has next to none.
    task = msgspec.structs.replace(holdout.tasks[place], split="train")
    candidates = holdout.scenario.source.answers(task)
    if not candidates:
        raise InvalidOption(
            f"{holdout.scenario.source.id} names no candidate answers, so nobody can be simulated"
        )
    game = Game(holdout.scenario, EpisodeKey(case=place), task=task)
    # What is said here only holds the place of what the person writes.
    game.step([Reply(text=candidates[0])])
    question = Question(f"measured-{task.id}", "answer", game.episode_id, 0)
    assert isinstance(holdout.scenario, HasGold)  # the scenario `exam` has
    answer = person.answer(question, game.episode(), holdout.scenario)
    if answer is None:
        raise InvalidOption(f"{person.name} has no answer to {task.id}")
    return str(answer.payload["text"])


def label_accuracy(source: TaskSource, labels: Iterable[tuple[Task, str]]) -> Estimate:
    """Return the share of labels that are right in every respect by gold labels.

    Args:
        source: knows the truth.
        labels: (task, answer).
    """
    correct = [
        all(grade.value >= _RIGHT for grade in source.grade(task, answer))
        for task, answer in labels
    ]
    return share(sum(correct), len(correct))


def require_gold(source: TaskSource) -> None:
    """Raise unless a few tasks of the training split have a gold answer.

    Raises:
        InvalidOption: none of them has.
    """
    rng = generator(0)
    if not any(source.gold(source.draw(rng, "train")).answer for _ in range(_DRAWS)):
        raise without_gold(source)


def without_gold(source: TaskSource) -> InvalidOption:
    """Return the error for tasks without gold answers."""
    return InvalidOption(
        f"{source.id} has no gold answers, so there is no ceiling to measure generations by; "
        "name tasks that have them: competence.source={id: rows, path: …}"
    )
