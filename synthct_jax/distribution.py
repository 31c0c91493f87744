"""What an evaluation keeps of many volumes of CT, to compare collections of them."""

import dataclasses
from typing import Any

import numpy as np

from synthct_jax.metrics import haar_features, histogram
from synthct_jax.metrics.frechet import frechet_distance


@dataclasses.dataclass
class Distribution:
    """Features of each slice and a histogram of the body, of synthetic or real CT.

    Attributes:
        slices, subjects, voxels: how many were added; voxels are those of the body.
        counts: of HU in the body (`histogram.count_hu`).
        features: of each volume (slices, features).
    """

    slices: int = 0
    subjects: int = 0
    voxels: int = 0
    counts: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(len(histogram.CENTRES_HU), np.int64)
    )
    features: list[np.ndarray] = dataclasses.field(default_factory=list)

    def add(self, hu: np.ndarray, body: np.ndarray) -> None:
        """Adds a volume (slices, rows, columns) of HU and its body, bool."""
        self.slices += len(hu)
        self.subjects += 1
        self.voxels += int(body.sum())
        self.counts += histogram.count_hu(hu, body)
        self.features.append(haar_features.haar_features(hu))

    def compare(self, real: "Distribution") -> dict[str, Any]:
        """Of each metric the value, and subjects, slices and voxels of both."""
        values = {
            haar_features.NAME: frechet_distance(
                np.concatenate(self.features), np.concatenate(real.features)
            ),
            "kl_real_synthetic": histogram.kl_divergence(real.counts, self.counts),
            "kl_synthetic_real": histogram.kl_divergence(self.counts, real.counts),
            "jensen_shannon": histogram.jensen_shannon_divergence(
                real.counts, self.counts
            ),
        }
        sizes = {
            f"{what}_{kind}": getattr(one, what)
            for kind, one in (("synthetic", self), ("real", real))
            for what in ("subjects", "slices", "voxels")
        }
        return {name: {"value": value, **sizes} for name, value in values.items()}
