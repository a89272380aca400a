"""What an import costs, and what the four packages show to the outside."""

import importlib
import json
import pkgutil
import sys
from importlib.util import find_spec

import pytest

PACKAGES = (
    "superalign_env",
    "superalign_agents",
    "superalign_scenarios",
    "superalign_training",
)
HEAVY = (
    "datasets",
    "hydra",
    "matplotlib",
    "openai",
    "pandas",
    "scipy",
    "sqlite_utils",
    "stable_baselines3",
    "torch",
    "transformers",
    "trl",
)
"""Slow or large: imported by the command or the agent that needs it, and nobody else."""

LIGHT = {
    **{f"import {package}": f"import {package}" for package in PACKAGES},
    # The tables are read without importing what they point at.
    "naming everything": (
        "import superalign_env as s; s.scenarios(); s.agents(); s.env('echo').reset(seed=0)"
    ),
    "help": (
        "import sys; sys.argv = ['superalign', '--help']\n"
        "from superalign_env.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code"
    ),
}


@pytest.mark.parametrize("what", LIGHT)
def test_what_everybody_does_imports_nothing_heavy_and_warns_of_nothing(what, run):
    loaded = f"import sys; print([n for n in {HEAVY!r} if n in sys.modules])"
    done = run("-W", "error", "-c", f"{LIGHT[what]}\n{loaded}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert what != "help" or "train" in done.stdout


def modules():
    for package in PACKAGES:
        found = importlib.import_module(package)
        yield package
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            yield module.name


def test_every_module_imports():
    names = [name for name in modules() if not name.endswith("__main__")]
    assert {name.partition(".")[0] for name in names} == set(PACKAGES)
    for name in names:
        importlib.import_module(name)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_all_promises_exists_and_is_sorted(package):
    found = [
        importlib.import_module(name)
        for name in modules()
        if name.startswith(package) and not name.endswith("__main__")
    ]
    promising = [module for module in found if hasattr(module, "__all__")]
    assert promising
    for module in promising:
        name, promised = module.__name__, module.__all__
        ordered = sorted(set(promised), key=lambda n: (not n.isupper(), n.islower(), n))
        assert list(promised) == ordered, f"{name}.__all__ is not sorted"
        missing = [n for n in promised if not hasattr(module, n)]
        assert missing == [], f"{name}.__all__ promises what is not there"


def test_all_names_the_whole_public_surface():
    module = importlib.import_module("superalign_env")
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, type(sys))
    }
    assert public == set(module.__all__)


def test_every_registered_target_can_be_loaded():
    registry = importlib.import_module("superalign_env.registry")
    kinds = {kind for package in PACKAGES for kind in table(package)}
    assert len(kinds) >= 9
    for kind in sorted(kinds):
        assert registry.entries(kind), f"{kind} is registered and empty"
        for name, entry in registry.entries(kind).items():
            found = registry.load(kind, name)
            # An experiment is a description, everything else is called.
            usable = found.name == name if kind == "experiment" else callable(found)
            assert usable, f"{kind} {name}: {entry.target}"
            assert entry.line and "\n" not in entry.line, f"{kind} {name} has no line"


def table(package):
    where = "superalign_env.plugins" if package == "superalign_env" else package
    return importlib.import_module(where).PLUGINS


LEARNER = ("lineup.learner=micro/0", "train.learner=ppo")


WANDB = (
    (2, "pip install 'superalign-env[wandb]'") if find_spec("wandb") is None else (0, "")
)

SETTINGS = [
    (["train", "atack.cases=3"], 2, "did you mean attack.cases or"),
    (["train", "rounds=two"], 2, "rounds='two'"),
    (["train", "--dry-run", "train.learner=ppoo"], 2, "did you mean ppo?"),
    (["train", "train.critic=ppo", "train.critic.clip_rang=0.1"], 2, "clip_range"),
    (["train", "-m", "seed=0,1", "round=2"], 2, "did you mean rounds"),
    (["train", "supervise={algorithm: {id: ppo}}"], 2, "does not learn from"),
    (["train", "lineup.critic=crit"], 2, "did you mean scripted? an agent is"),
    (["train", "lineup.critic=bargain.Bargain"], 2, "bargain:Bargain, with a colon"),
    (["train", "lineup.critic=nowhere_at_all:Critic"], 2, "module:attribute"),
    (["train", "lineup.ciritc=keyword"], 2, "did you mean critic"),
    (["train", "lineup.critic="], 2, "superalign ls --kind agent"),
    (["train", "lineup.critic={id:"], 2, "a bracket is not closed"),
    (["train", "foo"], 2, "write KEY=VALUE, as in rounds=3"),
    (["train", "train.learner="], 2, "train.learner=null freezes"),
    (["train", "--dry-run", "log_to=wandb"], *WANDB),
    (["train", "log_to=json:JSONDecoder"], 2, "has no start and no log"),
    (["train", "scenario=bargain.Bargain"], 2, "module:attribute of a class"),
    (["train", "run_dir=RUN", "--resume"], 0, "has ended already"),
    (["train", "run_dir=RUN", "--resume", "seed=1"], 2, "was made with seed=0"),
    (["fork", "RUN", "run_dir=RUN-2", "learm.vanilla=1"], 2, "learm"),
    (["train", "scenario=weak-to-strong", *LEARNER], 2, "nobody holds supervisor_0"),
    (["train", "scenario=errand", *LEARNER, "lineup.attacker=search"], 2, "no attacker"),
    (["train", "scenario=exam", *LEARNER, "options.truth=false"], 2, "pays the role"),
    (["train", "scenario=exam", LEARNER[0], "train.learner=sft"], 2, "has only pay"),
    (["train", "lineup.learner_0=keyword"], 2, "every seat of the role"),
    (["train", "lineup.critic=micro/99"], 2, "micro/99"),
    (["train", "options.split=test"], 2, "options.split is set by the stages"),
    (["train", "run_dir=RUN"], 2, "holds a run already"),
    (["train", "--dry-run", "run_dir=RUN-2"], 0, "improve-learner"),
    (["train", "--dry-run", "preset=chain", "run_dir=RUN-2"], 0, "competence"),
    (["train", "--dry-run", "lineup.critic=micro/0", "train.critic=null"], 0, "attack"),
    (["train", "-m", "--dry-run", "seed=0,1", "rounds=1"], 0, "seed=1: at most"),
]
"""Words of a command line, its exit code, and a part of what it says."""


@pytest.fixture(scope="module")
def refused(run, tmp_path_factory):
    """What each command line ends with: exit code, all that it said, what is loaded then."""
    folder = tmp_path_factory.mktemp("settings")
    lines = [[word.replace("RUN", str(folder / "run")) for word in s[0]] for s in SETTINGS]
    done = run("-c", _ALL.format(run=str(folder / "run"), lines=lines, heavy=_HEAVY))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "place", range(len(SETTINGS)), ids=[" ".join(words) for words, *_ in SETTINGS]
)
def test_what_settings_say_costs_no_import_of_torch(refused, place):
    _, code, said = SETTINGS[place]
    ended, told, loaded = refused[place]
    assert ended == code, told
    assert said in told and "Traceback" not in told
    assert loaded == []


_ALL = """
import contextlib, io, json, sys
from superalign_env.cli import main
from superalign_env.store import Run
from superalign_training.selfplay.settings import read_settings
settings = read_settings({{"run_dir": {run!r}}})
with Run.create({run!r}, kind="train", config=settings.model_dump(mode="json"), seed=0) as run:
    run.set_status("done")
ends = []
for words in {lines}:
    sys.argv, told, code = ["superalign", *words], io.StringIO(), 0
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    ends.append([code, told.getvalue(), sorted({heavy} & sys.modules.keys())])
print(json.dumps(ends))
"""

_HEAVY = {
    "torch",
    "transformers",
    "trl",
    "datasets",
    "peft",
    "stable_baselines3",
    "matplotlib",
}


PRESSED = """
import os, signal, sys

class Pressed:
    def find_spec(self, name, *_):
        if name == os.environ["PRESSED_AT"]:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # deaf in the background of a shell
sys.meta_path.insert(0, Pressed())
from superalign_env.cli import main
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child alone")
@pytest.mark.parametrize(
    ("module", "verb"),
    [
        ("superalign_env.seating", "ls"),
        ("numpy", "ls"),
        ("superalign_env.rollout.rollouts", "ls"),
        ("superalign_env.cli", "ls"),
        ("typer", "ls"),
        ("superalign_env.cli.listing", "ls"),
        ("hydra", "train"),
        ("superalign_training.selfplay.lineup", "train"),
    ],
)
def test_ctrl_c_during_an_import_is_one_line(module, verb, run, tmp_path):
    script = tmp_path / "superalign"
    script.write_text(PRESSED)
    done = run(script, verb, PRESSED_AT=module, cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    (line,) = done.stderr.split("\n", 1)[1].splitlines()
    assert line.startswith("stopped before anything was")
    assert not list(tmp_path.glob("runs"))


def test_an_import_elsewhere_leaves_ctrl_c_alone(run):
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import superalign_env\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
