"""Contract check of learners."""

import copy
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from superalign_env.errors import NotReproducible, ProtocolError
from superalign_env.lookup import make_scenario
from superalign_env.protocols import Learner, Scenario
from superalign_env.rollout import Rollouts
from superalign_env.testing import check_agent
from superalign_env.types import Paid, View
from superalign_training.data import paid_episodes
from superalign_training.policy import LearnerPolicy


def check_learner(
    learner: Learner | Callable[[], Learner],
    scenario: str | Scenario[Any] = "echo",
    *,
    cases: int = 16,
) -> None:
    """Check that a learner keeps the contract of `Learner`, in all seats of a scenario.

    It acts as `check_agent` wants, by its view alone, and learns nothing while it acts;
    learning changes what it saves; the same learner, episodes and seed give the same learner
    to the byte, whatever the state of global random generators; one that was saved and loaded
    acts and goes on learning as if it had not been; all numbers are finite.

    Args:
        learner: one, or what makes one: its class, a function. What is made twice must begin
            the same.
        scenario: whose views it can answer, by id or as an object.
        cases: that it plays before it learns. They must not all be paid alike.

    Raises:
        ProtocolError: it breaks its contract; the message names the method.
        NotReproducible: the same episodes and seed gave another learner.
    """
    trial = _Trial(learner, make_scenario(scenario), cases)
    trial.check_acting()
    trial.check_learning()


class _Trial:
    def __init__(
        self,
        learner: Learner | Callable[[], Learner],
        scenario: Scenario[Any],
        cases: int,
    ) -> None:
        self._given = learner
        self._scenario, self._cases = scenario, cases
        self._one, self._other = self._fresh(), self._fresh()
        self._name = self._one.name
        if self._one.hash != self._other.hash:
            raise NotReproducible(
                f"two {self._name}s as they begin save other files; seed what is random in "
                "its constructor, and write no clock and no unordered set"
            )

    def check_acting(self) -> None:
        """Check replies, and that replying changes nothing."""
        before = self._one.hash
        check_agent(self._one.learner, self._views())
        self._one.updates += 1  # so that the hash is computed anew
        if self._one.hash != before:
            raise ProtocolError(
                f"{self._name}.act changed what save writes; learn in improve alone, or what "
                "is recorded depends on how many episodes run at once"
            )
        self._one = self._fresh()

    def check_learning(self) -> None:
        """Check two equal improvements, and one more after a save and load."""
        policy, twin = self._one, self._other
        before, episodes = policy.hash, self._played(policy)
        if len({episode.total for episode in episodes}) < 2:
            raise ProtocolError(
                f"all {len(episodes)} plays of {self._scenario.id} were paid alike, so nothing "
                "could be learned (it holds every seat there); check it in another scenario, or "
                "with more cases"
            )
        numbers, again = (
            self._improved(policy, episodes, 1),
            self._improved(twin, episodes, 1),
        )
        if (numbers, policy.hash) != (again, twin.hash):
            raise NotReproducible(
                f"{self._name}.improve made another learner, or other numbers, of the same "
                "learner, episodes and seed; draw all randomness from the seed that it gets"
            )
        if policy.hash == before:
            raise ProtocolError(
                f"{self._name} saves after improve what it saved before, though pay differed; "
                "let save write all that was learned"
            )
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = policy.save(Path(folder) / "kept")
            loaded = LearnerPolicy.load(
                Path(folder) / "kept", checkpoint, self._fresh().learner
            )
        if [r.text for r in policy.learner.act(self._views())] != [
            r.text for r in loaded.learner.act(self._views())
        ]:
            raise NotReproducible(f"{self._name} acts otherwise after load")
        self._improved(policy, episodes, 2)
        self._improved(loaded, episodes, 2)
        if policy.hash != loaded.hash:
            raise NotReproducible(
                f"{self._name} goes on learning differently after save and load; save what "
                "learning goes on with, too: moments of an optimiser, counts, baselines"
            )

    def _fresh(self) -> LearnerPolicy:
        source: Any = self._given
        if isinstance(source, type) or not hasattr(source, "act"):
            learner = source()
        else:
            learner = copy.deepcopy(source)
        lacking = [
            name
            for name in ("spec", "act", "improve", "save", "load")
            if not hasattr(learner, name)
        ]
        if lacking:
            raise ProtocolError(
                f"{type(learner).__name__} is no Learner: it has no {' and no '.join(lacking)}; "
                "see docs/your_policy.md"
            )
        return LearnerPolicy(learner, reference="checked")

    def _views(self) -> list[View]:
        """Return the first views of its seats."""
        return [
            turn.view for episode in self._played(self._fresh()) for turn in episode.turns
        ][:12]

    def _played(self, policy: LearnerPolicy) -> list[Paid]:
        seats = self._scenario.seats
        with policy.agent.watched() as watched:
            agents = dict.fromkeys(seats, policy.agent)
            episodes = Rollouts(self._scenario, agents).run(self._cases)
            failed = [e.ending.reason for e in episodes if e.failed]
            if failed:
                raise ProtocolError(f"{policy.name}.act failed: {failed[0]}")
            return paid_episodes(episodes, seats, watched.shown)

    def _improved(
        self, policy: LearnerPolicy, episodes: Sequence[Paid], seed: int
    ) -> list[dict[str, float]]:
        """Improve the learner with global random generators in a new state."""
        reports: list[dict[str, float]] = []
        stirred = random.SystemRandom().randrange(1 << 31)
        python, numpy = random.getstate(), np.random.get_state()
        with torch.random.fork_rng(devices=[]):
            random.seed(stirred)
            np.random.seed(stirred)
            torch.manual_seed(stirred)
            try:
                policy.improve(
                    episodes, seed=seed, on_step=lambda n: reports.append(dict(n))
                )
            finally:
                random.setstate(python)
                np.random.set_state(numpy)
        return reports
