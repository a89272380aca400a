"""People's answers pay: at once, late, and as a veto; nothing else changes with them."""

import io
import shutil
import threading
import time
from functools import partial

import pytest
from improving import (
    ROLES,
    KilledAtAStep,
    SeatedCritic,
    go,
    grpo,
    outcome,
    settings,
    spied_batches,
    total,
    weights,
)

from superalign_env.errors import InvalidOption
from superalign_env.humans.simulated import SimulatedAnnotator, work_off
from superalign_env.humans.terminal import label
from superalign_env.humans.turns import SeatedPerson, turn_question
from superalign_env.store import Run, standing
from superalign_env.types import Question, Signal, View, role_of
from superalign_training.cli.composing import composed
from superalign_training.cli.cost import cost_of
from superalign_training.data import training_rows
from superalign_training.selfplay import rl_training
from superalign_training.selfplay.agents import first_policies, lineup_of
from superalign_training.selfplay.checks import require_lineup
from superalign_training.selfplay.driver import (
    Interrupted,
    PlannedStage,
    StageResult,
    drive,
)
from superalign_training.selfplay.model_cache import ModelCache
from superalign_training.selfplay.playing import play, stage_scenario
from superalign_training.selfplay.settings import read_settings
from superalign_training.selfplay.skipped_stages import skipped_stages
from superalign_training.selfplay.stages.improve import annotate
from superalign_training.selfplay.state import PaidAnswers, first_state
from superalign_training.selfplay.supervisors import feedback
from superalign_training.selfplay.supervisors.candidates import question_candidates
from superalign_training.selfplay.supervisors.feedback import as_ranges
from superalign_training.selfplay.watching import Silent

LABELS = {"kinds": {"label": 1}}


@pytest.fixture(scope="module")
def alone(speaking, tmp_path_factory):
    """A run of two rounds in which nobody is asked."""
    path = tmp_path_factory.mktemp("alone") / "run"
    return path, go(path, settings(speaking), 2)


def test_labels_change_weights_and_are_counted(speaking, tmp_path, alone):
    chain = go(tmp_path / "run", settings(speaking, budget=0.5, people=LABELS), 2)
    assert weights(chain) != weights(alone[1])
    asked, paid = (total(tmp_path / "run", f"people.{n}") for n in ("asked", "paid"))
    with Run.open(tmp_path / "run", readonly=True) as run:
        questions = run.questions.all()
        episodes = run.count()
        parts = {row.metric.name for row in run.metrics.read("train/reward/*")}
    assert asked == len(questions) and paid == episodes * 0.5
    assert sum(q.slice == "selected" for q in questions) == paid
    assert "train/reward/human" in parts


def test_without_a_budget_nothing_differs_whoever_the_people_are(speaking, tmp_path, alone):
    people = {"mode": "wait", "label_use": "debias", "annotators": [{"accuracy": 0.5}]}
    go(tmp_path / "run", settings(speaking, people=people), 2)
    assert outcome(tmp_path / "run") == outcome(alone[0])


@pytest.mark.parametrize("use", ["override", "add", "debias"])
def test_the_same_seed_gives_the_same_record_however_labels_are_used(
    speaking, tmp_path, use
):
    people = {"label_use": use, "kinds": {"label": 1, "veto": 1}, "evaluation_share": 0.5}
    chosen = settings(speaking, budget=0.5, people=people)
    for name in ("one", "two"):
        go(tmp_path / name, chosen)
    assert outcome(tmp_path / "one") == outcome(tmp_path / "two")
    with Run.open(tmp_path / "one", readonly=True) as run:
        slices = {q.slice for q in run.questions.all() if q.kind == "label"}
    assert slices == {"random", "training" if use == "debias" else "selected"}


def test_ways_to_use_labels_lead_elsewhere(speaking, tmp_path):
    ends = set()
    for use in ("override", "add", "debias"):
        chosen = settings(speaking, budget=0.5, people={**LABELS, "label_use": use})
        ends.add(weights(go(tmp_path / use, chosen)))
    assert len(ends) == 3


def test_opinions_that_debias_cuts_off_are_counted(speaking, tmp_path, monkeypatch):
    people = {**LABELS, "label_use": "debias"}
    chosen = settings(speaking, budget=0.5, people=people)
    go(tmp_path / "run", chosen)
    assert total(tmp_path / "run", "people.asked") > 0
    assert total(tmp_path / "run", "people.clipped") == 0
    # As of a scenario that pays more than its contract allows.
    monkeypatch.setattr(feedback, "in_range", lambda reward: reward.value < 0.0)
    go(tmp_path / "large", chosen)
    with Run.open(tmp_path / "large", readonly=True) as run:
        large = sum(
            reward.part == "critic" and reward.value >= 0.0
            for episode in run.episodes()
            for reward in episode.rewards
        )
    assert total(tmp_path / "large", "people.clipped") == large > 0
    added = settings(speaking, budget=0.5, people=LABELS)
    go(tmp_path / "override", added)
    assert total(tmp_path / "override", "people.clipped") == 0


def test_fractions_of_a_question_carry_over_from_batch_to_batch_and_stage_to_stage(
    speaking, tmp_path
):
    people = {**LABELS, "evaluation_share": 0.0}
    chosen = settings(speaking, budget=1 / 16, people=people, train=grpo(steps=1))
    go(tmp_path / "run", chosen, 4)
    with Run.open(tmp_path / "run", readonly=True) as run:
        stages = run.stages.all()
        rounds = [q.round for q in run.questions.all()]
        played = [run.count(stage=stage.id) for stage in stages]
    assert set(played) == {8}  # half a question each
    assert rounds == [2, 4]
    left = [stage.outputs["state"]["question_remainders"]["label"] for stage in stages]
    assert left == [0.5, 0.0, 0.5, 0.0]


def test_answers_of_the_random_slice_never_reach_rows(speaking, tmp_path, monkeypatch):
    seen = []

    def spy(episodes, seat, signals=(), **options):
        seen.extend(signals)
        return training_rows(episodes, seat, signals, **options)

    monkeypatch.setattr(rl_training, "training_rows", spy)
    people = {**LABELS, "evaluation_share": 1.0}
    go(tmp_path / "run", settings(speaking, budget=0.25, people=people), 2)
    with Run.open(tmp_path / "run", readonly=True) as run:
        questions = {q.id: q for q in run.questions.all()}
        answered = {s.question for s in run.signals.read()}
        agreement = run.metrics.read("verdicts.agreement")
        chain = run.stages.all()[-1].outputs["state"]
    drawn = {name for name, q in questions.items() if q.slice == "random"}
    assert drawn <= answered
    assert len(drawn) == len(questions) / 2
    assert seen and not drawn & {signal.question for signal in seen}
    assert agreement and sum(row.metric.n for row in agreement) > 0
    assert "learner" in chain["paid_answers"]


def test_permuted_labels_change_only_the_pairing(speaking, tmp_path):
    chosen = settings(speaking, budget=1.0, people={**LABELS, "evaluation_share": 0.0})
    go(tmp_path / "run", chosen)
    with Run.open(tmp_path / "run", readonly=True) as run:
        episodes, said = list(run.episodes()), run.signals.read(kind="label")
    assert len({signal.value for signal in said}) == 2
    places = [(signal.episode, signal.turn) for signal in said]
    moved = [
        Signal("label", episode, turn, signal.source, signal.value)
        for signal, (episode, turn) in zip(said, places[1:] + places[:1], strict=True)
    ]
    rows, permuted = (training_rows(episodes, "learner_0", s) for s in (said, moved))
    assert [row.reward for row in rows] != [row.reward for row in permuted]
    assert [r.completion_ids for r in rows] == [r.completion_ids for r in permuted]

    def from_people(found):
        alone = training_rows(episodes, "learner_0")
        changes = zip(found, alone, strict=True)
        return sorted(round(one.reward - other.reward, 9) for one, other in changes)

    assert from_people(rows) == from_people(permuted)


def answers_of(run, round_=1):
    """(episode, turn) of what the learner said in a round."""
    return [
        (episode.id, u.turn)
        for episode in run.episodes(round=round_)
        for u in episode.utterances
        if role_of(u.seat) == "learner"
    ]


def test_vetoes_between_rounds_change_the_next_one(speaking, tmp_path, alone):
    def forbid(run):
        run.signals.append(
            [Signal("veto", *place, "ann", 0.0) for place in answers_of(run)[::2]]
        )

    chain = go(tmp_path / "run", settings(speaking), 2, between=forbid)
    assert weights(chain) != weights(alone[1])
    with Run.open(tmp_path / "run", readonly=True) as run:
        vetoes = len(run.signals.read())
        first = run.stages.all()[0].outputs["state"]
    with Run.open(alone[0], readonly=True) as run:
        assert weights(first) == weights(run.stages.all()[0].outputs["state"])
    returned = total(tmp_path / "run", "people.late")
    assert returned == 4 < vetoes, "half of every batch is played now"
    heard = chain["paid_answers"]["learner"]
    assert (heard["upto"], heard["paid"]) == (vetoes, [])
    assert len(heard["unpaid"]) == vetoes - returned


def test_late_rows_are_paid_the_difference_alone(speaking, tmp_path, monkeypatch):
    batches = spied_batches(monkeypatch)

    def say(run):
        batches.clear()
        places = answers_of(run)
        run.signals.append([Signal("veto", *places[0], "ann", 0.0)])
        say.paid = {
            row.episode: row.reward for row in training_rows(run.episodes(), "learner_0")
        }

    go(tmp_path / "run", settings(speaking), 2, between=say)
    late = [row for batch in batches for row in batch if row.origin == "late"]
    assert len(late) == 2, "the whole case came back: two members"
    with Run.open(tmp_path / "run", readonly=True) as run:
        vetoed = run.signals.read()[0].episode
    changes = {row.episode: row.reward for row in late}
    other = next(name for name in changes if name != vetoed)
    assert changes[vetoed] == pytest.approx(-1.0 - say.paid[vetoed])
    assert changes[other] == 0.0
    mixed = [batch for batch in batches if any(row.origin == "late" for row in batch)]
    assert [batch[0].origin for batch in mixed] == ["late"], (
        "first of the batch: who plays more cases than needed leaves the last ones out"
    )
    for batch in batches:
        live = {row.case for row in batch if row.origin == "live"}
        assert not live & {row.case for row in batch if row.origin == "late"}


def answer_all(run, scenario, accuracy=1.0):
    person = SimulatedAnnotator("ann", accuracy=accuracy)
    run.annotators.enroll("ann")
    return work_off(run.questions, person, episode_of=run.episode, scenario=scenario)


@pytest.mark.parametrize("name", ["grpo", "reinforce", "ppo"])
def test_answers_that_come_after_the_stage_pay_in_the_next(speaking, tmp_path, name):
    people = {**LABELS, "mode": "continue"}
    chosen = settings(speaking, budget=0.5, people=people, train=grpo(id=name))
    scenario = stage_scenario(chosen, split="train")
    given = []
    silent = go(tmp_path / "silent", chosen, 2)
    chain = go(
        tmp_path / "run",
        chosen,
        2,
        between=lambda run: given.extend(answer_all(run, scenario)),
    )
    assert weights(chain) != weights(silent)
    with Run.open(tmp_path / "run", readonly=True) as run:
        slices = {q.id: q.slice for q in run.questions.all()}
    training = sum(slices[signal.question] != "random" for signal in given)
    returned = total(tmp_path / "run", "people.late")
    assert 0 < returned <= training < len(given)
    assert total(tmp_path / "run", "people.paid") == 0


@pytest.mark.parametrize(
    ("more", "change"),
    [
        ({"people": {"staleness": 0}}, {}),
        ({"lineup": "greedy"}, {"num_generations": 2, "fork": False}),
    ],
)
def test_what_cannot_be_weighed_moves_nothing_and_is_counted(
    speaking, tmp_path, more, change
):
    if more.get("lineup") == "greedy":
        greedy = {"id": str(speaking), "temperature": 0}
        more = {"lineup": {**dict.fromkeys(ROLES, str(speaking)), "learner": greedy}}
    chosen = settings(speaking, train=grpo(**change), **more)

    def forbid(run):
        run.signals.append(
            [Signal("veto", *place, "ann", 0.0) for place in answers_of(run)[:3]]
        )

    silent = go(tmp_path / "silent", chosen, 2)
    chain = go(tmp_path / "run", chosen, 2, between=forbid)
    assert weights(chain) == weights(silent)
    assert total(tmp_path / "run", "people.late") == 0
    lessons = total(tmp_path / "run", "people.late_examples")
    assert total(tmp_path / "run", "people.late_stored") == lessons > 0
    with Run.open(tmp_path / "run", readonly=True) as run:
        events = [h.event.evidence for h in run.events.read(kind="people.stored")]
    assert sum(event["answers"] for event in events) == lessons
    assert {event["role"] for event in events} == {"learner"}
    assert all("it learns by pay alone; set supervise={}" in e["reason"] for e in events)


def test_answers_too_late_to_pay_are_lessons_where_a_stage_supervises(speaking, tmp_path):
    def forbid(run):
        run.signals.append(
            [Signal("veto", *place, "ann", 0.0) for place in answers_of(run)[:3]]
        )

    chosen = settings(speaking, people={"staleness": 0}, supervise={"cases": 2})
    go(tmp_path / "run", chosen, 2, between=forbid)
    assert total(tmp_path / "run", "people.late_examples") > 0
    assert total(tmp_path / "run", "people.late_stored") == 0


@pytest.mark.parametrize(
    ("more", "role", "reason"),
    [
        ({}, "learner", "set supervise={} to teach them as examples"),
        ({"supervise": {}}, "learner", ""),
        ({"train": {"critic": ["sft", "ppo"]}}, "critic", ""),
        ({"train": {"critic": "ppo"}}, "critic", "it learns by pay alone"),
        ({"train": {"attacker": ["sft", "ppo"]}}, "attacker", "it learns by pay alone"),
        ({"lineup": {"learner": "sb3"}, "train": {"learner": "sb3-ppo"}}, "learner", ""),
    ],
)
def test_the_plan_says_who_learns_nothing_from_answers_that_cannot_pay(more, role, reason):
    asked = {"budget": 0.1, "people": {"mode": "continue"}}
    lineup = {**dict.fromkeys(ROLES, "micro/1"), **more.get("lineup", {})}
    chosen = read_settings({**more, "lineup": lineup, **asked})
    lines = [line for line in skipped_stages(chosen) if "are stored" in line]
    said = " ".join(line for line in lines if f"the {role} (" in line)
    assert (reason in said) if reason else not said
    silent = read_settings({**more, "lineup": lineup, "budget": 0.1})
    assert not [line for line in skipped_stages(silent) if "are stored" in line]


def test_answers_that_a_stage_has_no_room_for_are_kept_for_the_next(speaking, tmp_path):
    few = grpo(steps=1, batch_size=2)

    def forbid(run):
        run.signals.append(
            [Signal("veto", *place, "ann", 0.0) for place in answers_of(run)]
        )

    chosen = settings(speaking, train=few, people={"staleness": 2})
    chain = go(tmp_path / "run", chosen, 3, between=forbid)
    with Run.open(tmp_path / "run", readonly=True) as run:
        late = [row.metric.value for row in run.metrics.read("people.late")]
        first = run.stages.all()[1].outputs["state"]["paid_answers"]["learner"]
    assert late == [2.0, 2.0]  # one case of two in each stage
    assert len(first["unpaid"]) == 2
    assert chain["paid_answers"]["learner"] == {"upto": 4, "paid": [], "unpaid": []}
    # Else they are too old, and counted.
    chosen = settings(speaking, train=few)
    go(tmp_path / "stale", chosen, 3, between=forbid)
    assert total(tmp_path / "stale", "people.late") == 2
    assert total(tmp_path / "stale", "people.late_examples") == 2


def test_a_stage_waits_until_people_have_answered(speaking, tmp_path):
    path = tmp_path / "run"
    people = {**LABELS, "mode": "wait"}
    chosen = settings(speaking, budget=0.5, people=people)
    scenario = stage_scenario(chosen, split="train")
    done, waited = threading.Event(), []

    def person():
        while not done.is_set():
            time.sleep(0.05)
            try:
                run = Run.open(path, beside=True)
            except Exception:
                continue
            with run:
                answer_all(run, scenario, accuracy=0.95)

    class Listener(Silent):
        def wait(self, reason):
            waited.append(reason)

    thread = threading.Thread(target=person)
    thread.start()
    try:
        chain = go(path, chosen, 1, watcher=Listener())
    finally:
        done.set()
        thread.join()
    assert f"superalign label {path}" in waited[0]
    assert total(path, "people.asked") == total(path, "people.answered") > 0
    assert total(path, "people.paid") > 0
    assert weights(chain) != weights(go(tmp_path / "none", settings(speaking)))


def test_who_was_interrupted_while_waiting_asks_nothing_again(speaking, tmp_path):
    path = tmp_path / "run"
    chosen = settings(speaking, budget=0.5, people={**LABELS, "mode": "wait"})
    scenario = stage_scenario(chosen, split="train")

    class Leaving(Silent):
        def wait(self, reason):
            raise KeyboardInterrupt

    stopped = 0
    while stopped < 9:
        try:
            end = go(path, chosen, watcher=Leaving())
            break
        except Interrupted:
            stopped += 1
        with Run.open(path, beside=True) as run:
            answer_all(run, scenario)
    assert stopped == 2, "one stop for every rollout"
    with Run.open(path, readonly=True) as run:
        said = standing(run.signals.read())
        questions = run.questions.all()
        assert all(run.count(stage=stage.id) for stage in run.stages.all())
    assert len(said) == len({signal.question for signal in said}) == len(questions)
    at_once = {**LABELS, "annotators": [{"name": "ann", "accuracy": 1.0}]}
    whole = go(tmp_path / "whole", settings(speaking, budget=0.5, people=at_once))
    assert weights(end) == weights(whole), (
        "what was said before the stop was heard after it"
    )


def test_what_a_kill_leaves_while_people_are_waited_for_ends_as_if_nothing_had_been(
    speaking, tmp_path, monkeypatch
):
    """A copy of the folder is what a kill at that moment leaves on the disk."""
    monkeypatch.setattr(feedback, "POLL_SECONDS", 0.0)
    path = tmp_path / "run"
    chosen = settings(
        speaking, budget=0.5, people={"kinds": {"label": 1, "veto": 1}, "mode": "wait"}
    )
    scenario = stage_scenario(chosen, split="train")

    def answer(folder, limit=None):
        person = SimulatedAnnotator("ann", accuracy=0.8)
        with Run.open(folder, beside=True) as run:
            run.annotators.enroll("ann")
            work_off(
                run.questions,
                person,
                episode_of=run.episode,
                scenario=scenario,
                limit=limit,
            )

    class Person(Silent):
        """Answers in steps, and keeps what lies on the disk after each."""

        def __init__(self, folder, limits=()):
            self.folder, self.limits, self.kept = folder, limits, []

        def wait(self, reason):
            for limit in self.limits:
                answer(self.folder, limit)
                kept = tmp_path / f"kept-{len(self.kept)}"
                self.kept.append(shutil.copytree(self.folder, kept))
            answer(self.folder)

    first = Person(path, (0, 1, None))
    go(path, chosen, watcher=first)
    with Run.open(path, readonly=True) as run:
        questions, said = run.questions.all(), standing(run.signals.read())
    assert len(said) == len({signal.question for signal in said}) == len(questions)
    begun = []
    for kept in first.kept:
        with Run.open(kept, beside=True) as run:
            begun.append(len(run.signals.read()))
        go(kept, chosen, watcher=Person(kept))
        assert outcome(kept) == outcome(path)
    assert begun[:2] == [0, 1] and begun[2] > 1 and len(begun) == 6


def test_what_can_be_asked_are_judged_turns_of_who_learns_and_pairs_of_them(
    speaking, tmp_path
):
    chosen = settings(speaking, options={"refine": 1, "critics": 2})
    go(tmp_path / "run", chosen)
    with Run.open(tmp_path / "run", readonly=True) as run:
        episodes = list(run.episodes())
    found = question_candidates(episodes, ["learner_0"])
    assert len(found.turns) == 2 * len(episodes) and len(found.pairs) == len(episodes)
    assert {len(one.scores) for one in found.turns} <= {0, 1, 2}
    assert question_candidates(episodes, ["critic_1"]).turns == found.turns
    assert question_candidates(episodes, ["attacker_0"]).turns == []
    asked = Question(
        "q", "preference", episodes[0].id, found.pairs[0].turn, found.pairs[0].versus
    )
    left = found.without([asked])
    assert left.episodes == len(episodes) - 1 and len(left.pairs) == len(episodes) - 1


def test_people_are_asked_about_training_alone(speaking, tmp_path):
    """What measures is never asked about: its answers would be known in training."""
    chosen = settings(speaking, budget=1.0, people={**LABELS, "evaluation_share": 0.0})

    def played(context, split):
        scenario = stage_scenario(chosen, split=split)
        play(context, scenario, lineup_of(context, chosen), 4, part=split)
        return StageResult(context.state)

    plan = [
        PlannedStage("measured", partial(played, split="test"), 1),
        PlannedStage("played", partial(played, split="train"), 1),
        PlannedStage("annotate", partial(annotate, settings=chosen), 1),
    ]
    with Run.create(tmp_path / "run", kind="train", config={}, seed=5) as run:
        policies = first_policies(chosen, ModelCache())
        drive(run, plan, first_state=partial(first_state, run, policies), watcher=Silent())
        asked = {question.episode for question in run.questions.all()}
        assert asked == set(run.episode_ids(split="train"))
        assert len(asked) == 4 and run.count() == 8


def test_algorithms_of_one_stage_ask_about_episodes_of_their_own(speaking, tmp_path):
    first = {"id": "reinforce", "steps": 1, "batch_size": 4, "learning_rate": 1e-1}
    second = {"id": "grpo", "steps": 1, "batch_size": 4, "num_generations": 2}
    people = {**LABELS, "evaluation_share": 0.0}
    chosen = settings(speaking, budget=1.0, people=people)
    chosen = read_settings(
        {**chosen.model_dump(mode="json"), "train": {"learner": [first, second]}}
    )
    go(tmp_path / "run", chosen)
    with Run.open(tmp_path / "run", readonly=True) as run:
        assert run.count() == 4 + 2 * 4
        asked = [(q.kind, q.episode, q.turn) for q in run.questions.all()]
        said = [(s.source, s.kind, s.episode, s.turn) for s in run.signals.read()]
    assert len(asked) == len(set(asked)) == 12
    assert len(said) == len(set(said)) == 12
    assert total(tmp_path / "run", "people.asked") == 12


def test_where_no_seat_speaks_twice_preferences_become_labels(speaking, tmp_path):
    people = {"kinds": {"label": 1, "preference": 1}, "evaluation_share": 0.0}
    go(tmp_path / "run", settings(speaking, budget=0.5, people=people))
    with Run.open(tmp_path / "run", readonly=True) as run:
        questions = run.questions.all()
        assert len(questions) == run.count() / 2
    assert {q.kind for q in questions} == {"label"}


def test_several_people_take_turns_and_tire(speaking, tmp_path):
    who = [
        {"name": "ann", "group": "everyone", "accuracy": 1.0, "fatigue": 0.5},
        {"name": "bob", "group": "elders", "accuracy": 1.0, "drift": 0.1},
    ]
    people = {**LABELS, "annotators": who, "evaluation_share": 0.0}
    go(tmp_path / "run", settings(speaking, budget=1.0, people=people))
    with Run.open(tmp_path / "run", readonly=True) as run:
        said = run.signals.read()
        profiles = {one.id: (one.group, one.profile) for one in run.annotators.all()}
    sources = [signal.source for signal in said]
    assert sources == [("ann", "bob")[place % 2] for place in range(len(sources))]
    sure = [signal.confidence for signal in said if signal.source == "ann"]
    assert sure[0] == 1.0 and set(sure[2:]) == {0.5}, "batch after batch, down to a coin"
    assert profiles["ann"][1]["fatigue"] == 0.5
    assert profiles["bob"][0] == "elders" and profiles["bob"][1]["drift"] == 0.1


def test_signals_are_known_by_unbroken_rows():
    assert as_ranges([5, 1, 2, 3, 9]) == ((1, 3), (5, 5), (9, 9))
    heard = PaidAnswers(10, ((12, 14), (20, 20)))
    assert [n for n in range(9, 22) if heard.has(n)] == [9, 10, 12, 13, 14, 20]


def test_kinds_without_any_share_are_refused(speaking):
    with pytest.raises(InvalidOption, match="label=1"):
        settings(speaking, people={"kinds": {"label": 0}})


# --- a person in a seat


def test_a_person_in_a_seat_is_not_asked_again_after_a_kill(speaking, tmp_path):
    lineup = {**dict.fromkeys(ROLES, str(speaking)), "critic": "human"}
    chosen = settings(speaking, lineup=lineup)
    ends = {}
    for name in ("whole", "killed"):
        path = tmp_path / name
        with SeatedCritic(path) as person:
            if name == "killed":
                with pytest.raises(Interrupted):
                    go(path, chosen, watcher=KilledAtAStep())
                before = len(person.shown)
                assert before > 0
            ends[name] = go(path, chosen)
            assert len(person.shown) == len(set(person.shown))
        with Run.open(path, readonly=True) as run:
            assert len(run.signals.read(kind="turn")) == len(person.shown) == run.count()
            assert {e.seats["critic_0"].id for e in run.episodes()} == {"human"}
            assert all(len(e.utterances) == 2 for e in run.episodes())
            assert run.metrics.read("train/reward/critic")
    assert weights(ends["whole"]) == weights(ends["killed"])
    assert all("critic_0 in g0-r1-" in text for text in person.shown)


def test_who_passes_a_turn_ends_the_episode(tmp_path):
    view = View("e0", 0, "critic_0", "critic", 0, 1, "what do you say?", menu=("yes",))
    person = SeatedPerson()
    with pytest.raises(InvalidOption, match="superalign play"):
        person.act([view])
    with Run.create(tmp_path / "run", kind="play", config={}, seed=0) as run:
        told = []

        def pass_on(text):
            told.append(text)
            asked = run.questions.claim("bea")
            assert "what do you say?" in asked.why and "· yes" in asked.why
            run.questions.skip(asked.id, "bea")

        person.attach(run, pass_on)
        (reply,) = person.act([view])
    assert reply.error and told[0].startswith("1 turns wait for people: superalign label")


def test_a_turn_is_taken_at_the_terminal(tmp_path):
    view = View("e0", 0, "critic_0", "critic", 0, 1, "what do you say?")
    with Run.create(tmp_path / "run", kind="play", config={}, seed=0) as run:
        run.questions.ask([turn_question(view)])
        screen = io.StringIO()
        typed = io.StringIO("score 9 sure 9\n")
        label(run.questions, "bea", episode_of=run.episode, source=typed, screen=screen)
        (said,) = run.signals.read(kind="turn")
    assert said.payload["text"] == "score 9 sure 9"
    assert "what do you say?" in screen.getvalue() and "your turn" in screen.getvalue()


# --- before anything starts


def test_people_who_cannot_be_simulated_are_refused_at_once():
    echo = {
        "scenario": "echo",
        "lineup": {"speaker": "micro/1"},
        "train": {"speaker": "reinforce"},
    }
    with pytest.raises(InvalidOption, match=r"people\.mode=continue.*budget=0"):
        require_lineup(read_settings({**echo, "budget": 0.1}), ModelCache())
    for more in ({"budget": 0.0}, {"budget": 0.1, "people": {"mode": "wait"}}):
        require_lineup(read_settings({**echo, **more}), ModelCache())


def test_the_plan_says_what_people_will_owe():
    lineup = {"learner": "micro/1", "critic": "human", "attacker": "search"}
    few = {"learner": {"steps": 1, "batch_size": 4, "num_generations": 2}}
    asked = {"budget": 0.5, "people": {"mode": "wait", "evaluation_share": 0.0}}
    cost = cost_of(read_settings({"lineup": lineup, "train": few, "rounds": 1, **asked}))
    assert "turns in seats" in cost.owed and "superalign label RUN" in cost.owed
    assert cost.seats == 1 and cost.whole.labels == 4
    nobody = read_settings({"lineup": {**lineup, "critic": "keyword"}, "train": few})
    assert cost_of(nobody, measured=cost).owed == ""


def test_budget_and_kinds_are_the_scenarios_until_they_are_set():
    assert read_settings({}).budget == 0.02
    assert read_settings({}).people.kinds.preference > 0
    assert read_settings({"people": {"kinds": {"veto": 1}}}).people.kinds.label == 0.0
    plain = composed(["scenario=echo", "lineup.learner=micro/1", "train.learner=ppo"])
    echo = read_settings(plain)
    assert (echo.budget, echo.people.kinds.label, echo.people.kinds.veto) == (0, 1, 0)
    red = read_settings(composed(["people.kinds.veto=1", "budget=0.1"]))
    assert (red.budget, red.people.kinds.label, red.people.kinds.veto) == (0.1, 0, 1)
