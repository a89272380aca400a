"""The same agent asked in another process, where text hashes and addresses differ."""

import contextlib
import importlib
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from superalign_env.asking import Anyone, ask
from superalign_env.canonical import from_json, to_json
from superalign_env.errors import ProtocolError
from superalign_env.seating import as_agent
from superalign_env.types import AgentSpec, Reply, View


class RemoteCall(msgspec.Struct, frozen=True):
    """Message to another process: an agent and views to answer."""

    spec: AgentSpec
    made_by: str
    """``module:function``; empty where the spec says it all."""
    state: dict[str, Any] | None
    views: tuple[View, ...]


def asked_elsewhere(
    spec: AgentSpec,
    views: Sequence[View],
    *,
    made_by: str = "",
    state: dict[str, Any] | None = None,
    timeout: float | None = None,
) -> list[Reply]:
    """Return the replies of the same agent, made anew in another process.

    Args:
        spec: from which it is made.
        views: what it is asked, in one call.
        made_by: ``module:function`` that makes it instead, without arguments.
        state: its memory before it was asked here.
        timeout: seconds for the process, its start included.

    Raises:
        ProtocolError: it cannot be made there, or the process fails, takes longer, or says
            something else.
    """
    try:
        process = _sent(RemoteCall(spec, made_by, state, tuple(views)), timeout)
    except subprocess.TimeoutExpired as error:
        raise ProtocolError(
            f"{spec.id} gave no reply from another process within {timeout} s, the start of "
            "that process included; raise timeout= if it takes long to load"
        ) from error
    if process.returncode:
        last_line = process.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ProtocolError(
            f"{spec.id} could not be asked in another process: {last_line}. Name what makes it, "
            "elsewhere='my_package.my_module:make_it'"
        )
    try:
        return from_json(process.stdout, list[Reply])
    except ValueError as error:
        raise ProtocolError(
            f"{spec.id}, asked in another process, left no replies on its standard output "
            f"({error}); agents print by Python's print or to stderr, not to file descriptor 1"
        ) from error


def _sent(call: RemoteCall, timeout: float | None) -> "subprocess.CompletedProcess[bytes]":
    """Run an call in a process where texts have other hashes."""
    hash_seed = os.environ.get("PYTHONHASHSEED", "random")
    return subprocess.run(
        [sys.executable, "-m", __name__],
        input=to_json(call),
        capture_output=True,
        check=False,
        timeout=timeout,
        env={
            **os.environ,
            "PYTHONHASHSEED": "2" if hash_seed == "1" else "1",
            "PYTHONPATH": os.pathsep.join([path or os.getcwd() for path in sys.path]),
        },
    )


def main() -> None:
    """Make the agent, ask it, write its replies to standard output."""
    call = from_json(sys.stdin.buffer.read(), RemoteCall)
    # What an agent prints must not get into the answer.
    with contextlib.redirect_stdout(sys.stderr):
        agent = _made(call)
        if call.state is not None:
            agent.load_state_dict(call.state)  # type: ignore[union-attr]  # it had one
        replies = ask(agent, call.views)
    sys.stdout.buffer.write(to_json(replies))


def _made(call: RemoteCall) -> Anyone:
    if not call.made_by:
        return as_agent({**call.spec.options, "id": call.spec.id})
    module, _, name = call.made_by.partition(":")
    wrapped: Anyone = as_agent(getattr(importlib.import_module(module), name)())
    return wrapped


if __name__ == "__main__":
    main()
