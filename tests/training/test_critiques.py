"""Lessons from what was said of answers: verdicts, then labels, and vetoes above all."""

import msgspec
import pytest

from superalign_env.canonical import content_hash
from superalign_env.envs import make_scenario
from superalign_env.rollout import Rollouts
from superalign_env.types import (
    AgentSpec,
    Ending,
    Episode,
    EpisodeKey,
    Grade,
    Judged,
    Reply,
    Signal,
    Task,
    Utterance,
    Verdict,
)
from superalign_scenarios.microworld.flipped import FlippedGold
from superalign_scenarios.microworld.source import MicroWorld
from superalign_training.data.rated import (
    examples,
    preferences,
    rated_answers,
    replay_examples,
    unpaired,
    unpaired_preferences,
    worths,
)

Q, COMPLY, REFUSE, DODGE = (10, 11), (20, 1), (21, 1), (22, 1)
CRITIC = AgentSpec("micro/3", policy="c0ffee")
JUDGE = content_hash(CRITIC)


def episode(name, said, *, question=Q, finish="stop", repair=""):
    """Answers and the scores of their critics: ((completion, score or None), …)."""
    utterances, judged, read = [], [], question
    for place, (ids, score) in enumerate(said):
        turn = 2 * place
        reply = Reply("-", prompt_ids=read, token_ids=ids, finish=finish)
        utterances.append(Utterance("learner_0", turn, turn, "-", reply, repair))
        utterances.append(Utterance("critic_0", turn + 1, turn + 1, "score", None))
        if score is not None:
            judged.append(Judged("critic_0", turn, Verdict(score), turn + 1))
        read = (*read, *ids, 90 + place)
    return Episode(
        name,
        "red-team-v0",
        Task("t", "requests", "?", "train"),
        EpisodeKey(),
        {"learner_0": AgentSpec("micro/3"), "critic_0": CRITIC},
        tuple(utterances),
        (),
        Ending.terminated(),
        judged=tuple(judged),
    )


def label(name, turn, value, *, kind="label", by="ann", versus=-1):
    return Signal(kind, name, turn, by, value, versus)


def told(episodes, signals=()):
    return rated_answers(episodes, "learner_0", signals)


def as_pairs(found):
    return [(p.prompt_ids, p.chosen_ids, p.rejected_ids) for p in found]


REVISED = episode("a", ((COMPLY, 0.1), (REFUSE, 0.9)))
AFTER = (*Q, *COMPLY, 90)


def test_a_better_revision_is_preferred_at_once_and_after_the_critique():
    found = preferences(told([REVISED]), margin=0.5)
    assert as_pairs(found) == [(Q, REFUSE, COMPLY), (AFTER, REFUSE, COMPLY)]
    assert {pair.sources for pair in found} == {(JUDGE,)}


def test_a_worse_revision_teaches_to_stay_with_the_first_answer():
    worse = episode("a", ((COMPLY, 0.9), (REFUSE, 0.1)))
    assert as_pairs(preferences(told([worse]))) == [
        (Q, COMPLY, REFUSE),
        (AFTER, COMPLY, REFUSE),
    ]


def test_answers_nearly_as_good_teach_nothing():
    near = episode("a", ((COMPLY, 0.5), (REFUSE, 0.7)))
    assert preferences(told([near]), margin=0.3) == []
    assert len(preferences(told([near]), margin=0.1)) == 2
    alike = episode("b", ((COMPLY, 0.5), (REFUSE, 0.5)))
    assert preferences(told([alike]), margin=0.0) == []


def test_members_of_a_case_are_compared_and_equal_answers_are_one():
    group = [
        episode("m0", ((COMPLY, 0.2),)),
        episode("m1", ((COMPLY, 0.4),)),
        episode("m2", ((REFUSE, 0.9),)),
        episode("m3", ((DODGE, 0.5),)),
        episode("m4", ((DODGE, None),)),
    ]
    found = told(group)
    assert worths(found)[Q, COMPLY].value == pytest.approx(0.3)
    assert as_pairs(preferences(found)) == [(Q, REFUSE, DODGE), (Q, REFUSE, COMPLY)]


def test_answers_to_different_questions_are_not_compared():
    two = [episode("a", ((COMPLY, 0.1),)), episode("b", ((REFUSE, 0.9),), question=(12,))]
    assert preferences(told(two)) == []


def test_labels_win_over_verdicts_and_change_the_lesson():
    before = preferences(told([REVISED]))
    labels = [label("a", 0, 1.0), label("a", 2, 0.0, by="bea")]
    after = preferences(told([REVISED], labels))
    assert as_pairs(before)[0] == (Q, REFUSE, COMPLY)
    assert as_pairs(after)[0] == (Q, COMPLY, REFUSE)
    assert after[0].sources == ("ann", "bea")
    one = preferences(told([REVISED], [label("a", 2, 0.0)]), margin=0.05)
    assert as_pairs(one)[0] == (Q, COMPLY, REFUSE), "a label against a verdict of 0.1"
    assert one[0].sources == tuple(sorted(("ann", JUDGE)))


def test_a_veto_bars_a_text_from_being_chosen_whatever_else_was_said():
    barred = [label("a", 2, 1.0), label("a", 2, 0.0, kind="veto", by="bea")]
    found = told([REVISED, episode("b", ((DODGE, 0.0),))], barred)
    assert REFUSE not in {pair.chosen_ids for pair in preferences(found)}
    assert (Q, COMPLY, REFUSE) in as_pairs(preferences(found))
    assert all(one.completion_ids != REFUSE for one in examples(found, above=0.0))
    assert {one.completion_ids: one.good for one in unpaired_preferences(found)}[
        REFUSE
    ] is False
    alone = told([episode("c", ((REFUSE, 1.0),))], [label("c", 0, 0.0, kind="veto")])
    assert preferences(alone) == [] == examples(alone, above=0.0)


def test_what_people_said_of_a_pair_goes_before_labels_but_not_before_a_veto():
    found = told([REVISED])
    says = [
        label("a", 0, 1.0, kind="preference", by=who, versus=2) for who in ("ann", "bea")
    ]
    contrary = label("a", 2, 1.0, kind="preference", by="cid", versus=0)
    chosen = [p for p in preferences(found, choices=[*says, contrary]) if p.prompt_ids == Q]
    assert as_pairs(chosen) == [(Q, COMPLY, REFUSE)]
    assert chosen[0].sources == ("ann", "bea")
    tie = preferences(found, choices=[says[0], contrary])
    assert as_pairs(tie)[0] == (Q, REFUSE, COMPLY), "people are at odds: the critics decide"
    vetoed = told([REVISED], [label("a", 0, 0.0, kind="veto")])
    assert (Q, COMPLY, REFUSE) not in as_pairs(preferences(vetoed, choices=says))


def test_opinions_leave_out_shrugs():
    group = [episode("m0", ((COMPLY, 0.2), (REFUSE, 0.55))), episode("m1", ((DODGE, 0.9),))]
    found = {
        (o.prompt_ids, o.completion_ids): o.good for o in unpaired_preferences(told(group))
    }
    assert found == {(Q, COMPLY): False, (Q, DODGE): True}


def test_examples_say_the_best_answer_at_once_and_after_any_critique():
    group = [REVISED, episode("b", ((DODGE, 0.5),))]
    found = examples(told(group), above=0.8)
    assert [(one.prompt_ids, one.completion_ids) for one in found] == [
        (Q, REFUSE),
        (AFTER, REFUSE),
    ]
    assert examples(told(group), above=0.95) == []
    assert {one.sources for one in found} == {(JUDGE,)}


def test_what_was_not_judged_as_it_was_said_teaches_nothing():
    cut = episode("a", ((COMPLY, 0.1), (REFUSE, 0.9)), finish="length")
    repaired = episode("b", ((COMPLY, 0.1), (REFUSE, 0.9)), repair="too long")
    assert told([cut, repaired]) == []
    assert (
        preferences([])
        == unpaired_preferences([])
        == examples([])
        == replay_examples([], source="me")
        == []
    )
    silent = msgspec.structs.replace(REVISED, utterances=())
    assert told([silent]) == []


def test_replayed_are_all_answers_or_those_that_most_samples_agree_on():
    sure = [episode(f"s{k}", ((COMPLY if k else REFUSE, None),)) for k in range(4)]
    torn = [
        episode(f"t{k}", ((COMPLY if k % 2 else REFUSE, None),), question=(12,))
        for k in range(4)
    ]
    found = replay_examples(told([*sure, *torn]), source="me", agree=0.75)
    assert [(one.prompt_ids, one.completion_ids) for one in found] == [(Q, COMPLY)]
    assert len(replay_examples(told([*sure, *torn]), source="me", agree=0.5)) == 2
    assert len(replay_examples(told([*sure, *torn]), source="me")) == 8


def test_grades_are_never_read():
    lied = msgspec.structs.replace(
        REVISED, grades=(Grade("learner_0", "safety", "x", 0.0, 2),)
    )
    assert preferences(told([lied])) == preferences(told([REVISED]))


class Speaker:
    """Answers from the menu by the seed, with ids; verdicts by the length of what is read."""

    spec = AgentSpec("speaker")

    def act(self, views):
        return [self._reply(view) for view in views]

    def _reply(self, view):
        text = view.menu[view.seed % len(view.menu)] if view.menu else "score 3 sure 3"
        said = tuple(text.encode())
        return Reply(
            text, prompt_ids=tuple(view.text.encode()), token_ids=said, finish="stop"
        )


def lessons_of(source, *, truth):
    scenario = make_scenario("red-team", source=source, vanilla=0.5, refine=1, truth=truth)
    agents = dict.fromkeys(scenario.seats, Speaker())
    played = Rollouts(scenario, agents, run=3, group=3, fork_at="learner_0").run(16)
    found = told(played)
    return (
        preferences(found),
        unpaired_preferences(found),
        examples(found),
        replay_examples(found, source="me", agree=0.4),
    )


def test_flipping_all_gold_changes_no_lesson():
    honest, flipped = (
        lessons_of(kind, truth=False) for kind in (MicroWorld(), FlippedGold(MicroWorld()))
    )
    assert honest == flipped
    assert all(honest), "there are lessons of every kind"


def between(one, other, value=1.0, *, by="ann"):
    return Signal("preference", one, 0, by, value, 0, other)


def test_members_are_chosen_and_rejected_after_equal_prompts_alone():
    found = told(
        [
            episode("a", ((COMPLY, None),)),
            episode("b", ((REFUSE, None),)),
            episode("c", ((DODGE, None),), question=(12, 13)),
        ]
    )
    pairs = preferences(found, choices=[between("a", "b", 0.0), between("a", "c")])
    assert as_pairs(pairs) == [(Q, REFUSE, COMPLY)]
    assert pairs[0].sources == ("ann",)
    within = label("a", 0, 1.0, kind="preference", versus=7)
    assert unpaired(found, [between("a", "b"), between("a", "c"), within]) == 1
    cut = told(
        [episode("a", ((COMPLY, None),)), episode("b", ((DODGE, None),), finish="length")]
    )
    assert unpaired(cut, [between("b", "a")]) == 1
    shrug = [
        between("a", "b", 0.5),
        between("b", "a", by="bea"),
        between("a", "b", by="cid"),
    ]
    assert preferences(found, choices=shrug) == [], "people are of two minds"


def test_a_vetoed_member_is_rejected_and_never_chosen():
    episodes = [episode("a", ((COMPLY, None),)), episode("b", ((REFUSE, None),))]
    found = told(episodes, [label("a", 0, 0.0, kind="veto")])
    assert preferences(found, choices=[between("a", "b")]) == []
    assert as_pairs(preferences(found, choices=[between("b", "a")])) == [
        (Q, REFUSE, COMPLY)
    ]
