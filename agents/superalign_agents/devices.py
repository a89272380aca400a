"""Where models can live on this machine."""

from superalign_env.errors import InvalidOption


def require_device(name: str) -> None:
    """Raise unless a tensor can be made on a device.

    Args:
        name: as PyTorch has it: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        InvalidOption: PyTorch knows no such device, or it is not here.
    """
    if name == "cpu":
        return  # always here; asking PyTorch would import it, for seconds
    import torch  # noqa: PLC0415 - see above

    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        why = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise InvalidOption(
            f"device={name} cannot be used here ({why}); choose {' or '.join(devices())}"
        ) from error


def devices() -> list[str]:
    """Return what there is: the processor, and accelerators that PyTorch can see."""
    import torch  # noqa: PLC0415 - takes seconds

    found = ["cpu"]
    if torch.cuda.is_available():
        found += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return found
