"""Values that fields of a configuration may have."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict


class Range(NamedTuple):
    """The values that a field may have.

    Attributes:
        includes: whether a value is one of them; no NaN is.
        text: the values in words.
    """

    includes: Callable[[Any], bool]
    text: str


ZERO_OR_MORE = Range(lambda x: 0 <= x < math.inf, "a finite number, 0 or more")
ABOVE_ZERO = Range(lambda x: 0 < x < math.inf, "a finite number above 0")
ONE_OR_MORE = Range(lambda x: 1 <= x < math.inf, "1 or more")
ZERO_TO_ONE = Range(lambda x: 0 <= x <= 1, "0 to 1")
SEED = Range(lambda x: 0 <= x < 2**32, "0 or more, below 2**32")
BELOW_ONE = Range(lambda x: 0 <= x < 1, "0 or more, below 1")


def one_of(choices: Collection[Any]) -> Range:
    """Return the range of a field that has one of a few values."""
    names = ", ".join(str(choice) or "''" for choice in choices)
    return Range(lambda x: x in choices, f"one of: {names}")


def check_choice(field: str, value: object, choices: Collection[Any]) -> None:
    """Raise ValueError unless a field has one of the values that it may have."""
    _check(field, value, one_of(choices))


def check_values(config: ConfigDict, ranges: Mapping[str, Range]) -> None:
    """Refuse values outside their range; fields without a range pass.

    Raises:
        ValueError: names the first such field, its value and the range.
    """
    for name, allowed in ranges.items():
        section, _, field = name.rpartition(".")
        value = (config.get(section, {}) if section else config).get(field)
        if value is not None:
            _check(name, value, allowed)


def _check(field: str, value: object, allowed: Range) -> None:
    if not allowed.includes(value):
        raise ValueError(f"{field} is {value!r}, expected {allowed.text}")
