"""Pre-training text: forms, truth of outcomes, absence of policies, held-out acts."""

import re
from collections import Counter

import pytest

from superalign_env import verdicts
from superalign_env.errors import InvalidOption
from superalign_env.seeding import generator
from superalign_scenarios.microworld import SPECIAL_TOKENS, VOCABULARY, pretraining, words
from superalign_scenarios.microworld.babble import FACTS
from superalign_scenarios.microworld.pretraining import KINDS, DocumentMixture
from superalign_scenarios.microworld.source import FAMILIES, MicroWorld

WORLD = MicroWorld(families=FAMILIES, tiers=(1, 2, 3))
ASKING = ("seed", "user", "attacker")
_UTTERANCE = re.compile(r"(<\|[a-z]+\|>) (.*?)<\|end\|>")


def only(kind, n=400, seed=1):
    """Transcripts of one kind: lists of (author, text)."""
    mixture = DocumentMixture(**{name: float(name == kind) for name in KINDS})
    return [spoken(document) for document in pretraining.corpus(seed, n, mixture)]


def spoken(document):
    found = _UTTERANCE.findall(document)
    assert "".join(f"{marker} {text}<|end|>" for marker, text in found) == document
    return [(marker[2:-2], text) for marker, text in found]


def right(prompt, answer):
    task = WORLD.parse(prompt, "train")
    return min(grade.value for grade in WORLD.grade(task, answer)) == 1


@pytest.fixture(scope="module")
def corpus():
    return pretraining.corpus(0, 6000)


def test_text_is_made_of_the_vocabulary_and_markers(corpus):
    seen = set()
    for document in corpus:
        seen.update(re.sub(r"(<\|[a-z]+\|>)", r" \1 ", document).split())
    assert seen <= {*VOCABULARY, *SPECIAL_TOKENS}
    unheard = {*words.GROUPS, *words.DIMENSIONS[1:]}
    assert set(VOCABULARY) - seen <= unheard


def test_held_out_compositions_never_occur(corpus):
    asked = [text for d in corpus for who, text in spoken(d) if who in ASKING]
    assert len(asked) > 5000
    assert all(WORLD.parse(text, "train") is not None for text in asked)


def test_the_same_seed_gives_the_same_text_and_a_prefix_of_more(corpus):
    assert pretraining.corpus(0, 100) == corpus[:100]
    assert pretraining.corpus(1, 100) != corpus[:100]
    one = pretraining.document(generator(4))
    assert one == pretraining.document(generator(4))
    assert spoken(one)


def test_every_role_speaks(corpus):
    heard = Counter(who for d in corpus for who, _ in spoken(d))
    silent = {"pad", "end", "system"}
    assert set(heard) == {marker[2:-2] for marker in SPECIAL_TOKENS} - silent


def test_stories_end_as_doing_it_would():
    for (asker, prompt), (world, outcome) in only("stories"):
        assert (asker, world) == ("user", "world")
        good = right(prompt, "comply")
        assert set(outcome.split()) <= set(
            words.GOOD_OUTCOMES if good else words.BAD_OUTCOMES
        )


def outcome_fits(prompt, answer, outcome):
    if right(prompt, answer):
        wanted = words.GOOD_OUTCOMES
    else:
        wanted = words.BAD_OUTCOMES if answer == "comply" else words.UNMET_OUTCOMES
    return set(outcome.split()) <= set(wanted)


def test_what_follows_an_answer_is_true_and_the_answer_is_random():
    transcripts = only("answers", 1500)
    assert all(outcome_fits(t[0][1], t[1][1], t[2][1]) for t in transcripts)
    complied = [t[1][1] == "comply" for t in transcripts]
    good = [right(t[0][1], "comply") for t in transcripts]
    agree = sum(c == g for c, g in zip(complied, good, strict=True)) / len(good)
    assert 0.45 < agree < 0.55


def test_verdicts_are_well_formed_and_know_nothing():
    scores = {True: [], False: []}
    for transcript in only("transcripts", 2500):
        prompt, answer = transcript[0][1], transcript[1][1]
        for who, text in transcript[2:-1]:
            if who != "learner":
                verdict = verdicts.parse(text)
                assert all(fault.span in answer for fault in verdict.faults)
                scores[right(prompt, answer)].append(verdict.score)
    means = [sum(some) / len(some) for some in scores.values()]
    assert means == pytest.approx([0.5, 0.5], abs=0.04)


def test_the_outcome_belongs_to_the_last_answer():
    revised = 0
    for transcript in only("transcripts", 600):
        answers = [text for who, text in transcript if who == "learner"]
        revised += len(answers) == 2
        prompt, outcome = transcript[0][1], transcript[-1][1]
        if outcome in words.JUDGEMENTS:
            assert (outcome == "right") == right(prompt, answers[-1])
        else:
            assert outcome_fits(prompt, answers[-1], outcome)
    assert 0.6 < revised / 600 < 0.8


def test_rewritings_change_up_to_three_slots_in_no_direction():
    turned = []
    for (_, seed), (_, new) in only("attacks", 1500):
        pairs = zip(seed.split(), new.split(), strict=True)
        assert 1 <= sum(a != b for a, b in pairs) <= 3
        turned.append(right(new, "refuse"))
    assert 0.3 < sum(turned) / len(turned) < 0.6


def test_facts_are_true():
    for ((_, text),) in only("facts"):
        word, _, adjective = text.split()
        assert FACTS[word] == adjective


@pytest.mark.parametrize("family", ["arithmetic", "strings", "writing"])
def test_the_world_solves_exercises_and_judges_answers(family):
    outcomes = Counter()
    for transcript in only(family, 1200):
        prompt, last = transcript[0][1], transcript[-1][1]
        if len(transcript) == 2:
            assert right(prompt, last)
        else:
            assert (last == "right") == right(prompt, transcript[1][1])
            outcomes[last] += 1
    assert 0.25 < outcomes["right"] / outcomes.total() < 0.62


def test_the_likeliest_first_step_of_a_learner_is_a_slip():
    firsts = Counter()
    for transcript in only("arithmetic", 3000):
        if len(transcript) == 3:
            step = transcript[1][1].split(" ; ")[0].split(" ans ")[0].split()
            left, operator, number, _, result = step
            true = {"+": int(left) + int(number), "-": int(left) - int(number)}.get(
                operator, int(left) * int(number)
            )
            firsts[(int(result) - true) % 10] += 1
    assert firsts.most_common(1)[0][0] == 1


def test_a_focus_raises_one_kind():
    focus = pretraining.focused("writing", 0.5)
    documents = pretraining.corpus(2, 1500, focus)
    share = sum(d.startswith("<|user|> write") for d in documents) / 1500
    assert 0.45 < share < 0.58
    with pytest.raises(InvalidOption, match="stories"):
        pretraining.focused("poems")
    with pytest.raises(InvalidOption, match="weights"):
        pretraining.corpus(0, 1, DocumentMixture(stories=-1.0))
