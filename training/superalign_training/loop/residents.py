"""Models that lie in memory once, however many adapters stand on them."""

from typing import Any

from superalign_training.policy import SharedBase, shared_base


class Residents:
    """The bases of a run, loaded when first asked for.

    Three roles whose policies are adapters on one base share its weights, in every stage.
    """

    def __init__(self) -> None:
        self._bases: dict[tuple[str, ...], SharedBase] = {}

    def base(self, reference: str, *, device: str, **options: Any) -> SharedBase:
        """Return the base that a reference names.

        Args:
            reference: ``micro/3``, a folder or ``hf:org/name``.
            device: where it shall live.
            **options: dtype, attention.

        Raises:
            UnknownId: nothing is called so.
            InvalidOption: what is called so is no model.
        """
        key = (reference, device, *(f"{k}={v}" for k, v in sorted(options.items())))
        if key not in self._bases:
            self._bases[key] = shared_base(reference, device=device, **options)
        return self._bases[key]
