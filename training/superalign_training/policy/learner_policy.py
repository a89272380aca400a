"""A user's `Learner` as a policy of a run: checkpoints, content hashes, updates.

Nothing here knows what it learns with. Its folder is what `Learner.save` writes; its
failures are named by method, with what that method must do.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec

from superalign_env.canonical import content_hash
from superalign_env.errors import ProtocolError, RecordDamaged, SuperalignError
from superalign_env.protocols import Learner, one_for_each
from superalign_env.seeding import mix
from superalign_env.store.files import STATE
from superalign_env.types import AgentSpec, Episode, Paid, Reply, Seat, View
from superalign_training.policy.checkpoint import Checkpoint, appearing, files_of

Numbers = Mapping[str, float]

FOLDER = "learner"
"""What a learner wrote, within its checkpoint."""


class LearnerAgent:
    """The agent of a `LearnerPolicy`; its replies carry the hash of the weights.

    Args:
        policy: whose learner answers.
    """

    def __init__(self, policy: "LearnerPolicy") -> None:
        self._policy = policy
        self._shown: dict[tuple[str, Seat, int], View] | None = None

    @property
    def spec(self) -> AgentSpec:
        """The learner's spec, with the hash of its state."""
        return msgspec.structs.replace(
            self._policy.learner.spec, policy=self._policy.version
        )

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return the learner's replies, in the order of the views."""
        name, version = self._policy.name, self._policy.version
        replies = one_for_each(views, self._policy.learner.act(views), name)
        if self._shown is not None:
            self._shown |= {(view.episode, view.seat, view.turn): view for view in views}
        return [
            msgspec.structs.replace(reply, policy=version)
            if isinstance(reply, Reply)
            else reply  # whoever asks says what is wrong with it
            for reply in replies
        ]

    @contextmanager
    def watched(self) -> Iterator["LearnerAgent"]:
        """Record the views of replies within the context, for `shown`."""
        self._shown = {}
        try:
            yield self
        finally:
            self._shown = None

    def shown(self, episode: Episode, seat: Seat) -> dict[int, View]:
        """Return turn → recorded view of a seat in an episode, and forget it."""
        turns = [
            utterance.turn for utterance in episode.utterances if utterance.seat == seat
        ]
        views = self._shown if self._shown is not None else {}
        return {
            turn: views.pop((episode.id, seat, place)) for place, turn in enumerate(turns)
        }


class LearnerPolicy:
    """A `Learner` with reference, content hash, update count and checkpoints.

    Args:
        learner: plays and learns; it is changed in place.
        reference: that it goes back to.
        updates: that it has made before.
        original: content hash of what it was before any training; what it is now when empty.
    """

    def __init__(
        self, learner: Learner, *, reference: str, updates: int = 0, original: str = ""
    ) -> None:
        self.learner = learner
        self.reference = reference
        self.updates = updates
        self.agent = LearnerAgent(self)
        self._original = original
        self._hash = ""
        self._hashed_at = updates

    @classmethod
    def load(cls, folder: Path, expected: Checkpoint, learner: Learner) -> "LearnerPolicy":
        """Return the policy in a checkpoint.

        Args:
            folder: where it lies.
            expected: what the record says of it.
            learner: becomes the one that was saved; give a fresh one.

        Raises:
            RecordDamaged: the folder is missing or was altered.
            ProtocolError: `load` fails, or restores something else than `save` wrote.
        """
        require_unaltered(folder, expected)
        policy = cls(
            learner,
            reference=expected.reference,
            updates=expected.updates,
            original=expected.original,
        )
        policy._call("load", "read what save wrote", learner.load, folder / FOLDER)
        if policy.hash != expected.weights:
            raise ProtocolError(
                f"{policy.name}.load restored something else than save wrote: saved again, "
                "the files differ; load all that save writes, and write no clock and no "
                "unordered set"
            )
        return policy

    @property
    def name(self) -> str:
        """Name of the learner's class, for messages."""
        return type(self.learner).__name__

    @property
    def hash(self) -> str:
        """Content hash of the files that `save` writes now."""
        if not self._hash or self._hashed_at != self.updates:
            with tempfile.TemporaryDirectory() as folder:
                self._hash = _hash(self._write(Path(folder)))
            self._hashed_at = self.updates
            self._original = self._original or self._hash
        return self._hash

    @property
    def version(self) -> str:
        """The last computed hash, and the number of updates since.

        Learners of any size speak under it between two checkpoints: nothing is written.
        """
        digest = self._hash or self.hash
        since = self.updates - self._hashed_at
        return f"{digest}+{since}" if since else digest

    @property
    def origin(self) -> Checkpoint:
        """Checkpoint of this policy before it is saved in a folder of the run."""
        return Checkpoint(
            "",
            self.reference,
            self.hash,
            options=self.learner.spec.options,
            original=self._original,
            updates=self.updates,
            own=True,
        )

    def save(self, folder: Path) -> Checkpoint:
        """Write a checkpoint; the folder appears whole or not at all.

        Raises:
            ProtocolError: `save` fails, or writes nothing.
            RecordFull: there is no room for it.
        """
        with appearing(folder) as partial:
            files = self._write(partial)
            self._hash, self._hashed_at = _hash(files), self.updates
            state = msgspec.structs.replace(self.origin, path=folder.name, files=files)
            (partial / STATE).write_text(json.dumps(msgspec.to_builtins(state), indent=1))
        return state

    def improve(
        self, episodes: Sequence[Paid], *, seed: int, on_step: Callable[[Numbers], object]
    ) -> None:
        """Train the learner on episodes by its own `improve`; check its numbers.

        Args:
            episodes: that it has just played.
            seed: of the run of improvements; every one of them draws its own from it.
            on_step: is told the numbers of every update, and those that `improve` returns.

        Raises:
            ProtocolError: `improve` fails, or returns no finite numbers.
        """
        reported: list[str] = []

        def tell(_: int, numbers: Mapping[str, float]) -> None:
            checked = self._checked(numbers)
            reported.extend(checked)
            self.updates += 1
            on_step(checked)

        must = "return finite numbers by name, such as {'loss': 0.3}"
        seed = mix(seed, self.updates)
        learn: Any = self.learner.improve
        numbers = self._call("improve", must, learn, episodes, seed=seed, on_step=tell)
        checked = self._checked(numbers)
        self.updates += not reported
        on_step({name: value for name, value in checked.items() if name not in reported})

    def _write(self, folder: Path) -> dict[str, str]:
        """Let the learner write into a folder; return file → content hash."""
        (folder / FOLDER).mkdir()
        self._call("save", "write files into it", self.learner.save, folder / FOLDER)
        files = files_of(folder)
        if not files:
            raise ProtocolError(
                f"{self.name}.save wrote no file into its folder; it must write all that was "
                "learned, or a resumed run would begin anew"
            )
        return files

    def _checked(self, numbers: Any) -> dict[str, float]:
        flaw = f"returned a {type(numbers).__name__}"
        if isinstance(numbers, Mapping):
            try:
                checked = {str(name): float(value) for name, value in numbers.items()}
            except (TypeError, ValueError) as error:
                flaw = f"returned what is no number: {error}"
            else:
                odd = [name for name, value in checked.items() if not isfinite(value)]
                if not odd:
                    return checked
                flaw = f"returned {odd[0]}={checked[odd[0]]}"
        raise ProtocolError(
            f"{self.name}.improve {flaw}; it must return finite numbers by name, such as "
            "{'loss': 0.3}, and give on_step the same"
        )

    def _call(
        self, method: str, must: str, do: Callable[..., Any], *args: Any, **how: Any
    ) -> Any:
        try:
            return do(*args, **how)
        except SuperalignError:
            raise
        except Exception as error:  # whatever a plug-in raises
            raise ProtocolError(
                f"{self.name}.{method} failed with {type(error).__name__}: {error}; it must "
                f"{must} (docs/your_policy.md)"
            ) from error


def require_unaltered(folder: Path, expected: Checkpoint) -> None:
    """Compare the files of a learner with their recorded hash.

    Raises:
        RecordDamaged: they differ, or are missing.
    """
    if _hash(files_of(folder)) != expected.weights:
        raise RecordDamaged(
            f"the checkpoint {folder} is missing or was altered: its files are not what the "
            "record names; restore it from a copy, or start a new run"
        )


def _hash(files: Mapping[str, str]) -> str:
    """Return 32 hex digits over all files of a learner; empty if there are none."""
    return content_hash(dict(files)) if files else ""
