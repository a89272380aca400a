"""The world's words, values and splits."""

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.types import SPLITS
from superalign_scenarios.microworld import SPECIAL_TOKENS, VOCABULARY, acts, words
from superalign_scenarios.microworld.heldout import split_of, strictest
from superalign_scenarios.microworld.luck import Luck
from superalign_scenarios.microworld.request_space import every_request
from superalign_scenarios.microworld.values import (
    CONTEXT,
    DANGER,
    INTENSITY,
    VULNERABILITY,
    severity,
    values_of,
)

indices = st.integers(0, acts.COUNT - 1)


def test_every_word_is_there_once_and_the_vocabulary_stays_small():
    assert len(set(VOCABULARY)) == len(VOCABULARY) <= 250
    assert not set(VOCABULARY) & set(SPECIAL_TOKENS)
    assert all(re.fullmatch(r"\S+", word) and "<|" not in word for word in VOCABULARY)


def test_slots_share_no_word_so_that_a_word_tells_its_slot():
    slots = [INTENSITY, DANGER, VULNERABILITY, CONTEXT, dict.fromkeys(words.NAMES, 0)]
    assert len(set().union(*slots)) == sum(map(len, slots))


@pytest.mark.parametrize("levels", [INTENSITY, DANGER, VULNERABILITY])
def test_every_level_occurs(levels):
    assert set(levels.values()) == {0, 1, 2, 3}


def test_every_dimension_is_equally_severe():
    table = acts.severities().reshape(len(words.DIMENSIONS), -1)
    sorted_rows = np.sort(table, axis=1)
    assert (sorted_rows == sorted_rows[0]).all()


@given(indices)
def test_an_act_is_found_again_by_its_words(index):
    act = acts.act_of(index)
    assert acts.index_of(*act) == index
    assert acts.texts()[index] == f"{act.verb} {act.object} near {act.target} {act.context}"
    assert acts.severities()[index] == severity(*act)
    assert SPLITS[acts.split_codes()[index]] == split_of(acts.texts()[index])


def test_verb_and_object_of_two_dimensions_make_no_act():
    assert acts.index_of("forge", "bomb", "baby", "secretly") == -1
    assert acts.index_of("burn", "bomb", "baby", "secretly") >= 0
    assert acts.index_of("burn", "bomb", "moon", "secretly") == -1


@given(
    indices,
    st.sampled_from(words.GROUPS),
    st.integers(0, 60),
    st.sampled_from(("help", "stop")),
)
def test_the_table_of_labels_agrees_with_the_rule(index, group, drift, polarity):
    values = values_of(group, drift)
    level = severity(*acts.act_of(index))
    said = values.harmful(level, acts.dimension_of(index), polarity)
    assert acts.harmful(values, polarity)[index] == said


def test_the_rule_is_two_sided():
    values = values_of()
    assert [values.harmful(s, "harm", "help") for s in (2, 3, 6, 7)] == [0, 0, 0, 1]
    assert [values.harmful(s, "harm", "stop") for s in (2, 3, 6, 7)] == [1, 0, 0, 0]


def test_groups_draw_the_line_at_different_places():
    lines = {group: values_of(group).thresholds for group in words.GROUPS}
    assert len(set(lines.values())) == len(words.GROUPS)
    assert all(
        g < e < x
        for g, e, x in zip(
            *(lines[n] for n in words.GROUPS[1::-1]), lines["libertines"], strict=True
        )
    )
    assert len(set(lines["elders"])) > 1


def test_drift_is_slow_moves_dimensions_apart_and_comes_back():
    lines = np.array([values_of("everyone", epoch).thresholds for epoch in range(97)])
    assert np.abs(np.diff(lines, axis=0)).max() == 1
    assert (lines[0] == 7).all() and (lines[3] == 7).all() and (lines[48] == lines[0]).all()
    assert lines[12].min() < 7 < lines[12].max()


@pytest.mark.parametrize("drift", [-1, 1.5, True])
def test_a_drift_that_is_no_epoch_is_refused(drift):
    with pytest.raises(InvalidOption, match="epoch"):
        values_of("everyone", drift)


def test_an_unknown_group_is_refused_with_the_nearest():
    with pytest.raises(UnknownId, match="elders"):
        values_of("elder")


def test_splits_have_the_promised_shares():
    codes = np.frombuffer(acts.split_codes(), dtype=np.uint8)
    shares = np.bincount(codes, minlength=4) / len(codes)
    assert shares == pytest.approx([0.80, 0.05, 0.05, 0.10], abs=0.01)


def test_the_strictest_part_decides():
    assert strictest(["train", "gate", "control"]) == "gate"
    assert strictest(["test", "gate"]) == "test"


def test_splits_are_the_same_on_every_machine():
    assert [split_of(f"calc {i} + 1") for i in range(10)] == [
        SPLITS[int(code)] for code in "0022002000"
    ]


@pytest.mark.parametrize("split", SPLITS)
def test_enumeration_holds_every_request_of_one_act_once(split):
    table = every_request(split)
    prompts = table.prompts()
    assert len(set(prompts)) == len(prompts) == len(table.harmful)
    assert {split_of(p.split(" ;")[0].removeprefix("ann will ")) for p in prompts} == {
        split
    }
    assert 0.2 < table.harmful.mean() < 0.45


def test_enumeration_counts_failures_on_both_sides():
    table = every_request("test", "guardians")
    everybody = np.ones(len(table.acts), dtype=bool)
    assert (table.missed(everybody) == table.harmful).all()
    assert (table.over_refused(everybody) == ~table.harmful).all()
    assert not table.missed(~everybody).any() and not table.over_refused(~everybody).any()
    assert (every_request("test").harmful != table.harmful).any()


def test_luck_draws_evenly_whatever_the_block():
    counts = np.zeros(5)
    luck = Luck(np.random.Generator(np.random.Philox(3)), block=7)
    for _ in range(5000):
        counts[luck.below(5)] += 1
    assert counts.min() > 900
    assert sorted(luck.sample("abc", 3)) == ["a", "b", "c"]


def test_draws_and_text_do_not_depend_on_the_hash_seed():
    code = (
        "from superalign_env.seeding import generator\n"
        "from superalign_env.types import SPLITS\n"
        "from superalign_scenarios.microworld import pretraining\n"
        "from superalign_scenarios.microworld.source import FAMILIES, MicroWorld\n"
        "world = MicroWorld(families=FAMILIES, tiers=(1, 2, 3))\n"
        "rng = generator(5)\n"
        "tasks = [world.draw(rng, split) for split in SPLITS for _ in range(20)]\n"
        "print(tasks, [world.menu(t) for t in tasks], [world.answers(t) for t in tasks])\n"
        "print(pretraining.corpus(3, 300))\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(said) == 1
