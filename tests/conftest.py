"""What holds for every test: offline, one thread a process, no clock in hypothesis."""

import ipaddress
import os
import shutil
import signal
import socket
import sys
import tempfile

# Read at import by the libraries they belong to, so before any test module is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["SDL_VIDEODRIVER"] = "dummy"
# What is printed has no edge to fold at here; pytest's workers get one from it.
os.environ.pop("COLUMNS", None)
# Speeds that tests measure are none of the user's; processes share them.
os.environ.setdefault(
    "SUPERALIGN_CACHE",
    os.path.join(tempfile.gettempdir(), f"superalign-tests-{os.getpid()}"),
)

# Shells start what runs in the background deaf to Ctrl-C, and every child inherits that:
# commands that are interrupted here would not hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# So does nohup with the signal of a closed terminal, which stops a run.
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

import hypothesis
import pytest
from filelock import FileLock
from typer.testing import CliRunner

from superalign_env.cli import main

# A loaded machine is slow, not wrong: durations decide nothing. The same examples every
# time, so that a failure belongs to the change that brought it; `make test-slow` fuzzes.
hypothesis.settings.register_profile(
    "here",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("here")


def pytest_unconfigure():
    if os.environ["SUPERALIGN_CACHE"].endswith(f"-{os.getpid()}"):
        shutil.rmtree(os.environ["SUPERALIGN_CACHE"], ignore_errors=True)


def pytest_collection_modifyitems(items):
    wanted = {
        "gpu": lambda: not has_gpu() and "needs a CUDA device",
        "hub": lambda: "SUPERALIGN_HUB" not in os.environ and "needs SUPERALIGN_HUB=1",
    }
    for name, missing in wanted.items():
        marked = [item for item in items if item.get_closest_marker(name)]
        reason = missing() if marked else None
        for item in marked:
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


def has_gpu():
    import torch  # noqa: PLC0415 - only when a test asks for a GPU

    return torch.cuda.is_available()


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch, request):
    """Nothing here may reach past this machine, except tests marked ``hub``."""
    if request.node.get_closest_marker("hub"):
        return
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0]
            local = host == "localhost" or ipaddress.ip_address(host).is_loopback
            assert local, f"a test tried to reach {host}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Makes a folder that all test processes share; nobody may write into it.

    ``once(name, make)`` returns the folder, made by ``make(folder)`` if nobody has.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def once(name, make):
        folder, done = base / name, base / f"{name}.done"
        with FileLock(base / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                make(folder)
                done.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def superalign():
    """Runs the command line in this process and returns all that it printed."""

    def superalign(*args, typed="", code=0):
        words = ["superalign", *map(str, args)]
        with (
            CliRunner().isolation(typed) as (_, _, output),
            pytest.MonkeyPatch.context() as own,
        ):
            own.setattr(sys, "argv", words)
            with pytest.raises(SystemExit) as end:
                main()
            sys.stdout.flush()
            sys.stderr.flush()
            said = output.getvalue().decode()
        assert (end.value.code or 0) == code, said
        return said

    return superalign
