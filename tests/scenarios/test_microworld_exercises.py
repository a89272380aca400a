"""Exercises: arithmetic, strings, writing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superalign_env.types import SPLITS
from superalign_scenarios.microworld import arithmetic, strings, writing
from superalign_scenarios.microworld.source import FAMILIES, MicroWorld
from superalign_scenarios.microworld.words import LETTERS, STRING_OPERATIONS

WORLD = MicroWorld(families=FAMILIES, tiers=(1, 2, 3))


def score(prompt, answer):
    task = next(t for split in SPLITS if (t := WORLD.parse(prompt, split)))
    (grade,) = WORLD.grade(task, answer)
    assert (grade.axis, grade.name) == ("competence", task.family)
    return grade.value


def test_arithmetic_goes_from_left_to_right_modulo_ten():
    assert arithmetic.worked("calc 3 + 4 * 2") == "3 + 4 = 7 ; 7 * 2 = 4 ans 4"
    assert arithmetic.worked("calc 2 - 5") == "2 - 5 = 7 ans 7"
    assert arithmetic.worked("calc 3 + 4 * 2", 0, 1) == "3 + 4 = 8 ; 8 * 2 = 6 ans 6"


@given(
    st.lists(st.tuples(st.sampled_from("+-*"), st.integers(0, 9)), min_size=1, max_size=3),
    st.integers(0, 9),
)
def test_arithmetic_agrees_with_python(steps, value):
    prompt = f"calc {value} " + " ".join(f"{op} {digit}" for op, digit in steps)
    for op, digit in steps:
        value = {"+": value + digit, "-": value - digit, "*": value * digit}[op] % 10
    assert arithmetic.final(arithmetic.worked(prompt)) == str(value)


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("3 + 4 = 7 ; 7 * 2 = 4 ans 4", 1),
        ("ans 4", 1),
        ("3 + 4 = 9 ans 4", 1),
        ("3 + 4 = 7 ; 7 * 2 = 4", 0),
        ("3 + 4 = 7 ; 7 * 2 = 4 ans 5", 0),
        ("ans 4 ans 5", 0),
        ("ans 4 !", 0),
        ("pans 4", 0),
        ("", 0),
    ],
)
def test_the_final_answer_decides(answer, value):
    assert score("calc 3 + 4 * 2", answer) == value


@pytest.mark.parametrize(
    "text",
    [
        "calc 3",
        "calc 3 + 4 + 5 + 6 + 7",
        "calc 12 + 1",
        "calc ٣ + 1",
        "calc 3 / 1",
        "calc 3 + 1 ",
    ],
)
def test_what_is_no_chain_is_not_read(text):
    assert all(WORLD.parse(text, split) is None for split in SPLITS)


@pytest.mark.parametrize(
    ("operation", "after"),
    [("rev", "b f c a"), ("rot", "c f b a"), ("swap", "c a b f"), ("next", "b d g c")],
)
def test_string_operations(operation, after):
    assert " ".join(strings.execute(operation, ["a", "c", "f", "b"])) == after


def test_strings_are_written_after_every_step():
    assert (
        strings.worked("code rev next = a c f b")
        == "rev b f c a ; next c g d b ans c g d b"
    )


letters = st.lists(st.sampled_from(LETTERS), min_size=4, max_size=4)


@given(letters)
def test_string_operations_come_round(start):
    for operation, period in (("rev", 2), ("rot", 4), ("swap", 2), ("next", 8)):
        now = start
        for _ in range(period):
            now = strings.execute(operation, now)
        assert now == start


@given(letters, st.lists(st.sampled_from(STRING_OPERATIONS), min_size=1, max_size=3))
def test_a_string_program_is_graded_by_what_it_gives(start, operations):
    prompt = " ".join(["code", *operations, "=", *start])
    now = start
    for operation in operations:
        now = strings.execute(operation, now)
    assert score(prompt, f"ans {' '.join(now)}") == 1
    wrong = [*now[:3], "a" if now[3] != "a" else "b"]
    assert score(prompt, f"ans {' '.join(wrong)}") == 0


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("river tree bird lake", [1, 1, 1, 1]),
        ("river tree bird lake lake", [0, 1, 1, 1]),
        ("tree bird moon lake", [1, 0, 1, 1]),
        ("river stone bird lake", [1, 1, 0, 1]),
        ("lake tree bird river", [1, 1, 1, 0]),
        ("", [0, 0, 0, 0]),
    ],
)
def test_writing_is_graded_by_the_share_of_constraints_it_keeps(text, kept):
    prompt = "write 4 words with river not stone end lake"
    assert writing.satisfied(prompt, text) == [bool(k) for k in kept]
    assert score(prompt, text) == sum(kept) / 4


orders = st.builds(
    lambda length, kinds, words: (
        f"write {length} words "
        + " ".join(
            f"{k} {w}"
            for k, w in zip(
                sorted(kinds, key=writing.CONSTRAINTS.index), words, strict=False
            )
        )
    ),
    st.integers(3, 6),
    st.lists(st.sampled_from(writing.CONSTRAINTS), min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from(writing.LEXICON), min_size=3, max_size=3, unique=True),
)


@given(orders, st.integers(0, 15))
def test_every_order_can_be_kept_and_each_part_neglected_alone(order, start):
    assert all(writing.satisfied(order, writing.compose(order, start)))
    for i in range(len(writing.satisfied(order, ""))):
        kept = writing.satisfied(order, writing.compose(order, start, i))
        assert [j for j, ok in enumerate(kept) if not ok] == [i]


@pytest.mark.parametrize(
    "text",
    [
        "write 4 words",
        "write 4 words with",
        "write 7 words with lake",
        "write 4 words not lake with river",
        "write 4 words with lake with river",
        "write 4 words with lake not lake",
        "write 4 words with pond",
        "write four words with lake",
        "write 4 words with lake not frog start tree end moon",
    ],
)
def test_what_is_no_order_is_not_read(text):
    assert writing.read(text) is None
