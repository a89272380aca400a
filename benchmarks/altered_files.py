"""Alterations of the files of a run's folder."""

import shutil
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from altered_rows import Alteration, NothingChanged


def _flip(path: Path, place: float) -> None:
    data = bytearray(path.read_bytes())
    if not data:
        raise NothingChanged
    data[min(len(data) - 1, int(place * len(data)))] ^= 1
    path.write_bytes(bytes(data))


def _cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    if not data:
        raise NothingChanged
    path.write_bytes(data[: int(share * len(data))])


def _line_added(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def _marked(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def _link_to_equal(path: Path) -> None:
    elsewhere = path.parent.parent / f"elsewhere-{path.name}"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)


def _link_to_other(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def folder_instead(path: Path) -> None:
    """Put a folder in the place of a file."""
    path.unlink()
    path.mkdir()


def _windows_lines(path: Path) -> None:
    data = path.read_bytes()
    changed = data.replace(b"\n", b"\r\n")
    if b"\0" in data or changed == data:
        raise NothingChanged
    path.write_bytes(changed)


def _number(path: Path) -> None:
    data = path.read_bytes()
    for digit in b"123456789":
        at = data.find(bytes([digit]), len(data) // 2)
        if at >= 0 and b"\0" not in data:
            path.write_bytes(data[:at] + b"0" + data[at + 1 :])
            return
    raise NothingChanged


CHANGES: dict[str, Callable[[Path], None]] = {
    "deleted": Path.unlink,
    "emptied": partial(_cut, share=0),
    "cut in half": partial(_cut, share=0.5),
    "a bit of the middle": partial(_flip, place=0.5),
    "a bit of the first byte": partial(_flip, place=0),
    "a bit of the last byte": partial(_flip, place=1),
    "line added": _line_added,
    "number altered": _number,
    "lines as on Windows": _windows_lines,
    "byte-order mark": _marked,
    "a link to an equal file elsewhere": _link_to_equal,
    "a link to another file": _link_to_other,
    "a folder of its name": folder_instead,
}
"""What may happen to any file."""

WORKING = ("run.db", "run.db-wal", "run.db-shm", "run.lock")
"""Files of SQLite and of the lock, which have changes of their own."""

QUICKLY = ("deleted", "a bit of the middle", "line added")


def _on(folder: Path, name: str, change: Callable[[Path], None]) -> None:
    change(folder / name)


def alterations_of_files(run: str, folder: Path, *, quick: bool) -> Iterator[Alteration]:
    """Yield every change of every file, but of one checkpoint of a kind only."""
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    seen = set()
    for path in files:
        kind = (
            path.parts[0].split("-")[0],
            path.parts[1:2][:1] and path.parts[1].split("-")[0],
            path.name,
        )
        if path.name in WORKING or (len(path.parts) > 1 and kind in seen):
            continue
        seen.add(kind)
        for name, change in CHANGES.items():
            if quick and name not in QUICKLY:
                continue
            if path.name == "report.html" and name in ("deleted",):
                continue  # by design: made from the record
            yield Alteration(
                f"{path}: {name}",
                run,
                (str(path), path.name),
                partial(_on, name=str(path), change=change),
            )


# --- the folder ------------------------------------------------------------------------


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "checkpoints").iterdir() if path.is_dir())


def _swap(one: Path, two: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    two.rename(one)
    between.rename(two)


def _swap_checkpoints(folder: Path) -> None:
    _swap(*[p for p in _checkpoints(folder) if p.name.startswith("learner")][:2])


def _swap_weights(folder: Path) -> None:
    one, two = [p for p in _checkpoints(folder) if p.name.startswith("learner")][:2]
    _swap(one / "model.safetensors", two / "model.safetensors")


def _whole_checkpoint_of_another(folder: Path) -> None:
    one, two = [p for p in _checkpoints(folder) if p.name.startswith("learner")][:2]
    shutil.rmtree(one)
    shutil.copytree(two, one)


def _weight(folder: Path) -> None:
    """Change one weight by its last bit."""
    path = _checkpoints(folder)[0] / "model.safetensors"
    data = bytearray(path.read_bytes())
    (header,) = struct.unpack("<Q", data[:8])
    data[8 + header + 40] ^= 1
    path.write_bytes(bytes(data))


def _add(name: str, data: bytes = b"{}") -> Callable[[Path], None]:
    def alter(folder: Path) -> None:
        path = folder / name.replace("ONE", _checkpoints(folder)[0].name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return alter


def _report_without_hash(folder: Path) -> None:
    path = folder / "report.html"
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    lines[1:1] = ["<p>better than it was</p>"]
    path.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")


def alterations_of_folder(run: str, others: dict[str, Path]) -> Iterator[Alteration]:
    """Yield changes of checkpoints as a whole, files that are no part of the run, reports."""

    def of(name: str, alter: Callable[[Path], object], *says: str) -> Alteration:
        return Alteration(f"folder: {name}", run, says, alter)

    yield of("checkpoint deleted", lambda f: shutil.rmtree(_checkpoints(f)[0]), "critic-g0")
    yield of(
        "all checkpoints deleted", lambda f: shutil.rmtree(f / "checkpoints"), "checkpoint"
    )
    yield of("two checkpoints swapped", _swap_checkpoints, "learner-")
    yield of("weights of two checkpoints swapped", _swap_weights, "learner-")
    yield of("checkpoint is a copy of another", _whole_checkpoint_of_another, "learner-")
    yield of("last bit of one weight", _weight, "model.safetensors", "critic-g0")
    yield of(
        "checkpoint renamed",
        lambda f: _checkpoints(f)[0].rename(f / "checkpoints/mine"),
        "critic-g0",
    )
    yield of("checkpoint is a link", lambda f: _linked(_checkpoints(f)[0]), "critic-g0")
    for name in (
        "pytorch_model.bin",
        "adapter_config.json",
        "adapter_model.safetensors",
        "model.safetensors.index.json",
        "modeling_mine.py",
        "added_tokens.json",
        ".hidden",
        "special_tokens_map.json",
        "deeper/file.json",
        "model-00001-of-00002.safetensors",
        "policy.json.bak",
        "__pycache__/x.pyc",
        "\x1b[31mred",
    ):
        shown = name.split("/")[0].replace("\x1b", "")
        yield of(f"{name!r} added to a checkpoint", _add(f"checkpoints/ONE/{name}"), shown)
    yield of("file among checkpoints", _add("checkpoints/mine.json"), "mine.json")
    yield of("checkpoint added", _add("checkpoints/mine/policy.json"), "mine")
    yield of("empty checkpoint added", lambda f: (f / "checkpoints/mine").mkdir(), "mine")
    yield of("file added to the folder", _add("results.md"), "results.md")
    yield of("summary in other letters added", _add("SUMMARY.md"), "SUMMARY.md")
    yield of("report changed, its hash cut off", _report_without_hash, "report.html")
    report = others["recording"] / "report.html"
    yield of(
        "report of another run",
        lambda f: shutil.copy(report, f / "report.html"),
        "report.html",
    )
    yield of(
        "settings of another run",
        lambda f: shutil.copy(others["recording"] / "config.yaml", f / "config.yaml"),
        "config.yaml",
    )
    yield of(
        "config.yaml: a comment",
        lambda f: (f / "config.yaml").write_text("# x\n" + (f / "config.yaml").read_text()),
        "config.yaml",
    )


def _linked(path: Path) -> None:
    elsewhere = path.parent.parent.parent / "elsewhere"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)
