"""Whole lineups: a learner against a guard, a served model, a script; two learners at once."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

from superalign_agents.critics.classifier import ClassifierCritic
from superalign_env.store import Run
from superalign_env.types import AgentSpec, Reply
from superalign_training.selfplay import SelfPlay

BRIEF = {
    "cases": 10,
    "attack_cases": 4,
    "fresh_queries": 6,
    "fresh_waves": 2,
    "family_cases": 0,
}
FEW = {"id": "reinforce", "steps": 2, "batch_size": 8}


def trained(folder, scenario="red-team", **settings):
    """Play a run; return its episodes, and whose weights changed."""
    given = {"rounds": 1, "budget": 0.0, "evaluate": BRIEF, "run_dir": str(folder)}
    SelfPlay(scenario, **{**given, **settings}).run()
    with Run.open(folder, readonly=True) as run:
        stages, episodes = run.stages.all(), list(run.episodes())
    first = stages[0].inputs["chain"]["policies"]
    last = stages[-1].outputs["chain"]["policies"]
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


def test_a_learner_against_a_script_is_paid_by_the_truth_and_by_no_critic(
    speaking, tmp_path
):
    asked = []

    def script(view):
        asked.append(view.case)
        return view.menu[view.case % len(view.menu)]

    episodes, changed = trained(
        tmp_path / "run",
        options={"truth": True, "weights": {"learner": {"truth": 1.0}}},
        lineup={
            "learner": str(speaking),
            "attacker": script,
            "critic": {"id": "fixed", "text": "score 5 sure 0"},
        },
        train={"learner": FEW},
    )
    assert changed == {"learner"} and asked
    practised = [e for e in episodes if e.weights["learner"] == {"truth": 1.0}]
    earned = {r.value for e in practised for r in e.rewards if r.part == "truth"}
    assert len(earned) > 1 and said_by(practised, "critic_0") == {"score 5 sure 0"}


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
