"""`superalign report`: one page from the record alone, harmless whatever the record holds."""

import base64
import hashlib
import html.parser
import os
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from superalign_env.cli import build
from superalign_env.errors import InvalidOption, RecordError
from superalign_env.figures import Dot, Line, Panel
from superalign_env.report import write_report
from superalign_env.report.layout import GROUPS
from superalign_env.report.names import bracketed
from superalign_env.report.plots import multiples
from superalign_env.store import Run
from superalign_env.types import Metric


class Outline(html.parser.HTMLParser):
    """Checks that elements nest, and gathers what a page consists of."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def page(chain):
    return write_report(chain).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def outline(page):
    return Outline(page)


def test_a_page_is_well_formed_and_its_ids_are_unique(outline):
    ids = [value for _, name, value in outline.attributes if name == "id"]
    assert len(ids) == len(set(ids)) > 20
    targets = {v[1:] for _, name, v in outline.attributes if name == "href"}
    assert targets - set(ids) == set()


def test_nothing_comes_from_outside_and_nothing_runs(outline, page):
    active = {"script", "link", "img", "image", "iframe", "object", "form", "base"}
    assert active & set(outline.tags) == set()
    names = {name for _, name, _ in outline.attributes}
    assert not any(name.startswith("on") for name in names)
    assert names & {"src", "srcset", "style", "action", "data"} == set()
    assert all(v.startswith("#") for _, n, v in outline.attributes if n.endswith("href"))
    assert re.findall(r"url\((?!#)|@import", page) == []


def test_the_policy_admits_one_style_sheet_by_its_hash(page, outline):
    (sheet,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    policies = [v for t, n, v in outline.attributes if t == "meta" and n == "content"]
    assert any(
        v.startswith(f"default-src 'none'; style-src 'sha256-{digest}';") for v in policies
    )


def test_hostile_text_is_shown_and_inert(page, outline):
    assert "<script>alert(1)</script>" in outline.text
    assert "‹|critic|>" in outline.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]|<\\|", page)


def test_every_part_of_a_chain_has_its_place(outline):
    for heading in (
        "Risk against capability", "On unseen cases", "Capability",
        "Conformity, safety, over-refusal", "From weak to strong", "Signals", "Risk",
        "Who beats whom", "Sources of signals", "Hazards", "Lineage",
        "Gate, alarms, events", "Stages and cost", "Settings and versions",
    ):  # fmt: skip
        assert heading in outline.text
    assert "2 of 3 generations were accepted." in outline.text
    assert "A₁⁺ to A₃⁺" in outline.text
    assert "rolled back" in outline.text and "misfit is too high" in outline.text


def test_the_head_says_who_held_each_role_and_by_what_it_learned(outline):
    assert "learner: micro/2" in outline.text and "critic: <script>" in outline.text
    assert "trained by attacker: sft + reinforce, learner: grpo" in outline.text


def test_pictures_have_a_title_a_text_and_a_table(page, outline):
    every = re.findall(r"<svg .*?</svg>", page, re.DOTALL)
    pictures = [drawn for drawn in every if 'aria-hidden="true"' not in drawn]
    assert len(every) > len(pictures) > 12  # the others stand beside words of a legend
    for picture in pictures:
        assert 'role="img"' in picture and 'aria-labelledby="' in picture
        assert "<title " in picture and "<desc " in picture
    assert outline.tags.count("table") > 12


def test_transcripts_come_with_the_command_that_shows_all(outline, chain, recording):
    assert f"superalign show {chain} {recording.episode(0).id}" in outline.text


def test_the_same_record_gives_the_same_bytes(chain, page, tmp_path):
    again = write_report(chain, out=tmp_path / "deep" / "again.html")
    assert again.read_text(encoding="utf-8") == page


def test_a_run_without_generations_has_no_holes(tmp_path):
    with Run.create(tmp_path / "play", kind="train", config={}, seed=0) as run:
        for number in range(3):
            stage = run.stages.begin("evaluate", round=number)
            tags = {"split": "gate", "who": f"round {number}"}
            value = 0.5 + 0.1 * number
            run.metrics.write(
                [Metric("refusals.balanced-accuracy", value, 0.4, 0.9, 40, tags=tags)],
                stage=stage.id,
            )
            run.stages.finish(stage.id)
    shown = Outline(write_report(tmp_path / "play").read_text(encoding="utf-8"))
    assert "Self-play" in shown.text
    for absent in ("Hazards", "Lineage", "Risk against", "Sources", "Attackers against"):
        assert absent not in shown.text


def said_of(path, *metrics):
    with Run.create(path, kind="train", config={}, seed=0) as run:
        stage = run.stages.begin("test", round=1)
        run.metrics.write(metrics, stage=stage.id)
        run.stages.finish(stage.id)
    return Outline(write_report(path).read_text(encoding="utf-8")).text


def test_the_result_says_how_a_fresh_attacker_fares(tmp_path):
    tags = {"split": "test", "who": "final"}
    right = Metric("refusals.balanced-accuracy", 0.9, 0.8, 0.95, 40, tags=tags)
    attacked = {**tags, "attacker": "fresh", "queries": "256"}
    fresh = Metric("attack.harm", 0.75, 0.58, 0.87, 32, tags=attacked)
    said = said_of(tmp_path / "one", right, fresh)
    assert (
        "Split test: held out, asked once at the end. Each fresh attacker had 256" in said
    )
    assert (
        "A fresh attacker finds harm with 0.75 [0.58, 0.87] of its last 32 valid queries."
        in said
    )


def test_a_run_with_one_side_of_requests_comes_to_nothing(tmp_path):
    tags = {"split": "test", "who": "final"}
    asked = [
        Metric("requests.asked", count, n=40, tags={**tags, "truth": truth})
        for truth, count in (("harmful", 0), ("benign", 40))
    ]
    said = said_of(tmp_path / "one", *asked)
    assert "The learner was asked 0 harmful and 40 benign requests" in said
    assert "nothing follows" in said


def test_an_empty_run_has_a_page(tmp_path):
    Run.create(tmp_path / "empty", kind="play", config={}, seed=0).close()
    shown = Outline(write_report(tmp_path / "empty").read_text(encoding="utf-8"))
    assert "nothing has been measured" in shown.text


def test_a_run_that_is_at_work_has_a_page(tmp_path):
    with Run.create(tmp_path / "busy", kind="train", config={}, seed=0) as run:
        run.stages.begin("judge")
        assert "running" in write_report(run.path).read_text(encoding="utf-8")


def test_runs_are_compared_by_number_curve_and_setting(chain, recording, tmp_path):
    other = tmp_path / "other"
    config = {"gap": {"id": "direct"}, "train": {"learner": [{"id": "grpo", "steps": 4}]}}
    with Run.create(other, kind="train", config=config, seed=6) as run:
        recording.generation(run, 1, accepted=True, parent="")
    made = write_report(chain, compare=[other]).read_text(encoding="utf-8")
    shown = Outline(made)
    assert (chain / "comparison.html").is_file()
    assert "gap.id adaptive direct" in shown.text
    assert "train.learner.steps 3 4" in shown.text
    assert "seed 5 6" in shown.text
    assert re.search(r'class="swatch b-s0".*class="swatch b-s1"', made, re.DOTALL)
    ids = [value for _, name, value in shown.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert "f-s0" in made and "f-s1" in made


def test_a_safe_answer_says_whose_it_is_and_the_gate_what_it_saw(outline):
    assert "by A₃⁺, person" in outline.text
    assert "✓ competence changed by 0.05" in outline.text
    assert "✗ competence changed by 0.05" in outline.text
    assert "agent A₂⁺" in outline.text


def test_risk_and_capability_are_those_of_the_truth(outline):
    assert "A₃ 0.50 [0.45, 0.55] 0.10 [0.05, 0.15] 0.5" in outline.text
    assert "share of unsafe answers from 0.10 [0.05, 0.15] to 0.10" in outline.text


def test_hazards_beyond_a_page_are_counted(tmp_path):
    with Run.create(tmp_path / "many", kind="train", config={}, seed=0) as run:
        for number in range(70):
            run.hazards.add("harm", f"prompt {number}", generation=1)
    shown = Outline(write_report(tmp_path / "many").read_text(encoding="utf-8")).text
    assert "Found in A₁: 70, the first 60 of them" in shown
    assert "prompt 59" in shown and "prompt 60" not in shown


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RecordError, match="no run at"):
        write_report(tmp_path / "nowhere")


def test_the_command_writes_compares_and_says_where(chain, tmp_path, capsys):
    out = tmp_path / "page.html"
    said = CliRunner().invoke(
        build(),
        ["report", str(chain), "--compare", str(chain), str(chain), "--out", str(out)],
    )
    assert said.exit_code == 0 and str(out) in capsys.readouterr().out + said.output
    assert "3 runs side by side" in out.read_text(encoding="utf-8")
    alone = CliRunner().invoke(build(), ["report", str(chain), "--compare"])
    assert isinstance(alone.exception, InvalidOption)


@pytest.mark.parametrize("name", ["", "pipe"])
def test_what_is_no_file_stays_as_it_is(chain, tmp_path, name, monkeypatch):
    """A folder, or a pipe or device, which a page would take the place of."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(RecordError, match="with --out"):
        write_report(chain, out=name)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    assert Path("pipe").is_fifo()


@pytest.mark.parametrize("name", ["run.db", "notes.txt"])
def test_a_page_is_written_over_a_page_alone(chain, page, tmp_path, name):
    run = shutil.copytree(chain, tmp_path / "run")
    target = run / name
    if name == "notes.txt":
        target.write_text("mine")
    before = target.read_bytes()
    with pytest.raises(RecordError, match="is no page, and would be lost"):
        write_report(run, out=target)
    assert target.read_bytes() == before
    if name == "run.db":
        target = tmp_path / "page.html"
        target.write_text(page[:100], encoding="utf-8")
        assert len(write_report(run, out=target).read_text("utf-8")) > 100


def test_every_chart_says_how_to_read_it():
    charts = [chart for group in GROUPS for chart in group.charts]
    assert len(charts) > 10
    assert [chart.title for chart in charts if not chart.text.endswith(".")] == []


def test_headlines_stand_open_and_other_measures_are_folded(outline, page):
    opened = page[page.index('id="test"') : page.index("more measures")]
    assert "Safety" in opened and "A folded toy" not in opened
    assert "A folded toy" in outline.text


def test_matrices_are_drawn_as_metrics_declare(page):
    for title in ("Games won, train split", "Agreement, A₂"):
        assert f"<h3>{title}</h3>" in page
    described = re.search(r"<desc[^>]*>(Down: attacker. Across: learner.[^<]*)", page)[1]
    assert "most 0.2 for" in described


def test_an_alarm_says_what_it_means(outline):
    assert "it copies" in outline.text
    assert "3 alarms went off: imitation." in outline.text


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (0.34, 0.2564, 0.4341, "0.34 [0.26, 0.43]"),
        (0.00833, 0.00147, 0.0457, "0.008 [0.001, 0.046]"),
        (-881.2, -1036.4, -725.9, "−881 [−1036, −726]"),
        (-0.0001, -0.2, 0.2, "0.00 [−0.20, 0.20]"),
        (1.0, 0.862, 1.0, "1.00 [0.86, 1.00]"),
        (0.0, 0.0, 0.0, "0 [0, 0]"),
        (0.12345, None, None, "0.123"),
    ],
)
def test_numbers_are_no_finer_than_their_intervals(value, low, high, said):
    assert bracketed(value, low, high) == said


def test_a_chart_of_one_picture_has_its_title_once():
    line = Line("learner", (Dot(0.0, 0.5), Dot(1.0, 0.75)))
    panel = Panel("rate of perjury", (line,), ((0.0, "0"), (1.0, "1")), "round")
    alone = str(multiples("rate of perjury", "", [panel], "x"))
    assert alone.count(">rate of perjury<") == 1 and "figcaption" not in alone
    assert "figcaption" in str(multiples("rates", "", [panel], "x"))
