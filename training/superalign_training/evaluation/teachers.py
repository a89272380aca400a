"""What people would have answered to a held-out paper: the teacher of a first generation."""

from collections.abc import Sequence

import msgspec

from superalign_env.errors import InvalidOption
from superalign_env.game import Game
from superalign_env.humans.simulated import SimulatedAnnotator
from superalign_env.protocols import HasGold
from superalign_env.types import EpisodeKey, Question, Reply
from superalign_training.evaluation.papers import Paper, Sat, graded


def people_sit(people: Sequence[SimulatedAnnotator], paper: Paper) -> Sat:
    """Let simulated people answer a paper, in turns as they take turns at labelling.

    It costs no label: nothing that they say here is recorded or taught.

    Args:
        people: at least one.
        paper: of a source that knows candidate answers.

    Raises:
        InvalidOption: nobody, or a source that cannot be answered for.
    """
    if not people:
        raise InvalidOption("nobody is there to answer; name signals.people")
    return graded(
        paper,
        [
            _answer(people[place % len(people)], paper, place)
            for place in range(len(paper.tasks))
        ],
    )


def _answer(person: SimulatedAnnotator, paper: Paper, place: int) -> str:
    # Who cannot tell words apart takes a task for one that looks the same; those are looked
    # for in the task's own split, and a held-out one has next to none.
    task = msgspec.structs.replace(paper.tasks[place], split="train")
    candidates = paper.exam.source.answers(task)
    if not candidates:
        raise InvalidOption(
            f"{paper.exam.source.id} names no candidate answers, so nobody can be simulated"
        )
    game = Game(paper.exam, EpisodeKey(case=place), task=task)
    # What is said here only holds the place of what the person writes.
    game.step([Reply(text=candidates[0])])
    question = Question(f"measured-{task.id}", "answer", game.episode_id, 0)
    assert isinstance(paper.exam, HasGold)  # an exam is
    said = person.answer(question, game.episode(), paper.exam)
    if said is None:
        raise InvalidOption(f"{person.name} has no answer to {task.id}")
    return str(said.payload["text"])
