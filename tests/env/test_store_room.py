"""A full disk is named in our words, whoever noticed it first."""

import errno
from pathlib import Path

import pytest

from superalign_env.errors import RecordFull
from superalign_env.store import Run
from superalign_env.store.database import is_full, room_for


def full(*args: object, **options: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (Exception("I/O error: No space left on device (os error 28)"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (Exception("Permission denied (os error 13)"), False),
        (ValueError("28"), False),
    ],
)
def test_a_full_disk_is_known_by_its_number(error: Exception, expected: bool) -> None:
    assert is_full(error) == expected
    with (
        pytest.raises(RecordFull if expected else type(error)) as caught,
        room_for(Path("x")),
    ):
        raise error
    if expected:
        assert "no room left for x" in str(caught.value)
        assert "continue with --resume" in str(caught.value)


def test_a_run_for_which_there_is_no_room_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RecordFull, match=r"config\.yaml"):
        Run.create(tmp_path / "run", kind="play", config={}, seed=0)
    monkeypatch.undo()
    with Run.create(tmp_path / "run", kind="play", config={}, seed=0) as run:
        assert run.count() == 0, "once there is room it can be made"
