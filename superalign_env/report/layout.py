"""Charts of a report: grouped metrics, with a sentence on how to read each."""

from collections.abc import Mapping
from typing import Literal, NamedTuple


class Chart(NamedTuple):
    """Metrics of one chart."""

    title: str
    """Above its panels, which bear the tags that tell them apart."""
    names: tuple[str, ...]
    apart: tuple[str, ...] = ()
    """Tags that make a panel of its own."""
    tags: tuple[str, ...] = ()
    """Tags that make a line of its own."""
    having: Mapping[str, str] = {}
    """Tags that a metric must bear."""
    lacking: tuple[str, ...] = ()
    """Tags that a metric must not bear."""
    whose: bool = False
    """Whether every agent has a line of its own."""
    text: str = ""
    """What it shows and how to read it."""


class Group(NamedTuple):
    """Charts under one heading."""

    id: str
    title: str
    text: str
    charts: tuple[Chart, ...]
    over: Literal["generation", "round"] = "generation"


GROUPS = (
    Group(
        "capability",
        "Capability",
        "What generations achieve and what they could, by the truth. Competence, conformity "
        "and safety are never summed.",
        (
            Chart(
                "Utility U and capacity C",
                ("capability.utility", "capability.capacity"),
                ("family", "tier"),
                ("by",),
                text="U is the share of held-out tasks solved, before (A⁻) and after (A⁺) "
                "alignment. C is what a fresh copy of the same model could: after a course on "
                "gold answers, or by the best of several tries. Ideally A⁺ lies upon A⁻, and "
                "both near C.",
            ),
            Chart(
                "Left to elicit, C − U",
                ("capability.elicitation_gap",),
                ("family", "tier"),
                text="What a generation could do, by its gold-taught copy, and does not. Zero: "
                "all of it was elicited; below zero it does better than the copy.",
            ),
            Chart(
                "Gap δ",
                ("capability.gap",),
                ("in",),
                text="C of a generation less U of its teacher. Above zero the student could "
                "do more than its teacher shows; Elo says the same as a playing strength.",
            ),
            Chart(
                "Steps up the ladder",
                ("gap.steps",),
                text="How many rungs of model strength the gap controller chose to climb.",
            ),
            Chart(
                "Saliency",
                ("capability.saliency",),
                text="What a few gold labels lift U by: large where the skill was there and "
                "only had to be brought out.",
            ),
        ),
    ),
    Group(
        "values",
        "Conformity, safety, over-refusal",
        "By the truth, on held-out cases. Refusing everything is safe and useless: read "
        "safety and over-refusal together.",
        (
            Chart(
                "Conformity",
                ("conformity",),
                ("dimension",),
                text="Share of requests answered as the values of each dimension ask. Higher is "
                "better.",
            ),
            Chart(
                "Safety",
                ("safety",),
                text="Share of harmful requests that were not complied with. Higher is better.",
            ),
            Chart(
                "Over-refusal",
                ("over-refusal",),
                ("kind",),
                text="Share of harmless requests that are refused. Lower is better.",
            ),
        ),
    ),
    Group(
        "weak-to-strong",
        "From weak to strong",
        "A student that only imitates recovers nothing of the gap, however well it fits "
        "the labels.",
        (
            Chart(
                "Recovered gap",
                ("capability.pgr", "capability.w2s_minus_weak"),
                ("family",),
                text="PGR is the part of the way from weak teacher to ceiling that the "
                "student went: 0 as weak as its teacher, 1 all the way. It is left out where "
                "there is no way to go.",
            ),
            Chart(
                "Imitation",
                ("capability.imitation", "capability.imitation_ceiling"),
                ("family",),
                text="How often the student says what its teacher says where the teacher is "
                "wrong, beside a copy which gold labels taught. What exceeds the copy is "
                "imitation.",
            ),
        ),
    ),
    Group(
        "variety",
        "Variety and calibration",
        "Falling entropy and fewer distinct answers are how a collapse begins.",
        (
            Chart(
                "Entropy of answers",
                ("capability.entropy",),
                text="Mean over requests, in nats; 0: always the same answer.",
            ),
            Chart(
                "Distinct answers",
                ("capability.distinct",),
                text="Share of different answers among all answers to tasks.",
            ),
            Chart(
                "Calibration error",
                ("capability.calibration_error",),
                text="How far the probability of an answer lies from how often it is right. Lower "
                "is better.",
            ),
        ),
    ),
    Group(
        "signals",
        "Signals",
        "What controllers and the gate may see (disagreement, agreement with people), and, "
        "for reading only, how true the labels were.",
        (
            Chart(
                "On control tasks",
                ("signals.disagreement", "signals.misfit", "signals.confidence"),
                text="How often sources differ from each other, how often the learner "
                "differs from their labels, and how sure it is.",
            ),
            Chart(
                "Labels",
                ("signals.human_agreement", "signals.label_accuracy"),
                text="How often combined labels agree with people, and how often they are "
                "true.",
            ),
            Chart(
                "Reliability of sources",
                ("signals.reliability",),
                whose=True,
                text="How far each source was believed when labels were combined.",
            ),
        ),
    ),
    Group(
        "risk",
        "Risk",
        "Deployed against attackers and plain requests, in the critics' eyes.",
        (
            Chart(
                "Hazardous answers",
                ("risk.rate",),
                text="Share of deployed cases that critics call bad. Lower is better.",
            ),
            Chart(
                "Old hazards that still work",
                ("risk.residual",),
                text="Share of hazards of earlier generations on which it still misbehaves.",
            ),
            Chart(
                "Hazardous answers, by who asked",
                ("risk.asked",),
                tags=("asked_by",),
                text="The same rate for plain requests (seed) and for every attacker.",
            ),
            Chart(
                "Hazards found",
                ("risk.hazards",),
                text="How many new ones were kept.",
            ),
            Chart(
                "Hazards by kind",
                ("risk.kind",),
                tags=("kind",),
                text="How many new ones of each kind.",
            ),
            Chart(
                "What conformity taught",
                ("conform.learned",),
                text="Share of taught hazards that are now answered with the safe answer ŷ.",
            ),
        ),
    ),
    Group(
        "gate",
        "What the gate saw",
        "Signals alone: people, critics, control tasks and archived attackers; no truth.",
        (
            Chart(
                "Change of competence on control tasks",
                ("gate.competence_change",),
                text="A⁺ less A⁻ on the same tasks. Below zero alignment cost competence.",
            ),
            Chart(
                "Good, say people",
                ("gate.good", "gate.conformity"),
                tags=("kind",),
                text="Share of answers to plain requests that people call good.",
            ),
            Chart(
                "Bad answers, say critics",
                ("gate.bad", "gate.attack_success"),
                tags=("split",),
                text="Share of answers to held-out and to trained requests that critics call "
                "bad, and of archived attacks that still succeed.",
            ),
        ),
    ),
    Group(
        "self-play",
        "Self-play",
        "Attacker, learner and critic over the rounds; held-out cases where the truth "
        "speaks.",
        (
            Chart(
                "Right on both sides",
                ("refusals.balanced-accuracy",),
                text="Mean of harmful requests refused and harmless ones answered. A learner "
                "that treats all alike has .5.",
            ),
            Chart(
                "Wrong on either side",
                ("refusals.miss", "refusals.over-refusal"),
                lacking=("kind",),
                text="Misses: harmful requests answered. Over-refusals: harmless ones "
                "refused. Lower is better.",
            ),
            Chart(
                "Harm done by attackers",
                ("attack.harm",),
                tags=("attacker",),
                text="Share of their attacks that do harm, by the truth: those trained with "
                "the learner, and fresh ones that search against it as it is.",
            ),
            Chart(
                "Critic right",
                ("verdicts.accuracy", "verdicts.agreement"),
                tags=("on",),
                text="How often the critic is right, and how often it agrees with people.",
            ),
            Chart(
                "Critic's Brier score",
                ("verdicts.brier",),
                tags=("on",),
                text="Squared error of its confidence: 0 is best, .25 is a coin.",
            ),
            Chart(
                "Reward in training",
                ("reward",),
                tags=("role",),
                text="Mean pay of a turn in training, by role; it is not the truth.",
            ),
            Chart(
                "Attacks that critics call successful",
                ("attack.success",),
                text="Share of the attacker's own plays.",
            ),
            Chart(
                "Queries of the attacker",
                ("attack.valid", "attack.distinct"),
                tags=("attacker",),
                text="Share that the rules admit, and share that differ from each other.",
            ),
        ),
        over="round",
    ),
)

HEADLINES = frozenset(
    {
        *("capability.utility", "capability.pgr", "capability.gap"),
        *("conformity", "safety", "over-refusal"),
        *("refusals.balanced-accuracy", "refusals.miss", "refusals.over-refusal"),
        *("attack.harm", "verdicts.accuracy"),
    }
)
"""Metrics whose final numbers stand open; those of all others are folded away."""
