"""Charts of what was computed at every update: one for each metric, a line for each role."""

import re

import pytest

from superalign_env.report import write_report
from superalign_env.report.document import read
from superalign_env.report.trends import POINTS, thinned, training
from superalign_env.store import Run, declare
from superalign_env.types import Metric

declare("train/toy_loss", "Toy loss", unit="nats", better="lower")
declare("train/toy", "Toy reward", better="higher")


def update(name, value, step, role="learner", **tags):
    placed = {"role": role, "stage": "learn", "algorithm": "ppo", **tags}
    return Metric(f"train/{name}", value, tags=placed, step=step)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "run"
    with Run.create(path, kind="train", config={}, seed=0) as run:
        stage = run.stages.begin("learn", round=1)
        run.metrics.write(
            [
                *(update("toy_loss", 1 / step, step) for step in range(1, 2001)),
                *(update("toy_loss", 2.0, step, "<b>solver</b>") for step in (1, 5)),
                *(update("toy_loss", 3.0, n, stage="supervise") for n in range(2001, 2009)),
                *(update("toy", 1.0, step) for step in range(3)),
                *(update("toy/critic", 0.5, step) for step in range(3)),
                update("never_declared", 7.0, 1),
            ],
            stage=stage.id,
        )
        run.stages.finish(stage.id)
    return path


@pytest.fixture(scope="module")
def page(trained):
    return write_report(trained).read_text(encoding="utf-8")


def test_a_chart_bears_the_title_of_its_declaration_and_how_to_read_it(page):
    assert "<h3>Toy loss</h3>" in page
    assert "In nats. Lower is better." in page
    assert "<h3>Never declared</h3>" in page
    assert page.count("<h3>Toy reward</h3>") == 1
    assert "<figcaption>in all</figcaption>" in page
    assert "<figcaption>critic</figcaption>" in page, "parts stand beside the whole"


def test_roles_have_lines_told_apart_by_stage_where_there_are_several(page):
    legend = re.search(r"Toy loss.*?</ul>", page, re.DOTALL)[0]
    named = re.findall(r"</svg>([^<]*)</li>", legend)
    assert named == ["learner · learn", "&lt;b&gt;solver&lt;/b&gt;", "learner · supervise"]


def test_long_series_are_thinned_and_the_page_stays_light(page, trained):
    points = [(float(step), float(step % 2)) for step in range(1999)]
    shown = thinned(points[::-1])
    assert len(shown) == POINTS
    assert shown[-1][0] == 1998.0
    assert all(value == pytest.approx(0.5, abs=0.05) for _, value in shown)
    with Run.open(trained, readonly=True) as run:
        section = training(read(run))
    assert len(section.body.html) < 60_000


def test_other_tables_of_the_page_do_not_drown_in_updates(page, trained):
    with Run.open(trained, readonly=True) as run:
        document = read(run)
    assert document.metrics == ()
    assert len(document.updates) == 2017


def test_a_generation_begins_where_the_last_one_ended(tmp_path):
    with Run.create(tmp_path / "run", kind="train", config={}, seed=0) as run:
        run.metrics.write(
            [
                *(update("toy", 1.0, step, generation="1") for step in (10, 20)),
                *(update("toy", 2.0, step, generation="2") for step in (10, 20)),
            ]
        )
        section = training(read(run))
    assert "1 at 10, 1 at 20, 2 at 30, 2 at 40" in section.body.html


def test_a_run_without_training_has_no_such_section(tmp_path):
    with Run.create(tmp_path / "run", kind="play", config={}, seed=0) as run:
        assert training(read(run)) is None
