"""Requests to agents, batching and asynchronous, whose failures become failed replies.

Whatever goes wrong (an exception, also `SystemExit`, a missing reply, a timeout) becomes a
`Reply` with an error, and the episode it belongs to ends as failed. Only an interrupt
(`KeyboardInterrupt`) passes through, and ends the run.
"""

import asyncio
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from functools import cache
from itertools import islice
from typing import Any

from superalign_env.admission import failure, is_plain, typed
from superalign_env.deadlines import Late, act_within
from superalign_env.errors import InvalidOption
from superalign_env.protocols import Agent, AsyncAgent, one_for_each, remembers
from superalign_env.types import Reply, View

Anyone = Agent | AsyncAgent
"""Whoever can sit in a seat."""

TIMEOUT = 600.0
"""Seconds that an agent may take without giving a reply, unless a setting says otherwise."""

MOST_ALONE = 8
"""Failures in a row after which the rest of a batch is not asked view by view."""

_LONGEST = 1 << 62

_INTERRUPTS = (KeyboardInterrupt, GeneratorExit)

_RESPONDS = 1.0
"""Seconds in which the event loop must take a callback, or something blocks it."""


def waits(agent: Anyone) -> bool:
    """Return whether an agent is asynchronous (`AsyncAgent`) rather than batching."""
    return not hasattr(agent, "act")


def name_of(agent: object) -> str:
    """Return the name of an agent for messages."""
    try:
        return str(agent.spec.id)  # type: ignore[attr-defined]  # it may have none
    except _INTERRUPTS:
        raise
    except BaseException:  # whatever a plug-in's property raises
        return type(agent).__name__


def takes_any_time(agent: object) -> bool:
    """Return whether no timeout holds for an agent, as it says itself: it asks people."""
    return bool(getattr(agent, "takes_any_time", False))


def require_timeout(timeout: object) -> None:
    """Raise unless it is None or a number of seconds.

    Raises:
        InvalidOption: what to give instead.
    """
    if timeout is None:
        return
    number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if not number or not 0.0 < timeout <= threading.TIMEOUT_MAX:  # type: ignore[operator]  # a number
        raise InvalidOption(
            f"timeout={timeout!r} is no number of seconds above 0; None waits for ever"
        )


def late(agent: object, timeout: float) -> str:
    """Return the message about an agent that is given up."""
    return f"TimeoutError: {name_of(agent)} gave no reply within {timeout:g} s"


def ask(
    agent: Anyone, views: Sequence[View], *, timeout: float | None = TIMEOUT
) -> list[Reply]:
    """Return one reply for every view; an agent's exception becomes a failed reply.

    The types of a reply are those that `Reply` declares. What it says is not checked: a
    `superalign_env.game.Game` does, on record.

    Args:
        agent: who is asked.
        views: what it is shown.
        timeout: seconds without a reply after which it is given up; None waits for ever.
    """
    if waits(agent):
        return _awaited(agent, views, timeout)
    try:
        replies = ask_batch(agent, views, timeout=timeout)
    except Late:
        return [failure(late(agent, timeout or 0.0))] * len(views)
    return [reply if is_plain(reply, _LONGEST) else typed(reply) for reply in replies]


def ask_batch(agent: Any, views: Sequence[View], *, timeout: float | None) -> list[Reply]:
    """Return one reply for every view; a `Game` has still to check them.

    After an exception the views are asked one by one, so that only the episodes of those
    fail that the agent cannot answer. An agent with memory is not asked twice.

    Raises:
        Late: it gave no reply in time.
    """
    try:
        answers = _act(agent, views, timeout)
    except (Late, *_INTERRUPTS):
        raise
    except BaseException as error:  # whatever a plug-in raises is data
        if len(views) == 1 or remembers(agent):
            return [failure(error)] * len(views)
        return _one_by_one(agent, views, timeout)
    try:
        return one_for_each(views, answers, name_of(agent))
    except Exception as error:  # another number; or what a generator raises
        return [failure(error)] * len(views)


def start(agent: Anyone, view: View) -> Future[Reply]:
    """Begin to ask an agent that waits; the reply lands in the background.

    Args:
        agent: an `AsyncAgent`.
        view: what it is shown.
    """

    async def reply() -> Reply:
        try:
            answer = await agent.reply(view)  # type: ignore[union-attr]  # it waits
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # by whoever asked
                raise
            return failure(error)
        except GeneratorExit:
            raise
        except KeyboardInterrupt as interrupt:  # would end the loop, for everybody
            raise _Interrupted from interrupt
        except BaseException as error:  # whatever a plug-in raises is data
            return failure(error)
        return typed(answer)

    return asyncio.run_coroutine_threadsafe(reply(), _loop(os.getpid()))


def landed(future: Future[Reply]) -> Reply:
    """Return the reply of `start` once it is there.

    Raises:
        KeyboardInterrupt: as the agent raised it.
    """
    try:
        return future.result()
    except CancelledError:
        return failure("it was cancelled")
    except _Interrupted as carrier:
        raise (carrier.__cause__ or KeyboardInterrupt()) from None


def give_up(futures: Sequence[Future[Reply]]) -> None:
    """Cancel replies that are too late; an event loop that is blocked is left behind."""
    for future in futures:
        future.cancel()
    alive = threading.Event()
    loop = _loop(os.getpid())
    loop.call_soon_threadsafe(alive.set)
    if not alive.wait(_RESPONDS):
        _loop.cache_clear()


class _Interrupted(Exception):
    """Carrier of an interrupt from the event loop's thread."""


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


def _act(agent: Any, views: Sequence[View], timeout: float | None) -> Any:
    def act(dealt: Any) -> Any:
        answers = agent.act(dealt)
        if type(answers) in (list, tuple) or not isinstance(answers, Iterable):
            return answers
        if isinstance(answers, (str, bytes, Mapping)):  # no list, which is said elsewhere
            return answers
        return list(islice(answers, len(views) + 1))  # here, where the time is measured

    # A list of its own: an agent that changes it changes nothing else.
    dealt = list(views)
    if timeout is None or takes_any_time(agent):
        return act(dealt)
    return act_within(timeout, act, dealt, agent=agent)


def _one_by_one(agent: Any, views: Sequence[View], timeout: float | None) -> list[Reply]:
    """Ask view by view, until as many in a row have failed that the agent is broken."""
    replies: list[Reply] = []
    failures = 0
    for view in views:
        if failures == MOST_ALONE:
            replies.append(replies[-1])
            continue
        try:
            answers = one_for_each([view], _act(agent, [view], timeout), name_of(agent))
            failures = 0
            replies.append(typed(answers[0]))
        except (Late, *_INTERRUPTS):
            raise
        except BaseException as error:  # whatever a plug-in raises is data
            failures += 1
            replies.append(failure(error))
    return replies


def _awaited(agent: Anyone, views: Sequence[View], timeout: float | None) -> list[Reply]:
    """Return the replies of an agent that waits, asked for all views at once."""
    futures = [start(agent, view) for view in views]
    if takes_any_time(agent):
        timeout = None
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout, FIRST_COMPLETED)
        if not done:
            break
    if pending:
        give_up(list(pending))
    return [
        failure(late(agent, timeout or 0.0)) if future in pending else landed(future)
        for future in futures
    ]
