"""Versions of packages and revision of the code that made a run."""

import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import superalign_env

PACKAGES = (
    "gymnasium",
    "hydra-core",
    "msgspec",
    "numpy",
    "openskill",
    "pettingzoo",
    "pydantic",
    "scipy",
    "sqlite-utils",
    "peft",
    "stable-baselines3",
    "tokenizers",
    "torch",
    "transformers",
    "trl",
)


def versions() -> dict[str, str]:
    """Return package → version, of packages that shape a run and are installed."""
    made_with = {
        "superalign-env": superalign_env.__version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    for package in PACKAGES:
        number = installed(package)
        if number:
            made_with[package] = number
    return made_with


def installed(package: str) -> str:
    """Return the version of a distribution, or an empty string; imports nothing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def revision() -> str:
    """Return the git commit of a source checkout, or the version of an installed package."""
    for folder in Path(superalign_env.__file__).resolve().parents:
        head = folder / ".git" / "HEAD"
        if head.is_file():
            return _commit(folder / ".git", head.read_text().strip()) or _released()
    return _released()


def _released() -> str:
    return f"v{superalign_env.__version__}"


def _commit(git: Path, head: str) -> str:
    if not head.startswith("ref: "):
        return head
    ref = head.removeprefix("ref: ")
    if (git / ref).is_file():
        return (git / ref).read_text().strip()
    packed = git / "packed-refs"
    lines = packed.read_text().splitlines() if packed.is_file() else []
    return next((line.split(" ")[0] for line in lines if line.endswith(f" {ref}")), "")
