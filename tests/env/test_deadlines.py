"""Agents that hang: interrupted, cancelled or left behind; their episodes fail."""

import asyncio
import contextlib
import threading
import time

import pytest

import superalign_env
from superalign_env import Processes, Rollouts, play
from superalign_env.asking import ask
from superalign_env.errors import WorkerLost
from superalign_env.testing.agent_check import example_views
from superalign_env.types import AgentSpec, Reply


class Sleeps:
    spec = AgentSpec("sleeps")

    def act(self, views):
        time.sleep(60)


class Spins:
    spec = AgentSpec("spins")

    def act(self, views):
        while True:
            with contextlib.suppress(Exception):
                time.sleep(0.001)


class Waits:
    spec = AgentSpec("waits")

    def act(self, views):
        threading.Event().wait()


class Blocks:
    """Blocks the loop that others use, too."""

    spec = AgentSpec("blocks")

    async def reply(self, view):
        time.sleep(2)


class Stays:
    """Cannot be cancelled."""

    spec = AgentSpec("stays")

    async def reply(self, view):
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)


@pytest.mark.parametrize("kind", [Sleeps, Spins, Waits, Blocks, Stays])
def test_an_agent_that_hangs_fails_its_episodes_and_is_not_asked_again(kind):
    scenario = superalign_env.make_scenario("echo")
    seats = dict.fromkeys(scenario.seats, kind())
    begin = time.monotonic()
    episodes = Rollouts(scenario, seats, timeout=0.1, live=2).run(6)
    reasons = [e.ending.reason.partition(": ")[2] for e in episodes]
    late = f"TimeoutError: {kind.spec.id} gave no reply within 0.1 s"
    assert reasons[0] == late and reasons[-1] == f"{late} and is not asked again"
    env = superalign_env.env(scenario)
    assert late in play(env, seats, timeout=0.1).ending.reason
    assert time.monotonic() - begin < 50
    # Whoever comes next is heard.
    good = Rollouts(scenario, dict.fromkeys(scenario.seats, lambda text: "a")).run(1)
    assert not good[0].failed


def test_a_hang_in_another_thread_is_left_behind():
    outcome = []
    views = example_views()[:2]
    agent = Waits()

    def asking():
        outcome.append(ask(agent, views, timeout=0.05))
        outcome.append(ask(agent, views, timeout=5.0))

    thread = threading.Thread(target=asking)
    thread.start()
    thread.join(30)
    assert [reply.error for replies in outcome for reply in replies] == [
        *["TimeoutError: waits gave no reply within 0.05 s"] * 2,
        *["TimeoutError: waits gave no reply within 5 s"] * 2,
    ]


def test_people_have_any_time():
    class Person:
        spec = AgentSpec("person")
        takes_any_time = True

        def act(self, views):
            time.sleep(0.1)
            return [Reply("a") for _ in views]

    scenario = superalign_env.make_scenario("echo")
    seats = dict.fromkeys(scenario.seats, Person())
    assert not Rollouts(scenario, seats, timeout=0.05).run(1)[0].failed


class Clings:
    """Cannot be interrupted."""

    spec = AgentSpec("clings")

    def act(self, views):
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(60)


class Holds:
    """Holds the interpreter in C."""

    spec = AgentSpec("holds")

    def act(self, views):
        return [Reply(str(3 ** (10**10))[:1]) for _ in views]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Clings, Holds])
def test_a_process_that_cannot_be_interrupted_ends_and_is_reported(kind, monkeypatch):
    scenario = superalign_env.make_scenario("echo")
    seats = dict.fromkeys(scenario.seats, kind())
    with Processes(1) as processes, pytest.raises(WorkerLost, match="code 1"):
        Rollouts(scenario, seats, timeout=0.5, executor=processes).run(2)
