"""Drawn CT volumes on which other libraries' metrics were recorded."""

import numpy as np


def images(slices: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return synthetic CT, reference CT and a mask, (slices, 24, 20)."""
    z, y, x = np.mgrid[0:slices, 0:24, 0:20].astype(float)
    reference = 60 * np.sin(x / 3 + z) + 40 * np.cos(y / 4)
    reference += 900 * ((x - 9) ** 2 + (y - 11) ** 2 < 16)
    synthetic = 0.9 * reference + 30 * np.cos(x * y / 17) - 12
    return synthetic, reference, (x - 9) ** 2 + (y - 12) ** 2 < 70
