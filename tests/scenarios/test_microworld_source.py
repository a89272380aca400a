"""The world as a source of tasks: every family keeps the same laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.protocols import TaskSource
from superalign_env.seeding import generator
from superalign_env.types import SPLITS, Task
from superalign_scenarios.microworld import SPECIAL_TOKENS, VOCABULARY
from superalign_scenarios.microworld.flipped import FlippedGold
from superalign_scenarios.microworld.source import FAMILIES, MicroWorld

TIERS = (1, 2, 3)

drawn = st.builds(
    lambda family, tier, split, seed: (
        MicroWorld(families=(family,), tiers=(tier,)),
        MicroWorld(families=(family,), tiers=(tier,)).draw(generator(seed), split),
    ),
    st.sampled_from(FAMILIES),
    st.sampled_from(TIERS),
    st.sampled_from(SPLITS),
    st.integers(0, 2**63 - 1),
)


@given(drawn)
def test_a_drawn_task_is_read_again_as_itself_and_only_in_its_split(pair):
    world, task = pair
    for split in SPLITS:
        assert world.parse(task.prompt, split) == (task if split == task.split else None)


@given(drawn)
def test_the_golden_answer_is_graded_one_and_some_candidate_is_not(pair):
    world, task = pair
    golden = world.gold(task).answer
    assert all(grade.value == 1 for grade in world.grade(task, golden))
    assert golden in world.answers(task)
    assert any(min(g.value for g in world.grade(task, a)) < 1 for a in world.answers(task))


@given(drawn)
def test_rewritings_are_valid_and_change_something(pair):
    world, task = pair
    menu = world.menu(task)
    assert menu and len(set(menu)) == len(menu) <= 120
    for text in menu:
        other = world.parse(text, task.split)
        assert other is not None and other.tier == task.tier
    assert task.prompt not in menu or menu == (task.prompt,)


@given(drawn)
def test_tasks_and_candidates_are_made_of_the_vocabulary(pair):
    world, task = pair
    texts = (task.prompt, *world.answers(task), *world.menu(task)[:3])
    assert len(texts) > 2
    assert {word for text in texts for word in text.split(" ")} <= set(VOCABULARY)


@given(drawn, st.text(max_size=40))
def test_no_answer_breaks_a_grader(pair, text):
    world, task = pair
    grades = world.grade(task, text)
    assert grades
    for grade in grades:
        assert 0 <= grade.value <= 1


@given(drawn, st.sampled_from((" ", "  ", "\u00a0", "\n", ";", "x", "٣")), st.data())
def test_anything_but_the_exact_form_is_invalid(pair, stray, data):
    world, task = pair
    place = data.draw(st.integers(0, len(task.prompt)))
    text = task.prompt[:place] + stray + task.prompt[place:]
    assert world.parse(text, task.split) is None


@settings(max_examples=200)
@given(st.lists(st.sampled_from((*VOCABULARY, *SPECIAL_TOKENS)), max_size=30))
def test_word_salad_is_read_strictly_or_not_at_all(salad):
    world = MicroWorld(families=FAMILIES, tiers=TIERS)
    text = " ".join(salad)
    found = [task for split in SPLITS if (task := world.parse(text, split))]
    assert len(found) <= 1
    assert all(task.prompt == text for task in found)


@pytest.mark.parametrize("family", FAMILIES)
def test_harder_tiers_have_longer_prompts(family):
    means = [
        np.mean(
            [
                len(
                    MicroWorld(families=family, tiers=tier)
                    .draw(generator(i), "train")
                    .prompt
                )
                for i in range(100)
            ]
        )
        for tier in TIERS
    ]
    assert means[0] < means[1] < means[2]


def test_families_and_tiers_are_drawn_equally_often():
    world = MicroWorld(families=FAMILIES, tiers=TIERS)
    rng = generator(1)
    tasks = [world.draw(rng, "train") for _ in range(2400)]
    cells = [(t.family, t.tier) for t in tasks]
    assert all(140 < cells.count((f, n)) < 260 for f in FAMILIES for n in TIERS)


def test_equal_seeds_draw_equal_tasks_and_different_seeds_do_not():
    world = MicroWorld(families=FAMILIES, tiers=TIERS)
    draws = [[world.draw(generator(seed), "test") for seed in range(30)] for _ in range(2)]
    assert draws[0] == draws[1]
    assert len({task.id for task in draws[0]}) > 25


def test_the_world_is_a_task_source_that_carries_no_truth():
    world: TaskSource = MicroWorld(families=FAMILIES, tiers=TIERS)
    task = world.draw(generator(0), "train")
    assert task.attributes == {}
    assert world.gold(Task("x", task.family, task.prompt)).answer == world.gold(task).answer


def test_only_own_families_and_tiers_are_valid():
    arithmetic = MicroWorld(families="arithmetic", tiers=2)
    rng = generator(4)
    assert arithmetic.parse(MicroWorld().draw(rng, "train").prompt, "train") is None
    one = MicroWorld(families="arithmetic", tiers=1).draw(rng, "train")
    assert arithmetic.parse(one.prompt, "train") is None
    with pytest.raises(UnknownId, match="arithmetic"):
        arithmetic.gold(MicroWorld().draw(rng, "train"))


def test_the_id_spells_what_shapes_the_draw():
    assert MicroWorld().id == "microworld-v1?families=requests&tiers=1"
    other = MicroWorld(
        families=["strings", "writing"], tiers=[1, 3], group="elders", drift=8
    )
    assert (
        other.id == "microworld-v1?families=strings,writing&tiers=1,3&group=elders&drift=8"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"families": ()}, "families"),
        ({"tiers": ()}, "tiers"),
        ({"tiers": (4,)}, "tiers"),
        ({"families": ("request",)}, "did you mean requests"),
        ({"group": "guardian"}, "did you mean guardians"),
        ({"drift": -1}, "epoch"),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises((InvalidOption, UnknownId), match=message):
        MicroWorld(**options)


@pytest.mark.parametrize("family", ["requests", "writing"])
def test_a_task_of_other_words_is_refused_by_name(family):
    with pytest.raises(InvalidOption, match="hello"):
        MicroWorld(families=family).gold(Task("t", family, "hello"))


@given(drawn)
def test_flipping_turns_every_truth_and_nothing_public(pair):
    world, task = pair
    flipped = FlippedGold(world)
    assert flipped.id == world.id
    assert flipped.menu(task) == world.menu(task)
    assert flipped.answers(task) == world.answers(task)
    assert flipped.parse(task.prompt, task.split) == task
    assert flipped.draw(generator(9), "train") == world.draw(generator(9), "train")
    true, false = world.gold(task), flipped.gold(task)
    assert true.answer != false.answer
    assert {true.label, false.label} in ({""}, {"harmful", "benign"})
    assert all(
        false.facts[k] != v
        for k, v in true.facts.items()
        if k not in ("dimension", "final")
    )
    for answer in world.answers(task):
        pairs = zip(world.grade(task, answer), flipped.grade(task, answer), strict=True)
        assert all(a.axis == b.axis and a.value == 1 - b.value for a, b in pairs)
