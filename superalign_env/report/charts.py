"""Which curves a report draws, from which metrics: the whole list on one screen."""

from collections.abc import Mapping
from typing import Literal, NamedTuple


class Chart(NamedTuple):
    """Some metrics that are looked at together."""

    title: str
    """Of its panels, before the tags that tell them apart."""
    names: tuple[str, ...]
    apart: tuple[str, ...] = ()
    """Tags that make a panel of its own."""
    tags: tuple[str, ...] = ()
    """Tags that make a line of its own."""
    having: Mapping[str, str] = {}
    """Tags that a metric must bear."""
    lacking: tuple[str, ...] = ()
    """Tags that a metric must not bear."""
    share: bool = True
    """Whether values are shares."""
    whose: bool = False
    """Whether every agent has a line of its own."""


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
        "U is what a generation achieves, by the truth, before (A⁻) and after (A⁺) it was "
        "aligned; C is what it could achieve. Competence, conformity and safety are never "
        "summed.",
        (
            Chart(
                "U",
                ("capability.utility", "capability.capacity"),
                ("family", "tier"),
                ("by",),
            ),
            Chart("gap δ", ("capability.gap",), ("in",), share=False),
            Chart(
                "left to elicit, C − U",
                ("capability.elicitation_gap",),
                ("family", "tier"),
                share=False,
            ),
            Chart("steps up the ladder", ("gap.steps",), share=False),
            Chart("saliency", ("capability.saliency",), share=False),
        ),
    ),
    Group(
        "values",
        "Conformity, safety, over-refusal",
        "By the truth, on held-out cases. Refusing everything is safe and useless: read "
        "safety and over-refusal together.",
        (
            Chart("conformity", ("conformity",), ("dimension",)),
            Chart("safety", ("safety",)),
            Chart("over-refusal", ("over-refusal",), ("kind",)),
        ),
    ),
    Group(
        "weak-to-strong",
        "From weak to strong",
        "A student that only imitates recovers nothing of the gap, however well it fits "
        "the labels: imitation is shown beside that of a copy which gold labels taught.",
        (
            Chart(
                "recovered gap",
                ("capability.pgr", "capability.w2s_minus_weak"),
                ("family",),
                share=False,
            ),
            Chart(
                "imitation",
                ("capability.imitation", "capability.imitation_ceiling"),
                ("family",),
            ),
        ),
    ),
    Group(
        "variety",
        "Variety and calibration",
        "Falling entropy and fewer distinct answers are how a collapse begins.",
        (
            Chart("entropy", ("capability.entropy",), share=False),
            Chart("distinct answers", ("capability.distinct",)),
            Chart("calibration error", ("capability.calibration_error",)),
        ),
    ),
    Group(
        "signals",
        "Signals",
        "What controllers and the gate may see (disagreement, agreement with people), and, "
        "for reading only, how true the labels were.",
        (
            Chart(
                "on control tasks",
                ("signals.disagreement", "signals.misfit", "signals.confidence"),
            ),
            Chart("labels", ("signals.human_agreement", "signals.label_accuracy")),
            Chart("reliability of sources", ("signals.reliability",), whose=True),
        ),
    ),
    Group(
        "risk",
        "Risk",
        "Deployed against attackers and plain requests, in the critics' eyes.",
        (
            Chart("hazardous answers", ("risk.rate",)),
            Chart("old hazards that still work", ("risk.residual",)),
            Chart("hazardous answers, by who asked", ("risk.asked",), tags=("asked_by",)),
            Chart("hazards found", ("risk.hazards",), share=False),
            Chart("hazards by kind", ("risk.kind",), tags=("kind",), share=False),
            Chart("what conformity taught", ("conform.learned",)),
        ),
    ),
    Group(
        "gate",
        "What the gate saw",
        "Signals alone: people, critics, control tasks and archived attackers; no truth.",
        (
            Chart("change of competence on control tasks", ("gate.kept",), share=False),
            Chart("good, say people", ("gate.good", "gate.conformity"), tags=("kind",)),
            Chart("bad answers, say critics", ("gate.bad", "gate.broken"), tags=("split",)),
        ),
    ),
    Group(
        "self-play",
        "Self-play",
        "Attacker, learner and critic over the rounds; held-out cases where the truth "
        "speaks.",
        (
            Chart("right on both sides", ("learner.balanced-accuracy",)),
            Chart(
                "wrong on either side",
                ("learner.miss", "learner.over-refusal"),
                lacking=("kind",),
            ),
            Chart("harm done by attackers", ("attack.harm",), tags=("attacker",)),
            Chart("critic right", ("critic.accuracy", "critic.agreement"), tags=("on",)),
            Chart("critic's Brier score", ("critic.brier",), tags=("on",)),
            Chart("reward of the learner", ("learner.reward",), share=False),
            Chart("attacks that critics call successful", ("attack.success",)),
            Chart(
                "queries of the attacker",
                ("attack.valid", "attack.distinct"),
                tags=("attacker",),
            ),
        ),
        over="round",
    ),
)

MATRICES: Mapping[str, str] = {
    "league.win": "Attacks won",
    "league.success": "Attacks that succeeded, say critics",
    "league.fault": "Attacks that succeeded, by the truth",
    "gate.attacked": "Attacks that succeeded at the gate, say critics",
}
"""Metric of an attacker against a learner → heading."""
LEARNERS_FIRST = frozenset({"gate.attacked"})
"""Matrices whose metrics name the learner as agent and the attacker as opponent."""

SOURCES: Mapping[str, str] = {
    "signals.error_correlation": "Correlation of errors",
    "signals.kappa_p": "κₚ: agreement beyond what accuracy explains",
}
"""Metric between two sources → heading."""
