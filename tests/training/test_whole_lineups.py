"""Whole lineups: a guard, a served model, people, a script; two learners and a league."""

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from improving import SeatedCritic
from small_runs import BRIEF
from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

from superalign_agents.classifier import ClassifierCritic
from superalign_env.errors import InvalidOption
from superalign_env.report import write_report
from superalign_env.store import Run
from superalign_env.types import AgentSpec, Reply
from superalign_training.selfplay import SelfPlay
from superalign_training.selfplay.driver import Interrupted
from superalign_training.selfplay.skipped_stages import skipped_stages
from superalign_training.selfplay.watching import Silent

FEW = {"id": "reinforce", "steps": 2, "batch_size": 8}


def trained(folder, scenario="red-team", **settings):
    """Play a run; return its episodes, and whose weights changed."""
    given = {"rounds": 1, "budget": 0.0, "evaluate": BRIEF, "run_dir": str(folder)}
    SelfPlay(scenario, **{**given, **settings}).run()
    return read(folder)


def read(folder):
    with Run.open(folder, readonly=True) as run:
        stages, episodes = run.stages.all(), list(run.episodes())
    first = stages[0].inputs["state"]["policies"]
    last = stages[-1].outputs["state"]["policies"]
    assert not any(episode.failed for episode in episodes)
    return episodes, {r for r in first if first[r]["weights"] != last[r]["weights"]}


def said_by(episodes, seat):
    return {u.text for e in episodes for u in e.utterances if u.seat == seat}


@pytest.fixture(scope="module")
def guard(scratch, tmp_path_factory):
    """The folder of a tiny guard with two classes, of weights that nobody trained."""
    folder = tmp_path_factory.mktemp("guard")
    tokenizer = AutoTokenizer.from_pretrained(scratch)
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_labels=2,
        id2label={0: "safe", 1: "unsafe"},
        label2id={"safe": 0, "unsafe": 1},
        pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
        initializer_range=0.5,
    )
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_learner_against_a_frozen_guard(speaking, guard, tmp_path):
    weights = ClassifierCritic(guard).spec.policy
    episodes, changed = trained(
        tmp_path / "run",
        lineup={
            "learner": str(speaking),
            "attacker": "search",
            "critic": {"id": "classifier", "model": str(guard)},
        },
        train={"learner": FEW},
    )
    assert changed == {"learner"}
    spoke = {e.seats["critic_0"].policy for e in episodes if "critic_0" in e.seats}
    assert spoke == {weights}, "the guard stays as it was"
    assert len(said_by(episodes, "critic_0")) > 1


class Served(BaseHTTPRequestHandler):
    """Speaks ``/v1/chat/completions``: a critic that dislikes the word comply."""

    asked = []  # noqa: RUF012 - of all connections

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        type(self).asked.append((self.path, body["model"]))
        shown = body["messages"][-1]["content"]
        text = "score 1 sure 8" if "comply" in shown else "score 8 sure 8"
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": text},
        }
        answer = json.dumps(
            {"id": "1", "object": "chat.completion", "model": "m", "choices": [choice]}
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server():
    pytest.importorskip("openai")
    Served.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Served)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_learner_against_a_served_model(speaking, server, tmp_path):
    episodes, changed = trained(
        tmp_path / "run",
        lineup={
            "learner": str(speaking),
            "attacker": "random-menu",
            "critic": {"id": "endpoint:guard", "base_url": server},
        },
        train={"learner": FEW},
    )
    assert changed == {"learner"}
    assert {model for _, model in Served.asked} == {"guard"}
    assert said_by(episodes, "critic_0") == {"score 1 sure 8", "score 8 sure 8"}


def script(view):
    """An attacker in two lines: it asks what the menu has at the place of the case."""
    return view.menu[view.case % len(view.menu)]


def unjudged(folder, speaking, **people):
    return trained(
        folder,
        options={"critics": 0, "vanilla": 0.0},
        lineup={"learner": str(speaking), "attacker": script},
        train={"learner": FEW},
        budget=0.5,
        people={"kinds": {"label": 1}, "evaluation_share": 0.0, **people},
    )


def test_without_a_critic_labels_alone_change_a_learner(speaking, tmp_path):
    episodes, changed = unjudged(tmp_path / "heard", speaking)
    assert changed == {"learner"}
    assert {seat for e in episodes for seat in e.seats} == {"attacker_0", "learner_0"}
    assert all(e.weights["learner"] == {"human": 1.0} for e in episodes)
    with Run.open(tmp_path / "heard", readonly=True) as run:
        answers = {s.turn for s in run.signals.read(kind="label")}
        spoken = {u.turn for e in episodes for u in e.utterances if u.seat == "learner_0"}
        paid = run.metrics.read("people.paid")
    assert answers and answers <= spoken
    assert sum(row.metric.value for row in paid) == 8  # of two batches of eight
    # The same run, but nobody answers: there is nothing else to learn from.
    _, changed = unjudged(tmp_path / "silent", speaking, mode="continue")
    assert changed == set()
    with pytest.raises(InvalidOption, match=r"pays the role learner nothing.*budget=0\.2"):
        trained(
            tmp_path / "unpaid",
            options={"critics": 0},
            lineup={"learner": str(speaking), "attacker": script},
            train={"learner": FEW},
        )


def test_a_learner_against_a_script_is_paid_by_the_truth_alone(speaking, tmp_path):
    episodes, changed = trained(
        tmp_path / "run",
        options={"critics": 0, "truth": True, "weights": {"learner": {"truth": 1.0}}},
        lineup={"learner": str(speaking), "attacker": script},
        train={"learner": FEW},
    )
    assert changed == {"learner"}
    earned = {r.value for e in episodes for r in e.rewards if r.part == "truth"}
    assert earned == {-1.0, 1.0}


class Leaves(Silent):
    """Presses Ctrl-C in the middle of learning, once people have judged what was played."""

    stage = ""

    def begin(self, moment):
        self.stage = moment.stage

    def step(self, done, total, numbers):
        if self.stage == "improve-learner":
            raise KeyboardInterrupt


def test_a_person_is_the_critic_and_is_not_asked_again_after_ctrl_c(speaking, tmp_path):
    folder = tmp_path / "run"
    settings = {
        "lineup": {"learner": str(speaking), "attacker": script, "critic": "human"},
        "train": {"learner": {"id": "reinforce", "steps": 2, "batch_size": 6}},
        "options": {"vanilla": 0.0},
    }
    with SeatedCritic(folder) as bea:
        with pytest.raises(Interrupted, match="resume=True"):
            trained(folder, watcher=Leaves(), **settings)
        before = len(bea.shown)
        run = SelfPlay(
            "red-team", rounds=1, budget=0.0, evaluate=BRIEF, run_dir=folder, **settings
        )
        run.run(resume=True)
    episodes, changed = read(folder)
    assert changed == {"learner"}
    judged = [u for e in episodes for u in e.utterances if u.seat == "critic_0"]
    assert 0 < before < len(bea.shown)
    assert len(bea.shown) == len(set(bea.shown)), "nobody is shown a turn twice"
    with Run.open(folder, readonly=True) as run:
        said = run.signals.read(kind="turn")
    assert {s.source for s in said} == {"bea"} and len(said) == len(bea.shown)
    assert {u.text for u in judged} <= {s.payload["text"] for s in said}
    paid = {r.value for e in episodes for r in e.rewards if r.part == "critic"}
    assert len(paid) > 2


class Stubborn:
    """Says one word and counts what it was paid for it: the least that a learner can do."""

    spec = AgentSpec("stubborn")

    def __init__(self):
        self.earned = 0.0

    def act(self, views):
        return [Reply(view.menu[0] if view.menu else "refuse") for view in views]

    def improve(self, episodes, *, seed, on_step):
        self.earned += sum(episode.total for episode in episodes)
        return {"earned": self.earned}

    def save(self, folder):
        (folder / "earned.json").write_text(json.dumps(self.earned))

    def load(self, folder):
        self.earned = json.loads((folder / "earned.json").read_text())


def test_a_policy_and_a_learner_of_somebodys_learn_against_each_other(speaking, tmp_path):
    episodes, changed = trained(
        tmp_path / "run",
        lineup={"learner": str(speaking), "attacker": Stubborn(), "critic": "keyword"},
        train={"learner": FEW, "attacker": {"steps": 2, "batch_size": 4}},
    )
    assert changed == {"learner", "attacker"}
    weights = {e.seats["learner_0"].policy for e in episodes if "learner_0" in e.seats}
    assert len(weights) > 1


def duel(scenario, speaking):
    """Settings of two policies that learn from each other for two rounds, with a league."""
    names = {"duel:Duel": ("red", "blue"), "relay_race:RelayRace": ("giver", "guesser")}
    roles = names[scenario]
    return {
        "scenario": scenario,
        "lineup": dict.fromkeys(roles, str(speaking)),
        "train": {r: {"id": "reinforce", "steps": 1, "batch_size": 24} for r in roles},
        "rounds": 2,
        "league": {"share": 0.5, "cases": 8},
    }


@pytest.mark.parametrize("scenario", ["duel:Duel", "relay_race:RelayRace"])
def test_two_learners_meet_each_others_past(speaking, tmp_path, scenario):
    folder, settings = tmp_path / "run", duel(scenario, speaking)
    lines = skipped_stages(SelfPlay(**settings).settings)
    _, changed = trained(folder, **settings)
    roles = tuple(settings["lineup"])
    assert changed == set(roles)
    with Run.open(folder, readonly=True) as run:
        stages = run.stages.all()
        ratings = [row.metric for row in run.metrics.read("league.rating")]
        cells = [row.metric for row in run.metrics.read("league.win")]
        chains = {(s.name, s.round): s.inputs["state"]["policies"] for s in stages}
        for role, other in (roles, roles[::-1]):
            now = chains[f"improve-{role}", 2][other]["weights"]
            begun = chains[f"improve-{roles[0]}", 1][other]["weights"]
            met = Counter(
                u.reply.policy
                for stage in stages
                if (stage.name, stage.round) == (f"improve-{role}", 2)
                for episode in run.episodes(stage=stage.id)
                for u in episode.utterances
                if u.seat == f"{other}_0"
            )
            assert set(met) >= {begun, now} and now != begun
            # Half of the cases go to the league, in which today's policy is one of several.
            assert 0.1 < 1 - met[now] / sum(met.values()) < 0.6
    if scenario == "relay_race:RelayRace":
        assert any("not rated: relay-race-v0 does not say who wins" in x for x in lines)
        assert not ratings and "league" not in {s.name for s in stages}
        return
    assert not any("league" in line for line in lines)
    sizes = {
        role: {m.tags["number"] for m in ratings if m.tags["role"] == role}
        for role in roles
    }
    assert sizes == {"red": {"0", "1", "2"}, "blue": {"0", "1", "2"}}
    assert {(m.tags["role"], m.tags["against"]) for m in cells} == {("red", "blue")}
    pairs = [(m.agent, m.opponent) for m in cells]
    assert len(pairs) == len(set(pairs)) == 9
    assert "trial" not in {s.name for s in stages}
    page = write_report(folder).read_text()
    assert "Who beats whom" in page
