"""Small summaries of CT volumes, and pairs of samples of them for distribution metrics.

Metrics of distributions are computed between many choices of volumes, from summaries
that are small whatever the number of pixels.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

from synthct_jax.evaluation.metric_definitions import DISTRIBUTION
from synthct_jax.metrics import continuity, haar_features, histogram, spectrum
from synthct_jax.metrics.frechet import frechet_distance, frechet_distance_infinite
from synthct_jax.metrics.inception import Inception
from synthct_jax.metrics.kernel import KernelSums


@dataclasses.dataclass(frozen=True, kw_only=True)
class VolumeSummary:
    """Features of a subject's synthetic or real CT, which distribution metrics compare.

    Attributes:
        slice_mm: distance between slices.
        counts: of HU in the body (`histogram.count_hu`).
        features: of each slice, (slices, features), by kind: 'haar', and
            'fid', those of Inception, where its weights are given.
        spectra: (slices, bins), `spectrum.radial_power`.
        checkerboard: (slices,), `spectrum.checkerboard_energy`.
        slice_differences: (slices - 1,), `continuity.slice_differences`.
    """

    name: str
    slice_mm: float
    counts: np.ndarray
    features: Mapping[str, np.ndarray]
    spectra: np.ndarray
    checkerboard: np.ndarray
    slice_differences: np.ndarray

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
) -> VolumeSummary:
    """Return the features of a CT volume that distribution metrics compare.

    Args:
        hu: (slices, rows, columns).
        body: mask, bool of that shape.
        slice_mm: distance of neighbouring slices.
        inception: network of the features for FID; None: no 'fid' features.

    Raises:
        ValueError: shapes differ, or slices are too small for the features.
    """
    features = {"haar": haar_features.haar_features(hu)}
    if inception is not None:
        features["fid"] = inception.features(hu)
    return VolumeSummary(
        name=name,
        slice_mm=slice_mm,
        counts=histogram.count_hu(hu, body),
        features=features,
        spectra=spectrum.radial_power(hu),
        checkerboard=spectrum.checkerboard_energy(hu),
        slice_differences=continuity.slice_differences(hu, body),
    )


class Sample:
    """Several volumes, one of them perhaps several times, as one sample."""

    def __init__(self, volumes: Sequence[VolumeSummary]):
        self.volumes = volumes
        self.names = [volume.name for volume in volumes]

    def features(self, kind: str) -> np.ndarray:
        """Features of all slices, (slices, features)."""
        return np.concatenate([volume.features[kind] for volume in self.volumes])

    @property
    def subject_of_slices(self) -> np.ndarray:
        return np.repeat(self.names, [volume.slices for volume in self.volumes])

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """Counts of HU in the body, summed over volumes."""
        return sum(volume.counts for volume in self.volumes)

    @functools.cached_property
    def spectra(self) -> np.ndarray:
        """Spectra of all slices, (slices, bins)."""
        return np.concatenate([volume.spectra for volume in self.volumes])

    @property
    def checkerboard(self) -> float:
        """Mean checkerboard energy over slices."""
        energies = [volume.checkerboard for volume in self.volumes]
        return float(np.concatenate(energies).mean())

    @functools.cached_property
    def slice_differences(self) -> dict[str, float]:
        """Statistics of slice differences, each averaged over volumes if finite.

        'median' is in HU, 'smallest' and 'largest' are ratios: see
        `continuity.slice_difference_statistics`.
        """
        statistics = [
            continuity.slice_difference_statistics(volume.slice_differences)
            for volume in self.volumes
        ]
        return {
            name: mean_of_finite([of_volume[name] for of_volume in statistics])
            for name in statistics[0]
        }


class SamplePair:
    """A synthetic and a real sample: the argument of DISTRIBUTION metrics."""

    def __init__(self, volumes: "Volumes", synthetic: np.ndarray, real: np.ndarray):
        """Choose two samples of volumes by their indices, which may repeat."""
        self._volumes, self._indices = volumes, (synthetic, real)
        self.synthetic = Sample([volumes.summaries[i] for i in synthetic])
        self.real = Sample([volumes.summaries[i] for i in real])
        self._samples = self.synthetic, self.real

    def frechet(self, kind: str) -> float:
        """Fréchet distance between features of slices."""
        return frechet_distance(*(sample.features(kind) for sample in self._samples))

    def frechet_infinite(self, kind: str) -> float:
        """Fréchet distance extrapolated to infinitely many subjects."""
        return frechet_distance_infinite(
            *(sample.features(kind) for sample in self._samples),
            subjects_a=self.synthetic.subject_of_slices,
            subjects_b=self.real.subject_of_slices,
        )

    def kernel_distance(self, kind: str) -> float:
        """Kernel distance between features of slices."""
        return self._volumes.kernels[kind].distance(*self._indices)

    @property
    def spectra(self) -> tuple[np.ndarray, np.ndarray]:
        """Spectra of all slices, synthetic and real: (slices, bins)."""
        return self.synthetic.spectra, self.real.spectra

    def separability(self) -> float:
        """Accuracy of a classifier that tells synthetic from real CT by spectra."""
        return spectrum.separability(
            *([v.spectra for v in sample.volumes] for sample in self._samples),
            subjects_synthetic=self.synthetic.names,
            subjects_real=self.real.names,
        )

    def share_ratio(self, band: str) -> float:
        """Share of the body in a band of HU, synthetic over real; NaN without real."""
        return _ratio(*(histogram.share(s.counts, band) for s in self._samples))

    def wasserstein_of_band(self, band: str) -> float:
        """Wasserstein-1 distance of HU within a band; NaN where a sample has none."""
        counts = [histogram.of_band(sample.counts, band) for sample in self._samples]
        if not all(of_sample.sum() for of_sample in counts):
            return float("nan")
        return histogram.wasserstein(*counts)

    def slice_difference_ratio(self, name: str) -> float:
        """Statistic of differences between slices, synthetic over real."""
        return _ratio(*(sample.slice_differences[name] for sample in self._samples))


class Volumes:
    """Synthetic and real volumes one after another, to choose pairs of samples from."""

    def __init__(
        self, synthetic: Sequence[VolumeSummary], real: Sequence[VolumeSummary]
    ):
        self.summaries = [*synthetic, *real]
        self.names = np.array([volume.name for volume in self.summaries])
        self.synthetic = np.arange(len(synthetic))
        self.real = len(synthetic) + np.arange(len(real))
        self.kernels = {
            kind: KernelSums(
                [volume.features[kind] for volume in self.summaries], self.names
            )
            for kind in real[0].features
        }

    def metrics(self, synthetic: np.ndarray, real: np.ndarray) -> dict[str, float]:
        """Return DISTRIBUTION metrics by name, between volumes chosen by index."""
        pair = SamplePair(self, synthetic, real)
        return {
            name: metric.compute(pair)
            for name, metric in DISTRIBUTION.items()
            if not metric.features or metric.features in self.kernels
        }


def mean_of_finite(values: Sequence[float]) -> float:
    """Return the mean of the finite values; NaN where there is none."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def _ratio(a: float, b: float) -> float:
    return float(a / b) if b > 0 else float("nan")
