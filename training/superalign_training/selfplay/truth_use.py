"""Use of gold labels in a run, counted from its record.

Stages that measure know all of it and steer nothing. To the others it comes by doors that
can be counted: answers that the environment planted, people's answers to questions, and
those that are shut unless the settings open them.
"""

from typing import Any, NamedTuple

from superalign_env import registry
from superalign_env.canonical import to_json
from superalign_env.store import Run

SCHOOLS = ("judge", "calibrate")
"""Stages in which critics are taught, examined and paid on planted answers."""


class TruthUse(NamedTuple):
    """Uses of gold labels in the training of a run."""

    planted: int
    """Answers that the environment planted, knowing their truth: the critic's training."""
    labels: int
    """Answers of people; simulated ones know the truth, and corrupt it."""
    paid: bool
    """Whether the truth itself paid somebody: the reward part ``truth``."""
    oracle: bool
    """Whether the controller of gaps was told gold labels (``gap=oracle``)."""
    personas: bool
    """Whether agents spoke that know the truth for their group (``simulated-persona``)."""

    @property
    def sentence(self) -> str:
        """The uses in a sentence."""
        planted = f"{self.planted:,} planted answers (the critic's training)"
        parts = [
            "While it learned, the run was told the truth of "
            f"{planted if self.planted else 'no planted answers'} and had {self.labels:,} "
            "answers of people."
        ]
        if self.paid:
            parts.append("The truth itself paid (part truth).")
        if self.oracle:
            parts.append("The controller was told gold labels (gap=oracle).")
        if self.personas:
            parts.append("Simulated personas spoke, who know the truth for their group.")
        return " ".join(parts)

    def plain(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**self._asdict(), "sentence": self.sentence}


def truth_use(run: Run) -> TruthUse:
    """Return the uses of gold labels in the training of a run."""
    schools = {stage.id for stage in run.stages.all() if stage.name in SCHOOLS}
    planted = sum(n for stage, n in run.planted().items() if stage in schools)
    # Planted answers that were taught and not recorded one by one.
    planted += sum(
        stage.outputs.get("notes", {}).get("planted", 0)
        for stage in run.stages.all(status="done")
    )
    config = run.info.config
    controller = config["gap"]["id"] if config.get("generations") else ""
    return TruthUse(
        planted,
        run.questions.budget().answered,
        bool(config.get("options", {}).get("truth")) or _truth_paid(run),
        bool(controller and getattr(registry.load("gap", controller), "oracle", False)),
        b'"simulated-persona"' in to_json(config),
    )


def _truth_paid(run: Run) -> bool:
    """Whether the reward weights of a training episode include the part ``truth``."""
    names = run.episode_ids(split="train")[:1]
    return any(
        bool(parts.get("truth"))
        for episode in run.named(names)
        for parts in episode.weights.values()
    )
