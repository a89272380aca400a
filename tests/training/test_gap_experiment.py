"""The experiment on gaps: its human, its chains, and what it counts as a win."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from superalign_env.seeding import generator
from superalign_scenarios.microworld.heldout import split_of
from superalign_scenarios.microworld.luck import Luck
from superalign_training.experiments.gap import CONDITIONS, EXPERIMENT
from superalign_training.experiments.gap.chains import Chains, ChainSetting
from superalign_training.experiments.gap.gap_report import picture, reduce
from superalign_training.experiments.gap.human_queries import (
    FAMILIES,
    HeldOutQueries,
    draw_queries,
    human_says,
    natural_requests,
)
from superalign_training.experiments.gap.student import make_snapshots, student_of

PLAN = ChainSetting(
    at=(2, 4, 6),
    queries="follow",
    hardness=(0.0, 0.8),
    labels=24,
    steps=8,
    batch=4,
    rate=1e-3,
    slips=0.0,
    control=10,
    exam=5,
)


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return three levels of a run that has hardly begun."""
    folder = tmp_path_factory.mktemp("levels")
    make_snapshots(folder, seed=0, at=PLAN.at)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_the_human_is_wrong_about_hard_queries_and_no_others(family: str) -> None:
    queries = draw_queries(family, 200, hardness=0.5, split="train", seed=1)
    assert {q.hard for q in queries} == {True, False}
    assert all(q.right(q.truth) and q.imitates(q.belief) for q in queries)
    assert [q.right(q.belief) for q in queries] == [not q.hard for q in queries]


@pytest.mark.parametrize("family", ["arithmetic", "strings"])
def test_queries_keep_to_their_split_and_hard_ones_are_no_longer(family: str) -> None:
    queries = draw_queries(family, 400, hardness=0.5, split="control", seed=2)
    assert {split_of(q.prompt) for q in queries} == {"control"}
    lengths = {
        hard: np.mean([len(q.truth.split()) for q in queries if q.hard == hard])
        for hard in (True, False)
    }
    assert abs(lengths[True] - lengths[False]) < 1.0


@pytest.mark.parametrize("family", FAMILIES)
def test_slips_are_as_frequent_as_said_and_wrong(family: str) -> None:
    queries = draw_queries(family, 600, hardness=0.0, split="train", seed=3)
    luck = Luck(generator(4), 64)
    wrong = [not q.right(human_says(q, luck, slips=0.3)) for q in queries]
    assert 0.2 < np.mean(wrong) < 0.35  # a slip of a string sometimes changes nothing


def test_natural_requests_are_balanced_and_seldom_hard() -> None:
    queries = natural_requests(600, split="test", seed=5)
    assert 0.4 < np.mean([q.truth == "refuse" for q in queries]) < 0.6
    assert 0.0 < np.mean([q.hard for q in queries]) < 0.5


def test_queries_follow_the_level_or_stay_as_hard_as_on_average() -> None:
    assert [PLAN.hardness_at(level) for level in range(3)] == pytest.approx([0, 0.4, 0.8])
    fixed = ChainSetting(
        **{name: getattr(PLAN, name) for name in PLAN.__struct_fields__}
        | {"queries": "fixed"}
    )
    assert {fixed.hardness_at(level) for level in range(3)} == {0.4}


def test_a_chain_is_the_same_again_and_spends_the_same_however_it_climbs(
    snapshots: Path,
) -> None:
    queries = HeldOutQueries.draw(0, 5).easy["arithmetic"]
    one, again = (Chains(PLAN, snapshots, seed=0) for _ in range(2))
    first, second = (chains.generation((0, 2), 2) for chains in (one, again))
    assert first.student.answers(queries) == second.student.answers(queries)
    assert first.stats == second.stats and first.stats.level == 2
    spent = [
        sum(one.generation(path[: n + 1], len(path)).tokens for n in range(len(path)))
        for path in ((2,), (0, 2), (1, 1))
    ]
    assert max(spent) < 1.2 * min(spent)


def test_sights_show_disagreement_once_there_are_two_sources(snapshots: Path) -> None:
    sights = Chains(PLAN, snapshots, seed=0).history((0, 1), 2)
    assert [sight.generation for sight in sights] == [1, 2]
    assert sights[0].disagreement == 0.0 < sights[1].disagreement
    assert sights[0].human_agreement == pytest.approx(1.0 - sights[0].misfit)
    assert {sight.human_labels for sight in sights} == {3 * (PLAN.control // 2)}


def test_lessons_teach_what_labels_say(snapshots: Path) -> None:
    student = student_of(snapshots, 0)
    queries = draw_queries("requests", 40, hardness=0.0, split="train", seed=6)
    course = ChainSetting(
        **{n: getattr(PLAN, n) for n in PLAN.__struct_fields__} | {"steps": 60}
    ).fit_settings(1)
    student.teach(queries, ["refuse"] * len(queries), course, seed=0)
    assert Counter(a.text for a in student.answers(queries)) == {"refuse": 40}


def _values(utility: float) -> dict[str, Any]:
    by_family = dict.fromkeys(FAMILIES, utility)
    return {
        "utility": by_family,
        "imitation": by_family,
        "conformity": utility,
        "levels": [0, 1],
        "labels": 9,
        "lessons": 9,
        "tokens": 9,
    }


def _outcomes(adaptive: float) -> dict[str, dict[int, dict[str, Any]]]:
    others = ("direct", "direct-repeated", "fixed-small", "linear")
    cells = {
        seed: {
            "human": {"utility": dict.fromkeys(FAMILIES, 0.5)},
            **{name: _values(0.5 + 0.001 * seed) for name in others},
            "adaptive": _values(adaptive + 0.002 * seed),
        }
        for seed in range(6)
    }
    return {"follow": cells}


@pytest.mark.parametrize(("adaptive", "families"), [(0.6, 3), (0.5, 0), (0.4, 0)])
def test_only_who_beats_both_jumps_and_every_schedule_wins_a_family(
    adaptive: float, families: int
) -> None:
    figures = reduce(_outcomes(adaptive)).figures
    key = "families_where_adaptive_beats_direct_and_every_fixed_follow"
    assert figures[key] == families
    assert figures["equal_labels"] is True


def test_who_does_not_know_the_kind_of_queries_is_told_the_mean_of_both() -> None:
    follow = _outcomes(0.6)["follow"]
    fixed = _outcomes(0.4)["follow"]
    figures = reduce({"follow": follow, "fixed": fixed}).figures
    ours, theirs = (
        figures[f"utility_adaptive_mean_{mode}"] for mode in ("follow", "fixed")
    )
    both = figures["utility_adaptive_mean_both"]
    assert both.value == pytest.approx((ours.value + theirs.value) / 2)
    assert figures["families_where_adaptive_beats_direct_and_every_fixed_both"] == 0


def test_the_picture_shows_every_chain() -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second

    canvas = Figure()
    picture(canvas, _outcomes(0.6))
    labels = [label.get_text() for label in canvas.axes[0].get_yticklabels()]
    assert "adaptive" in labels and "direct" in labels and "human" not in labels


def test_conditions_differ_in_the_queries_alone() -> None:
    follow, fixed = CONDITIONS["follow"], CONDITIONS["fixed"]
    assert {key for key in follow if follow[key] != fixed[key]} == {"queries"}
    generations = {
        entry["generations"]
        for entry in EXPERIMENT.conditions["follow"]["controllers"].values()
    }
    assert len(generations) > 1
    assert all(follow["labels"] % n == 0 == follow["steps"] % n for n in generations)
