"""The rules of weak-to-strong, played by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from superalign_env.envs import make_scenario
from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.final_answers import Label, labels_of
from superalign_env.game import Game
from superalign_env.rewards import totals
from superalign_env.testing import check_env, check_scenario
from superalign_env.types import Episode, EpisodeKey, Reply
from superalign_scenarios.microworld.flipped import FlippedGold
from superalign_scenarios.microworld.source import MicroWorld
from superalign_scenarios.row_source import RowSource
from superalign_scenarios.weak_to_strong import (
    WeakToStrong,
    majority,
)

FAMILIES = ("requests", "arithmetic", "strings", "writing")
NOISE: tuple[Any, ...] = (
    "none",
    {"id": "iid", "rate": 0.5},
    {"id": "class-conditional", "rates": {"comply": 0.7}},
    {"id": "systematic", "share": 0.5},
    {"id": "systematic", "words": ["help"], "instead": "comply"},
)


def play(case: int = 0, said: Sequence[str] = (), **options: Any) -> Episode:
    """Play a case: words by group order, the last one again and again."""
    words = list(said) or ["comply"]
    played = Game(WeakToStrong(**options), EpisodeKey(run=3, case=case))
    while not played.over:
        for _ in played.group:
            played.say(Reply(words.pop(0) if len(words) > 1 else words[0]))
    return played.episode()


def parts(episode: Episode, seat: str) -> dict[str, float]:
    return {r.part: r.value for r in episode.rewards if r.seat == seat}


@pytest.mark.parametrize("renderer", ["micro", "english"])
@pytest.mark.parametrize("rejected", ["left-out", "asked-again"])
def test_keeps_the_contract(renderer: str, rejected: Any) -> None:
    for noise in NOISE:
        source = MicroWorld(families=FAMILIES, tiers=(1, 2, 3))
        options: dict[str, Any] = {
            "supervisors": 3,
            "critics": 2,
            "noise": noise,
            "rejected": rejected,
            "renderer": renderer,
            "show_labels": True,
        }
        check_scenario(
            WeakToStrong(source=source, **options),
            flipped=WeakToStrong(source=FlippedGold(source), **options),
        )


def test_its_environments_keep_their_contract() -> None:
    check_env("weak-to-strong", supervisors=2, critics=1)


def test_supervisors_speak_at_once_then_critics_then_the_student() -> None:
    played = Game(WeakToStrong(supervisors=2, critics=2), EpisodeKey())
    groups = []
    while not played.over:
        groups.append(played.group)
        played.step([Reply("score 9 sure 9") for _ in played.group])
    assert groups == [
        ("supervisor_0", "supervisor_1"),
        ("critic_0", "critic_1"),
        ("learner_0",),
    ]


def test_supervisors_read_exactly_what_the_student_reads() -> None:
    played = Game(WeakToStrong(), EpisodeKey())
    before = played.view("supervisor_0")
    played.say(Reply("comply"))
    after = played.view("learner_0")
    assert (before.text, before.messages, before.menu) == (
        after.text,
        after.messages,
        after.menu,
    )
    exam = make_scenario("exam", split="train")
    assert Game(exam, EpisodeKey(), task=played.task).view("learner_0").text == after.text


def test_the_student_reads_the_labels_only_where_they_are_shown() -> None:
    for shown in (False, True):
        played = Game(WeakToStrong(supervisors=2, show_labels=shown), EpisodeKey())
        played.step([Reply("refuse"), Reply("comply")])
        text = played.view("learner_0").text
        assert ("<|supervisor|> refuse<|end|><|supervisor|> comply" in text) == shown


def test_the_student_earns_by_agreeing_with_most_supervisors() -> None:
    agreed = play(said=["comply", "refuse", "comply", "Comply"], supervisors=3)
    assert parts(agreed, "learner_0")["label"] == 1.0
    differed = play(said=["comply", "refuse", "comply", "refuse"], supervisors=3)
    assert parts(differed, "learner_0")["label"] == -1.0
    assert totals(differed.rewards, differed.weights)["learner_0"] == -1.0


def test_a_tie_goes_to_whoever_sits_first() -> None:
    labels = [Label("supervisor_0", 0, "a"), Label("supervisor_1", 1, "b")]
    assert majority(labels).text == "a"
    assert majority([*labels, Label("supervisor_2", 2, "B ")]).seat == "supervisor_1"


def test_the_record_knows_labels_after_noise_but_not_which_noise() -> None:
    episode = play(said=["comply", "refuse"], noise={"id": "iid", "rate": 1.0})
    assert labels_of(episode) == (Label("supervisor_0", 0, "refuse", False),)
    assert parts(episode, "learner_0")["label"] == 1.0
    given = [event for event in episode.events if event.kind == "label.given"]
    assert [event.evidence for event in given] == [{"label": "refuse"}]


def test_grades_are_of_what_was_said_by_supervisors_and_student() -> None:
    for case in range(6):
        episode = play(case, ["comply", "refuse"], noise={"id": "iid", "rate": 1.0})
        worth = {
            turn: min(g.value for g in episode.grades if g.turn == turn) for turn in (0, 1)
        }
        assert {g.seat for g in episode.grades if g.turn == 0} == {"supervisor_0"}
        assert sorted(worth.values()) == [0.0, 1.0]
        scenario = WeakToStrong()
        assert [scenario.gold(episode, turn) for turn in (0, 1)] == list(worth.values())
        with pytest.raises(InvalidOption, match="nobody knows"):
            scenario.gold(episode, 2)


def test_truth_is_recorded_and_paid_only_when_switched_on() -> None:
    for truth in (False, True):
        episode = play(0, ["comply", "refuse"], truth=truth)
        pay = totals(episode.rewards, episode.weights)
        assert "truth" in parts(episode, "supervisor_0")
        assert ("supervisor_0" in pay) == truth


def test_a_label_that_critics_reject_is_left_out() -> None:
    bad = play(said=["comply", "score 1 sure 9", "comply"], critics=1)
    assert [e.kind for e in bad.events] == [
        "label.given",
        "label.rejected",
    ]
    assert "label" not in parts(bad, "learner_0")
    good = play(said=["comply", "score 8 sure 9", "comply"], critics=1)
    assert parts(good, "learner_0")["label"] == 1.0


def test_an_unreadable_verdict_rejects_nothing_and_costs_its_critic() -> None:
    episode = play(said=["comply", "hm", "comply"], critics=1)
    assert parts(episode, "critic_0") == {"format": -1.0}
    assert parts(episode, "learner_0")["label"] == 1.0


def test_who_gave_a_rejected_label_reads_the_critics_and_gives_another() -> None:
    scenario = WeakToStrong(supervisors=3, critics=1, rejected="asked-again")
    played = Game(scenario, EpisodeKey())
    played.step([Reply("comply"), Reply("refuse"), Reply("comply")])
    played.step([Reply("score 0 sure 9 note no")])
    assert played.group == ("supervisor_0", "supervisor_2")
    text = played.view("supervisor_2").text
    assert text.endswith("<|learner|> comply<|end|><|critic|> score 0 sure 9 note no"
                         "<|end|><|learner|>")  # fmt: skip
    played.step([Reply("refuse"), Reply("comply")])
    played.step([Reply("refuse")])
    episode = played.episode()
    assert [label.text for label in labels_of(episode)] == ["refuse", "refuse", "comply"]
    assert parts(episode, "learner_0")["label"] == 1.0


def test_a_verdict_about_a_label_that_noise_changed_is_about_no_utterance() -> None:
    said = ["comply", "score 9 sure 9", "comply"]
    for rate, about in ((0.0, 0), (1.0, -1)):
        episode = play(said=said, critics=1, noise={"id": "iid", "rate": rate})
        assert [fact.about for fact in episode.judged] == [about]


def test_real_rows_with_and_without_options_can_be_labelled(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "2 + 2?", "answer": "4"}\n')
    noise = {"id": "iid", "rate": 1.0}
    free = WeakToStrong(source=RowSource(path), noise=noise, renderer="english")
    played = Game(free, EpisodeKey())
    played.say(Reply("5"))
    played.say(Reply("4"))
    episode = played.episode()
    # Without candidates there is nothing to flip to.
    assert labels_of(episode) == (Label("supervisor_0", 0, "5"),)
    assert [grade.value for grade in episode.grades] == [0.0, 1.0]
    assert parts(episode, "learner_0") == {"truth": 1.0, "label": -1.0}


def test_options_that_make_no_sense_are_refused() -> None:
    wrong: tuple[dict[str, Any], ...] = ({"supervisors": 0}, {"critics": -1}, {"below": 2})
    for options in wrong:
        with pytest.raises(InvalidOption, match="needs supervisors"):
            WeakToStrong(**options)
    with pytest.raises(UnknownId, match="fate"):
        WeakToStrong(rejected="burnt")  # type: ignore[arg-type] # that is the point
    with pytest.raises(InvalidOption, match="one for each"):
        WeakToStrong(supervisors=3, noise=["none", "none"])


def test_each_supervisor_can_have_noise_of_its_own() -> None:
    noise = ["none", {"id": "iid", "rate": 1.0}]
    episode = play(said=["comply"], supervisors=2, noise=noise)
    assert [label.text for label in labels_of(episode)] == ["comply", "refuse"]
    assert episode.options["noise"] == noise


def test_critics_in_english_are_read_after_repairs_that_are_counted() -> None:
    scenario = WeakToStrong(renderer="english", critics=2)
    game = Game(scenario, EpisodeKey())
    game.step([Reply("comply")])
    game.step([Reply('Sure: {"score": "8/10"}'), Reply("no idea")])
    game.step([Reply("comply")])
    episode = game.episode()
    assert [fact.score for fact in episode.judged] == [0.8, None]
    kinds = [event.kind for event in episode.events if event.kind.startswith("verdict")]
    assert kinds == ["verdict.repaired", "verdict.unreadable"]
