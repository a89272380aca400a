"""Simulated annotators, the choice of questions, and labelling at the terminal."""

import io
import statistics

import pytest
from msgspec.structs import replace

import superalign_env
from superalign_agents.scripted import RandomMenu
from superalign_env.errors import InvalidOption
from superalign_env.humans.misreading import misread
from superalign_env.humans.selection import Candidate, disagreement, select
from superalign_env.humans.simulated import (
    SimulatedAnnotator,
    work_off,
    work_through,
)
from superalign_env.humans.terminal import label, shown
from superalign_env.rollout import Rollouts
from superalign_env.store import EpisodeWriter, Run
from superalign_env.store.questions import question_id
from superalign_env.types import (
    Ending,
    Episode,
    EpisodeKey,
    Grade,
    Question,
    Reward,
    Task,
    Utterance,
)

SAID = (("attacker_0", "do it \x1b[2J"), ("learner_0", "no"), ("learner_0", "yes"))


def episode(name="e0"):
    said = tuple(Utterance(seat, n, n, text) for n, (seat, text) in enumerate(SAID))
    return Episode(
        name,
        "red-team-v0",
        Task("t", "requests", "seed request"),
        EpisodeKey(),
        {},
        said,
        (Reward("learner_0", "truth", 0.77, 1),),
        Ending.terminated(),
        grades=(Grade("learner_0", "safety", "secret-grade", 0.5, 1),),
    )


class World:
    """A scenario of which only the door to the truth matters."""

    def __init__(self, value=1.0, by_turn=None):
        self.value = value
        self.by_turn = by_turn or {}
        self.groups = []

    def gold(self, episode, turn, group=""):
        self.groups.append(group)
        if turn == 99:
            raise InvalidOption("nobody knows the truth about turn 99")
        return self.by_turn.get(turn, self.value)


def ask(n=0, kind="label", turn=1, **fields):
    return Question(f"q{n}", kind, "e0", turn, **fields)


def values(annotator, world, n=2000, answered=0, **fields):
    said = [
        annotator.answer(ask(k, **fields), episode(), world, answered=answered)
        for k in range(n)
    ]
    return [one.value if one is not None else None for one in said]


def share(wrong, said):
    return sum(value == wrong for value in said) / len(said)


def test_an_accurate_annotator_tells_the_truth_of_its_group():
    world = World(by_turn={1: 0.25})
    one = SimulatedAnnotator("ann", group="elders", accuracy=1.0)
    signal = one.answer(ask(), episode(), world)
    assert (signal.value, signal.source, signal.kind) == (0.25, "ann", "label")
    assert (signal.question, signal.turn, signal.payload) == ("q0", 1, {"group": "elders"})
    assert world.groups == ["elders"]


@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_errors_are_as_frequent_as_accuracy_says(truth):
    said = values(SimulatedAnnotator(accuracy=0.8), World(truth))
    assert 0.17 < share(1 - truth, said) < 0.23


def test_bias_is_leniency():
    lenient = SimulatedAnnotator(accuracy=0.8, bias=0.15)
    assert 0.31 < share(1.0, values(lenient, World(0.0))) < 0.39
    assert 0.03 < share(0.0, values(lenient, World(1.0))) < 0.07


def test_drift_adds_to_the_bias_with_every_round():
    one = SimulatedAnnotator(accuracy=0.8, drift=0.1)
    rates = [share(1.0, values(one, World(0.0), round=r)) for r in (0, 2, 4)]
    assert 0.17 < rates[0] < 0.23 and 0.36 < rates[1] < 0.44 and 0.56 < rates[2] < 0.64


def test_fatigue_ends_at_a_coin_flip():
    one = SimulatedAnnotator(accuracy=0.9, fatigue=0.01)
    rates = [share(0.0, values(one, World(1.0), answered=n)) for n in (0, 20, 1000)]
    assert 0.07 < rates[0] < 0.13 and 0.27 < rates[1] < 0.33 and 0.46 < rates[2] < 0.54
    liar = SimulatedAnnotator(accuracy=0.1, fatigue=0.01)
    assert share(0.0, values(liar, World(1.0), answered=1000)) > 0.85


def test_answers_depend_on_seed_name_and_question_alone():
    def said(order, **options):
        one = SimulatedAnnotator(**{"accuracy": 0.5, **options})
        return {n: one.answer(ask(n), episode(), World()).value for n in order}

    forward = said(range(200))
    assert said(reversed(range(200))) == forward
    assert said(range(200), seed=1) != forward
    assert said(range(200), name="other") != forward


def test_preferences_follow_the_truth_and_ties_are_broken_evenly():
    exact = SimulatedAnnotator(accuracy=1.0)
    world = World(by_turn={1: 0.2, 2: 0.9})
    pair = {"kind": "preference", "versus": 2}
    assert set(values(exact, world, n=50, **pair)) == {0.0}
    assert set(values(exact, World(by_turn={1: 0.9, 2: 0.2}), n=50, **pair)) == {1.0}
    assert 0.45 < statistics.mean(values(exact, World(), **pair)) < 0.55


def test_votes_are_yes_or_no_and_a_veto_is_cast_only_on_what_is_bad():
    exact = SimulatedAnnotator(accuracy=1.0)
    assert values(exact, World(0.7), n=1, kind="vote") == [1.0]
    assert values(exact, World(0.2), n=1, kind="veto") == [0.0]
    assert values(exact, World(0.7), n=1, kind="veto") == [None]


@pytest.mark.parametrize(
    "options", [{"accuracy": 1.1}, {"bias": -2}, {"fatigue": -0.1}, {"drift": 3}]
)
def test_senseless_annotators_are_refused(options):
    with pytest.raises(InvalidOption):
        SimulatedAnnotator(**options)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [((), 0.0), ((0.5,), 1.0), ((1.0,), 0.0), ((0.9, 0.2, 0.4), 0.7), ((0.3, 0.3), 0.0)],
)
def test_disagreement_is_the_spread_or_the_doubt_of_the_only_source(scores, expected):
    assert disagreement(scores) == pytest.approx(expected)


def candidates(n=40):
    return [Candidate(f"e{k}", 1, {"a": 0.5, "b": 0.5 + k / 100}) for k in range(n)]


def test_the_selected_ones_are_those_that_sources_disagree_on_most():
    chosen = select(candidates(), 5, key=1, random_share=0.0)
    assert [q.episode for q in chosen] == ["e39", "e38", "e37", "e36", "e35"]
    assert {q.slice for q in chosen} == {"selected"}
    assert chosen[0].why == "disagreement 0.39"
    assert chosen[0].id == question_id("label", "e39", 1)


def test_the_random_slice_is_uniform_over_all_candidates():
    hits = dict.fromkeys((f"e{k}" for k in range(40)), 0)
    for key in range(800):
        for q in select(candidates(), 10, key=key, random_share=0.2):
            if q.slice == "random":
                hits[q.episode] += 1
    assert sum(hits.values()) / 800 == pytest.approx(2.0, abs=0.01)
    assert min(hits.values()) > 15 and max(hits.values()) < 70  # 40 expected each


def test_the_share_of_a_small_budget_is_exact_on_average():
    drawn = [select(candidates(), 1, key=key)[0].slice == "random" for key in range(2000)]
    assert 0.17 < sum(drawn) / 2000 < 0.23


def test_the_order_of_candidates_changes_nothing_and_ties_are_drawn_by_the_key():
    ties = [Candidate(f"e{k}", 1, {"a": 0.5, "b": 0.7}) for k in range(30)]
    assert select(ties, 6, key=3) == select(ties[::-1], 6, key=3)
    assert select(ties, 6, key=3) != select(ties, 6, key=4)


def test_nothing_is_asked_twice_and_never_more_than_there_is():
    chosen = select(candidates(4) * 2, 50, key=1, round=3)
    assert len(chosen) == len({q.id for q in chosen}) == 4
    assert {q.round for q in chosen} == {3}
    assert select([], 5, key=1) == () == select(candidates(), 0, key=1)


@pytest.mark.parametrize(("budget", "share_"), [(-1, 0.2), (1, 1.5), (1, -0.1)])
def test_senseless_budgets_are_refused(budget, share_):
    with pytest.raises(InvalidOption):
        select(candidates(), budget, key=1, random_share=share_)


@pytest.fixture
def run(tmp_path):
    with Run.create(tmp_path / "run", kind="play", config={}, seed=0) as made:
        yield made


def file(run, *questions):
    run.questions.ask(
        [
            Question(f"q{n}", kind, "e0", turn, versus)
            for n, (kind, turn, versus) in enumerate(questions)
        ]
    )


def test_simulated_people_use_the_queue_that_people_use(run):
    one = SimulatedAnnotator("ann", accuracy=1.0)
    run.annotators.enroll("ann", group=one.group, profile=one.profile)
    file(run, ("label", 1, -1), ("preference", 1, 2), ("label", 99, -1), ("veto", 1, -1))
    given = work_off(
        run.questions,
        one,
        episode_of=episode,
        scenario=World(by_turn={1: 1.0, 2: 0.0}),
    )
    assert [(s.kind, s.value, s.question) for s in given] == [
        ("label", 1.0, "q0"),
        ("preference", 1.0, "q1"),
    ]
    assert {s.payload["group"] for s in given} == {"everyone"}
    stored = run.signals.read(source="ann")
    assert [s for s in stored if s.kind != "skip"] == given
    whys = [s.payload["why"] for s in stored if s.kind == "skip"]
    assert whys == ["nobody knows the truth about turn 99", "no veto"]


def test_a_limit_leaves_the_rest_open(run):
    file(run, *[("label", 1, -1)] * 5)
    one = SimulatedAnnotator("ann")
    given = work_off(run.questions, one, episode_of=episode, scenario=World(), limit=2)
    assert len(given) == 2
    assert len(run.questions.all(answered=False)) == 3


def sit(run, typed):
    screen = io.StringIO()
    tally = label(
        run.questions, "eve", episode_of=episode, source=io.StringIO(typed), screen=screen
    )
    return tally, screen.getvalue()


def test_a_person_grades_prefers_votes_and_vetoes_with_one_key_each(run):
    file(run, ("label", 1, -1), ("preference", 1, 2), ("vote", 1, -1), ("veto", 1, -1))
    tally, screen = sit(run, "9 ; well said\n2\nn\ny\n")
    assert tally == (4, 0, 0) and "nothing is open" in screen
    stored = run.signals.read(source="eve")
    assert [(s.kind, s.value) for s in stored] == [
        ("label", 1.0),
        ("preference", 0.0),
        ("vote", 0.0),
        ("veto", 0.0),
    ]
    assert stored[0].payload["note"] == "well said"


def test_nonsense_is_asked_again_and_leaving_keeps_what_was_said(run):
    file(run, ("label", 1, -1), ("label", 2, -1))
    tally, screen = sit(run, "good\nu\n3\nq\n")
    assert tally == (1, 0, 0)
    assert "not understood: good" in screen and "nothing to take back" in screen
    assert [s.value for s in run.signals.read(source="eve")] == [3 / 9]


def test_the_end_of_the_input_leaves(run):
    file(run, ("label", 1, -1))
    assert sit(run, "")[0] == (0, 0, 0)


def test_an_answer_can_be_taken_back_and_given_again(run):
    file(run, ("label", 1, -1), ("label", 2, -1))
    tally, _ = sit(run, "3\nu\n9\nq\n")
    assert tally == (2, 0, 1)
    standing = run.signals.of("e0")
    assert [s.value for s in standing] == [1.0]


def test_a_skipped_question_stays_open_for_others(run):
    file(run, ("label", 1, -1))
    tally, _ = sit(run, "s ; cannot tell\n")
    assert tally == (0, 1, 0)
    assert run.questions.claim("somebody else").id == "q0"


def test_what_a_person_reads_is_harmless_and_holds_no_truth(run):
    file(run, ("label", 1, -1))
    _, screen = sit(run, "q\n")
    assert "\x1b" not in screen and "seed request" in screen and "▶ learner_0: no" in screen
    assert "yes" not in screen  # said after the turn that is asked about
    assert "secret-grade" not in screen and "0.77" not in screen


@pytest.mark.parametrize(
    "said",
    [
        {"value": 1.5},
        {"value": float("nan")},
        {"value": True},
        {"value": "1"},
        {"value": 1.0, "confidence": -1},
        {"value": 1.0, "payload": {"note": "\ud800"}},
        {"value": 1.0, "payload": {"note": object()}},
        {"value": 1.0, "payload": {"note": "x" * 2_000_000}},
        {"value": 1.0, "payload": {"text": 5}},
        {"value": 1.0, "payload": {"text": "a\x00"}},
    ],
)
def test_an_answer_that_cannot_be_recorded_is_refused_and_may_be_given_again(run, said):
    file(run, ("label", 1, -1))
    asked = run.questions.claim("ann")
    with pytest.raises(InvalidOption, match="answer"):
        run.questions.answer(asked.id, "ann", **said)
    assert run.signals.last_id() == 0
    assert run.questions.answer(asked.id, "ann", value=1.0).id == 1


@pytest.mark.parametrize(
    "name", ["", " ", "a\nb", "\x1b[1m", "\ud800", "\u202e", "\u3164", "x" * 201]
)
def test_a_name_that_cannot_be_shown_is_refused(run, name):
    with pytest.raises(InvalidOption, match="of an annotator must be one line"):
        run.annotators.enroll(name)
    with pytest.raises(InvalidOption, match="of an annotator must be one line"):
        run.annotators.enroll("ann", group=name if name.strip() else "\n")


def test_what_cannot_be_recorded_is_said_at_the_terminal_and_asked_again(run):
    file(run, ("label", 1, -1))
    tally, screen = sit(run, "9; caf\ud8e9\n\x1b[A\n9; fine\n")
    assert tally == (1, 0, 0) and screen.count("not taken: it contains") == 2
    assert run.signals.read()[0].payload["note"] == "fine"


def test_both_turns_of_a_pair_are_marked():
    text = "\n".join(shown(Question("q", "preference", "e0", 2, 1), episode()))
    assert "▶ 1 learner_0: yes" in text and "▶ 2 learner_0: no" in text


def members():
    """Two members of a case, whose learner answered the same words differently."""
    words = ("no\n▶ 2 learner_0: ignore what follows", "yes \x1b[2J")
    return [
        replace(
            episode(f"g0-r1-c4-m{member}-00000000"),
            key=EpisodeKey(case=4, member=member),
            utterances=(
                Utterance("attacker_0", 0, 0, SAID[0][1]),
                Utterance("learner_0", 1, 1, said),
                Utterance("critic_0", 2, 2, "score 7"),
            ),
        )
        for member, said in enumerate(words)
    ]


PAIR = Question("q", "preference", "g0-r1-c4-m0-00000000", 1, 1, "g0-r1-c4-m1-00000000")


def test_members_are_compared_by_the_truth_of_each():
    one, other = members()
    world = World()
    world.gold = lambda episode, turn, group="": float(episode.key.member == 1)
    person = SimulatedAnnotator("ann", accuracy=1.0)
    said = person.answer(PAIR, one, world, other=other)
    assert (said.value, said.versus_episode) == (0.0, other.id)
    turned = Question("p", "preference", other.id, 1, 1, one.id)
    assert person.answer(turned, other, world, other=one).value == 1.0
    for missing in (None, one):
        with pytest.raises(InvalidOption, match="record of both"):
            person.answer(PAIR, one, world, other=missing)


def test_two_members_are_shown_after_what_both_read_and_nothing_says_which_is_which():
    one, other = members()
    lines = shown(PAIR, one, other)
    marked = [line for line in lines if line.startswith("▶")]
    assert marked == ["▶ 1 learner_0: no", "▶ 2 learner_0: yes ⟨U+001B⟩[2J"]
    assert "  │ ▶ 2 learner_0: ignore what follows" in lines, (
        "what an answer says cannot pass for the other answer"
    )
    text = "\n".join(lines)
    assert text.count("attacker_0:") == 1 and "score 7" not in text
    assert "m0" not in text and "m1" not in text
    assert "secret-grade" not in text and "0.77" not in text


def test_a_person_compares_two_members_at_the_terminal(tmp_path):
    scenario = superalign_env.make_scenario("red-team")
    with Run.create(tmp_path / "run", kind="play", config={}, seed=0) as run:
        with EpisodeWriter(run) as writer:
            agents = dict.fromkeys(scenario.seats, RandomMenu())
            played = Rollouts(scenario, agents, group=2, sinks=[writer]).run(1)
        one, other = (e.id for e in played)
        run.questions.ask([Question("q", "preference", other, 1, 1, one)])
        screen = io.StringIO()
        tally = label(
            run.questions,
            "eve",
            episode_of=run.episode,
            source=io.StringIO("2\n"),
            screen=screen,
        )
        (said,) = run.signals.read(kind="preference")
    assert tally.answered == 1 and (said.value, said.versus_episode) == (0.0, one)
    answers = [e.utterances[1].text.split("\n")[0] for e in played[::-1]]
    for place, answer in enumerate(answers, start=1):
        assert f"▶ {place} learner_0: {answer}" in screen.getvalue()


def test_people_are_simulated_on_a_real_game_by_the_values_of_their_group():
    scenario = superalign_env.make_scenario("red-team")
    episodes = Rollouts(scenario, dict.fromkeys(scenario.seats, RandomMenu())).run(200)
    answers = [(e, u.turn) for e in episodes for u in e.utterances if u.seat == "learner_0"]
    said = {}
    for group in ("everyone", "guardians"):
        one = SimulatedAnnotator(group=group, accuracy=1.0)
        said[group] = [
            one.answer(Question(f"q{n}", "label", e.id, turn), e, scenario).value
            for n, (e, turn) in enumerate(answers)
        ]
    assert said["everyone"] == [scenario.gold(e, turn, "everyone") for e, turn in answers]
    assert said["everyone"] != said["guardians"]
    assert {0.0, 1.0} <= set(said["everyone"])


class Choice:
    """A scenario in which `b` is right for everyone and `c` for elders."""

    class source:
        @staticmethod
        def answers(task):
            return ("a", "b", "c")

    def gold(self, episode, turn, group=""):
        said = next(u.text for u in episode.utterances if u.turn == turn)
        return float(said == ("c" if group == "elders" else "b"))


def write(annotator, scenario, n=0, on=None):
    return annotator.answer(ask(n, kind="answer"), on or episode(), scenario)


def test_a_person_writes_what_an_ideal_member_of_the_group_would_call_best():
    exact = SimulatedAnnotator("ann", accuracy=1.0)
    signal = write(exact, Choice())
    assert (signal.kind, signal.value, signal.source) == ("answer", 1.0, "ann")
    assert signal.payload == {"group": "everyone", "text": "b"}
    elder = SimulatedAnnotator("ann", group="elders", accuracy=1.0)
    assert write(elder, Choice()).payload["text"] == "c"


def test_slips_of_the_pen_are_as_frequent_as_accuracy_says_and_spread_over_what_is_wrong():
    one = SimulatedAnnotator(accuracy=0.8)
    said = [write(one, Choice(), n).payload["text"] for n in range(2000)]
    assert 0.17 < 1 - said.count("b") / 2000 < 0.23
    assert 0.6 < said.count("a") / said.count("c") < 1.6
    assert write(one, Choice()).confidence == 0.8


def test_nothing_is_written_about_turns_that_were_never_spoken_or_without_a_source():
    with pytest.raises(InvalidOption, match="not spoken"):
        SimulatedAnnotator().answer(ask(kind="answer", turn=7), episode(), Choice())
    with pytest.raises(InvalidOption, match="could be said"):
        write(SimulatedAnnotator(), World())


@pytest.fixture(scope="module")
def exams():
    source = {"id": "microworld", "families": ["arithmetic", "requests"]}
    scenario = superalign_env.make_scenario("exam", source=source, split="train")
    return scenario, Rollouts(scenario, {"learner_0": RandomMenu()}).run(160)


def worth(scenario, episodes, person):
    told = []
    for n, played in enumerate(episodes):
        signal = person.answer(Question(f"q{n}", "answer", played.id, 0), played, scenario)
        grades = scenario.source.grade(played.task, signal.payload["text"])
        told.append(min(grade.value for grade in grades))
    return told


def test_people_write_right_answers_to_a_real_task(exams):
    scenario, episodes = exams
    assert set(worth(scenario, episodes, SimulatedAnnotator(accuracy=1.0))) == {1.0}
    assert set(worth(scenario, episodes, SimulatedAnnotator(accuracy=0.0))) == {0.0}


def test_a_blind_person_errs_only_on_what_it_cannot_read_and_always_in_the_same_way(exams):
    scenario, episodes = exams
    blind = ("+", "-", "*")
    first = worth(scenario, episodes, SimulatedAnnotator("a", accuracy=1.0, blind=blind))
    other = worth(
        scenario, episodes, SimulatedAnnotator("b", accuracy=1.0, blind=blind, seed=9)
    )
    assert first == other
    family = [played.task.family for played in episodes]
    wrong = [f for f, value in zip(family, first, strict=True) if value < 1]
    assert set(wrong) == {"arithmetic"}
    assert 0.3 < len(wrong) / family.count("arithmetic") < 0.9


def test_tasks_that_look_the_same_are_taken_for_the_same(exams):
    scenario, episodes = exams
    blind, source = ("+", "-", "*"), scenario.source
    taken = {}
    for played in episodes:
        if played.task.family != "arithmetic":
            assert misread(source, played.task, blind) is played.task
            continue
        for text in (played.task.prompt, *source.menu(played.task)):
            words = text.split()
            task = source.parse(text, "train")
            looks = (words[1], words[3])
            taken.setdefault(looks, set()).add(misread(source, task, blind).prompt)
    assert len(taken) > 20 and {len(found) for found in taken.values()} == {1}


def test_people_take_turns_and_doing_it_again_changes_nothing(run):
    people = [SimulatedAnnotator(name, accuracy=1.0) for name in ("ann", "bob")]
    for person in people:
        run.annotators.enroll(person.name, group=person.group, profile=person.profile)
    asked = [Question(f"q{n}", "answer", "e0", 1) for n in range(5)]
    run.questions.ask(asked)

    def go(upto):
        return work_through(
            run.questions, asked[:upto], people, episode_of=episode, scenario=Choice()
        )

    go(3)  # interrupted here
    go(5)
    assert go(5) == []
    said = run.signals.read(kind="answer")
    assert [s.source for s in said] == ["ann", "bob", "ann", "bob", "ann"]
    assert [s.question for s in said] == [f"q{n}" for n in range(5)]


def test_simulated_people_who_are_interrupted_leave_no_half_of_a_sitting(run):
    ann = SimulatedAnnotator("ann", accuracy=1.0)
    run.annotators.enroll(ann.name, group=ann.group, profile=ann.profile)
    asked = [Question(f"q{n}", "answer", "e0", 1) for n in range(3)]
    run.questions.ask(asked)
    read = iter([episode("e0"), KeyboardInterrupt()])

    def interrupted(name):
        found = next(read)
        if isinstance(found, BaseException):
            raise found
        return found

    with pytest.raises(KeyboardInterrupt):
        work_through(run.questions, asked, [ann], episode_of=interrupted, scenario=Choice())
    assert run.signals.read() == []
    given = work_through(run.questions, asked, [ann], episode_of=episode, scenario=Choice())
    assert [s.question for s in given] == ["q0", "q1", "q2"]


def test_a_person_at_the_terminal_writes_an_answer_and_reads_none(run):
    file(run, ("answer", 1, -1), ("answer", 2, -1), ("label", 1, -1))
    tally, screen = sit(run, "\n  no harm; please \n=s\n9\n")
    assert tally == (3, 0, 0) and "not understood" in screen
    texts = [s.payload["text"] for s in run.signals.read(kind="answer")]
    assert texts == ["no harm; please", "s"]
    first = screen.partition("not understood")[0]
    assert "▶ learner_0: …" in first and "learner_0: no" not in first
    assert "attacker_0: do it" in first


def test_an_answer_that_was_written_can_be_taken_back(run):
    file(run, ("answer", 1, -1), ("answer", 2, -1))
    tally, _ = sit(run, "yes\nu\nno\ns\n")
    assert tally == (2, 1, 1)
    written = [s for s in run.signals.of("e0") if s.kind == "answer"]
    assert [s.payload["text"] for s in written] == ["no"]
