"""What critics said and should have said, from events and labels alone."""

from superalign_env.envs import make_scenario
from superalign_env.rollout import Rollouts
from superalign_env.types import (
    AgentSpec,
    Ending,
    Episode,
    EpisodeKey,
    Judged,
    Reply,
    Signal,
    Task,
    Verdict,
)
from superalign_env.verdicts import parse
from superalign_training.judging import (
    about_one_answer,
    final_score,
    ideal_verdict,
    labelled_verdicts,
    last_answer,
    planted_forecasts,
    planted_verdicts,
)
from superalign_training.selfplay.stages.judge import planted_metrics


class Judge:
    """Records what it read; says one verdict."""

    spec = AgentSpec("judge")

    def __init__(self, verdict="score 9 sure 9"):
        self.verdict = verdict

    def act(self, views):
        return [
            Reply(
                self.verdict if view.role == "critic" else "comply",
                prompt_ids=tuple(view.text.encode()),
                token_ids=(1,),
            )
            for view in views
        ]


def play(critic, cases=40, **options):
    scenario = make_scenario("red-team", **options)
    return Rollouts(scenario, dict.fromkeys(scenario.seats, critic), run=2).run(cases)


def test_lessons_say_what_was_planted_to_the_prompt_that_was_read():
    episodes = play(Judge(), plant=1.0, vanilla=0.0)
    lessons = planted_verdicts(episodes)
    assert len(lessons) == 40
    for episode, lesson in zip(episodes, lessons, strict=True):
        (planted,) = episode.planted
        verdict = parse(lesson.written("free"))
        assert verdict == lesson.verdict
        assert verdict.score == (1.0 if planted.good else 0.0)
        assert verdict.confidence == 1.0
        assert lesson.answer == planted.answer
        prompt = bytes(lesson.prompt_ids).decode()
        assert episode.task.prompt in prompt and lesson.answer in prompt
    faulty = [lesson.verdict.score == 0.0 for lesson in lessons]
    assert 8 < sum(faulty) < 32


def test_an_unparsable_verdict_teaches_all_the_same_but_forecasts_nothing():
    episodes = play(Judge("what?"), plant=1.0, vanilla=0.0)
    assert len(planted_verdicts(episodes)) == 40
    assert planted_forecasts(episodes) == []


def test_forecasts_set_each_score_beside_what_was_planted():
    episodes = play(Judge("score 3 sure 9"), plant=1.0, vanilla=0.0)
    forecasts = planted_forecasts(episodes)
    assert {round(f.score, 3) for f in forecasts} == {0.333}
    good = [fact.good for e in episodes for fact in e.planted]
    assert [f.outcome for f in forecasts] == [float(g) for g in good]


def test_nothing_is_planted_where_the_learner_answered():
    episodes = play(Judge(), vanilla=1.0)
    assert planted_verdicts(episodes) == []
    assert planted_forecasts(episodes) == []


def test_a_label_teaches_every_critic_of_the_labelled_answer():
    (episode,) = play(Judge(), cases=1, vanilla=1.0, critics=2, refine=1)
    answers = [u for u in episode.utterances if u.seat == "learner_0"]
    label = Signal("label", episode.id, answers[0].turn, "ann", 2 / 9)
    lessons = labelled_verdicts([episode], [label, Signal("label", "else", 0, "ann", 1.0)])
    assert [lesson.written("free") for lesson in lessons] == ["score 2 sure 9"] * 2
    assert last_answer(episode) == answers[-1]


def test_a_veto_teaches_critics_0_whatever_labels_say():
    (episode,) = play(Judge(), cases=1, vanilla=1.0, critics=2, refine=1)
    first, second = (u.turn for u in episode.utterances if u.seat == "learner_0")
    said = [
        Signal("label", episode.id, first, "ann", 1.0),
        Signal("label", episode.id, second, "ann", 1.0),
        Signal("veto", episode.id, first, "bea", 0.0),
        Signal("veto", episode.id, first, "cid", 0.0),
    ]
    verdicts = [lesson.written("free") for lesson in labelled_verdicts([episode], said)]
    assert sorted(verdicts) == ["score 0 sure 9"] * 2 + ["score 9 sure 9"] * 2


def test_the_final_score_is_the_critics_mean_on_the_last_answer():
    def given(turn, about, score):
        return Judged("critic_0", about, Verdict(score), turn)

    judged = (given(1, 0, 0.0), given(4, 3, 0.5), given(5, 3, 1.0))
    episode = Episode(
        "e", "red-team-v0", Task("t", "f", "p"), EpisodeKey(), {}, (), (),
        Ending.terminated(), judged=judged,
    )  # fmt: skip
    assert final_score(episode) == 0.75
    silent = Episode(
        "e",
        "red-team-v0",
        Task("t", "f", "p"),
        EpisodeKey(),
        {},
        (),
        (),
        Ending.terminated(),
    )
    assert final_score(silent) is None


def test_the_first_half_of_the_course_is_about_the_commonest_answer():
    lessons = planted_verdicts(play(Judge(), plant=1.0, vanilla=0.0))
    chosen = about_one_answer(lessons)
    assert len({lesson.answer for lesson in chosen}) == 1
    assert len(chosen) >= len(lessons) / 2
    assert about_one_answer([]) == []


def test_a_known_kind_of_fault_is_named():
    verdict = ideal_verdict(good=False, kind="harm")
    assert [fault.kind for fault in verdict.faults] == ["harm"]
    assert ideal_verdict(good=True, kind="harm").faults == ()


def test_every_verdict_counts_and_an_unparsable_one_counts_as_wrong():
    episodes = play(Judge("score 9 sure 9"), plant=1.0, vanilla=0.0, critics=2)
    forecasts = planted_forecasts(episodes)
    assert len(forecasts) == 80
    good = sum(f.outcome for f in forecasts)
    accuracy, brier = planted_metrics(forecasts, 100, role="critic", agent="a", step=1)
    assert (accuracy.value, accuracy.n) == (good / 100, 100)
    assert brier.value == ((80 - good) + 20 * 0.25) / 100
    assert accuracy.tags == brier.tags == {"on": "planted", "role": "critic"}
