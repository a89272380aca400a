"""Rows of ids for those of TRL's trainers that insist on text."""

from typing import Any


class Tokenised:
    """Mixed into a trainer: it takes rows as they are, reference log-probabilities included.

    TRL would tokenise them, and find no text to tokenise; and it would score them with a
    reference model that it loads itself.
    """

    def _prepare_dataset(self, dataset: Any, *rest: Any, **options: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *rest: Any, **options: Any) -> Any:
        return dataset
