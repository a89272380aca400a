"""Devices of this machine on which a model can be placed."""

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
        kind = torch.device(name).type
    except RuntimeError as error:  # which lists two dozen kinds that nobody has
        reason = "no device: these are cpu, cuda, cuda:1 for one of several GPUs, and mps"
        raise _unusable(name, reason) from error
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = "this PyTorch cannot"
        if kind == "cuda":  # of others it lists the kernels that there are
            reason = str(error).strip().partition("\n")[0].rstrip(".") or reason
        raise _unusable(name, reason) from error


def _unusable(name: str, reason: str) -> InvalidOption:
    return InvalidOption(
        f"device={name} cannot be used here ({reason}); choose {' or '.join(devices())}"
    )


def devices() -> list[str]:
    """Return the names of the CPU and of the accelerators that PyTorch can use."""
    import torch  # noqa: PLC0415 - takes seconds

    names = ["cpu"]
    if torch.cuda.is_available():
        names += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return names
