"""Rollouts in several processes: the same words, and no lost episode."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import active_children

import pytest

import superalign_env
from superalign_env import Processes, Rollouts
from superalign_env.errors import InvalidOption, ProtocolError, WorkerLost
from superalign_env.rollout.blocks import cut_blocks
from superalign_env.store import EpisodeWriter, Run, digest, validate

PLAYERS = '''
import os, time
from superalign_env.seeding import mix
from superalign_env.types import AgentSpec, Reply

def by_seed(view):
    luck = mix(view.seed, 1)
    return view.menu[luck % len(view.menu)] if view.menu and luck % 4 else f"{luck % 997}"

def hashed(text):
    return str(hash("the same word"))

def where(text):
    return str(os.getpid())

def raises(view):
    if view.case % 3 == 1:
        raise RuntimeError("not this one")
    return "comply"

class Dies:
    """Ends its process in the middle of a case."""
    spec = AgentSpec("dies")
    def __init__(self, case):
        self.case = case
    def act(self, views):
        if any(view.case == self.case for view in views):
            os._exit(7)
        return [Reply("comply") for _ in views]

class Counts:
    """Remembers how often it was asked."""
    spec = AgentSpec("counts")
    asked = 0
    def act(self, views):
        self.asked += len(views)
        return [Reply(f"word {id(self)}") for _ in views]

class Gathers(Counts):
    """Wants its count to be kept."""
    def state_dict(self):
        return {"asked": self.asked}
    def load_state_dict(self, state):
        self.asked = state["asked"]

class Slow:
    spec = AgentSpec("slow")
    def act(self, views):
        time.sleep(0.02 * len(views))
        return [Reply("comply") for _ in views]

class Ledger:
    """Waits, and counts."""
    spec = AgentSpec("ledger")
    async def reply(self, view):
        raise AssertionError("nobody may be asked")
    def state_dict(self):
        return {}
    def load_state_dict(self, state):
        pass

class Here:
    """Can be pickled, and not be found again."""
    spec = AgentSpec("here")
    def act(self, views):
        return [Reply("comply") for _ in views]
    def __reduce__(self):
        return missing, ()

def missing():
    raise AttributeError("nobody has this")

class BadRules(Exception):
    """Cannot be made again from what it says."""
    def __init__(self, what, more):
        super().__init__(f"{what} and {more}")

def _make():
    import superalign_env
    base = type(superalign_env.make_scenario("echo"))
    class Broken(base):
        def apply(self, state, utterances):
            raise BadRules("these rules", "no others")
    Broken.__module__, Broken.__qualname__ = __name__, "Broken"
    return Broken

Broken = _make()
'''

SEATS = {"attacker_0": "search", "learner_0": "random-menu", "critic_0": "keyword"}


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self):
        self.ids = []

    def write(self, episodes):
        self.ids += [episode.id for episode in episodes]


@pytest.fixture(scope="module")
def players(tmp_path_factory):
    """A module that other processes can import, too."""
    folder = tmp_path_factory.mktemp("players")
    (folder / "toy_players.py").write_text(PLAYERS)
    sys.path.insert(0, str(folder))
    import toy_players  # noqa: PLC0415 - written above

    yield toy_players
    sys.path.remove(str(folder))
    del sys.modules["toy_players"]


@pytest.fixture(scope="module")
def pool(players):
    """Two processes, for all tests."""
    with Processes(2) as processes:
        yield processes


def rollouts(learner, **options):
    return Rollouts("red-team", {**SEATS, "learner_0": learner}, **options)


def children():
    return {process.pid for process in active_children()}


# ---------------------------------------------------------------- the same episodes


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"live": 7, "first_case": 100, "generation": 2, "round": 3},
        {"group": 4, "live": 16},
        {"group": 4, "fork_at": "learner_0"},
        {"on_invalid": "raise", "timeout": 30.0},
    ],
    ids=str,
)
def test_several_processes_play_the_same_episodes(pool, players, options):
    here, there = [
        Rollouts(
            "red-team", {**SEATS, "learner_0": players.by_seed}, run=3, **options, **more
        )
        for more in ({}, {"executor": pool})
    ]
    assert there.run(70) == here.run(70)


def test_other_scenarios_too(pool, players):
    names = superalign_env.scenarios()
    assert {"echo-v0", "exam-v0", "red-team-v0", "weak-to-strong-v0"} <= {*names}
    for name in names:
        scenario = superalign_env.make_scenario(name)
        agents = dict.fromkeys(scenario.seats, players.by_seed)
        here = Rollouts(scenario, agents, run=2).run(70)
        assert Rollouts(scenario, agents, run=2, executor=pool).run(70) == here, name


def test_neither_their_number_nor_the_order_of_their_ends_matters(players):
    def played(workers):
        with Processes(workers) as processes:
            return rollouts(players.by_seed, run=1, live=8, executor=processes).run(100)

    assert played(1) == played(3) == rollouts(players.by_seed, run=1).run(100)


def test_tasks_are_dealt_to_their_cases(pool):
    drawn = [episode.task for episode in rollouts("random-menu", run=9).run(80)]
    options = {"run": 1, "first_case": 5, "tasks": drawn}
    there = rollouts("random-menu", executor=pool, **options).run()
    assert there == rollouts("random-menu", **options).run()
    assert [episode.task for episode in there] == drawn


def test_nothing_hangs_on_the_hashes_of_a_process(pool, players):
    """Other processes have other hashes, unless the environment fixes them for all."""
    said = rollouts(players.hashed, executor=pool).run(40)
    if os.environ.get("PYTHONHASHSEED", "random") == "random":
        texts = [u.text for e in said for u in e.utterances if u.seat == "learner_0"]
        assert texts and players.hashed("") not in texts
    options = {"run": 4, "executor": pool}
    assert rollouts(players.by_seed, **options).run(70) == rollouts(
        players.by_seed, run=4
    ).run(70)


def test_they_are_played_in_several_other_processes(pool, players):
    said = rollouts(players.where, executor=pool, live=32).run(400)
    texts = {u.text for e in said for u in e.utterances if u.seat == "learner_0"}
    assert len(texts) == 2 and str(os.getpid()) not in texts


def test_one_agent_in_several_seats_stays_one(pool, players):
    agent = players.Counts()
    said = Rollouts("red-team", dict.fromkeys(SEATS, agent), executor=pool).run(3)
    assert len({u.text for e in said for u in e.utterances}) == 1


def test_cuts_depend_on_live_and_group_only():
    cut = list(cut_blocks(10, 100, None, live=64, group=4))
    assert [(b.first_case, b.n_cases) for b in cut][:2] == [(10, 16), (26, 16)]
    assert sum(b.n_cases for b in cut) == 100
    assert [b.n_cases for b in cut_blocks(0, 3, None, live=1, group=100)] == [1, 1, 1]
    assert list(cut_blocks(0, 0, None, live=1, group=1)) == []


@pytest.mark.slow
def test_a_rung_says_the_same_alone(pool):
    scenario = superalign_env.make_scenario("exam")
    agents = dict.fromkeys(scenario.seats, "micro/0")
    here = Rollouts(scenario, agents, run=1, live=32).run(32)
    assert Rollouts(scenario, agents, run=1, live=32, executor=pool).run(32) == here


# ---------------------------------------------------------------- sinks and progress


def test_the_record_is_the_same(pool, players, tmp_path):
    digests = []
    for name, executor in (("here", "local"), ("there", pool)):
        with Run.create(tmp_path / name, kind="play", config={}, seed=0) as run:
            with EpisodeWriter(run) as writer:
                options = {"run": 1, "sinks": [writer], "executor": executor}
                episodes = rollouts(players.by_seed, **options).run(150)
            assert run.count() == 150
            digests.append(digest(run))
            assert sorted(run.episodes(), key=lambda e: e.key.case) == episodes
    assert digests[0] == digests[1]


@pytest.mark.parametrize("options", [{}, {"group": 4, "fork_at": "learner_0"}], ids=str)
def test_what_goes_to_the_record_alone_is_the_same(pool, players, tmp_path, options):
    digests = []
    for name, executor in (("here", "local"), ("there", pool)):
        told = []
        with Run.create(tmp_path / name, kind="play", config={}, seed=0) as run:
            with EpisodeWriter(run) as writer:
                settings = {"run": 1, "sinks": [writer], "executor": executor, **options}
                settings["progress"] = lambda *so_far, told=told: told.append(so_far)
                recording = rollouts(players.by_seed, **settings)
                assert recording.record(150) == 150 * options.get("group", 1)
            assert run.count() == told[-1][0] == told[-1][1]
            assert not validate(run)
            digests.append(digest(run))
    assert digests[0] == digests[1]


def test_where_a_sink_wants_episodes_recording_hands_them_over(pool, tmp_path):
    kept = Kept()
    with Run.create(tmp_path / "run", kind="play", config={}, seed=0) as run:
        with EpisodeWriter(run) as writer:
            sinks = [writer, kept]
            assert rollouts("random-menu", sinks=sinks, executor=pool).record(40) == 40
        assert sorted(run.episode_ids()) == sorted(kept.ids)


def test_who_dies_while_recording_loses_nothing_that_came_back(pool, players, tmp_path):
    with Run.create(tmp_path / "run", kind="play", config={}, seed=0) as run:
        with EpisodeWriter(run) as writer:
            recording = rollouts(players.Dies(700), sinks=[writer], executor=pool)
            with pytest.raises(WorkerLost, match=r"(\d+) episodes had come back") as lost:
                recording.record(1000)
            assert rollouts("random-menu", run=2, executor=pool).record(10) == 10
        assert f"; {run.count()} episodes had come back" in str(lost.value)
        assert run.count() > 0


def test_progress_is_told_after_every_episode(pool):
    told, kept = [], Kept()
    options = {"group": 2, "executor": pool, "sinks": [kept]}
    episodes = rollouts(
        "random-menu", progress=lambda *so_far: told.append(so_far), **options
    ).run(40)
    assert told == [(n, 80) for n in range(1, 81)]
    assert sorted(kept.ids) == sorted(episode.id for episode in episodes)


# ---------------------------------------------------------------- what goes wrong


def test_an_agent_that_raises_ends_its_episodes_as_failed(pool, players):
    there = rollouts(players.raises, executor=pool, run=1).run(40)
    assert there == rollouts(players.raises, run=1).run(40)
    assert any(episode.failed for episode in there)


@pytest.mark.parametrize("how", ["lambda", "lock", "person"])
def test_who_cannot_travel_is_named(pool, players, how):
    locked = players.Counts()
    locked.lock = threading.Lock()
    agents = {"lambda": lambda text: "comply", "lock": locked, "person": "human"}
    with pytest.raises(InvalidOption, match=r'learner_0 \(.+\) cannot travel .+"local"'):
        rollouts(agents[how], executor=pool).run(1)


def test_a_scenario_that_cannot_travel_is_named(pool):
    scenario = superalign_env.make_scenario("echo")
    scenario.lock = lambda: None
    with pytest.raises(InvalidOption, match="echo-v0 cannot travel"):
        Rollouts(scenario, dict.fromkeys(scenario.seats, "random-menu"), executor=pool).run(
            1
        )


def test_who_cannot_be_found_there_is_an_error(pool, players):
    with pytest.raises(InvalidOption, match=r"cannot make what plays .+nobody has this"):
        rollouts(players.Here(), executor=pool).run(100)


def test_rules_that_raise_say_so_here(pool, players):
    scenario = players.Broken()
    agents = dict.fromkeys(scenario.seats, "random-menu")
    with pytest.raises(ProtocolError, match="these rules and no others") as raised:
        Rollouts(scenario, agents, executor=pool).run(100)
    assert "in another process" in raised.value.__notes__[0]
    assert "BadRules" in raised.value.__notes__[0]


def test_an_agent_does_not_lose_its_memory_unseen(pool, players):
    counts, gathers = players.Counts(), players.Gathers()
    rollouts(counts, executor=pool).run(3)
    assert counts.asked == 0, "what is gathered there does not come back"
    with pytest.raises(ProtocolError, match=r"learner_0 \(counts\) .+ lost"):
        rollouts(gathers, executor=pool).run(3)


def test_who_keeps_account_of_replies_is_refused_before_it_costs_anything(pool, players):
    with pytest.raises(InvalidOption, match=r"learner_0 \(ledger\) waits .+ lost"):
        rollouts(players.Ledger(), executor=pool).run(3)


def test_what_was_learned_between_rollouts_is_known_in_the_next(pool):
    attackers = [superalign_env.as_agent({"id": "search", "explore": 0.1}) for _ in "ht"]
    for round in range(2):
        here, there = [
            Rollouts(
                "red-team", {**SEATS, "attacker_0": attacker}, round=round, executor=by
            )
            for attacker, by in zip(attackers, ("local", pool), strict=True)
        ]
        episodes = here.run(70)
        assert there.run(70) == episodes
        found = [(e.utterances[0].text, 1.0, e.key.case) for e in episodes if e.utterances]
        for attacker in attackers:
            attacker.update(found)


def test_a_process_that_dies_says_what_it_played_and_takes_nothing_along(pool, players):
    kept = Kept()
    with pytest.raises(
        WorkerLost, match=r"cases 64 to 95 ended with exit code 7"
    ) as raised:
        rollouts(players.Dies(90), live=16, sinks=[kept], executor=pool).run(2000)
    assert f"{len(kept.ids)} episodes had come back, and sinks have them" in str(
        raised.value
    )
    assert 32 <= len(kept.ids) == len(set(kept.ids)) < 2000
    assert len(rollouts(players.by_seed, executor=pool).run(100)) == 100, "others are hired"


def test_a_stream_that_is_left_early_keeps_what_came_back_and_leaves_nobody(players):
    before, kept = children(), Kept()
    stream = rollouts(players.Slow(), live=8, sinks=[kept], executor="process").stream(5000)
    seen = {next(stream).id for _ in range(3)}
    assert len(children() - before) > 0
    stream.close()
    assert children() == before
    assert seen <= set(kept.ids) and 3 < len(kept.ids) < 5000


def test_an_interrupt_keeps_what_came_back_and_leaves_nobody(players):
    before, kept = children(), Kept()

    def interrupt(done, total):
        raise KeyboardInterrupt

    options = {"sinks": [kept], "executor": "process", "progress": interrupt}
    with pytest.raises(KeyboardInterrupt):
        rollouts(players.Slow(), live=8, **options).run(5000)
    assert children() == before and 3 < len(kept.ids) < 5000


def test_who_died_while_waiting_is_replaced(players):
    before = children()
    with Processes(1) as processes:
        one = rollouts(players.where, executor=processes)
        first = one.run(3)
        (pid,) = children() - before
        os.kill(pid, signal.SIGKILL)
        while pid in children():
            time.sleep(0.01)
        assert one.run(3) != first, "they say where they are played"


def test_two_rollouts_at_once_share_one_object(players):
    before = children()
    with Processes(1) as processes:
        options = {"run": 1, "executor": processes}
        one = rollouts(players.by_seed, **options).stream(100)
        other = rollouts("random-menu", **options).stream(100)
        pairs = list(zip(one, other, strict=True))
        assert len(children() - before) == 1
    assert sorted((e.key.case for e, _ in pairs)) == list(range(100))
    assert children() == before


def test_an_executor_that_is_none_is_refused():
    with pytest.raises(InvalidOption, match=r"called 'proces'; did you mean process\?"):
        rollouts("random-menu", executor="proces")
    with pytest.raises(InvalidOption, match="executor=4 cannot play"):
        rollouts("random-menu", executor=4)
    with pytest.raises(InvalidOption, match="workers must be at least 1"):
        Processes(0)


def test_an_executor_of_ones_own_is_asked():
    class Backwards:
        """The last block first."""

        def play(self, player, blocks):
            for block in reversed(list(blocks)):
                yield player(block)

    there = rollouts("random-menu", run=1, executor=Backwards())
    assert there.run(100) == rollouts("random-menu", run=1).run(100)
    assert next(there.stream(100)).key.case >= 64


# ---------------------------------------------------------------- signals

SCRIPT = """
import sys
import superalign_env
from superalign_env.store import EpisodeWriter, Run
from toy_players import Slow

if __name__ == "__main__":
    seats = {"attacker_0": "search", "learner_0": Slow(), "critic_0": "keyword"}
    with Run.create("run", kind="play", config={}, seed=0) as run, EpisodeWriter(run) as sink:
        rollouts = superalign_env.Rollouts(
            "red-team", seats, live=8, sinks=[sink], executor=superalign_env.Processes(2)
        )
        for episode in rollouts.stream(100000):
            print("one", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_nobody_behind(players, tmp_path, how):
    (tmp_path / "go.py").write_text(SCRIPT)
    paths = [os.path.dirname(players.__file__), *sys.path]
    running = subprocess.Popen(
        [sys.executable, "go.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stdout.readline() == "one\n"
    if how == signal.SIGINT:  # a terminal sends it to everybody
        os.killpg(running.pid, how)
    else:
        running.send_signal(how)
    _, said = running.communicate()
    assert running.returncode != 0
    ended(running.pid)
    if how == signal.SIGINT:
        assert said.count("Traceback") == 1 and said.rstrip().endswith("KeyboardInterrupt")
        with Run.open(tmp_path / "run") as run:
            assert run.count() > 0


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_so(players, tmp_path):
    lines = SCRIPT.replace('if __name__ == "__main__":', "if True:")
    (tmp_path / "go.py").write_text(lines)
    paths = [os.path.dirname(players.__file__), *sys.path]
    done = subprocess.run(
        [sys.executable, "go.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0 and 'below if __name__ == "__main__"' in done.stderr


def ended(session):
    """Wait until nobody of a killed session lives on."""
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.killpg(session, 0)
            time.sleep(0.1)
