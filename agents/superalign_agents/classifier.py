"""A sequence classifier as a critic: any guard model, or a reward model trained here."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from superalign_agents.batching import BatchSplitter
from superalign_agents.checkpoints import load_classifier, load_tokenizer, weights_hash
from superalign_agents.decoding import right_padded
from superalign_agents.keyword import exchange
from superalign_agents.ladders import MICRO_CHAT_TEMPLATE
from superalign_env.errors import InvalidOption
from superalign_env.types import AgentSpec, Fault, Reply, Usage, Verdict, View
from superalign_env.verdicts import to_form

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

_SEAT_MARKER = re.compile(r"<\|\w+\|>$")


class ClassifierCritic:
    """Critic whose verdict is the score of a sequence classifier.

    Of a model with one output (a reward model) the score is the logistic function of it;
    of one with several it is the probability of the good class. Confidence is twice the
    distance of the score from 0.5. Its weights are safetensors, and no code of its own is
    run.

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
        self._good = self._class_index(good)
        self._limit = int(getattr(self._model.config, "max_position_embeddings", 0) or 0)
        pad = self._model.config.pad_token_id
        self._pad_token_id = 0 if pad is None else int(pad)
        # Without a padding token each row is a batch of its own.
        self._splitter = BatchSplitter(1 if pad is None else batch, name=self._source)
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
        """Return one verdict per view; score 0.5 and confidence 0 where there is no answer."""
        return self._splitter.map(self._judged, views)

    def scores(self, rows: Sequence[Sequence[int]]) -> list[float]:
        """Return the score of token rows, in [0, 1].

        Args:
            rows: none empty.
        """
        ids, attention_mask = right_padded(
            rows, pad_token_id=self._pad_token_id, device=self._model.device
        )
        with torch.inference_mode():
            logits = self._model(
                input_ids=ids, attention_mask=attention_mask
            ).logits.double()
        scores: torch.Tensor = (
            torch.sigmoid(logits[:, 0])
            if logits.shape[1] == 1
            else torch.softmax(logits, dim=-1)[:, self._good]
        )
        return [float(score) for score in scores]

    def _judged(self, views: Sequence[View]) -> list[Reply]:
        rows = [self._ids(view) for view in views]
        with_answer = [place for place, row in enumerate(rows) if row]
        scores = self.scores([rows[place] for place in with_answer]) if with_answer else []
        score_at = dict(zip(with_answer, scores, strict=True))
        return [
            self._reply(view, score_at.get(place, 0.5), len(rows[place]))
            for place, view in enumerate(views)
        ]

    def _reply(self, view: View, score: float, prompt_tokens: int) -> Reply:
        faults = (Fault(self._fault, "", 1.0 - score),) if score < 0.5 else ()
        verdict = Verdict(score, abs(2.0 * score - 1.0), faults)
        return Reply(
            to_form(verdict, view.form),
            finish="stop",
            usage=Usage(prompt_tokens, 0),
            policy=self._spec.policy,
        )

    def _ids(self, view: View) -> list[int]:
        """Return the tokens that the classifier reads; none where there is no answer."""
        request, answer = exchange(view, self._answers)
        if not answer:
            return []
        ids: list[int]
        if self._reading == "text":
            text = _SEAT_MARKER.sub("", view.text)
            ids = self._tokenizer(text, verbose=False)["input_ids"]
        elif self._reading == "chat":
            messages = [
                {"role": "user", "content": request},
                {"role": "assistant", "content": answer},
            ]
            chat = self._tokenizer.apply_chat_template(messages, return_dict=True)
            ids = chat["input_ids"]
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

    def _class_index(self, good: str) -> int:
        """Return the index of the good class."""
        names = {
            str(name).casefold(): int(place)
            for place, name in self._model.config.id2label.items()
        }
        if len(names) == 1:
            return 0
        names_of_good = [good.casefold()] if good else list(GOOD_LABELS)
        for name in names_of_good:
            if name in names:
                return names[name]
        raise InvalidOption(
            f"{self._source} has the classes {', '.join(names)}; say which of them is good: "
            f"good={next(iter(names))!r}"
        )
