"""One process at a time works on a run, whatever is done to its folder meanwhile."""

import errno
import fcntl
import os
import shutil
import signal
from contextlib import contextmanager

import pytest

from superalign_env.errors import RecordError, RecordLocked
from superalign_env.store import Run, run_lock

FOREIGN = b"what another program keeps"


@pytest.fixture
def run(tmp_path):
    run = Run.create(tmp_path / "run", kind="play", config={}, seed=0)
    yield run
    run.close()


def in_a_fork(act):
    """Return what a function returns in a fork of this process, which then ends."""
    hear, say = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(say, str(act()).encode())
        finally:
            os._exit(0)
    os.close(say)
    with open(hear, encoding="utf-8") as heard:
        text = heard.read()
    os.waitpid(pid, 0)
    return text


def entering(folder):
    """Try to work on a run as another process would."""

    def enter():
        try:
            Run.open(folder).close()
        except RecordError as error:
            return error
        return "entered"

    return in_a_fork(enter)


def copied(folder):
    shutil.copytree(folder, folder.with_name("copy"))


def unlocked(folder):
    (folder / "run.lock").unlink()


def exchanged(folder):
    unlocked(folder)
    (folder / "run.lock").write_text("pid 1 on nowhere")


@pytest.mark.parametrize("done", [copied, unlocked, exchanged])
def test_no_second_process_enters_whatever_the_first_or_anybody_does(run, done):
    done(run.path)
    assert "works on" in entering(run.path)
    run.set_status("failed")  # the lock is whole again
    assert f"pid {os.getpid()} on" in entering(run.path)
    run.close()
    assert entering(run.path) == "entered"


def test_a_lock_that_is_a_pipe_is_refused(run):
    run.close()
    unlocked(run.path)
    os.mkfifo(run.path / "run.lock")
    with pytest.raises(RecordError, match="is no plain file"):
        Run.open(run.path)


def test_a_copy_is_a_run_of_its_own(run):
    copied(run.path)
    assert entering(run.path.with_name("copy")) == "entered"


@contextmanager
def worked_on(folder):
    """A process of another machine: only the lock of the file keeps it from entering."""
    hear, say = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            Run.open(folder)
            os.write(say, b"in")
            signal.pause()
        finally:
            os._exit(0)
    os.close(say)
    yield os.read(hear, 2)
    os.close(hear)
    os.kill(pid, 9)
    os.waitpid(pid, 0)


def test_where_folders_cannot_be_locked_the_first_one_notices_the_second(
    run, tmp_path, monkeypatch
):
    run.close()
    real = fcntl.flock
    directories = []

    def without_directories(descriptor, how):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            directories.append(descriptor)
            raise OSError(errno.EBADF, "Bad file descriptor")
        real(descriptor, how)

    monkeypatch.setattr(run_lock.fcntl, "flock", without_directories)
    with Run.open(run.path) as first:
        assert "works on" in entering(run.path)
        unlocked(run.path)
        with worked_on(run.path) as entered:
            assert entered == b"in"
            with pytest.raises(RecordLocked, match="works on"):
                first.set_status("done")
    assert directories


def moved(folder):
    folder.rename(folder.with_name("moved"))


def removed(folder):
    shutil.rmtree(folder)


def replaced(folder):
    moved(folder)
    shutil.copytree(folder.with_name("moved"), folder)


@pytest.mark.parametrize("done", [moved, removed, replaced])
def test_a_run_whose_folder_goes_says_so_and_writes_nothing_more(run, done):
    done(run.path)
    with pytest.raises(RecordError, match="moved, replaced or removed"):
        run.set_status("done")
    if done is replaced:
        with Run.open(run.path) as copy:
            assert copy.info.status == "running"


def test_a_child_does_not_keep_the_lock_of_a_parent_that_died(tmp_path):
    folder = tmp_path / "run"
    hear, say = os.pipe()
    until, over = os.pipe()
    parent = os.fork()
    if not parent:
        run = Run.create(folder, kind="play", config={}, seed=0)
        if os.fork():
            os._exit(9)
        try:
            run.set_status("done")
        except RecordError as error:
            os.write(say, str(error).encode())
        os.close(over)
        os.read(until, 1)
        os._exit(0)
    os.waitpid(parent, 0)
    assert b"does not hold the lock" in os.read(hear, 1000)
    with Run.open(folder) as run:  # while that child lives
        assert run.info.status == "running"
    os.close(over)


def test_a_filesystem_without_locks_is_no_place_for_a_run(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_lock.fcntl, "flock", refuse)
    with pytest.raises(RecordError, match="locks no files; mount it with"):
        Run.create(tmp_path / "run", kind="play", config={}, seed=0)


def test_a_lock_that_is_a_link_is_not_followed(run, tmp_path):
    run.close()
    (tmp_path / "theirs").write_bytes(FOREIGN)
    unlocked(run.path)
    (run.path / "run.lock").symlink_to(tmp_path / "theirs")
    with pytest.raises(RecordError, match="cannot lock"):
        Run.open(run.path)
    assert (tmp_path / "theirs").read_bytes() == FOREIGN


def test_a_process_is_told_that_it_is_the_one_that_works_there(run):
    with pytest.raises(RecordLocked, match=r"already works.*readonly=True"):
        Run.open(run.path)
