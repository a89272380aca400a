"""Contract check of algorithms."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace
from pydantic import BaseModel
from transformers.utils.logging import disable_progress_bar

from superalign_env.canonical import from_json, to_json
from superalign_env.errors import InvalidOption, NotReproducible, ProtocolError
from superalign_env.testing import example_views
from superalign_training.algorithms.algorithm import (
    Algorithm,
    Kind,
    experience_kinds,
    make_algorithm,
    plain_algorithm,
)
from superalign_training.data import Live, PlayCases, Row, Stored
from superalign_training.policy import Checkpoint, Policy
from superalign_training.testing.tiny import experience_of, paid, play_case, tiny_policy


def check_algorithm(algorithm: Algorithm[Any], *, penalty: bool = False) -> None:
    """Check that an algorithm keeps the contract of `Algorithm`, on a tiny policy.

    Per kind of experience that it learns from: the weights change; the same seed gives the
    same weights to the byte; a policy that is saved, loaded and trained on ends where it
    would have ended; every update is reported with finite numbers; the policy speaks
    afterwards; experience that nothing can be learned from is an `InvalidOption` and
    changes nothing. Of episodes also: where all are paid alike no weight moves, and
    recorded ones are weighed or refused.

    Give it few steps on few cases (``steps=2, cases=4``): it is called about ten times.

    Args:
        algorithm: with a learning rate that moves weights within its steps.
        penalty: whether its settings pull the policy somewhere whatever is paid (an entropy
            bonus, a divergence). Then equal pay may move weights, to the same place
            whatever the amount.

    Raises:
        ProtocolError: it breaks its contract.
        NotReproducible: the same seed gave other weights, or other numbers.
    """
    try:
        kinds = experience_kinds(make_algorithm(algorithm))
    except InvalidOption as error:
        raise ProtocolError(str(error)) from error
    if "paid" in kinds:
        raise ProtocolError(
            f"{algorithm.id} plays for a Learner, which improves itself; check that one with "
            "check_learner"
        )
    _check_settings(algorithm)
    # Writing weights takes milliseconds and would draw a bar each time.
    disable_progress_bar()  # type: ignore[no-untyped-call] # theirs
    for kind in sorted(kinds):
        with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
            trial = _AlgorithmTrial(algorithm, kind, Path(folder))
            trial.check_updates()
            trial.check_bad_experience()
            if kind == "episodes":
                trial.check_equal_pay(penalty=penalty)
                trial.check_stored()


def _check_settings(algorithm: Algorithm[Any]) -> None:
    """Check that the recorded settings make the same algorithm again."""
    kind, plain = type(algorithm), plain_algorithm(algorithm)
    if not issubclass(kind, BaseModel):
        if vars(algorithm):
            raise ProtocolError(
                f"the settings of {algorithm.id} ({', '.join(vars(algorithm))}) would not be "
                "recorded; derive it from superalign_training.algorithms.Section"
            )
        return
    settings = {**from_json(to_json(plain), dict[str, Any]), "id": algorithm.id}
    if kind.model_validate(settings) != algorithm:
        raise ProtocolError(
            f"the settings of {algorithm.id} change on a trip through JSON: {plain}"
        )


class _AlgorithmTrial:
    """One algorithm on one kind of experience.

    Args:
        algorithm: on trial.
        kind: of its experience.
        folder: for checkpoints.
    """

    def __init__(self, algorithm: Algorithm[Any], kind: Kind, folder: Path) -> None:
        self._algorithm, self._kind, self._folder = algorithm, kind, folder
        self._name = algorithm.id
        self._keeps_policy = bool(getattr(algorithm, "keeps_policy", ""))
        self._calls = 0

    def check_updates(self) -> None:
        """Check two calls, with and without a stop between them."""
        policy, twin = tiny_policy(), tiny_policy()
        before = policy.hash
        numbers, again = self._improve(policy, seed=1), self._improve(twin, seed=1)
        halfway = self._saved(policy)
        if (numbers, halfway) != (again, self._saved(twin)):
            raise NotReproducible(
                f"{self._name} made other weights or numbers of the same policy, experience "
                "and seed; draw all randomness from generators seeded by policy.seed(seed), "
                "and keep nothing in the algorithm from one call to the next"
            )
        if not self._keeps_policy and halfway.weights == before:
            raise ProtocolError(
                f"{self._name} changed no weight; is its learning rate 0, or are the weights "
                "it steps not policy.trained_weights()? One that trains something else says "
                "so in a class attribute keeps_policy"
            )
        if self._keeps_policy and halfway.weights != before:
            raise ProtocolError(f"{self._name} has keeps_policy, and changed the policy")
        loaded = Policy.load(self._folder / "1")
        straight, resumed = self._improve(policy, seed=2), self._improve(loaded, seed=2)
        if (straight, self._saved(policy)) != (resumed, self._saved(loaded)):
            raise NotReproducible(
                f"{self._name} goes on differently after its policy was saved and loaded; "
                "step policy.optimizer(learning_rate) instead of an optimiser of its own, and keep "
                "what outlives a call in the policy"
            )

    def check_bad_experience(self) -> None:
        """Check that unusable experience is refused and changes nothing."""
        policy = tiny_policy()
        if self._kind != "episodes":
            experience = experience_of(self._kind, policy)
            silent = experience[0]._replace(prompt_ids=())
            self._refuses(policy, [], "none at all")
            self._refuses(policy, [silent, *experience[1:]], "one without a prompt")
            return
        self._refuses(policy, Live(lambda first, count: []), "cases without a turn")
        for pay in (math.nan, math.inf):
            play = self._playing(policy, pay=pay, of_case=1)
            self._refuses(policy, Live(play), f"an episode that pays {pay}")

    def check_equal_pay(self, *, penalty: bool) -> None:
        """Check that equal rewards change nothing."""
        hashes = []
        for amount in (0.25, 0.75):
            policy = tiny_policy()
            before = policy.hash
            play = self._playing(policy, pay=amount)
            self._improve(policy, Live(play), seed=1, flat=True)
            hashes.append(policy.hash)
            if not penalty and hashes[-1] != before:
                raise ProtocolError(
                    f"{self._name} moved weights although all episodes were paid alike, by "
                    "which nothing is better than anything else (is_zero_std tells; the sign of "
                    "a rounding error is a whole step to Adam). If a penalty moved them, "
                    "such as an entropy bonus, check with penalty=True"
                )
        if hashes[0] != hashes[1]:
            raise ProtocolError(
                f"{self._name} moved weights elsewhere when all episodes were paid 0.75 than "
                "when all were paid 0.25; where pay is_zero_std only penalties may move them"
            )

    def check_stored(self) -> None:
        """Check that recorded episodes are learned from, or refused."""
        policy = tiny_policy()
        cases = [play_case(policy, case, self._members) for case in range(8)]
        try:
            self._algorithm.improve(policy, Stored(cases, cap=2.0), seed=1)
        except InvalidOption:
            return
        except Exception as error:  # whatever a plug-in raises
            raise ProtocolError(
                f"{self._name} failed on recorded episodes: {type(error).__name__}: {error}; "
                "weigh them, or raise InvalidOption unless experience.cap is None"
            ) from error

    @property
    def _members(self) -> int:
        members: int = getattr(self._algorithm, "num_generations", 1)
        return members

    def _experience(self, policy: Policy) -> Any:
        if self._kind != "episodes":
            return experience_of(self._kind, policy)
        return Live(self._playing(policy))

    def _playing(
        self, policy: Policy, *, pay: float | None = None, of_case: int | None = None
    ) -> PlayCases:
        """Return rollouts with the same reward for all episodes, or those of one case."""

        def play(first: int, count: int) -> list[Row]:
            rows = [
                row
                for case in range(first, first + count)
                for row in play_case(policy, case, self._members)
            ]
            if pay is None:
                return rows
            return [paid(row, pay) if of_case in (None, row.case) else row for row in rows]

        return play

    def _improve(
        self, policy: Policy, experience: Any = None, *, seed: int, flat: bool = False
    ) -> dict[str, float]:
        """Call the algorithm once and check the effects of a single call."""
        material = experience if experience is not None else self._experience(policy)
        reports: list[tuple[int, Mapping[str, float], int]] = []
        started, self._calls = policy.updates, self._calls + 1
        torch.manual_seed(self._calls)  # what draws from it shows
        try:
            numbers = self._algorithm.improve(
                policy,
                material,
                seed=seed,
                on_step=lambda done, n: reports.append((done, dict(n), policy.updates)),
            )
        except Exception as error:  # whatever a plug-in raises
            raise ProtocolError(
                f"{self._name} failed on {self._kind}: {type(error).__name__}: {error}"
            ) from error
        self._check_numbers(numbers, "improve returned")
        for done, reported, _ in reports:
            self._check_numbers(reported, f"on_step({done}) was given")
        self._check_steps(reports, [started, policy.updates], flat=flat)
        self._check_left(policy)
        return numbers

    def _check_numbers(self, numbers: object, how: str) -> None:
        if not isinstance(numbers, Mapping):
            raise ProtocolError(f"{self._name}: {how} {numbers!r}, which is no mapping")
        for name, value in numbers.items():
            if not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ProtocolError(
                    f"{self._name}: {how} {name}={value!r}; give finite floats (.item())"
                )

    def _check_steps(
        self,
        reports: Sequence[tuple[int, Mapping[str, float], int]],
        updates: Sequence[int],
        *,
        flat: bool,
    ) -> None:
        """Check that every update was reported, once.

        Args:
            reports: what on_step was given, and the optimiser steps ever taken by then.
            updates: these before and after the call.
            flat: whether an update may have taken no step.
        """
        untyped: Any = self._algorithm  # `make_algorithm` has checked that it has steps
        steps, limit = [number for number, _, _ in reports], untyped.steps
        if not steps or steps != list(range(1, len(steps) + 1)) or len(steps) > limit:
            raise ProtocolError(
                f"{self._name} called on_step with {steps or 'nothing, never'}; call it with "
                f"1, 2, 3, … once after every update, of which there are at most "
                f"steps={limit}"
            )
        if flat or self._keeps_policy:
            return
        counts = [updates[0], *[count for _, _, count in reports]]
        if updates[1] == updates[0]:
            raise ProtocolError(
                f"{self._name} never stepped policy.optimizer(learning_rate), so that nothing would "
                "be remembered of its moments; take that one, not one of its own"
            )
        several = self._kind == "episodes"  # steps may be taken on one rollout
        rising = all(a < b if several else a + 1 == b for a, b in pairwise(counts))
        if not rising or counts[-1] != updates[1]:
            raise ProtocolError(
                f"{self._name} called on_step after {counts[1:]} optimiser steps of "
                f"{counts[0]} to {updates[1]}; call it once after every update"
            )

    def _check_left(self, policy: Policy) -> None:
        """Check the policy after training: ready to generate, with the hash of its weights."""
        digest, weights = policy.agent.policy, policy.trained_weights().values()
        if not all(bool(weight.isfinite().all()) for weight in weights):
            raise ProtocolError(f"{self._name} left weights that are no finite numbers")
        if policy.model.training or any(weight.grad is not None for weight in weights):
            raise ProtocolError(
                f"{self._name} left the model in training mode or with gradients; train "
                "within `with policy.training() as model:`"
            )
        if digest != policy.hash:
            raise ProtocolError(
                f"{self._name} left a policy that would record its words under the hash of "
                "former weights; train within `with policy.training():`, or call "
                "policy.agent.refresh()"
            )
        for reply in policy.agent.act([view for view in example_views() if view.text]):
            if reply.error or not reply.token_ids:
                raise ProtocolError(
                    f"after {self._name} the policy does not speak: {reply.error or 'nothing'}"
                )

    def _saved(self, policy: Policy) -> Checkpoint:
        """Return the contents of the policy's checkpoint, without its path."""
        place = self._folder / str(1 + len(list(self._folder.iterdir())))
        return replace(policy.save(place), path="")

    def _refuses(self, policy: Policy, experience: Any, flaw: str) -> None:
        before, updates = policy.hash, policy.updates
        advice = (
            f"{self._name} was given bad {self._kind} ({flaw}) and should have raised "
            "InvalidOption before its first step"
        )
        try:
            self._algorithm.improve(policy, experience, seed=1)
        except InvalidOption:
            if policy.hash != before or policy.updates != updates:
                raise ProtocolError(f"{advice}, not after one") from None
        except Exception as error:  # whatever a plug-in raises
            raise ProtocolError(f"{advice}, not {type(error).__name__}: {error}") from error
        else:
            raise ProtocolError(f"{advice}; it returned")
