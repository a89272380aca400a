"""The experiment human-pay in miniature: what differs between its arms, and what does not."""

from typing import NamedTuple

import pytest

from superalign_env.envs import make_scenario
from superalign_env.errors import InvalidOption
from superalign_env.store import Run, standing
from superalign_scenarios.microworld.words import OBJECTS, VERBS
from superalign_training.data import training_rows
from superalign_training.experiments import human_pay
from superalign_training.experiments.engine.experiment import CellContext
from superalign_training.experiments.human_pay import teaching
from superalign_training.experiments.human_pay.flawed_critic import (
    HARMLESS,
    LIKED,
    asked_kind,
)
from superalign_training.selfplay import rl_training

SMALL = {"rung": 1, "steps": 2, "batch_size": 8, "budget": 0.5}


class Arm(NamedTuple):
    """What a cell left, and what its learner learned from."""

    values: dict
    episodes: dict
    questions: list
    said: list
    paid: float
    by_people: dict
    """Episode → what people's answers paid, as rows that were learned from hold it."""
    examples: list
    """What was imitated: prompt, completion."""

    @property
    def asked(self):
        return [(q.episode, q.turn, q.slice) for q in self.questions]


def arm(root, name, **params):
    """Play a cell without measuring what was learned, and return what it did."""
    batches, imitated = [], []

    class Live(rl_training.Live):
        def __new__(cls, play, cap):
            def keep(first, count):
                batches.append(play(first, count))
                return batches[-1]

            return super().__new__(cls, keep, cap)

    class Sft(teaching.Sft):
        def improve(self, policy, examples, **more):
            imitated.extend((e.prompt_ids, e.completion_ids) for e in examples)
            return super().improve(policy, examples, **more)

    bench = CellContext(root, name, scope="test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rl_training, "Live", Live)
        patch.setattr(teaching, "Sft", Sft)
        # Every request of the world would be answered, which takes longer than all the rest.
        patch.setattr(human_pay, "probe", lambda *_: None)
        patch.setattr(human_pay, "_rates", lambda _: {})
        values = human_pay.cell({**human_pay.FROZEN, **SMALL, **params}, 0, bench)
    with Run.open(bench.folder / "run", readonly=True) as run:
        episodes = {episode.id: episode for episode in run.episodes()}
        rest = {
            row.episode: row.reward
            for row in training_rows(episodes.values(), teaching.SEAT)
        }
        played = [row for batch in batches for row in batch]
        # Arms that compare themselves with a labelled run may have played that one before.
        own = played[len(played) - len(episodes) :] if episodes else []
        return Arm(
            values,
            episodes,
            run.questions.all(),
            standing(run.signals.read()),
            sum(row.metric.value for row in run.metrics.read("people.paid")),
            {row.episode: round(row.reward - rest[row.episode], 9) for row in own},
            imitated,
        )


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    root = tmp_path_factory.mktemp("human-pay")
    return {
        "labels": arm(root, "labels"),
        "permuted": arm(root, "permuted", permuted=True),
        "truth": arm(root, "truth", accuracy=1.0),
        "rejection": arm(root, "rejection", taught="rejection"),
        "written": arm(root, "written", taught="written"),
    }


def labels_of(found):
    return {signal.episode: signal.value for signal in found.said}


def test_b_counts_labels_that_pay(arms):
    for name in ("labels", "permuted", "truth"):
        found = arms[name]
        assert len(found.episodes) == 16
        assert found.paid == len(found.said) == found.values["labels"] == 8, name
        assert {question.slice for question in found.questions} == {"selected"}
    for name in ("rejection", "written"):
        assert arms[name].values["labels"] == 8 and not arms[name].episodes, name


def test_labels_pay_on_the_rows_that_were_labelled_and_on_no_others(arms):
    for name in ("labels", "truth"):
        labels = labels_of(arms[name])
        expected = {
            episode: 2 * labels[episode] - 1 if episode in labels else 0.0
            for episode in arms[name].episodes
        }
        assert arms[name].by_people == expected, name
    assert set(labels_of(arms["labels"]).values()) == {0.0, 1.0}


def test_permuted_labels_are_the_same_ones_on_the_same_rows(arms):
    labels, permuted = arms["labels"], arms["permuted"]
    assert permuted.asked == labels.asked
    rows = [signal.episode for signal in labels.said]
    assert [signal.episode for signal in permuted.said] == rows
    told = [labels.by_people[episode] for episode in rows]
    moved = [permuted.by_people[episode] for episode in rows]
    assert sorted(told) == sorted(moved) and told != moved
    others = set(permuted.by_people) - set(rows)
    assert len(others) == 8 and all(permuted.by_people[name] == 0.0 for name in others)


def test_the_truth_pays_on_the_very_rows_that_labels_pay_on(arms):
    truth = arms["truth"]
    assert truth.asked == arms["labels"].asked
    assert [s.episode for s in truth.said] == [s.episode for s in arms["labels"].said]
    scenario = make_scenario("red-team", split="train", vanilla=1.0)
    for signal in truth.said:
        gold = scenario.gold(truth.episodes[signal.episode], signal.turn, "everyone")
        assert signal.value == gold


def test_what_is_imitated_are_the_rows_that_were_called_good(arms):
    labels = labels_of(arms["labels"])
    good = [
        (row.prompt_ids, row.completion_ids)
        for row in training_rows(arms["labels"].episodes.values(), teaching.SEAT)
        if labels.get(row.episode) == 1.0
    ]
    assert 0 < len(good) < len(labels)
    assert sorted(arms["rejection"].examples) == sorted(good)


def test_people_write_to_the_very_requests_that_were_labelled(arms):
    asked = [
        row.prompt_ids
        for row in training_rows(arms["labels"].episodes.values(), teaching.SEAT)
        if row.episode in labels_of(arms["labels"])
    ]
    assert sorted(prompt for prompt, _ in arms["written"].examples) == sorted(asked)


LIKING = {
    "critic": {"weight": 1.0, "wrong": 0.0, "where": "liked"},
    "batch_size": 48,
    "steps": 1,
    "later": [1],
    "budget": 0.0,
    "vetoes": 2,
}


def test_placebo_vetoes_fall_on_harmless_acts_of_a_kind_as_frequent(tmp_path):
    scenario = make_scenario("red-team", split="train", vanilla=1.0)
    vetoed = {}
    for name, kind, harmful in (("liked", LIKED, True), ("placebo", HARMLESS, False)):
        found = arm(tmp_path, name, **LIKING, vetoed=name)
        acts = [
            (episode.id, u.turn)
            for episode in found.episodes.values()
            for u in episode.utterances
            if episode.key.round == 1
            and u.seat == teaching.SEAT
            and u.text.strip() == "comply"
            and asked_kind(episode.task.prompt) == kind
            and (scenario.gold(episode, u.turn, "everyone") < 0.5) == harmful
        ]
        vetoed[name] = [(s.episode, s.turn) for s in found.said if s.kind == "veto"]
        assert vetoed[name] == acts[-2:] and len(acts) >= 2, name
        assert found.values["vetoes"] == 2.0
    assert LIKED != HARMLESS and not set(vetoed["liked"]) & set(vetoed["placebo"])
    assert {len(words) for words in (*VERBS, *OBJECTS)} == {6}, "kinds as frequent"


def test_too_few_acts_to_veto_are_said(tmp_path):
    with pytest.raises(
        InvalidOption, match="acts to veto, not 90: make the first round longer"
    ):
        arm(tmp_path, "liked", **{**LIKING, "vetoes": 90}, vetoed="liked")
