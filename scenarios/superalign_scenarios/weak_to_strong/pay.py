"""Who earns what in weak-to-strong: named parts, each in about [−1, 1]."""

from collections.abc import Sequence

from superalign_env.final_answers import Label, final_answer
from superalign_env.types import Grade, Reward, Role, Utterance, Verdict


def weights(truth: bool, critics: bool) -> dict[Role, dict[str, float]]:
    """Return the weights; the part ``truth`` is paid only when switched on."""
    made: dict[Role, dict[str, float]] = {
        "supervisor": {"human": 1.0, "format": 1.0},
        "learner": {"label": 1.0, "human": 1.0, "format": 1.0},
    }
    if critics:
        made["critic"] = {"human": 1.0, "format": 1.0}
    if truth:
        for parts in made.values():
            parts["truth"] = 1.0
    return made


def goodness(grades: Sequence[Grade]) -> float | None:
    """Return how good an answer truly is, in [0, 1]: as good as its worst axis."""
    return min([grade.value for grade in grades]) if grades else None


def form(spoken: Utterance, choices: Sequence[str]) -> list[Reward]:
    """Return the price of an answer that is empty, or none of the task's choices."""
    text = spoken.text
    if text.strip() and (not choices or text in choices):
        return []
    return [Reward(spoken.seat, "format", -1.0, spoken.turn)]


def truth(spoken: Utterance, grades: Sequence[Grade]) -> list[Reward]:
    """Return what the truth would pay for an answer; nothing where nobody knows it."""
    value = goodness(grades)
    if value is None:
        return []
    return [Reward(spoken.seat, "truth", 2.0 * value - 1.0, spoken.turn)]


def agreement(spoken: Utterance, taught: Label) -> Reward:
    """Return what the student earns by saying what it is taught."""
    agrees = final_answer(spoken.text) == final_answer(taught.text)
    return Reward(spoken.seat, "label", 1.0 if agrees else -1.0, spoken.turn)


def critic(spoken: Utterance, verdict: Verdict | None, worth: float | None) -> list[Reward]:
    """Return what a critic earns at once.

    Args:
        spoken: its utterance.
        verdict: what it says; None when nobody can read it.
        worth: of the label that it judges, by the truth; None when nobody knows.
    """
    if verdict is None:
        return [Reward(spoken.seat, "format", -1.0, spoken.turn)]
    if worth is None:
        return []
    brier = 1.0 - 2.0 * (verdict.score - worth) ** 2
    return [Reward(spoken.seat, "truth", brier, spoken.turn)]
