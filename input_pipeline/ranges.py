"""Values that fields of a configuration may have."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ml_collections import ConfigDict


class Range(NamedTuple):
    """A range that a number has to lie in.

    Attributes:
        includes: whether a number lies in the range; no NaN does.
        text: the range in words.
    """

    includes: Callable[[float], bool]
    text: str


ZERO_OR_MORE = Range(lambda x: 0 <= x < math.inf, "a finite number, 0 or more")
ABOVE_ZERO = Range(lambda x: 0 < x < math.inf, "a finite number above 0")
ONE_OR_MORE = Range(lambda x: 1 <= x < math.inf, "1 or more")
ZERO_TO_ONE = Range(lambda x: 0 <= x <= 1, "0 to 1")
SEED = Range(lambda x: 0 <= x < 2**32, "0 or more, below 2**32")
BELOW_ONE = Range(lambda x: 0 <= x < 1, "0 or more, below 1")

DATA_RANGES = {
    "seed": SEED,
    "data.size": ONE_OR_MORE,
    "data.spacing_mm": ABOVE_ZERO,
    "data.mr_percentile": Range(lambda x: 0 < x <= 100, "above 0, up to 100"),
    "data.mr_exponent": ABOVE_ZERO,
    "data.crop": ZERO_OR_MORE,
    "data.rotate_degrees": Range(lambda x: 0 <= x <= 180, "0 to 180"),
    "data.scale_fraction": BELOW_ONE,
    "data.shift_mm": ZERO_OR_MORE,
    "data.workers": ZERO_OR_MORE,
    "phantom.train_mr": ONE_OR_MORE,
    "phantom.train_ct": ZERO_OR_MORE,
    "phantom.pairs": ZERO_OR_MORE,
    "phantom.validation": ZERO_OR_MORE,
    "phantom.test": ZERO_OR_MORE,
    "phantom.slices": ONE_OR_MORE,
    "phantom.slice_mm": ABOVE_ZERO,
    # Beyond, the reference anatomy is not drawn.
    "phantom.ct_offset_mm": Range(lambda x: -50 <= x <= 80, "-50 to 80"),
    "phantom.anatomies": ZERO_OR_MORE,
}


def check_choice(field: str, value: object, choices: Iterable[object]) -> None:
    """Raise ValueError unless a field has one of the values that it may have."""
    if value not in choices:
        names = ", ".join(map(str, choices))
        raise ValueError(f"{field} is {value!r}, expected one of: {names}")


def check_numbers(config: ConfigDict, ranges: Mapping[str, Range]) -> None:
    """Refuse numbers outside their range; those without a range pass.

    Raises:
        ValueError: names the first such field, its value and the range.
    """
    for name, allowed in ranges.items():
        section, _, field = name.rpartition(".")
        value = (config.get(section, {}) if section else config).get(field)
        if value is not None and not allowed.includes(value):
            raise ValueError(f"{name} is {value}, expected {allowed.text}")
