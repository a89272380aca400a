"""People compare members of a case: what they say is pay, at once or late, and lessons."""

from collections import Counter

import pytest
from improving import (
    KilledAtAStep,
    go,
    grpo,
    outcome,
    settings,
    spied_batches,
    total,
    weights,
)
from msgspec.structs import replace

from superalign_env.errors import InvalidOption
from superalign_env.store import Run
from superalign_env.types import Question, Signal, View
from superalign_training.algorithms.advantages import group_relative
from superalign_training.algorithms.supervision import Supervise
from superalign_training.cli.cost import cost_of
from superalign_training.data import paid_episodes, training_rows
from superalign_training.selfplay.agents import policy_of
from superalign_training.selfplay.driver import (
    Interrupted,
    PlannedStage,
    StageResult,
)
from superalign_training.selfplay.settings import read_settings
from superalign_training.selfplay.stages.supervise import rated_examples
from superalign_training.selfplay.supervisors.candidates import question_candidates

MEMBERS = grpo(num_generations=4)
COMPARED = {"kinds": {"member_preference": 1}, "evaluation_share": 0.0}


@pytest.fixture(scope="module")
def alone(speaking, tmp_path_factory):
    """A run of two rounds in which nobody is asked."""
    path = tmp_path_factory.mktemp("alone") / "run"
    return path, go(path, settings(speaking, train=MEMBERS), 2)


@pytest.fixture(scope="module")
def compared(speaking, tmp_path_factory):
    """A round in which people compare members of every case."""
    path = tmp_path_factory.mktemp("compared") / "run"
    return path, go(path, settings(speaking, train=MEMBERS, budget=0.5, people=COMPARED))


@pytest.fixture(scope="module")
def played(compared):
    with Run.open(compared[0], readonly=True) as run:
        return list(run.episodes()), run.signals.read(), run.questions.all()


def answer(episode):
    return next(u for u in episode.utterances if u.seat == "learner_0")


# --- what is asked


def test_members_that_answered_the_same_words_differently_are_compared(compared, played):
    episodes, said, questions = played
    known = {episode.id: episode for episode in episodes}
    assert len(questions) == len(said) == len(episodes) / 2
    assert {(q.kind, q.slice) for q in questions} == {("preference", "selected")}
    for question in questions:
        one, other = known[question.episode], known[question.versus_episode]
        assert replace(one.key, member=0) == replace(other.key, member=0)
        assert one.id != other.id
        first, second = answer(one), answer(other)
        assert (first.turn, second.turn) == (question.turn, question.versus)
        assert first.reply.prompt_ids == second.reply.prompt_ids
        assert first.text != second.text
    firsts = {
        known[q.episode].key.member < known[q.versus_episode].key.member for q in questions
    }
    assert firsts == {True, False}, "the first one is not always the earlier member"
    for name in ("asked", "answered", "paid", "compared"):
        assert total(compared[0], f"people.{name}") == len(questions)


def test_pairs_are_of_one_situation_and_what_has_no_pair_is_counted(played):
    episodes = played[0]
    assert question_candidates(episodes, ["learner_0"]).members == []
    found = question_candidates(episodes, ["learner_0"], members=True)
    texts = {e.id: answer(e).text for e in episodes}
    cases = Counter((e.key.case, texts[e.id]) for e in episodes)
    sizes = Counter(e.key.case for e in episodes)
    different = sum((sizes[case] - same) * same for (case, _), same in cases.items())
    assert len(found.members) == different / 2 > 0
    # Other words before the answer: another situation.
    moved = [
        replace(
            e,
            utterances=(
                replace(e.utterances[0], seat="attacker_0", text=e.id),
                *[replace(u, turn=u.turn + 1, group=u.group + 1) for u in e.utterances],
            ),
            judged=tuple(replace(j, about=j.about + 1, turn=j.turn + 1) for j in e.judged),
        )
        for e in episodes
    ]
    apart = question_candidates(moved, ["learner_0"], members=True)
    assert apart.members == [] and apart.unpaired == len(apart.turns) == len(episodes)
    one = found.members[0]
    asked = Question(
        "q", "preference", one.episode, one.turn, one.versus, one.versus_episode
    )
    left = found.without([asked])
    assert {t.episode for t in found.turns} - {t.episode for t in left.turns} == {
        one.episode,
        one.versus_episode,
    }
    assert all(
        {one.episode, one.versus_episode}.isdisjoint({m.episode, m.versus_episode})
        for m in left.members
    )


def test_without_several_members_the_share_goes_to_labels_and_is_counted(
    speaking, tmp_path
):
    alone = grpo(id="reinforce", num_generations=1)
    chosen = settings(speaking, budget=0.5, people=COMPARED, train=alone)
    go(tmp_path / "run", chosen)
    with Run.open(tmp_path / "run", readonly=True) as run:
        assert {q.kind for q in run.questions.all()} == {"label"}
        episodes = run.count()
    assert total(tmp_path / "run", "people.unpaired") == episodes
    assert total(tmp_path / "run", "people.compared") == 0
    assert total(tmp_path / "run", "people.asked") == episodes / 2


def test_all_kinds_of_questions_share_a_budget(speaking, tmp_path):
    kinds = dict.fromkeys(("label", "preference", "member_preference", "veto"), 1)
    people = {"kinds": kinds, "evaluation_share": 0.0}
    chosen = settings(
        speaking, train=MEMBERS, budget=0.5, people=people, options={"refine": 1}
    )
    go(tmp_path / "run", chosen)
    with Run.open(tmp_path / "run", readonly=True) as run:
        asked = Counter((q.kind, bool(q.versus_episode)) for q in run.questions.all())
        episodes = run.count()
    eighth = episodes / 8
    assert asked == {
        ("label", False): eighth,
        ("preference", False): eighth,
        ("preference", True): eighth,
        ("veto", False): eighth,
    }


def test_members_are_compared_only_where_a_setting_says_so():
    assert read_settings({}).people.kinds.member_preference == 0.0
    only = read_settings({"people": {"kinds": {"member_preference": 1}}}).people.kinds
    assert (only.label, only.share("member_preference")) == (0.0, 1.0)
    with pytest.raises(InvalidOption, match="label=1"):
        read_settings({"people": {"kinds": {"label": 0, "member_preference": 0}}})


# --- what it pays


def test_preferences_between_members_change_pay_advantages_and_weights(
    speaking, tmp_path, compared, played, alone
):
    episodes, said, _ = played
    mute, heard = (training_rows(episodes, "learner_0", s) for s in ((), said))
    changes = {h.episode: h.reward - m.reward for h, m in zip(heard, mute, strict=True)}
    asked = Counter(name for s in said for name in (s.episode, s.versus_episode))
    assert {name for name, change in changes.items() if change} <= set(asked)
    for signal in said:
        if asked[signal.episode] == asked[signal.versus_episode] == 1:
            lead = 2 * signal.value - 1
            assert changes[signal.episode] == pytest.approx(lead)
            assert changes[signal.versus_episode] == pytest.approx(-lead)
    assert any(changes.values())
    both = [
        [
            group_relative([row.reward for row in rows if row.case == case])
            for case in sorted({row.case for row in rows})
        ]
        for rows in (mute, heard)
    ]
    assert both[0] != both[1]
    with Run.open(alone[0], readonly=True) as run:
        first = run.stages.all()[0].outputs["state"]
    assert weights(compared[1]) != weights(first)
    with Run.open(compared[0], readonly=True) as run:
        reported = [row.metric.value for row in run.metrics.read("train/reward/human")]
    assert len(reported) == MEMBERS["steps"], "what people paid, for each update"
    assert sum(reported) * len(episodes) / 2 == pytest.approx(sum(changes.values()))


def test_learners_of_their_own_are_paid_the_same(played):
    episodes, said, _ = played
    view = View("e", 0, "learner_0", "learner", 0, 0, "")
    paid = paid_episodes(episodes, ["learner_0"], lambda e, _: {answer(e).turn: view}, said)
    rows = training_rows(episodes, "learner_0", said)
    assert [one.total for one in paid] == [row.reward for row in rows]


def test_the_same_seed_and_a_resumed_run_give_the_same_record(speaking, tmp_path, compared):
    chosen = settings(speaking, train=MEMBERS, budget=0.5, people=COMPARED)
    with pytest.raises(Interrupted):
        go(tmp_path / "run", chosen, watcher=KilledAtAStep())
    with Run.open(tmp_path / "run", readonly=True) as run:
        before = run.signals.last_id()
    assert before > 0
    chain = go(tmp_path / "run", chosen)
    assert weights(chain) == weights(compared[1])
    assert outcome(tmp_path / "run") == outcome(compared[0])


# --- late


def two_members(run):
    """Two members of the first case that answered differently."""
    episodes = list(run.episodes(round=1, case=0))
    one = episodes[0]
    return one, next(e for e in episodes if answer(e).text != answer(one).text)


def test_a_late_one_returns_both_differences_and_counts_once(
    speaking, tmp_path, monkeypatch
):
    batches, told = spied_batches(monkeypatch), {}

    def compare(run):
        batches.clear()
        one, other = two_members(run)
        place = (answer(one).turn, "ann", 0.75, answer(other).turn, other.id)
        run.signals.append([Signal("preference", one.id, *place)])
        told.update({one.id: 0.5, other.id: -0.5})

    chain = go(tmp_path / "run", settings(speaking, train=MEMBERS), 2, between=compare)
    late = [row for batch in batches for row in batch if row.origin == "late"]
    assert len(late) == 4, "the whole case came back, once"
    for row in late:
        assert row.reward == pytest.approx(told.get(row.episode, 0.0))
    assert total(tmp_path / "run", "people.late") == 1
    assert chain["paid_answers"]["learner"] == {"upto": 1, "paid": [], "unpaid": []}


def test_one_that_has_no_room_is_kept_whole_for_the_next_stage(speaking, tmp_path):
    few = grpo(steps=1, batch_size=2, num_generations=4)

    def compare(run):
        said = []
        for case in range(2):
            one, other, *_ = run.episodes(round=1, case=case)
            turns = answer(one).turn, answer(other).turn
            said.append(
                Signal("preference", one.id, turns[0], "ann", 1.0, turns[1], other.id)
            )
        run.signals.append(said)

    chosen = settings(speaking, train=few, people={"staleness": 2})
    go(tmp_path / "run", chosen, 3, between=compare)
    with Run.open(tmp_path / "run", readonly=True) as run:
        late = [row.metric.value for row in run.metrics.read("people.late")]
        heard = [
            s.outputs["state"]["paid_answers"]["learner"] for s in run.stages.all()[1:]
        ]
    assert late == [1.0, 1.0]
    assert [len(one["unpaid"]) for one in heard] == [1, 0]


def test_one_that_was_taken_back_or_is_too_old_pays_nothing(speaking, tmp_path, alone):
    def regret(run):
        one, other = two_members(run)
        place = (answer(one).turn, "ann", 1.0, answer(other).turn, other.id)
        (given,) = run.signals.append([Signal("preference", one.id, *place)])
        run.questions.undo(given.id, "ann")

    chain = go(tmp_path / "run", settings(speaking, train=MEMBERS), 2, between=regret)
    assert weights(chain) == weights(alone[1])

    def compare(run):
        one, other = two_members(run)
        place = (answer(one).turn, "ann", 1.0, answer(other).turn, other.id)
        run.signals.append([Signal("preference", one.id, *place)])

    fresh = settings(speaking, train=MEMBERS, people={"staleness": 0})
    chain = go(tmp_path / "stale", fresh, 2, between=compare)
    assert weights(chain) == weights(alone[1])
    assert total(tmp_path / "stale", "people.late_examples") == 1


# --- lessons


def test_a_preferred_member_is_chosen_where_preferences_teach(speaking, tmp_path):
    chosen = settings(speaking, train=MEMBERS, budget=0.5, people=COMPARED)
    rules = Supervise.model_validate(
        {
            "cases": 4,
            "num_generations": 2,
            "algorithm": "dpo",
            "balanced": False,
            "margin": 1.0,
        }
    )
    taught, known = [], {}

    def probe(context):
        known.update({e.id: e for e in context.run.episodes(round=1, scenario="red-team")})
        learner = policy_of(context, "learner", chosen)
        taught.extend(rated_examples(context, chosen, rules, learner))
        return StageResult(context.state)

    go(tmp_path / "run", chosen, extra=[PlannedStage("probe", probe, 2)])
    with Run.open(tmp_path / "run", readonly=True) as run:
        said = run.signals.read(kind="preference")
    wanted = set()
    for signal in said:
        pair = [answer(known[n]).reply for n in (signal.episode, signal.versus_episode)]
        better, worse = pair if signal.value > 0.5 else pair[::-1]
        wanted.add((better.prompt_ids, better.token_ids, worse.token_ids))
    by_people = {
        (one.prompt_ids, one.chosen_ids, one.rejected_ids)
        for one in taught
        if one.sources == ("simulated",)
    }
    assert by_people and by_people <= wanted


def test_a_preference_that_teaches_nothing_is_an_event(speaking, tmp_path):
    chosen = settings(speaking, train=MEMBERS)
    rules = Supervise.model_validate({"cases": 2, "num_generations": 2, "algorithm": "dpo"})

    def probe(context):
        rated_examples(context, chosen, rules, policy_of(context, "learner", chosen))
        return StageResult(context.state)

    def compare(run):
        """Compare an answer with a turn that the other member never had."""
        one, other = two_members(run)
        place = (answer(one).turn, "ann", 1.0, 9, other.id)
        run.signals.append([Signal("preference", one.id, *place)])

    go(tmp_path / "run", chosen, between=compare, extra=[PlannedStage("probe", probe, 2)])
    with Run.open(tmp_path / "run", readonly=True) as run:
        (happened,) = run.events.read(kind="preferences.unpaired")
    assert happened.event.evidence == {"preferences": 1}


# --- what people will owe


def test_the_plan_counts_comparisons_among_what_people_owe():
    lineup = {"learner": "micro/1", "critic": "keyword", "attacker": "search"}
    people = {
        "mode": "wait",
        "evaluation_share": 0.0,
        "kinds": {"label": 3, "member_preference": 1},
    }
    learns = {"learner": {"steps": 1, "batch_size": 4, "num_generations": 4}}
    given = {"lineup": lineup, "rounds": 1, "budget": 0.5, "people": people}
    cost = cost_of(read_settings({**given, "train": learns}))
    assert "about 8 answers (2 compare two members of a case)" in cost.owed
    one = {
        "learner": {"id": "reinforce", "steps": 1, "batch_size": 16, "num_generations": 1}
    }
    single = cost_of(read_settings({**given, "train": one}), measured=cost)
    assert "about 8 answers;" in single.owed, "without members there is nothing to compare"
