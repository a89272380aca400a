"""A classifier as a critic: any guard, or a reward model that was trained here."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from superalign_agents.checkpoints import load_classifier, load_tokenizer, weights_hash
from superalign_agents.critics.exchange import exchange
from superalign_agents.ladders.rungs import MICRO_CHAT_TEMPLATE
from superalign_agents.room import Room
from superalign_env.errors import InvalidOption
from superalign_env.types import AgentSpec, Fault, Reply, Usage, Verdict, View
from superalign_env.verdicts import to_json_text, to_words

Reading = Literal["auto", "text", "chat", "pair"]

GOOD_LABELS = (
    "safe",
    "benign",
    "good",
    "harmless",
    "acceptable",
    "non-toxic",
    "not_toxic",
    "positive",
)
"""Names under which a guard's good class is found, in this order."""

_OWN_MARKER = re.compile(r"<\|\w+\|>$")


class ClassifierCritic:
    """Scores an answer with a sequence classifier, and says it as a verdict.

    Of a model with one output (a reward model) the score is the logistic function of it;
    of one with several it is the probability of the good class. Confidence is the distance
    of the score from a shrug. Its weights are safetensors, and no code of its own is run.

    Args:
        model: folder or hub name of a sequence classifier; a folder that
            `superalign_training.algorithms.trained_reward_model` wrote is one.
        good: name of the good class; found by itself under the usual names.
        fault: kind of the fault that a low score claims.
        reading: ``text`` is the view without the marker that asks the critic to speak (what
            micro models read), ``chat`` the exchange through the tokenizer's template,
            ``pair`` request and answer as a pair of texts; ``auto`` chooses by the tokenizer.
        device: where the model shall live.
        batch: largest number of views scored at once.
        answers: role whose latest turn is judged.

    Raises:
        InvalidOption: no classifier, or one whose good class is not known.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        good: str = "",
        fault: str = "wrong",
        reading: Reading = "auto",
        device: str = "cpu",
        batch: int = 128,
        answers: str = "learner",
    ) -> None:
        self._source = str(model)
        self._model: Any = load_classifier(model, device=device)
        self._tokenizer: Any = load_tokenizer(model)
        self._fault = fault
        self._answers = answers
        self._reading = self._read_as(reading)
        self._good = self._place_of(good)
        self._limit = int(getattr(self._model.config, "max_position_embeddings", 0) or 0)
        pad = self._model.config.pad_token_id
        # Without a token to fill rows up with, each row is a batch of its own.
        self._pad = 0 if pad is None else int(pad)
        self._room = Room(1 if pad is None else batch, who=self._source)
        self._spec = AgentSpec(
            "classifier",
            {
                "model": self._source,
                "good": good,
                "fault": fault,
                "reading": reading,
                "answers": answers,
            },
            weights_hash(self._model),
        )

    @property
    def spec(self) -> AgentSpec:
        """The model and how it is read; the device belongs to the machine."""
        return self._spec

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return one verdict per view; a shrug where there is no answer."""
        return self._room.share_out(views, self._judged)

    def scores(self, rows: Sequence[Sequence[int]]) -> list[float]:
        """Return the score of token rows, in [0, 1].

        Args:
            rows: none empty.
        """
        width = max(map(len, rows))
        ids = [[*row, *([self._pad] * (width - len(row)))] for row in rows]
        mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
        device = self._model.device
        with torch.inference_mode():
            logits = self._model(
                input_ids=torch.tensor(ids, device=device),
                attention_mask=torch.tensor(mask, device=device),
            ).logits.double()
        found: torch.Tensor = (
            torch.sigmoid(logits[:, 0])
            if logits.shape[1] == 1
            else torch.softmax(logits, dim=-1)[:, self._good]
        )
        return [float(value) for value in found]

    def _judged(self, views: Sequence[View]) -> list[Reply]:
        rows = [self._ids(view) for view in views]
        able = [place for place, row in enumerate(rows) if row]
        found = self.scores([rows[place] for place in able]) if able else []
        score = dict(zip(able, found, strict=True))
        return [
            self._reply(view, score.get(place, 0.5), len(rows[place]))
            for place, view in enumerate(views)
        ]

    def _reply(self, view: View, score: float, read: int) -> Reply:
        faults = (Fault(self._fault, "", 1.0 - score),) if score < 0.5 else ()
        verdict = Verdict(score, abs(2.0 * score - 1.0), faults)
        text = to_json_text(verdict) if view.form == "json-schema" else to_words(verdict)
        return Reply(text, finish="stop", usage=Usage(read, 0), policy=self._spec.policy)

    def _ids(self, view: View) -> list[int]:
        """Return what the classifier reads of a view; nothing where there is no answer."""
        request, answer = exchange(view, self._answers)
        if not answer:
            return []
        ids: list[int]
        if self._reading == "text":
            text = _OWN_MARKER.sub("", view.text)
            ids = self._tokenizer(text, verbose=False)["input_ids"]
        elif self._reading == "chat":
            said = [
                {"role": "user", "content": request},
                {"role": "assistant", "content": answer},
            ]
            ids = self._tokenizer.apply_chat_template(said, return_dict=True)["input_ids"]
        else:
            ids = self._tokenizer(request, answer, verbose=False)["input_ids"]
        return ids[-self._limit :] if self._limit else ids

    def _read_as(self, reading: Reading) -> Reading:
        template = self._tokenizer.chat_template
        if reading not in ("auto", "text", "chat", "pair"):
            raise InvalidOption(
                f"reading must be auto, text, chat or pair, not {reading!r}"
            )
        if reading == "chat" and not template:
            raise InvalidOption(
                f"the tokenizer of {self._source} has no chat template; take reading='pair'"
            )
        if reading != "auto":
            return reading
        if template == MICRO_CHAT_TEMPLATE:
            return "text"
        return "chat" if template else "pair"

    def _place_of(self, good: str) -> int:
        """Return the number of the good class."""
        names = {
            str(name).casefold(): int(place)
            for place, name in self._model.config.id2label.items()
        }
        if len(names) == 1:
            return 0
        wanted = [good.casefold()] if good else list(GOOD_LABELS)
        for name in wanted:
            if name in names:
                return names[name]
        raise InvalidOption(
            f"{self._source} has the classes {', '.join(names)}; say which of them is good: "
            f"good={next(iter(names))!r}"
        )
