"""A sequence classifier as a critic: any guard model, or a reward model trained here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from superalign_agents.batching import BatchSplitter, is_out_of_memory, right_padded
from superalign_agents.checkpoints import (
    check_vocabulary,
    load_classifier,
    load_tokenizer,
    weights_hash,
)
from superalign_agents.classifier_input import ClassifierInput, Reading
from superalign_agents.keyword import slug
from superalign_agents.prompting import Prompt
from superalign_env.errors import InvalidOption
from superalign_env.plain_text import one_line
from superalign_env.types import AgentSpec, Fault, Reply, Usage, Verdict, View
from superalign_env.verdicts import to_form

GOOD_LABELS = (
    "safe",
    "benign",
    "good",
    "harmless",
    "acceptable",
    "non-toxic",
    "not_toxic",
    "positive",
    "non_toxic",
    "nontoxic",
    "not_hate",
    "nothate",
    "neutral",
    "normal",
)
"""Names under which a guard's good class is found, in this order."""

BAD_LABELS = ("toxic", "toxicity", "harmful", "unsafe", "hate", "offensive", "harm")
"""Names of a single output of which more is worse."""

_CLAIMED = 0.5
"""Probability from which on a class of a multi-label model is claimed."""

_MOST_CLAIMED = 16


class ClassifierCritic:
    """Critic whose verdict is the score of a sequence classifier.

    Of a model with one output (a reward model) the score is the logistic function of it, or
    1 minus that where its class is no good one. Of one with several classes it is the
    probability of the good ones; of a multi-label model (by its ``problem_type``) 1 minus the
    highest probability of a class that is not good. Confidence is twice the distance of the
    score from 0.5. A low score claims a fault, and where several classes are not good, the
    likeliest of them (of a multi-label model each above 0.5) by name: ``harm.insult``.

    Its weights are safetensors, and no code of its own is run. Of an exchange over its length
    the middle of the answer is left out, then that of the request; notes of the reply count
    the tokens.

    Args:
        model: folder or hub name of a sequence classifier; a folder that
            `superalign_training.algorithms.trained_reward_model` wrote is one.
        good: name of the good class, or names of several; an empty list where none is. Empty:
            found by itself under the usual names (of a multi-label model: none).
        fault: kind of the fault that a low score claims.
        reading: ``text`` is the view without the marker that asks the critic to speak (what
            micro models read), ``chat`` the exchange through the tokenizer's template,
            ``pair`` request and answer as a pair of texts, ``answer`` the answer alone;
            ``auto`` chooses by the tokenizer, never ``answer``.
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
        good: str | Sequence[str] = "",
        fault: str = "wrong",
        reading: Reading = "auto",
        device: str = "cpu",
        batch: int = 128,
        answers: str = "learner",
    ) -> None:
        self._source = str(model)
        self._model: Any = load_classifier(model, device=device)
        tokenizer: Any = load_tokenizer(model)
        check_vocabulary(self._model, tokenizer)
        self._fault = fault
        self._input = ClassifierInput(
            self._model, tokenizer, reading=reading, answers=answers, name=self._source
        )
        self._classes = _class_names(self._model)
        several = self._model.config.problem_type == "multi_label_classification"
        self._multi_label = several and len(self._classes) > 1
        self._good = self._class_indices(good)
        pad = self._model.config.pad_token_id
        if pad is not None and not 0 <= pad < len(tokenizer):
            pad = None
        self._pad_token_id = 0 if pad is None else int(pad)
        # Without a padding token each row is a batch of its own.
        self._splitter = BatchSplitter(1 if pad is None else batch, name=self._source)
        self._spec = AgentSpec(
            "classifier",
            {
                "model": self._source,
                "good": good if isinstance(good, str) else list(good),
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
        return [self._score(row) for row in self.probabilities(rows)]

    def probabilities(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return the probability of each class for token rows, in the model's order.

        Args:
            rows: none empty.
        """
        ids, attention_mask = right_padded(
            rows, pad_token_id=self._pad_token_id, device=self._model.device
        )
        more = {}
        if self._input.separator is not None:
            # What follows the first separator is the second text of the pair.
            ends = (ids == self._input.separator).long()
            more["token_type_ids"] = ((ends.cumsum(1) - ends) > 0).long() * attention_mask
        with torch.inference_mode():
            logits = self._model(
                input_ids=ids, attention_mask=attention_mask, **more
            ).logits.double()
        one_by_one = self._multi_label or logits.shape[1] == 1
        values: list[list[float]] = (
            torch.sigmoid(logits) if one_by_one else torch.softmax(logits, dim=-1)
        ).tolist()
        return values

    def _score(self, probabilities: Sequence[float]) -> float:
        good = [p for n, p in enumerate(probabilities) if n in self._good]
        bad = [p for n, p in enumerate(probabilities) if n not in self._good]
        if bad and (self._multi_label or len(probabilities) == 1):
            return 1.0 - max(bad)
        return min(1.0, sum(good))

    def _faults(self, score: float, probabilities: Sequence[float]) -> tuple[Fault, ...]:
        """Return the faults that a row is said to have, the general one first."""
        if score >= 0.5:
            return ()
        bad = [n for n in range(len(probabilities)) if n not in self._good]
        claimed: list[int] = []
        if len(bad) > 1:
            bad.sort(key=lambda n: -probabilities[n])
            above = [n for n in bad if probabilities[n] > _CLAIMED]
            claimed = above if self._multi_label else bad[:1]
        return (
            Fault(self._fault, "", 1.0 - score),
            *(
                Fault(f"{self._fault}.{slug(self._classes[n])}", "", probabilities[n])
                for n in claimed[:_MOST_CLAIMED]
            ),
        )

    def _judged(self, views: Sequence[View]) -> list[Reply]:
        prompts = [self._input.prompt(view) for view in views]
        with_answer = [place for place, prompt in enumerate(prompts) if prompt.ids]
        rows = self._rows_apart([prompts[place].ids for place in with_answer])
        row_at = dict(zip(with_answer, rows, strict=True))
        return [
            self._reply(view, row_at.get(place, prompts[place].error), prompts[place])
            for place, view in enumerate(views)
        ]

    def _rows_apart(self, rows: Sequence[list[int]]) -> list[list[float] | str]:
        """Return the probabilities of each row, or why it has none; no row harms another."""
        if not rows:
            return []
        try:
            return [*self.probabilities(rows)]
        except (RuntimeError, IndexError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            if len(rows) == 1:
                return [one_line(str(error), 200)]
        return [result for row in rows for result in self._rows_apart([row])]

    def _reply(self, view: View, result: list[float] | str, prompt: Prompt) -> Reply:
        if isinstance(result, str) and result:
            error = f"{self._source} cannot judge: {result}"
            return Reply("", finish="error", policy=self._spec.policy, error=error)
        score = self._score(result) if not isinstance(result, str) else 0.5
        faults = self._faults(score, result) if not isinstance(result, str) else ()
        verdict = Verdict(score, abs(2.0 * score - 1.0), faults)
        return Reply(
            to_form(verdict, view.form),
            finish="stop",
            usage=Usage(len(prompt.ids), 0),
            policy=self._spec.policy,
            notes=prompt.notes,
        )

    def _class_indices(self, good: str | Sequence[str]) -> set[int]:
        """Return the indices of the good classes, possibly none of them.

        Raises:
            InvalidOption: a class that is not there, or no way to tell which is good.
        """
        places = {name.casefold(): place for place, name in enumerate(self._classes)}
        listed = ", ".join(self._classes)
        named = [good] if isinstance(good, str) and good else list(good or ())
        for name in named:
            if name.casefold() not in places and len(places) > 1:
                raise InvalidOption(
                    f"{self._source} has the classes {listed}, and no {name!r}; say which of "
                    f"them is good: good={self._classes[0]!r}"
                )
        if named:
            return {places.get(name.casefold(), 0) for name in named}
        if len(places) == 1:
            more_is_worse = good != "" or self._classes[0].casefold() in BAD_LABELS
            return set() if more_is_worse else {0}
        if good == "":
            usual = [places[name] for name in GOOD_LABELS if name in places]
            if usual:
                return {usual[0]}
        if self._multi_label:
            return set()
        raise InvalidOption(
            f"{self._source} has the classes {listed}; say which of them is good: "
            f"good={self._classes[0]!r}"
        )


def _class_names(model: Any) -> list[str]:
    """Return the names of a classifier's classes, in the order of its outputs."""
    names = {int(place): str(name) for place, name in model.config.id2label.items()}
    return [names[place] for place in sorted(names)]
