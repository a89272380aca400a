"""Settings of signals that contradict each other, found before anything is trained."""

from superalign_env.canonical import content_hash
from superalign_env.errors import InvalidOption
from superalign_training.sources.settings import Signals

LEAST_FOR_DAWID_SKENE = 3
"""Two sources that disagree cannot be told apart by agreement alone."""


def check(signals: Signals, *, generations: int) -> None:
    """Refuse signals that cannot supervise a chain.

    Args:
        signals: the settings.
        generations: length of the chain; 0 supervises nobody, and everything is fine.

    Raises:
        InvalidOption: says what to change.
    """
    if not generations:
        return
    _check_people(signals)
    _check_twice(signals)
    others = len(signals.models) + len(signals.personas)
    if not others and not signals.labels:
        raise InvalidOption(
            "nobody supervises generation 1: it has no ancestors, and signals.labels=0 asks "
            "no people; set signals.labels to at least 2, or name signals.models or "
            "signals.personas"
        )
    if not others and not labels_taught(signals):
        raise InvalidOption(
            f"of signals.labels={signals.labels} none is left to teach generation 1 from: "
            f"control_share={signals.control_share:g} and "
            f"random_share={signals.random_share:g} take them all; raise signals.labels or "
            "lower the shares"
        )
    if signals.combine == "dawid-skene" and others < LEAST_FOR_DAWID_SKENE:
        raise InvalidOption(
            "signals.combine=dawid-skene needs three sources that answer the same tasks, and "
            f"generation 1 has {others} (people answer too few, ancestors are none yet); name "
            f"{LEAST_FOR_DAWID_SKENE - others} more in signals.models or signals.personas, or "
            "set signals.combine=weighted"
        )
    if signals.combine == "ancestors" and not signals.ancestors:
        raise InvalidOption(
            "signals.combine=ancestors is the vote of all ancestors, and "
            "signals.ancestors=false leaves them out; set one of them otherwise"
        )


def labels_on_control(signals: Signals) -> int:
    """Return how many of people's answers go to control tasks."""
    return round(signals.labels * signals.control_share)


def labels_taught(signals: Signals) -> int:
    """Return how many of people's answers are trained on, on average."""
    rest = signals.labels - labels_on_control(signals)
    return rest - round(rest * signals.random_share)


def _check_people(signals: Signals) -> None:
    names = [person.name for person in signals.people]
    if signals.labels and not names:
        raise InvalidOption(
            f"signals.labels={signals.labels} asks people, and signals.people names nobody; "
            "name somebody ({name: ann, accuracy: 0.9}), or set signals.labels=0"
        )
    if len(set(names)) < len(names):
        raise InvalidOption(
            f"signals.people has the same name twice ({', '.join(names)}); names are what "
            "their answers are recorded under: give each another"
        )


def _check_twice(signals: Signals) -> None:
    names = [content_hash(named) for named in (*signals.models, *signals.personas)]
    for place, named in enumerate((*signals.models, *signals.personas)):
        if names[place] in names[:place]:
            raise InvalidOption(
                f"signals.models and signals.personas name {named!r} twice; the same voice "
                "twice is no second opinion: name another, or another seed of it"
            )
