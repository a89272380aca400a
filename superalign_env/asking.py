"""Requests to agents, batching and asynchronous, whose failures become failed replies.

Whatever goes wrong (an exception, a missing reply, a timeout) becomes a `Reply` with an
error, and the episode it belongs to ends as failed.
"""

import asyncio
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from functools import cache
from typing import Any

from msgspec.structs import replace

from superalign_env.plain_text import without_surrogates
from superalign_env.protocols import Agent, AsyncAgent, one_for_each
from superalign_env.types import Reply, View

Anyone = Agent | AsyncAgent
"""Whoever can sit in a seat."""

_REASON_LENGTH = 500


def failure(reason: object) -> Reply:
    """Return the reply that stands for no reply."""
    if isinstance(reason, BaseException):
        reason = f"{type(reason).__name__}: {reason}"
    text = without_surrogates(str(reason))[:_REASON_LENGTH]
    return Reply("", finish="error", error=text or "no reason given")


def waits(agent: Anyone) -> bool:
    """Return whether an agent is asynchronous (`AsyncAgent`) rather than batching."""
    return not hasattr(agent, "act")


def ask(
    agent: Anyone, views: Sequence[View], *, timeout: float | None = None
) -> list[Reply]:
    """Return one reply for every view; an agent's exception becomes a failed reply.

    Args:
        agent: who is asked.
        views: what it is shown.
        timeout: seconds; for all views together where the agent batches, for each view
            where it waits.
    """
    if waits(agent):
        futures = [start(agent, view, timeout=timeout) for view in views]
        return [future.result() for future in futures]
    try:
        answers = one_for_each(views, _act(agent, views, timeout), name_of(agent))
    except Exception as error:  # whatever a plug-in raises is data
        return [failure(error)] * len(views)
    return [answer if _is_proper(answer) else _corrected(answer) for answer in answers]


def start(agent: Anyone, view: View, *, timeout: float | None = None) -> Future[Reply]:
    """Begin to ask an agent that waits; the reply lands in the background.

    Args:
        agent: an `AsyncAgent`.
        view: what it is shown.
        timeout: seconds until it is given up.
    """

    async def reply() -> Reply:
        try:
            answer = await asyncio.wait_for(agent.reply(view), timeout)  # type: ignore[union-attr]  # it waits
        except TimeoutError as error:
            late = f"TimeoutError: {name_of(agent)} gave no reply within {timeout} s"
            return failure(late if timeout is not None else error)
        except Exception as error:  # whatever a plug-in raises is data
            return failure(error)
        return answer if _is_proper(answer) else _corrected(answer)

    return asyncio.run_coroutine_threadsafe(reply(), _loop(os.getpid()))


def name_of(agent: object) -> str:
    """Return the name of an agent for messages."""
    return str(getattr(getattr(agent, "spec", None), "id", type(agent).__name__))


@cache
def _loop(pid: int) -> asyncio.AbstractEventLoop:
    """Return this process's event loop for agents that wait.

    One loop for good, in a thread of its own: clients keep their connections between
    rollouts, it works inside a notebook (whose own loop is busy), and replies land
    while a transformer computes. A forked process has its own.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name=f"agents-{pid}", daemon=True).start()
    return loop


_hung: dict[int, threading.Thread] = {}
"""Calls that ran past their timeout, by agent; a thread cannot be ended from outside."""


def _act(agent: Any, views: Sequence[View], timeout: float | None) -> Any:
    return agent.act(views) if timeout is None else _act_within(agent, views, timeout)


def _act_within(agent: Any, views: Sequence[View], timeout: float) -> Sequence[Reply]:
    earlier = _hung.get(id(agent))
    if earlier is not None and earlier.is_alive():
        raise TimeoutError(f"{name_of(agent)} still hangs in an earlier call")
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.extend((True, agent.act(views)))
        except BaseException as error:
            outcome.extend((False, error))

    # Not a pool: the interpreter would wait for a pool's hanging thread at exit.
    thread = threading.Thread(target=call, name=f"act-{name_of(agent)}", daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        _hung[id(agent)] = thread
        raise TimeoutError(f"{name_of(agent)} gave no reply within {timeout} s")
    _hung.pop(id(agent), None)
    returned, value = outcome
    if not returned:
        raise value
    replies: Sequence[Reply] = value
    return replies


def _is_proper(answer: object) -> bool:
    return (
        type(answer) is Reply
        and type(answer.text) is str
        and type(answer.prompt_ids)
        is type(answer.token_ids)
        is type(answer.logprobs)
        is tuple
    )


def _corrected(answer: object) -> Reply:
    """Return an improper answer as a proper reply, or as a failed one."""
    if not isinstance(answer, Reply):
        return failure(
            f"ProtocolError: an agent returned a {type(answer).__name__}; return a Reply "
            "(or wrap a function with as_agent)"
        )
    if not isinstance(answer.text, str):
        kind = type(answer.text).__name__
        return failure(f"ProtocolError: the reply's text is a {kind}, not a str")
    try:
        return replace(
            answer,
            text=str.__str__(answer.text),
            prompt_ids=tuple([int(i) for i in answer.prompt_ids]),
            token_ids=tuple([int(i) for i in answer.token_ids]),
            logprobs=tuple([float(x) for x in answer.logprobs]),
        )
    except (TypeError, ValueError) as error:
        return failure(
            f"ProtocolError: ids and logprobs of a reply must be tuples: {error}"
        )
