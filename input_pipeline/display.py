"""Display windows of CT: one table for previews, reports and written DICOM series."""

from typing import NamedTuple


class Window(NamedTuple):
    """HU in the middle of the range shown from black to white, and its width."""

    level: float
    width: float

    @property
    def low(self) -> float:
        return self.level - self.width / 2

    @property
    def high(self) -> float:
        return self.level + self.width / 2


SOFT_TISSUE = Window(40.0, 400.0)
BONE = Window(400.0, 1800.0)
LUNG = Window(-600.0, 1500.0)

WINDOWS = {"soft tissue": SOFT_TISSUE, "bone": BONE, "lung": LUNG}
