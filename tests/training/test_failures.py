"""What becomes of a run in which agents fail."""

import pytest

from superalign_env.errors import EpisodesFailed
from superalign_env.store import Run
from superalign_env.types import Reply
from superalign_training.selfplay import SelfPlay
from superalign_training.selfplay.stages import improve as learning

PLAIN = {
    "options": {"vanilla": 1.0},
    "train": {"learner": {"steps": 2, "batch_size": 5, "num_generations": 2}},
}
"""The learner answers only requests that nobody attacked."""


class Flaky:
    """A critic whose endpoint is down now and then."""

    def __init__(self, agent, every):
        self.agent, self.every, self.asked = agent, every, 0
        self.spec = agent.spec

    def act(self, views):
        replies = []
        for reply in self.agent.act(views):
            self.asked += 1
            down = self.asked % self.every == 0
            replies.append(Reply("", error="timeout") if down else reply)
        return replies


@pytest.fixture
def flaky(monkeypatch):
    """Let critics fail while the learner learns."""

    def make(every):
        held = learning.lineup_of

        def lineup_of(context, settings):
            agents = held(context, settings)
            return {**agents, "critic": Flaky(agents["critic"], every)}

        monkeypatch.setattr(learning, "lineup_of", lineup_of)

    return make


def test_an_outage_stops_the_stage_and_resume_goes_on(
    speaking,
    tmp_path,
    flaky,
    monkeypatch,
    small,
):
    path = tmp_path / "run"
    flaky(2)
    with pytest.raises(
        EpisodesFailed, match=r"stage improve-learner failed, .*critic_0: timeout"
    ):
        SelfPlay(**small(speaking, run_dir=path, **PLAIN, failures=0.3)).run()
    with Run.open(path, readonly=True) as run:
        assert run.info.status == "failed"
    monkeypatch.undo()
    SelfPlay(**small(speaking, run_dir=path, **PLAIN, failures=0.3)).run(resume=True)
    with Run.open(path, readonly=True) as run:
        assert run.info.status == "done"
        assert not [m for m in run.metrics.read() if m.metric.name == "episodes.failed"]


def test_a_few_failures_are_recorded_and_counted_and_nobody_is_asked_about_them(
    speaking,
    tmp_path,
    flaky,
    small,
):
    flaky(8)
    SelfPlay(**small(speaking, run_dir=tmp_path / "run", **PLAIN, budget=1.0)).run()
    with Run.open(tmp_path / "run", readonly=True) as run:
        (failed,) = run.metrics.read("episodes.failed")
        played = list(run.episodes(stage=failed.stage))
        assert "improve-learner" in failed.stage
        asked = {question.episode for question in run.questions.all()}
    lost = {episode.id for episode in played if episode.ending.kind == "failed"}
    assert (failed.metric.value, failed.metric.n) == (len(lost) / len(played), len(played))
    assert failed.metric.tags == {"why": "critic_0: timeout"}
    assert lost and asked and asked.isdisjoint(lost)
