"""Learners that improve themselves: in runs, in the record, resumed, refused, checked."""

import json
import re
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from small_runs import BRIEF
from stable_baselines3.common.buffers import RolloutBuffer
from torch import nn

from superalign_env.errors import (
    InvalidOption,
    NotReproducible,
    ProtocolError,
    RecordDamaged,
)
from superalign_env.protocols import Learner
from superalign_env.store import Run
from superalign_env.testing import check_agent
from superalign_env.types import AgentSpec, Reply
from superalign_training.algorithms.sb3.learner import Sb3Learner
from superalign_training.algorithms.sb3.sb3_ppo import Sb3Ppo
from superalign_training.cli.composing import composed
from superalign_training.cli.cost import cost_of
from superalign_training.cli.terminal import launch_fork
from superalign_training.selfplay import SelfPlay
from superalign_training.selfplay.checks import require_lineup
from superalign_training.selfplay.model_cache import ModelCache
from superalign_training.selfplay.plan import plan
from superalign_training.selfplay.settings import read_settings
from superalign_training.selfplay.skipped_stages import skipped_stages
from superalign_training.selfplay.watching import Silent
from superalign_training.testing import check_learner

PAGE = Path(__file__).parents[2] / "docs" / "your_policy.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)


class Coin:
    """Says heads or tails; learns how often that pays. The smallest learner there is."""

    spec = AgentSpec("coin")
    WORDS = ("river", "stone")

    def __init__(self):
        self.scores = [0.0, 0.0]

    def act(self, views):
        return [Reply(self.WORDS[self._choice(view)]) for view in views]

    def _choice(self, view):
        chance = 1 / (1 + np.exp(self.scores[0] - self.scores[1]))
        return int(np.random.default_rng(view.seed).random() < chance)

    def improve(self, episodes, *, seed, on_step):
        for episode in episodes:
            for turn in episode.turns:
                self.scores[self.WORDS.index(turn.text)] += 0.1 * turn.pay
        on_step(1, {"inner": self.scores[0]})
        on_step(2, {"inner": self.scores[1]})
        return {"seen": len(episodes)}

    def save(self, folder):
        (folder / "coin.json").write_text(json.dumps(self.scores))

    def load(self, folder):
        self.scores = json.loads((folder / "coin.json").read_text())


def run_of(folder, learner=None, **more):
    given = {
        "lineup": {"speaker": learner if learner is not None else Coin()},
        "train": {"speaker": {"steps": 3, "batch_size": 4}},
        "options": {"max_cycles": 2},
        "rounds": 2,
        "evaluate": {"cases": 10},
        "run_dir": str(folder),
    }
    return SelfPlay(**{"scenario": "echo", **given, **more})


def chosen(*words):
    return read_settings(composed(words))


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The page's table as a module that can be imported."""
    (tmp_path / "my_policies.py").write_text(BLOCKS[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_policies:Table"
    sys.modules.pop("my_policies", None)


# ---------------------------------------------------------------- settings


def test_a_table_has_under_forty_lines():
    assert sum(bool(line.strip()) for line in BLOCKS[0].splitlines()) < 40


def test_a_learner_learns_unless_it_is_frozen(mine):
    words = ("scenario=echo", f"lineup.speaker={mine}", "run_dir=runs/one")
    assert chosen(*words).own("speaker").steps == 20
    settings = chosen(*words, "train.speaker.steps=3", "lineup.speaker.learning_rate=0.5")
    assert settings.own("speaker").steps == 3
    assert settings.lineup["speaker"] == {"id": mine, "learning_rate": 0.5}
    assert chosen(*words, "train.speaker=own") == chosen(*words)
    assert read_settings(json.loads(settings.model_dump_json())) == settings
    with pytest.raises(InvalidOption, match="nobody learns"):
        chosen(*words, "train.speaker=null")
    red = chosen("lineup.learner=" + mine, "train.learner.steps=2", "lineup.critic=keyword")
    assert red.own("learner").steps == 2 and red.learning == ("attacker", "learner")


class Net(nn.Module):
    """Holds weights, and learns from nobody here."""

    spec = AgentSpec("net")

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, 2)

    def act(self, views):
        return [Reply("river") for view in views]


@pytest.mark.parametrize(
    ("lineup", "train", "message"),
    [
        (Coin, "ppo", "improves itself, ppo cannot"),
        (Coin, ["own", "ppo"], "has its learner to itself"),
        (Net, "ppo", "no weights that ppo can train: implement Learner"),
        (Net, "own", "does not improve itself"),
        (lambda: "micro/0", "own", "does not improve itself; name a Learner"),
        (lambda: "keyword", "ppo", "no weights to train; give it a policy"),
        (
            lambda: {"id": "sb3", "path_or_model": "x.zip"},
            "sb3-ppo",
            "cannot train its path",
        ),
        (lambda: "micro/0", "sb3-ppo", "cannot train micro/0"),
    ],
)
def test_who_cannot_learn_so_is_refused_with_what_to_do(tmp_path, lineup, train, message):
    with pytest.raises(InvalidOption, match=message):
        run_of(tmp_path / "run", lineup(), train={"speaker": train}).run()
    assert not (tmp_path / "run").exists()


def test_a_learner_without_a_spec_is_told_so():
    class Nameless(Coin):
        spec = None

    with pytest.raises(InvalidOption, match="has no spec; give it one"):
        run_of("runs/never", Nameless())


def test_a_chain_of_generations_needs_policies(mine):
    with pytest.raises(
        InvalidOption, match=r"generations are of a policy.*the learner .* improves itself"
    ):
        require_lineup(chosen("generations=2", f"lineup.learner={mine}"), ModelCache())


def test_roles_of_red_teaming_may_improve_themselves(mine):
    words = [f"lineup.{role}={mine}" for role in ("attacker", "learner", "critic")]
    settings = chosen(*words, "rounds=1", "league.share=0.5")
    names = [planned.name for planned in plan(settings)]
    assert names == [
        *("evaluate", "improve-attacker", "improve-learner", "improve-critic"),
        *("evaluate", "alarms", "test"),
    ]
    lines = "\n".join(skipped_stages(settings))
    for role in ("attacker", "learner", "critic"):
        assert f"late answers and examples do not reach the {role} (my_policies" in lines
    assert "the league is left out" in lines
    assert cost_of(settings).stages["improve-learner"].labels > 0


def test_what_people_say_pays_whoever_learns(mine):
    """Nothing but people pays a supervisor."""
    words = ("scenario=weak-to-strong", "lineup.learner=micro/0", "rounds=1")
    policy = ("lineup.supervisor=micro/0", "train.supervisor=ppo")
    own = (f"lineup.supervisor={mine}",)
    for who in (policy, own):
        require_lineup(chosen(*words, *who, "budget=0.5"), ModelCache())
    for nobody in ((*policy, "budget=0"), (*own, "budget=0")):
        with pytest.raises(InvalidOption, match="pays the role supervisor nothing"):
            require_lineup(chosen(*words, *nobody), ModelCache())


def test_stages_that_need_a_policy_are_refused(mine):
    words = [f"lineup.learner={mine}", "supervise={algorithm: dpo}"]
    with pytest.raises(InvalidOption, match="needs a learner that is a policy"):
        require_lineup(chosen(*words), ModelCache())


def test_a_learner_in_one_seat_alone_plays_as_it_is(mine):
    settings = chosen("lineup.critic_0=" + mine, "lineup.critic=keyword")
    assert "critic_0" not in settings.train and settings.own("critic") is None


# ---------------------------------------------------------------- runs


def stages_of(folder):
    with Run.open(folder, readonly=True) as run:
        return run.stages.all()


def test_checkpoints_lineage_metrics_and_gain_are_recorded(tmp_path):
    given = Coin()
    run_of(tmp_path / "run", given).run()
    assert given.scores == [0.0, 0.0], "a copy was trained"
    with Run.open(tmp_path / "run", readonly=True) as run:
        stages, agents = run.stages.all(), run.agents.all()
        metrics = [row.metric for row in run.metrics.read()]
        episodes = list(run.episodes())
    kept = [s.outputs["state"]["policies"]["speaker"] for s in stages]
    paths = list(dict.fromkeys(one["path"] for one in kept))
    assert paths[0] == "" and len(paths) == 3
    for one in kept:
        if one["path"]:
            saved = json.loads((tmp_path / "run" / one["path"] / "policy.json").read_text())
            assert saved["weights"] == one["weights"] and saved["own"]
    line = [agent for agent in agents if agent.role == "speaker"]
    assert [agent.path for agent in line] == paths
    assert [agent.parent for agent in line[1:]] == [agent.hash for agent in line[:-1]]
    steps = {
        name: [m.step for m in metrics if m.name == f"train/{name}"]
        for name in ("inner", "seen", "reward")
    }
    assert steps["inner"] == list(range(1, 13)), "every update within a step, over rounds"
    assert steps["seen"] == list(range(2, 13, 2))
    assert {m.tags["algorithm"] for m in metrics if m.name == "train/seen"} == {"own"}
    assert any(m.name == "train/reward/echo" for m in metrics)
    spoke = {u.reply.policy for e in episodes for u in e.utterances}
    assert {one["weights"] for one in kept} <= spoke
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert set(summary["gains"]) == {"speaker_0", "speaker_1"}


class Stop(Silent):
    """Interrupts when a stage begins."""

    def __init__(self, place):
        self.place = place

    def begin(self, moment):
        if moment.place == self.place:
            raise KeyboardInterrupt


def outcome(folder):
    stages = stages_of(folder)
    with Run.open(folder, readonly=True) as run:
        metrics = [
            (r.metric.name, r.metric.step, r.metric.value) for r in run.metrics.read()
        ]
    chain = stages[-1].outputs["state"]["policies"]
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted((folder / "checkpoints").rglob("*"))
        if path.is_file()
    }
    return [stage.name for stage in stages], chain, metrics, files


@pytest.mark.parametrize("place", [1, 3, 5])
def test_a_run_that_was_stopped_ends_with_the_same_bytes(tmp_path, place):
    run_of(tmp_path / "whole").run()
    with pytest.raises(KeyboardInterrupt):
        run_of(tmp_path / "stopped", watcher=Stop(place)).run()
    run_of(tmp_path / "stopped").run(resume=True)
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")


def test_a_finished_run_goes_on_in_a_fork(mine, tmp_path):
    run_of(tmp_path / "run", lineup={"speaker": mine}).run()
    launch_fork(tmp_path / "run", [f"run_dir={tmp_path / 'fork'}", "rounds=3"])
    first, fork = (stages_of(tmp_path / name) for name in ("run", "fork"))
    before, after = (
        stages[-1].outputs["state"]["policies"]["speaker"] for stages in (first, fork)
    )
    assert after["updates"] == before["updates"] + 3
    assert after["weights"] != before["weights"] and after["original"] == before["original"]


def test_an_altered_checkpoint_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_of(tmp_path / "run", watcher=Stop(3)).run()
    (saved,) = (tmp_path / "run" / "checkpoints").glob("*/learner/coin.json")
    saved.write_text("[9.0, 0.0]")
    with pytest.raises(RecordDamaged, match="altered"):
        run_of(tmp_path / "run").run(resume=True)


def test_a_learner_that_begins_otherwise_cannot_go_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_of(tmp_path / "run", watcher=Stop(1)).run()
    other = Coin()
    other.scores = [1.0, 0.0]
    with pytest.raises(RecordDamaged, match="begins otherwise"):
        run_of(tmp_path / "run", other).run(resume=True)


def test_what_it_learns_from_holds_no_truth(tmp_path):
    heard = []

    class Listening(Coin):
        WORDS = ("comply", "refuse")

        def improve(self, episodes, *, seed, on_step):
            heard.extend(episodes)
            return super().improve(episodes, seed=seed, on_step=on_step)

    SelfPlay(
        "red-team",
        lineup={"learner": Listening(), "attacker": "search", "critic": "keyword"},
        train={"learner": {"steps": 2, "batch_size": 6, "num_generations": 2}},
        rounds=1,
        budget=0.0,
        evaluate=BRIEF,
        run_dir=str(tmp_path / "run"),
    ).run()
    with Run.open(tmp_path / "run", readonly=True) as run:
        recorded = {e.id: e for e in run.episodes()}
    assert len(heard) == 24
    assert any(recorded[paid.episode.id].grades for paid in heard)
    for paid in heard:
        whole = recorded[paid.episode.id]
        assert paid.episode.grades == () and paid.episode.events == ()
        assert paid.episode.planted == () and paid.episode.queries == ()
        weights = {part for parts in whole.weights.values() for part in parts}
        assert {reward.part for reward in paid.episode.rewards} <= weights
        (turn,) = paid.turns
        said = next(u for u in whole.utterances if u.seat == "learner_0")
        assert (turn.text, turn.view.seat) == (said.text, "learner_0")
        pays = [
            whole.weights["learner"].get(r.part, 0.0) * r.value
            for r in whole.rewards
            if r.seat == "learner_0"
        ]
        assert turn.pay == pytest.approx(sum(pays))


# ---------------------------------------------------------------- faults


def broken(**methods):
    return type("Broken", (Coin,), methods)


def raising(*_, **__):
    raise ZeroDivisionError("oh")


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (
            {"improve": raising},
            r"Broken.improve failed with ZeroDivisionError: oh; it must ",
        ),
        ({"improve": lambda *_, **__: None}, "improve returned a NoneType; it must return"),
        ({"improve": lambda *_, **__: {"x": float("nan")}}, "improve returned x=nan"),
        ({"improve": lambda *_, **__: {"x": "much"}}, "returned what is no number"),
        ({"save": raising}, r"Broken.save failed with .*; it must write files"),
        ({"save": lambda *_: None}, "Broken.save wrote no file"),
        ({"load": raising}, "Broken.load failed with"),
        ({"load": lambda *_: None}, "Broken.load restored something else"),
    ],
)
def test_its_own_failures_are_sentences(tmp_path, methods, message):
    with pytest.raises(ProtocolError, match=message):
        run_of(tmp_path / "run", broken(**methods)()).run()


def test_a_learner_that_cannot_be_copied_is_told_what_to_do(tmp_path):
    learner = broken(__deepcopy__=raising)()
    with pytest.raises(InvalidOption, match=r"cannot be copied .* name its class"):
        run_of(tmp_path / "run", learner).run()


# ---------------------------------------------------------------- the check


class Forgetful(Coin):
    """Its step size shrinks, and nobody saves that."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def improve(self, episodes, *, seed, on_step):
        self.calls += 1
        pay = sum(episode.total for episode in episodes)
        self.scores[0] += pay / self.calls
        return {}


class Careless(Coin):
    def improve(self, episodes, *, seed, on_step):
        self.scores[0] += float(np.random.rand())
        return {}


class Eager(Coin):
    def act(self, views):
        self.scores[0] += len(views)
        return [Reply("river") for view in views]


class Idle(Coin):
    def improve(self, episodes, *, seed, on_step):
        return {"seen": len(episodes)}


class Restless(Coin):
    def __init__(self):
        super().__init__()
        self.scores[0] = float(np.random.rand())


def test_the_check_takes_good_learners():
    check_learner(Coin)
    check_learner(Coin())
    assert isinstance(Coin(), Learner) and not isinstance(Net(), Learner)


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        (Forgetful, NotReproducible, "goes on learning differently after save and load"),
        (Careless, NotReproducible, "improve made another learner"),
        (Eager, ProtocolError, "act changed what save writes"),
        (Idle, ProtocolError, "saves after improve what it saved before"),
        (Restless, NotReproducible, "as they begin save other files"),
        (Net, ProtocolError, "no improve and no save and no load"),
        (broken(load=lambda *_: None), ProtocolError, "restored something else"),
    ],
)
def test_the_check_finds_faults(fault, kind, message):
    with pytest.raises(kind, match=message):
        check_learner(fault)


def test_weights_are_not_taken_for_a_memory():
    with pytest.warns(RuntimeWarning, match="implement Learner"):
        check_agent(Net())

    class Holder:
        spec = AgentSpec("holder")
        net = nn.Linear(2, 2)

        def act(self, views):
            return [Reply("river") for view in views]

        def state_dict(self):
            return {"net": self.net.state_dict()}

        def load_state_dict(self, state):
            self.net.load_state_dict(state["net"])

    with pytest.warns(RuntimeWarning, match="implement Learner"):
        check_agent(Holder())


# ---------------------------------------------------------------- Stable-Baselines3


def test_the_shortest_form_seats_a_fresh_network():
    settings = chosen("train.learner=sb3-ppo", "rounds=1")
    assert settings.lineup["learner"] == "sb3" and settings.lineup["critic"] == "micro/3"
    assert settings.own("learner").id == "sb3-ppo"
    recorded = json.loads(settings.model_dump_json())
    assert read_settings(recorded) == settings
    require_lineup(settings, ModelCache())


def test_sb3_that_is_missing_is_said_before_anything_starts(monkeypatch):
    monkeypatch.setattr(
        "superalign_training.algorithms.sb3.sb3_ppo.find_spec", lambda _: None
    )
    with pytest.raises(InvalidOption, match="not installed; pip install"):
        require_lineup(chosen("train.learner=sb3-ppo"), ModelCache())


def test_sb3_keeps_the_contract():
    rules = Sb3Ppo(choices=4, hidden=(8,), update_epochs=2)
    check_learner(lambda: Sb3Learner(rules, seed=3), "weak-to-strong", cases=6)
    check_learner(Sb3Learner(rules, seed=3), "errand", cases=6)


def sb3_run(folder, steps, **more):
    others = dict.fromkeys(("seller", "broker", "notary"), "random-menu")
    given = {
        "lineup": others,
        "train": {"buyer": {"id": "sb3-ppo", "steps": steps, "choices": 4}},
        "rounds": 1,
        "evaluate": {"cases": 40},
        "run_dir": str(folder),
    }
    return SelfPlay("market:Market", **{**given, **more})


def test_sb3_learns_a_seat_in_a_run(tmp_path):
    summary = sb3_run(tmp_path / "run", 12).run()
    assert summary.gains["buyer_0"].low > 0.1
    names = {name for name, *_ in outcome(tmp_path / "run")[2]}
    assert {"train/approx_kl", "train/clip_fraction", "train/entropy"} <= names


def test_sb3_changes_no_global_random_state():
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()
    Sb3Learner(Sb3Ppo(choices=2), seed=1)
    after = torch.random.get_rng_state(), np.random.get_state()[1].tolist()
    assert torch.equal(before[0], after[0]) and before[1] == after[1]


# ---------------------------------------------------------------- what people say


class Listener(Coin):
    """Answers requests, and keeps what it was paid."""

    WORDS = ("comply", "refuse")
    paid: ClassVar[dict] = {}

    def improve(self, episodes, *, seed, on_step):
        for one in episodes:
            self.paid[one.episode.id] = one.total
        return super().improve(episodes, seed=seed, on_step=on_step)


def test_labels_and_vetoes_pay_who_improves_itself(tmp_path):
    Listener.paid = {}
    run_of(
        tmp_path / "run",
        scenario="red-team",
        lineup={"attacker": "search", "learner": Listener(), "critic": "keyword"},
        train={"learner": {"steps": 3, "batch_size": 8}},
        options={"weights": {"learner": {"human": 0.5}}},
        rounds=1,
        budget=0.5,
        people={"kinds": {"label": 1, "veto": 1}, "evaluation_share": 0.0},
        evaluate=BRIEF,
    ).run()
    with Run.open(tmp_path / "run", readonly=True) as run:
        said = {s.episode: s for s in run.signals.read() if s.kind in ("label", "veto")}
        train = set(run.episode_ids(split="train"))
        measured = set(run.episode_ids()) - train
        asked = {question.episode for question in run.questions.all()}
        paid = {row.metric.value for row in run.metrics.read("people.paid")}
        summed = {row.metric.name for row in run.metrics.read("train/reward/*")}
    assert {signal.kind for signal in said.values()} == {"label", "veto"}
    assert set(Listener.paid) == train and len(train) == 24
    assert measured and len(asked) == 12 and asked < train
    assert paid == {len(said)} and "train/reward/human" in summed
    for episode, total in Listener.paid.items():
        signal = said.get(episode)
        if signal is None:
            assert total == 0
        else:  # a veto pays the scenario's least, whatever weighs how much
            assert total == (signal.value - 0.5 if signal.kind == "label" else -1)


def test_late_answers_about_a_learners_plays_are_counted(tmp_path):
    settings = {
        "rounds": 2,
        "budget": 0.5,
        "people": {"mode": "continue", "evaluation_share": 0.0},
    }

    class Answers(Silent):
        def end(self, metrics):
            with Run.open(tmp_path / "run", beside=True) as run:
                while (asked := run.questions.claim("ann")) is not None:
                    run.questions.answer(asked.id, "ann", value=1.0)

    run_of(tmp_path / "run", **settings, watcher=Answers()).run()
    with Run.open(tmp_path / "run", readonly=True) as run:
        late = [row.metric.value for row in run.metrics.read("people.late_examples")]
        asked = [row.metric.value for row in run.metrics.read("people.asked")]
    assert late and late[0] == asked[0] > 0


def labelled(folder, budget, **people):
    """Stable-Baselines3's PPO answers requests, and nothing but people pays."""
    return SelfPlay(
        scenario="red-team",
        lineup={"attacker": "search", "critic": "keyword"},
        train={
            "learner": {"id": "sb3-ppo", "steps": 3, "batch_size": 8, "choices": 4},
        },
        options={"vanilla": 1.0, "weights": {"learner": {"human": 0.5}}},
        rounds=1,
        budget=budget,
        people={"kinds": {"label": 1, "veto": 1}, "evaluation_share": 0.0, **people},
        evaluate=BRIEF,
        run_dir=str(folder),
    )


def test_labels_and_vetoes_are_what_sb3_learns_from(tmp_path, monkeypatch):
    learned = []
    original = RolloutBuffer.compute_returns_and_advantage

    def spying(buffer, *given):
        learned.append(buffer.rewards.flatten().tolist())
        original(buffer, *given)

    monkeypatch.setattr(RolloutBuffer, "compute_returns_and_advantage", spying)
    labelled(tmp_path / "run", 0.5).run()
    with Run.open(tmp_path / "run", readonly=True) as run:
        said = [s for s in run.signals.read() if s.kind in ("label", "veto")]
        heard = weights_of(run)
    assert {signal.kind for signal in said} == {"label", "veto"}
    pays = [s.value - 0.5 if s.kind == "label" else -1.0 for s in said]
    unpaid = [0.0] * (3 * 8 - len(pays))
    assert sorted(pay for batch in learned for pay in batch) == sorted([*pays, *unpaid])
    labelled(tmp_path / "coin", 0.5, annotators=[{"accuracy": 0.5}]).run()
    with Run.open(tmp_path / "coin", readonly=True) as run:
        assert weights_of(run) != heard


def weights_of(run):
    return run.stages.all()[-1].outputs["state"]["policies"]["learner"]["weights"]


def test_the_plan_says_which_answers_of_people_pay_who_improves_itself():
    settings = chosen("train.learner=sb3-ppo", "budget=0.1")
    (line,) = [line for line in skipped_stages(settings) if "do not reach" in line]
    assert line == (
        "late answers and examples do not reach the learner (sb3): it improves itself by what "
        "its plays are paid at once, labels and vetoes included"
    )
    (line,) = [
        line
        for line in skipped_stages(chosen("train.learner=sb3-ppo", "budget=0"))
        if "do not reach" in line
    ]
    assert line.endswith("paid at once")
