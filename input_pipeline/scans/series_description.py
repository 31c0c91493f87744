"""Description of a synthetic CT series, by which a list tells translations apart."""

import re

REGIONS_SUFFIX = ", regions"
"""End of the SeriesDescription of regions of the series."""

_LENGTH = 64  # of a long string, LO (PS3.5 6.2)
# What a character set of the MR may lack, and the separator of values.
_NOT_PLAIN = re.compile(r"[^ -~]|\\")


def describe_series(model: str, *, refused: bool) -> str:
    """Return a SeriesDescription that leaves room for `REGIONS_SUFFIX`.

    Args:
        model: name of the model. Of a longer one the middle is left out.
        refused: whether the MR was refused, and translated by force.
    """
    kind = "synthetic CT, INPUT WAS REFUSED" if refused else "synthetic CT"
    if not model:
        return kind
    name = _NOT_PLAIN.sub("_", model)
    room = _LENGTH - len(f"{kind}, {REGIONS_SUFFIX}")
    if len(name) > room:
        start = (room - 2) // 2
        name = f"{name[:start]}..{name[start + 2 - room :]}"
    return f"{kind}, {name}"
