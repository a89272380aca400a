"""Where a run may lie, and what reading it leaves as it was."""

import json
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest

from superalign_env.envs import make_scenario
from superalign_env.errors import RecordDamaged, RecordError, RecordOtherFormat
from superalign_env.game import Game
from superalign_env.store import EpisodeWriter, Run, begun, digest, fork_record, validate
from superalign_env.store.run_folder import left_config
from superalign_env.types import EpisodeKey, Reply


def made(folder, config=None):
    game = Game(make_scenario("echo"), EpisodeKey(0))
    while not game.over:
        game.step([Reply("so") for _ in game.views()])
    with Run.create(folder, kind="play", config=config or {}, seed=0) as run:
        stage = run.stages.begin("play")
        with EpisodeWriter(run, stage=stage.id) as writer:
            writer.write([game.episode()])
        run.stages.finish(stage.id)
    return folder


def killed(folder):
    """Make a record as a process leaves it that is killed: part of it lies beside it."""
    pid = os.fork()
    if not pid:
        try:
            run = Run.create(folder, kind="play", config={}, seed=0)
            run.set_status("failed")
        finally:
            os._exit(9)
    os.waitpid(pid, 0)
    assert (folder / "run.db-wal").stat().st_size
    return folder


def held(folder):
    """Return every file but the index that SQLite shares between processes."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.endswith("-shm")
    }


# --- names


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "a#b?c%20d",
        "a=b",
        "line\nbreak",
        "\x1b[31mred",
        "größe😀",
        "-x",
        "'\"",
        "x" * 255,
    ],
)
def test_a_run_may_be_called_as_any_text_that_the_system_takes(tmp_path, name):
    folder = made(tmp_path / name, {"run_dir": str(tmp_path / name)})
    with Run.open(folder) as run:
        assert run.info.id.startswith(name) and run.count() == 1
        assert validate(run) == []


def beneath_a_file(base):
    (base / "file").touch()
    return base / "file" / "run"


def dangling(base):
    (base / "link").symlink_to("nowhere")
    return base / "link"


def in_a_loop(base):
    (base / "one").symlink_to("two")
    (base / "two").symlink_to("one")
    return base / "one"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (lambda base: Path(os.fsdecode(os.fsencode(base) + b"/caf\xe9")), "no UTF-8 text"),
        (lambda base: base / "nul\0", "cannot make"),
        (lambda base: base / ("x" * 300), "cannot make"),
        (beneath_a_file, "cannot make"),
        (dangling, "cannot make"),
        (in_a_loop, "cannot make"),
    ],
)
def test_a_place_where_no_run_can_lie_is_refused_in_words(tmp_path, place, said):
    folder = place(tmp_path)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(RecordError, match=said):
        made(folder)
    assert sorted(os.listdir(tmp_path)) == before
    with pytest.raises(RecordError):
        Run.open(folder)


def test_a_run_in_a_folder_that_was_renamed_to_no_text_can_be_read(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    made(tmp_path / "run").rename(folder)
    with Run.open(folder, readonly=True) as run:
        assert validate(run) == []


@pytest.mark.parametrize("forks", [False, True])
@pytest.mark.parametrize("name", ["config.yaml", "checkpoints", "summary.md"])
def test_nothing_of_another_program_is_written_over(tmp_path, name, forks):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / name).write_text("precious")
    with pytest.raises(RecordError, match=rf"{name}, and no run left that there"):
        if forks:
            with Run.open(made(tmp_path / "run"), readonly=True) as run:
                fork_record(run, theirs, stage=run.stages.all()[0].id, config={}, seed=0)
        else:
            made(theirs)
    assert [path.name for path in theirs.iterdir()] == [name]


def test_the_database_of_another_program_stays_as_it_is(tmp_path):
    with sqlite3.connect(tmp_path / "run.db") as theirs:
        theirs.execute("CREATE TABLE legs (table_id)")
    theirs.close()
    before = held(tmp_path)
    with pytest.raises(RecordDamaged, match="no record of a run"):
        made(tmp_path)
    assert held(tmp_path)["run.db"] == before["run.db"]


# --- what was never begun


def with_config(folder):
    folder.mkdir()
    (folder / "config.yaml").write_text("seed: 3\n")
    (folder / "run.lock").touch()


def with_an_empty_record(folder):
    with_config(folder)
    (folder / "run.db").touch()


def killed_at(folder, part):
    """Make a run and die before the statement that contains a text is done."""
    pid = os.fork()
    if not pid:
        connect = sqlite3.connect

        def traced(*args, **options):
            connection = connect(*args, **options)
            connection.set_trace_callback(lambda sql: part in sql and os._exit(9))
            return connection

        sqlite3.connect = traced
        try:
            Run.create(folder, kind="play", config={}, seed=0)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9, f"{part} never came"


@pytest.mark.parametrize(
    "left",
    [
        lambda folder: None,
        Path.mkdir,
        with_config,
        with_an_empty_record,
        lambda folder: killed_at(folder, "journal_mode"),
        lambda folder: killed_at(folder, "BEGIN"),
        lambda folder: killed_at(folder, "CREATE TABLE signals"),
        lambda folder: killed_at(folder, "INSERT INTO runs"),
        lambda folder: killed_at(folder, "COMMIT"),
    ],
)
def test_a_run_that_died_before_it_began_was_never_begun_and_can_be(tmp_path, left):
    folder = tmp_path / "run"
    left(folder)
    assert not begun(folder)
    with pytest.raises(RecordError, match=r"no run at|never begun"):
        Run.open(folder)
    made(folder)
    assert begun(folder)
    with Run.open(folder) as run:
        assert validate(run) == []


def test_settings_of_a_run_that_died_before_it_began_are_found(tmp_path):
    with_config(tmp_path / "run")
    assert left_config(tmp_path / "run") == {"seed": 3}
    (tmp_path / "run" / "run.lock").unlink()
    assert left_config(tmp_path / "run") is None, "another program's"


# --- records of another format


@pytest.mark.parametrize("readonly", [True, False])
def test_a_record_of_another_format_is_refused_and_stays_as_it_is(tmp_path, readonly):
    made(tmp_path / "run")
    with sqlite3.connect(tmp_path / "run" / "run.db") as other:
        other.execute("PRAGMA user_version = 999")
    other.close()
    before = held(tmp_path / "run")
    with pytest.raises(
        RecordOtherFormat, match=r"another record format.*superalign-env \d"
    ):
        Run.open(tmp_path / "run", readonly)
    with pytest.raises(RecordOtherFormat):
        made(tmp_path / "run")
    assert held(tmp_path / "run") == before


# --- reading never writes


def read(folder):
    with Run.open(folder, readonly=True) as run:
        return digest(run), run.info, [p.what for p in validate(run)]


@pytest.mark.parametrize("make", [made, killed])
def test_a_run_that_is_read_stays_as_it_is(tmp_path, make):
    folder = make(tmp_path / "run")
    before = held(folder)
    read(folder)
    assert held(folder) == before
    if make is made:
        assert sorted(before) == ["config.yaml", "run.db", "run.lock"]
        assert not (folder / "run.db-shm").exists(), "at rest a record is one file"


@pytest.mark.parametrize(
    "verb",
    [
        ["ls", "{base}"],
        ["ls", "{run}"],
        ["show", "{run}"],
        ["validate", "{run}"],
        ["report", "{run}", "--out", "{base}/page.html"],
    ],
    ids=" ".join,
)
def test_no_verb_that_reads_writes(superalign, tmp_path, verb):
    folder = made(tmp_path / "base" / "run")
    before = held(folder)
    superalign(*(word.format(base=folder.parent, run=folder) for word in verb))
    assert held(folder) == before


@pytest.fixture
def public():
    """A folder that every user can look into."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for place in (folder, *folder.iterdir()):
        place.chmod(0o755)
    shutil.rmtree(folder)


def as_nobody(act):
    """Return what a function returns where nobody may write: root may, so as another user."""
    hear, say = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            if not os.getuid():
                os.setuid(65534)
            os.write(say, json.dumps(act()).encode())
        finally:
            os._exit(0)
    os.close(say)
    with open(hear, encoding="utf-8") as heard:
        text = heard.read()
    os.waitpid(pid, 0)
    return json.loads(text)


def without_index(folder):
    killed(folder)
    (folder / "run.db-shm").unlink()
    return folder


@pytest.mark.parametrize("make", [made, killed, without_index])
def test_a_run_can_be_read_where_nobody_may_write(public, tmp_path, make):
    folder = make(public / "run")
    elsewhere = shutil.copytree(folder, tmp_path / "copy")
    expected = json.loads(json.dumps(read(elsewhere)))
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert as_nobody(lambda: read(folder)) == expected
    assert expected[1][3] == ("done" if make is made else "failed")

    def work():
        try:
            Run.open(folder)
        except RecordError as error:
            return str(error)

    assert "Permission denied" in as_nobody(work)


def test_a_page_that_cannot_be_written_is_asked_for_elsewhere(superalign, public):
    folder = made(public / "run")
    superalign("report", folder)
    (folder / "report.html").unlink()
    folder.chmod(0o555)

    def work():
        from superalign_env.report import write_report  # noqa: PLC0415 - imported above

        try:
            write_report(folder)
        except RecordError as error:
            return str(error)

    assert "--out" in as_nobody(work)
