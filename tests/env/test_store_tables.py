"""Stages, metrics, events, agents, hazards and cells: what is written is found again."""

import threading

import pytest

import superalign_env
from superalign_env.canonical import content_hash
from superalign_env.errors import RecordError
from superalign_env.game import Game
from superalign_env.store import (
    Cell,
    EpisodeWriter,
    Run,
    StageCost,
    database,
    declare,
    provenance,
    validate,
)
from superalign_env.store.database import Database, on_network
from superalign_env.types import (
    AgentSpec,
    Ending,
    Episode,
    EpisodeKey,
    Event,
    Metric,
    MetricKind,
    Reply,
    Signal,
    Task,
)


def played():
    game = Game(superalign_env.make_scenario("echo"), EpisodeKey())
    while not game.over:
        reply = Reply("word", prompt_ids=(1, 2, 3), token_ids=(4, 5), logprobs=(0.0, 0.0))
        game.step([reply for _ in game.views()])
    return game.episode()


@pytest.fixture
def run(tmp_path):
    with Run.create(tmp_path / "run", kind="train", config={}, seed=0) as run:
        yield run


def test_a_stage_remembers_what_it_found_and_what_it_left(run):
    rng = {"philox": [1, 2**63], "note": "é"}
    begun = run.stages.begin("judge", generation=1, round=2, inputs={"a": [1]}, rng=rng)
    assert (begun.id, begun.status, begun.inputs, begun.rng) == (
        "0001-judge", "running", {"a": [1]}, rng,
    )  # fmt: skip
    done = run.stages.finish(begun.id, outputs={"b": None})
    assert (done.status, done.outputs, done.rng) == ("done", {"b": None}, rng)
    assert run.stages.begin("learn").id == "0002-learn"
    assert [s.id for s in run.stages.all(status="done")] == ["0001-judge"]
    with pytest.raises(RecordError, match="known: 0001-judge, 0002-learn"):
        run.stages.get("0003-nope")


def test_many_stages_stay_in_order(run):
    for _ in range(12):
        run.stages.finish(run.stages.begin("s").id)
    names = [s.id for s in run.stages.all()]
    assert names == sorted(names) and names[-1] == "0012-s"


def test_metrics_are_found_by_name_agent_and_tags(run):
    stage = run.stages.begin("evaluate").id
    safety = Metric("learner.safety", 0.5, 0.25, 0.75, 8, "a", "b", {"split": "gate"}, 3)
    miss = Metric("learner.miss", 0.1)
    run.metrics.write([safety, miss], stage=stage)
    run.metrics.write([Metric("learner.safety", 1)])
    assert [m.metric for m in run.metrics.read(stage=stage)] == [safety, miss]
    assert len(run.metrics.read("learner.*")) == 3
    assert len(run.metrics.read("learner.safety")) == 2
    assert run.metrics.read("learner.*", tags={"split": "gate"})[0] == (stage, safety)
    assert run.metrics.read(agent="a", opponent="b")[0].metric == safety
    assert run.metrics.latest("learner.safety") == Metric("learner.safety", 1.0)
    assert run.metrics.latest("nothing") is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_metric_that_is_no_number_is_refused_with_its_batch(run, bad):
    with pytest.raises(ValueError, match="finite"):
        run.metrics.write([Metric("good", 1.0), Metric("bad", bad)])
    assert run.metrics.read() == []


def test_events_are_found_by_the_beginning_of_their_kind(run):
    stage = run.stages.begin("gate").id
    rolled = run.events.add(Event("gate.rolled-back", evidence={"why": ["x"]}), stage=stage)
    run.events.add(Event("gateway.lost"))
    assert [e.event.kind for e in run.events.read(kind="gate")] == ["gate.rolled-back"]
    assert [e.event.evidence for e in run.events.read(stage=stage)] == [{"why": ["x"]}]
    assert [e.event.kind for e in run.events.read(since=rolled)] == ["gateway.lost"]
    assert run.events.count("gate.rolled-back") == 1
    with pytest.raises(RecordError, match="flush"):
        run.events.add(Event("canary.hit"), episode="e0")


def test_agents_know_their_ancestors(run):
    first = run.agents.add(AgentSpec("micro/1"), role="learner", generation=0)
    second = run.agents.add(
        AgentSpec("p", policy="x"), role="learner", parent=first, side="-"
    )
    third = run.agents.add(AgentSpec("p", policy="y"), role="learner", parent=second)
    assert [a.hash for a in run.agents.ancestors(third)] == [second, first]
    run.agents.accept(second)
    run.agents.accept(third, False)
    assert [a.hash for a in run.agents.all(accepted=True)] == [second]
    assert run.agents.get(first).accepted is None
    assert first == content_hash(AgentSpec("micro/1"))
    with pytest.raises(RecordError, match="no agent"):
        run.agents.accept("nobody")


def test_an_agent_that_training_left_as_it_was_keeps_its_parent(run):
    first = run.agents.add(AgentSpec("micro/1"), role="learner")
    second = run.agents.add(AgentSpec("p", policy="x"), role="learner", parent=first)
    again = run.agents.add(
        AgentSpec("p", policy="x"), role="learner", parent=second, generation=2
    )
    assert again == second
    assert [a.hash for a in run.agents.ancestors(again)] == [first]
    assert run.agents.get(again).generation == 2


def test_an_agent_that_played_gets_its_lineage_later(run):
    spec = AgentSpec("micro/1", {"temperature": 0.5})
    episode = Episode(
        "e", "toy-v0", Task("t", "f", "p"), EpisodeKey(), {"learner_0": spec}, (), (),
        Ending.terminated(),
    )  # fmt: skip
    with EpisodeWriter(run) as writer:
        writer.write([episode])
    run.agents.add(spec, role="learner", path="checkpoints/a")
    assert [a.path for a in run.agents.all()] == ["checkpoints/a"]
    assert run.episode("e") == episode
    assert [p.kind for p in validate(run)] == ["checkpoint"]
    (run.path / "checkpoints" / "a").mkdir(parents=True)
    assert validate(run) == []


def test_a_hazard_is_found_once_and_gets_its_safe_behaviour(run):
    event = run.events.add(Event("canary.hit"))
    name = run.hazards.add("escape", "rm -rf", event=event)
    assert run.hazards.add("escape", "rm -rf") == name
    run.hazards.update(name, safe="ask first", status="answered")
    (hazard,) = run.hazards.all(kind="escape", status="answered")
    assert (hazard.event, hazard.safe) == (event, "ask first")
    assert run.hazards.all(status="open") == []
    with pytest.raises(RecordError, match="no hazard"):
        run.hazards.update("nope", status="x")


def test_a_cell_is_replaced_by_its_hash(run):
    cell = Cell("h", "pgr", {"gap": 2}, 1, "r", "running", {})
    run.cells.put(cell)
    run.cells.put(cell._replace(status="done", result={"pgr": 0.5}))
    assert run.cells.get("h") == cell._replace(status="done", result={"pgr": 0.5})
    assert run.cells.all("pgr") == [run.cells.get("h")]
    assert run.cells.all("other") == []
    assert run.cells.get("x") is None


def test_a_failed_transaction_leaves_nothing(run):
    with pytest.raises(KeyError), run.database.transaction():
        run.cells.put(Cell("h", "e", {}, 0, "", "done", {}))
        raise KeyError
    assert run.cells.all() == []


def test_writers_of_many_processes_lose_no_row(run, tmp_path):
    """A deferred BEGIN would lose most of them: `database` says why."""
    windows = [Database(tmp_path / "run" / "run.db") for _ in range(4)]

    def work(window):
        for n in range(50):
            with window.transaction() as connection:
                connection.execute("SELECT count(*) FROM notices").fetchone()
                connection.execute(
                    "INSERT INTO notices(turn, seat, kind, evidence) VALUES (?, '', 'x', '{}')",
                    (n,),
                )

    threads = [threading.Thread(target=work, args=(window,)) for window in windows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for window in windows:
        window.close()
    assert run.events.count("x") == 200


MOUNTS = "/dev/a / ext4 rw 0 0\nhome:/x /home nfs4 rw 0 0\n/dev/b /home/fast xfs rw 0 0\n"


@pytest.mark.parametrize(
    ("path", "far"),
    [("/tmp/run.db", False), ("/home/me/run.db", True), ("/home/fast/run.db", False)],
)
def test_a_network_filesystem_is_noticed(monkeypatch, tmp_path, path, far):
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    monkeypatch.setattr(database, "_MOUNTS", mounts)
    assert on_network(database.Path(path)) is far


def test_a_record_on_a_network_filesystem_has_a_rollback_journal(monkeypatch, tmp_path):
    monkeypatch.setattr(database, "on_network", lambda path: True)
    with Run.create(tmp_path / "far", kind="play", config={}, seed=0) as run:
        assert run.database.value("PRAGMA journal_mode") == "delete"
        with EpisodeWriter(run) as writer:
            writer.write([])
        run.events.add(Event("x"))
    with Run.open(tmp_path / "far", readonly=True) as run:
        assert run.events.count("x") == 1


def test_the_revision_is_the_commit_of_the_checkout(monkeypatch, tmp_path):
    package = tmp_path / "superalign_env"
    git = tmp_path / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    monkeypatch.setattr(provenance.superalign_env, "__file__", str(package / "__init__.py"))
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert provenance.revision() == f"v{superalign_env.__version__}"
    (git / "packed-refs").write_text("# pack-refs\n1111 refs/heads/main\n")
    assert provenance.revision() == "1111"
    (git / "refs" / "heads" / "main").write_text("2222\n")
    assert provenance.revision() == "2222"
    (git / "HEAD").write_text("3333\n")
    assert provenance.revision() == "3333"
    assert provenance.versions()["superalign-env"] == superalign_env.__version__


def test_events_of_the_run_are_told_from_those_of_episodes(run):
    from_stage = run.events.add(Event("gate.accepted"))
    with EpisodeWriter(run) as writer:
        writer.write([played()])
    found = Event("hazard.found", evidence={"x": 1})
    about = run.events.add(found, episode=played().id)
    assert [h.id for h in run.events.of_the_run()] == [from_stage]
    assert run.events.kinds()["hazard.found"] == run.events.kinds()["gate.accepted"] == 1
    assert run.events.get([about, 99])[about].event.evidence == {"x": 1}
    assert list(run.events.get([about, 99, about])) == [about]


def test_a_record_says_what_each_stage_cost(run):
    stage = run.stages.begin("learn")
    episode = played()
    with EpisodeWriter(run, stage=stage.id) as writer:
        writer.write([episode])
    said = len(episode.utterances)
    signals = [("q", "label"), ("", "verdict"), ("", "verdict")]
    run.signals.append(
        [Signal(kind, episode.id, 0, "s", 0.5, question=asked) for asked, kind in signals]
    )
    assert run.stages.costs() == [
        StageCost(stage.id, 1, said, 3 * said, 2 * said, labels=1, statements=2)
    ]


def test_a_declaration_lies_in_the_record_with_the_first_value(tmp_path):
    declare("toy/height", "Height", unit="m", better="higher")
    declare("toy/unused", "Never measured")
    with Run.create(tmp_path / "run", kind="play", config={}, seed=1) as run:
        run.metrics.write([Metric("toy/plain", 1.0)])
        assert run.metrics.kinds() == {}
        run.metrics.write([Metric("toy/height", 1.0), Metric("toy/height", 2.0, step=1)])
        run.metrics.write([Metric("toy/height", 3.0, step=2)])
        assert run.metrics.kinds() == {
            "toy/height": MetricKind("toy/height", "Height", "m", "higher", "line")
        }
        assert [m.metric.step for m in run.metrics.read(without="*/plain")] == [0, 1, 2]
