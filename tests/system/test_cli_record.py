"""`superalign ls, show, replay, validate, doctor`, as a shell sees them."""

import io
import json
import os
import shlex
import shutil
import sqlite3
from pathlib import Path

import pytest

import superalign_env
from superalign_env import cli, ctrl_c
from superalign_env.envs import make_scenario
from superalign_env.game import Game
from superalign_env.store import EpisodeWriter, Run
from superalign_env.types import (
    SPLITS,
    AgentSpec,
    EpisodeKey,
    Event,
    Metric,
    Question,
    Reply,
    Signal,
)

HOSTILE = "\x1b[2J\x1b]0;owned\x07 [bold red]no[/] \u202e txet [link=file:///x]click[/link] \x9b1m"


def played(case):
    game = Game(make_scenario("echo"), EpisodeKey(0, 0, 1, case))
    while not game.over:
        game.step([Reply(HOSTILE, thought="\x1b[31mhidden") for _ in game.views()])
    return game.episode()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mine"
    with Run.create(folder, kind="play", config={"scenario": "echo"}, seed=3) as run:
        stage = run.stages.begin("self-play", round=1)
        with EpisodeWriter(run, stage=stage.id) as writer:
            writer.write([played(case) for case in range(3)])
        run.metrics.write([Metric("safety", 0.5, 0.25, 0.75, 8)], stage=stage.id)
        run.events.add(Event("alarm.collapse"), stage=stage.id)
        run.questions.ask([Question("q", "label", played(0).id, 0)])
        run.signals.append([Signal("verdict", played(0).id, 0, "\x1b[1mcritic", 0.5)])
        run.agents.add(AgentSpec("micro/3"), role="learner")
        run.stages.finish(stage.id)
        run.set_status("done")
    return folder


OTHER_WORDS = "json_set(said, '$[0][2]', 'comply')"


def damaged(made, tmp_path, statement):
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(made / "config.yaml", copy)
    with sqlite3.connect(made / "run.db") as source, sqlite3.connect(copy / "run.db") as db:
        source.backup(db)
        db.execute(statement)
    source.close()
    db.close()
    return copy


def test_the_version_is_printed(shell):
    assert shell("--version") == f"superalign-env {superalign_env.__version__}\n"


def test_help_lists_the_verbs_of_every_package(superalign):
    text = superalign("--help")
    verbs = ("ls", "show", "replay", "validate", "doctor", "play", "train", "ladder")
    assert all(f"  {verb} " in text for verb in verbs)


@pytest.mark.parametrize("verb", ["ls", "show", "replay", "validate", "doctor"])
def test_every_verb_has_help_with_its_own_name(superalign, verb):
    text = superalign(verb, "--help")
    assert f"Usage: superalign {verb}" in text
    assert superalign(verb, "-h") == text


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["shwo"], "No such command"),
        (["show"], "RUN"),
        (["show", "--bogus", "x"], "--bogus"),
        (["ls", "/nowhere/at/all"], "no folder"),
        (["ls", "--kind", "agnet"], "agent"),
        (["show", "/nowhere/at/all"], "no run at"),
    ],
)
def test_misuse_ends_with_2_and_says_what_to_do(superalign, args, said):
    assert said in superalign(*args, code=2)


@pytest.mark.parametrize("verb", ["show", "replay"])
def test_a_word_that_is_no_text_is_said_in_words(superalign, made, verb):
    said = superalign(verb, made, "g0\udcff", code=2)
    assert "characters that are no utf-8 text" in said and "Traceback" not in said


def test_ls_lists_runs_even_damaged_ones(superalign, made, tmp_path):
    broken = made.parent / "broken"
    broken.mkdir(exist_ok=True)
    (broken / "run.db").write_bytes(b"nonsense" * 1000)
    text = superalign("ls", made.parent)
    assert "mine" in text and "RecordDamaged" in text
    rows = {row["run"]: row for row in json.loads(superalign("ls", made.parent, "--json"))}
    assert (rows["mine"]["episodes"], rows["mine"]["status"]) == (3, "done")
    assert superalign("ls", tmp_path).startswith("no runs in")


def test_ls_lists_the_episodes_of_a_run(superalign, made):
    text = superalign("ls", made, "--limit", "2")
    assert played(0).id in text and "2 of 3" in text
    rows = json.loads(superalign("ls", made, "--json"))
    assert [row["episode"] for row in rows] == [played(case).id for case in range(3)]


def test_ls_knows_the_splits(superalign, made):
    rows = [json.loads(superalign("ls", made, "--json", "--split", s)) for s in SPLITS]
    assert sum(map(len, rows)) == 3
    assert {row["split"] for found in rows for row in found} <= {*SPLITS}
    assert "train" in superalign("ls", made, "--split", "trian", code=2)


def test_ls_lists_what_is_registered(superalign):
    assert "red-team-v0" in superalign("ls", "--kind", "scenario")
    assert "an id, a rung" in superalign("ls", "--kind", "reader")
    assert any(
        row["id"] == "search"
        for row in json.loads(superalign("ls", "--kind", "agent", "--json"))
    )


def test_show_sums_a_run_up(superalign, made):
    text = superalign("show", made)
    for part in (
        "0001-self-play",
        "echo-v0",
        "safety",
        "0.25 … 0.75",
        "alarm.collapse",
        "superalign report",
    ):
        assert part in text
    facts = json.loads(superalign("show", made, "--json"))
    assert facts["run"]["seed"] == 3
    assert facts["episodes"][0]["n"] == 3
    assert facts["metrics"][0]["metric"]["value"] == 0.5
    assert facts["questions"]["asked"] == 1


def test_show_prints_hostile_words_harmlessly(shell, made):
    text = shell("show", made, played(0).id, FORCE_COLOR="1", TERM="xterm")
    assert "[bold red]no[/]" in text and "[link=file:///x]" in text
    assert "⟨U+001B⟩[2J" in text and "hidden" in text
    foreign = [code.split("m")[0] for code in text.split("\x1b[")[1:]]
    assert all(code.replace(";", "").isdigit() for code in foreign)  # rich's colours alone
    assert not set(text) & {"\x07", "\x9b", "\u202e"}
    assert "\x1b]" not in text


def test_show_as_json_is_the_episode(superalign, made):
    shown = superalign("show", made, played(0).id, "--json")
    assert shown.isascii()
    found = json.loads(shown)
    assert found["episode"]["utterances"][0]["reply"]["text"] == HOSTILE
    assert found["signals"][0]["source"] == "\x1b[1mcritic"


def test_an_unknown_episode_is_misuse(superalign, made):
    assert "superalign ls" in superalign("show", made, "e99", code=2)


def test_replay_reproduces_an_episode(superalign, made):
    text = superalign("replay", made, played(1).id)
    assert "reproduced" in text and "differs" not in text
    assert (
        json.loads(superalign("replay", made, played(1).id, "--json"))["differences"] == []
    )


def test_replay_ends_with_1_where_the_record_differs(superalign, made, tmp_path):
    copy = damaged(made, tmp_path, f"UPDATE episodes SET said = {OTHER_WORDS}")
    text = superalign("replay", copy, played(1).id, code=1)
    assert "differs" in text and "NOT reproduced" in text
    found = json.loads(superalign("replay", copy, played(1).id, "--json", code=1))
    assert found["differences"]


def test_validate_finds_nothing_wrong_with_a_good_run(superalign, made):
    assert "3 episodes" in superalign("validate", made)
    assert json.loads(superalign("validate", made, "--json")) == []


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        (f"UPDATE episodes SET said = {OTHER_WORDS}", "episode"),
        ("UPDATE episodes SET paid = json_set(paid, '$[0][3]', 9.0)", "episode"),
        ("UPDATE episodes SET split = 'test'", "episode"),
        ("UPDATE episodes SET said = '[]'", "episode"),
        ("UPDATE episodes SET record = '{}'", "episode"),
        ("UPDATE episodes SET stage = 'none'", "reference"),
        ("UPDATE agents SET path = 'checkpoints/gone'", "checkpoint"),
        ("UPDATE stages SET signals_to = 99", "stage"),
        ("UPDATE stages SET outputs = '{'", "stage"),
        ('DELETE FROM episodes WHERE "case" = 2', "episode"),
        ("DROP INDEX notices_by_kind", "schema"),
    ],
)
def test_validate_names_what_was_altered(superalign, made, tmp_path, statement, kind):
    copy = damaged(made, tmp_path, statement)
    problems = json.loads(superalign("validate", copy, "--json", code=1))
    assert kind in {problem["kind"] for problem in problems}
    assert all(problem["advice"] for problem in problems)


def test_validate_names_a_file_that_is_no_record(superalign, tmp_path):
    (tmp_path / "run.db").write_bytes(b"nonsense" * 1000)
    problems = json.loads(superalign("validate", tmp_path, "--json", code=1))
    assert problems[0]["kind"] == "database"


def test_doctor_says_what_is_here_and_how_a_run_is(superalign, made, tmp_path):
    text = superalign("doctor", made)
    assert "sqlite" in text and "healthy" in text
    found = json.loads(superalign("doctor", "--json"))
    assert found["versions"]["python"] and found["device"]["processors"]
    loggers = {"tensorboard", "trackio", "wandb"}
    assert set(found["extras"]) == {"endpoints", "rows", "figures", "train", *loggers}
    assert "no run at" in superalign("doctor", tmp_path, code=1)


def test_a_command_that_is_told_can_be_copied_whatever_the_folder_is_called(
    superalign, tmp_path
):
    folder = tmp_path / "größe l'été"
    with Run.create(folder, kind="play", config={}, seed=0) as run:
        run.set_status("done")
    quoted = shlex.quote(str(folder))
    assert f"`superalign show {quoted} EPISODE`" in superalign("ls", folder)
    assert f"`superalign report {quoted}`" in superalign("show", folder)
    assert f"`superalign ls {quoted}`" in superalign("show", folder, "nope", code=2)


OWN = """
from superalign_scenarios.echo import Echo

class Duet(Echo):
    id = "duet-v3"
"""


@pytest.fixture
def duet(tmp_path, monkeypatch):
    """A run of a scenario that lies in a module on the path and is registered nowhere."""
    (tmp_path / "own_duet.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    rules = make_scenario("own_duet:Duet")
    game = Game(rules, EpisodeKey(0, 0, 1, 0))
    while not game.over:
        game.step([Reply("la") for _ in game.views()])
    folders = {}
    for named in ("own_duet:Duet", "forgotten", "superalign_scenarios.echo:Echo"):
        folders[named] = folder = tmp_path / f"run-{len(folders)}"
        with Run.create(folder, kind="play", config={"scenario": named}, seed=3) as run:
            stage = run.stages.begin("play")
            with EpisodeWriter(run, stage=stage.id) as writer:
                writer.write([game.episode()])
            run.stages.finish(stage.id)
    return game.episode().id, folders


def test_replay_finds_a_scenario_that_is_not_registered(superalign, duet):
    episode, folders = duet
    superalign("replay", folders["own_duet:Duet"], episode)
    text = superalign("replay", folders["forgotten"], episode, code=2)
    assert "duet-v3" in text and "--scenario module:attribute" in text
    named = ("--scenario", "own_duet:Duet")
    superalign("replay", folders["forgotten"], episode, *named)
    other = folders["superalign_scenarios.echo:Echo"]
    assert "makes echo-v0" in superalign("replay", other, episode, code=2)


def test_show_prints_the_newest_metrics_and_says_where_all_are(superalign, tmp_path):
    folder = tmp_path / "long"
    with Run.create(folder, kind="train", config={}, seed=0) as run:
        for name in ("first", "second"):
            stage = run.stages.begin(name)
            run.metrics.write([Metric(f"{name}.share", -4.441e-17)], stage=stage.id)
            run.stages.finish(stage.id)
    text = superalign("show", folder)
    assert "second.share" in text and "first.share" not in text and "e-17" not in text
    assert f"1 of earlier stages: `superalign show --metrics {folder}`" in text
    assert "first.share" in superalign("show", folder, "--metrics")


def test_a_preference_between_members_is_shown_with_both(superalign, tmp_path):
    games = [
        Game(make_scenario("echo"), EpisodeKey(0, 0, 1, 0, member)) for member in range(2)
    ]
    for game in games:
        while not game.over:
            game.step([Reply("word") for _ in game.views()])
    one, other = (game.episode_id for game in games)
    folder = tmp_path / "run"
    with Run.create(folder, kind="play", config={"scenario": "echo"}, seed=3) as run:
        with EpisodeWriter(run) as writer:
            writer.write([game.episode() for game in games])
        run.signals.append([Signal("preference", one, 0, "ann", 1.0, 0, other)])
    for name in (one, other):
        text = " ".join(superalign("show", folder, name).split())
        assert f"preference 1 on turn 0 over turn 0 ({one} over {other}) by ann" in text
    (signal,) = json.loads(superalign("show", folder, other, "--json"))["signals"]
    assert signal["versus_episode"] == other


def printed(monkeypatch, stream, *words):
    """Run the console script with another standard output; return its exit code."""
    monkeypatch.setattr("sys.argv", ["superalign", *map(str, words)])
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr(cli, "hear_ctrl_c", lambda: None)
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_an_output_without_room_is_said_and_ends_with_1(made, more, monkeypatch, capfd):
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        assert printed(monkeypatch, full, "show", made, *more) == 1
    said = capfd.readouterr().err
    assert said == "superalign: the output cannot be written: No space left on device\n"


def test_an_output_of_another_encoding_shows_what_it_lacks_by_number(made, monkeypatch):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    assert not printed(monkeypatch, stream, "show", made, played(0).id)
    assert "\\u27e8U+001B\\u27e9" in raw.getvalue().decode("ascii")


def test_a_working_folder_that_was_removed_is_said(monkeypatch, capfd):
    def gone():
        raise FileNotFoundError

    def ended(code):
        raise SystemExit(code)

    monkeypatch.setattr(os, "getcwd", gone)
    monkeypatch.setattr(os, "_exit", ended)
    with pytest.raises(SystemExit) as end:
        ctrl_c._require_folder()
    assert end.value.code == 2 and "working folder was removed" in capfd.readouterr().err
