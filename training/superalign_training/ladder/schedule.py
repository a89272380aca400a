"""The learning-rate schedule of pre-training."""


def rate_factor(step: int, *, steps: int, warm_up: int = 30, floor: float = 0.05) -> float:
    """Return what the peak rate is multiplied with at a step.

    Linear warm-up, constant to the middle, then linear down to `floor`.
    """
    if step < warm_up:
        return (step + 1) / warm_up
    half = steps / 2
    if step <= half:
        return 1.0
    return 1.0 - (1.0 - floor) * (step - half) / max(steps - half, 1.0)
