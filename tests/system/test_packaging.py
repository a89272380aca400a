"""What is shipped: one wheel, four packages, exact pins, and it runs from anywhere."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from superalign_env import __version__

ROOT = Path(__file__).resolve().parents[2]
NAMES = {
    "superalign_env",
    "superalign_agents",
    "superalign_scenarios",
    "superalign_training",
}
SHIPPED = 12 * 2**20
"""Bytes: the weights of the micro ladder are allowed 8 MiB of it."""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Build the wheel with what is installed; nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(ROOT),
    ]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """Install the wheel alone into an empty folder."""
    folder = tmp_path_factory.mktemp("installed")
    command = [
        "-m",
        "pip",
        "install",
        "-qq",
        "--no-deps",
        "--no-index",
        "--target",
        str(folder),
    ]
    done = subprocess.run(
        [sys.executable, *command, str(wheel)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_wheel_holds_exactly_four_packages(wheel):
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == NAMES
    assert len(names) == len(NAMES) + 1


def test_the_wheel_holds_no_junk_and_all_data(wheel):
    infos = zipfile.ZipFile(wheel).infolist()
    shipped = {info.filename for info in infos}
    junk = re.compile(
        r"__pycache__|\.pyc$|\.db(-wal|-shm)?$|\.orig$|/tests?/|/test_\w+\.py$"
    )
    assert [name for name in shipped if junk.search(name)] == []
    assert sum(info.compress_size for info in infos) < SHIPPED
    tracked = subprocess.run(
        ["git", "ls-files", "superalign_env", "agents", "scenarios", "training"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    inside = {re.sub(r"^(agents|scenarios|training)/", "", name) for name in tracked}
    present = {
        name for name in inside if (ROOT / name).exists() or name.split("/")[0] in NAMES
    }
    assert {n for n in present if n.split("/")[0] in NAMES} - shipped == set()
    assert {f"{name}/py.typed" for name in NAMES} <= shipped


def test_it_runs_from_an_empty_folder(installed, tmp_path, run):
    where = run(
        "-c",
        "import superalign_env as s; print(s.__file__)",
        cwd=tmp_path,
        path=[installed],
    )
    assert where.stdout.startswith(str(installed)), where.stdout + where.stderr
    script = installed / "bin" / "superalign"
    for arguments in (["--help"], ["doctor", "--help"], ["train", "--help"]):
        done = run(script, *arguments, cwd=tmp_path, path=[installed])
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Usage" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_one_console_script_is_installed(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("entry_points.txt")]
        text = archive.read(name).decode()
    assert re.findall(r"^(\S+) = ", text, re.MULTILINE) == ["superalign"]


def test_the_version_is_the_newest_heading_of_the_changelog():
    headings = re.findall(r"^## (\S+?),", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == __version__


def closure(requirements, seen, extras=("",)):
    """Names and versions of everything that requirements bring on this machine."""
    for text in requirements:
        wanted = Requirement(text)
        if wanted.marker and not any(wanted.marker.evaluate({"extra": e}) for e in extras):
            continue
        name = canonicalize_name(wanted.name)
        key = (name, tuple(sorted(wanted.extras)))
        if key in seen or name == "superalign-env":
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        seen[key] = found.version
        closure(found.requires or [], seen, ("", *wanted.extras))
    return {name: version for (name, _), version in seen.items()}


def test_everything_that_is_installed_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    ours = [r for name in optional if name != "bench" for r in optional[name]]
    resolved = closure([*project["dependencies"], *ours], {})
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    loose = {n: v for n, v in resolved.items() if n not in pins and n != "pip"}
    assert loose == {}, "add these to constraints.txt"


BASE_ONLY = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
import superalign_env
from superalign_agents.references import make_agent
from superalign_env.store import EpisodeWriter, Run

sitters = {"attacker_0": "search", "learner_0": "always-refuse", "critic_0": "keyword"}
agents = {seat: make_agent(name) for seat, name in sitters.items()}
with Run.create("run", kind="play", config={}, seed=1) as run, EpisodeWriter(run) as writer:
    superalign_env.play(superalign_env.env("red-team"), agents, [writer])
    rollouts = superalign_env.Rollouts(superalign_env.make_scenario("red-team"), agents, run=1)
    print(len(rollouts.run(5)))
"""


def test_the_environment_alone_runs_on_its_base_dependencies(run, tmp_path):
    """As after ``pip install superalign-env``: no extra is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = closure(project["dependencies"], {})
    refused = {
        root
        for root, owners in packages_distributions().items()
        if root not in NAMES
        and not {canonicalize_name(owner) for owner in owners} & set(base)
    }
    assert "torch" in refused
    done = run("-c", f"REFUSED = {refused!r}\n{BASE_ONLY}", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr


def test_torch_is_pinned_without_a_local_version():
    """So that an index of CPU builds, wheels on disk and the default index all satisfy it."""
    pins = (ROOT / "constraints.txt").read_text()
    assert re.search(r"^torch==\d+\.\d+\.\d+$", pins, re.MULTILINE)
