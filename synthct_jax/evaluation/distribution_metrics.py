"""What is kept of volumes of CT, and every metric between two choices of them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from synthct_jax.metrics import (
    continuity,
    haar_features,
    histogram,
    spectrum,
    tissues,
)
from synthct_jax.metrics.frechet import frechet_distance, frechet_distance_infinite
from synthct_jax.metrics.inception import Inception
from synthct_jax.metrics.kernel import KernelSums


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """What is kept of a volume of synthetic or real CT.

    Attributes:
        name: of the subject.
        voxels: in the body.
        slice_mm: distance of the slices.
        counts: of HU in the body (`histogram.count_hu`).
        features: of each slice, (slices, features): 'haar', and by the name of their
            Frechet distance those of Inception, where its weights are at hand.
        spectra: (slices, bins), `spectrum.radial_power`.
        checkerboard: (slices,), `spectrum.checkerboard_energy`.
        jumps: (slices - 1,), `continuity.slice_jumps`.
    """

    name: str
    voxels: int
    slice_mm: float
    counts: np.ndarray
    features: Mapping[str, np.ndarray]
    spectra: np.ndarray
    checkerboard: np.ndarray
    jumps: np.ndarray

    @property
    def slices(self) -> int:
        return len(self.spectra)


def summarise(
    name: str,
    hu: np.ndarray,
    body: np.ndarray,
    *,
    slice_mm: float,
    inception: Inception | None = None,
) -> Summary:
    """Keeps what the metrics need of a volume.

    Args:
        hu: (slices, rows, columns) HU.
        body: bool, the outline.
        slice_mm: distance of the slices.
        inception: the network, where FID is wanted.
    """
    features = {"haar": haar_features.haar_features(hu)}
    if inception is not None:
        features[inception.name] = inception.features(hu)
    return Summary(
        name=name,
        voxels=int(body.sum()),
        slice_mm=slice_mm,
        counts=histogram.count_hu(hu, body),
        features=features,
        spectra=spectrum.radial_power(hu),
        checkerboard=spectrum.checkerboard_energy(hu),
        jumps=continuity.slice_jumps(hu, body),
    )


# Kinds of features: how their Frechet and their kernel distance are called.
_KINDS = {
    "haar": (haar_features.NAME, f"kernel_haar_v{haar_features.VERSION}"),
    "fid": ("fid", "kid"),
    "frechet_inception_torchvision": (
        "frechet_inception_torchvision",
        "kernel_inception_torchvision",
    ),
}


class Table:
    """Synthetic and real CT one after another, and metrics of any choice of them."""

    def __init__(self, synthetic: Sequence[Summary], real: Sequence[Summary]):
        self._all = [*synthetic, *real]
        self._count = len(synthetic)
        self._kernels = {
            kind: KernelSums(
                [one.features[kind] for one in self._all],
                [one.name for one in self._all],
            )
            for kind in real[0].features
        }

    @property
    def names(self) -> list[str]:
        """Whose each is."""
        return [one.name for one in self._all]

    @property
    def slice_spacings_mm(self) -> list[float]:
        return [one.slice_mm for one in self._all]

    @property
    def everybody(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the synthetic and of the real CT."""
        numbers = np.arange(len(self._all))
        return numbers[: self._count], numbers[self._count :]

    def metrics(self, first: np.ndarray, second: np.ndarray) -> dict[str, float]:
        """All metrics of two choices, which may have repetitions."""
        a, b = ([self._all[i] for i in chosen] for chosen in (first, second))
        people = [
            np.repeat([one.name for one in each], [one.slices for one in each])
            for each in (a, b)
        ]
        found = {}
        for kind, kernel_sums in self._kernels.items():
            frechet, kernel = _KINDS[kind]
            features = [
                np.concatenate([one.features[kind] for one in each]) for each in (a, b)
            ]
            found[frechet] = frechet_distance(*features)
            if kind == "haar":  # those of Inception are too many for it
                found[f"{frechet}_infinite"] = frechet_distance_infinite(
                    *features, groups_a=people[0], groups_b=people[1]
                )
            found[kernel] = kernel_sums.distance(first, second)
        return found | _of_counts(a, b) | _of_spectra(a, b)


_OF_COUNTS: dict[str, Callable[[Any, Any], float]] = {
    "kl_real_synthetic": lambda p, q: histogram.kl_divergence(q, p),
    "kl_synthetic_real": histogram.kl_divergence,
    "wasserstein": histogram.wasserstein,
}


def _of_counts(
    synthetic: Sequence[Summary], real: Sequence[Summary]
) -> dict[str, float]:
    p, q = (sum(one.counts for one in each) for each in (synthetic, real))
    found = {name: metric(p, q) for name, metric in _OF_COUNTS.items()}
    for band in tissues.BANDS:
        here = [histogram.of_band(counts, band) for counts in (p, q)]
        share = histogram.share(q, band)
        found[f"share_{band}"] = (
            histogram.share(p, band) / share if share else float("nan")
        )
        found[f"wasserstein_{band}"] = (
            histogram.wasserstein(*here)
            if all(counts.sum() for counts in here)
            else float("nan")
        )
    return found


def _of_spectra(
    synthetic: Sequence[Summary], real: Sequence[Summary]
) -> dict[str, float]:
    a, b = (np.concatenate([one.spectra for one in each]) for each in (synthetic, real))
    boards = [
        np.concatenate([one.checkerboard for one in each]).mean()
        for each in (synthetic, real)
    ]
    jumps = [_jumps(each) for each in (synthetic, real)]
    return {
        "spectral_distance": spectrum.spectral_distance(a, b),
        "high_frequencies": spectrum.high_frequency_ratio(a, b),
        "spectral_slope": spectrum.slope(a) - spectrum.slope(b),
        "separability": spectrum.separability(
            [one.spectra for one in synthetic],
            [one.spectra for one in real],
            groups_synthetic=[one.name for one in synthetic],
            groups_real=[one.name for one in real],
        ),
        "checkerboard": float(boards[0] - boards[1]),
        **{name: _ratio(jumps[0][name], jumps[1][name]) for name in jumps[0]},
    }


def _jumps(summaries: Sequence[Summary]) -> dict[str, float]:
    """Means over subjects of what is said of their jumps from slice to slice."""
    found = [continuity.jump_statistics(one.jumps) for one in summaries]
    return {
        f"jumps_{name}": _mean_of_finite([one[name] for one in found])
        for name in found[0]
    }


def _mean_of_finite(values: Sequence[float]) -> float:
    there = [value for value in values if np.isfinite(value)]
    return float(np.mean(there)) if there else float("nan")


def _ratio(a: float, b: float) -> float:
    return float(a / b) if b > 0 else float("nan")
