"""One way to write a number: any kind of number, without signs of zero or rounding noise."""

import numpy as np
import pytest

from superalign_env.report import names
from superalign_env.rounding import between, decimal, number


@pytest.mark.parametrize("value", [3, 3.0, np.float32(3), np.int64(3), True + 2], ids=repr)
def test_ints_floats_and_numpy_scalars_are_written_alike(value):
    assert number(value) == "3"
    assert decimal(value) == "3.00"


@pytest.mark.parametrize("value", [-0.0, -4.441e-17, 4.441e-17, 0, np.float64(-0.0)])
def test_zero_has_no_sign_and_no_noise(value):
    assert number(value) == names.number(value) == "0"
    assert decimal(value) == "0.00"
    assert decimal(value, sign=True) == "+0.00"


def test_what_rounds_to_zero_has_no_sign():
    assert decimal(-0.004) == "0.00"
    assert decimal(-0.006) == "-0.01"


def test_small_settings_keep_their_digits():
    assert number(1e-6) == "1e-06"
    assert number(0.55) == "0.55"
    assert number(1234567) == "1234567"
    assert number(None) == between(None, 1.0) == ""


@pytest.mark.parametrize(("value", "said"), [(float("inf"), "inf"), (float("nan"), "nan")])
def test_what_is_no_number_says_so(value, said):
    assert number(value) == decimal(value) == said
