"""From rung to rung: who teaches whom, by whose labels."""

import math

import pytest

from superalign_env.errors import InvalidOption
from superalign_env.game import Game
from superalign_env.seeding import mix
from superalign_env.types import EpisodeKey
from superalign_scenarios.weak_to_strong import WeakToStrong as Lessons
from superalign_training.algorithms.bootstrapping import approved, bootstrap, labelled_by
from superalign_training.algorithms.fitting import ExampleTensors, fit, loss_on
from superalign_training.algorithms.supervision import FitSettings
from superalign_training.algorithms.weak_to_strong import WeakToStrongTraining
from superalign_training.data import Example

END = 1
FIRST = [Example((30 + i, 31), (40 + i % 2, END), ("person",)) for i in range(8)]
RULES = WeakToStrongTraining(
    steps=60, batch_size=8, learning_rate=2e-2, num_train_epochs=999
)


def views(count=6):
    rules = Lessons()
    games = [Game(rules, EpisodeKey(case=case)) for case in range(count)]
    return [game.view("supervisor_0") for game in games]


def test_each_rung_is_taught_by_the_labels_of_the_one_before(toys):
    rungs = [toys.small_policy(seed) for seed in (1, 2, 3)]
    untaught = [rung.hash for rung in rungs]
    asked = []

    def relabel(teacher, student):
        # A teacher is taught before it is asked, its student is not.
        asked.append((rungs.index(teacher), rungs.index(student)))
        assert teacher.hash not in untaught and student.hash in untaught
        shift = len(asked)
        return [
            one._replace(completion_ids=(one.completion_ids[0] + 2 * shift, END))
            for one in FIRST
        ]

    reports = bootstrap(rungs, FIRST, relabel, RULES, seed=4)
    assert asked == [(0, 1), (1, 2)]
    assert len(reports) == 3
    for number, rung in enumerate(rungs):
        said = [
            one._replace(completion_ids=(one.completion_ids[0] + 2 * number, END))
            for one in FIRST
        ]
        assert loss_on(rung, ExampleTensors(said)) < 0.1
        assert loss_on(rung, ExampleTensors(FIRST)) > 1.0 or number == 0


def test_one_rung_is_the_method_alone(toys):
    def never(teacher, student):
        raise AssertionError("nobody to label for")

    chain, alone = toys.small_policy(1), toys.small_policy(1)
    (report,) = bootstrap([chain], FIRST, never, RULES, seed=4)
    assert RULES.improve(alone, FIRST, seed=mix(4, 0)) == report
    assert chain.hash == alone.hash


def test_a_chain_of_nobody_and_a_rung_that_says_nothing_are_refused(toys):
    with pytest.raises(InvalidOption, match="no rung"):
        bootstrap([], FIRST, lambda *_: FIRST, RULES, seed=0)
    rungs = [toys.small_policy(seed) for seed in (1, 2)]
    with pytest.raises(InvalidOption, match="labels nothing"):
        bootstrap(rungs, FIRST, lambda *_: [], WeakToStrongTraining(steps=1), seed=0)


def test_what_a_teacher_says_becomes_a_lesson_in_the_students_tokens(toys):
    teacher, student = (toys.small_policy(seed) for seed in (1, 2))
    seen = views()
    known = [
        Example(teacher.prompt_ids(v), teacher.reply_ids(v, word))
        for v, word in zip(seen, ("comply", "refuse") * 3, strict=True)
    ]
    fit(
        teacher,
        ExampleTensors(known),
        FitSettings(steps=60, learning_rate=2e-2, batch_size=6),
        seed=0,
    )
    teacher.agent.temperature = 0.0
    lessons = labelled_by(teacher, student, seen, source="g1")
    assert [one[:3] for one in lessons] == [(*one[:2], ("g1",)) for one in known]
    for lesson in lessons:
        nats = loss_on(teacher, ExampleTensors([lesson])) * len(lesson.completion_ids)
        assert lesson.confidence == pytest.approx(math.exp(-nats), rel=1e-3)


def test_an_answer_without_an_end_is_no_label(toys):
    teacher = toys.small_policy(1)
    said = [reply.finish for reply in teacher.agent.act(views())]
    assert len(labelled_by(teacher, teacher, views())) == said.count("stop") < 6


def test_only_labels_that_critics_approve_of_are_taught():
    scores = [0.0, 0.49, 0.5, 1.0, 0.2, 0.9, 0.1, 0.7]
    assert approved(FIRST, scores) == [FIRST[i] for i in (2, 3, 5, 7)]
    assert approved(FIRST, scores, above=0.95) == [FIRST[3]]
    with pytest.raises(InvalidOption, match="3 scores for 8 examples"):
        approved(FIRST, scores[:3])
