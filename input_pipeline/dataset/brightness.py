"""The brightness of fat in T1-weighted MR, found without labels."""

import itertools

import numpy as np

from input_pipeline.dataset.dataset import Dataset
from input_pipeline.intensity import mr_to_unit

_BINS = 50
_SUBJECTS = 24  # training subjects to look at, at most


def fat_threshold(dataset: Dataset, data_config) -> float:
    """Return the brightness above which training MR shows fat, 0 to 1 of its scale.

    It is the upper of the two thresholds that divide the histogram of the body, of the
    mean over channels, into three classes with the least variance within them (Otsu,
    IEEE Trans Syst Man Cybern 1979; 9:62): dark, soft tissue, fat.

    Raises:
        ValueError: the brightness in the bodies does not differ.
    """
    stored_channels = dataset.manifest.domains["mr"].channels
    channels = [stored_channels.index(name) for name in data_config.mr_channels]
    counts = np.zeros(_BINS)
    for subject in itertools.islice(dataset.subjects("mr", "train"), _SUBJECTS):
        unit = mr_to_unit(subject.stored[..., channels], data_config.mr_exponent)
        share = (unit.mean(axis=-1)[subject.outline] + 1) / 2
        counts += np.histogram(share, _BINS, (0, 1))[0]
    centres = (np.arange(_BINS) + 0.5) / _BINS
    # Cumulative numbers and sums: class i to j has number[j] - number[i] pixels.
    number, total = (np.append(0, np.cumsum(c)) for c in (counts, counts * centres))

    def between(i: int, j: int) -> float:
        """Return what a class adds to the variance between classes."""
        pixels = number[j] - number[i]
        return (total[j] - total[i]) ** 2 / pixels if pixels else 0.0

    variance, upper = max(
        (between(0, low) + between(low, high) + between(high, _BINS), high)
        for low, high in itertools.combinations(range(1, _BINS), 2)
    )
    if not variance > between(0, _BINS):
        raise ValueError(
            f"{dataset.folder}: the training MR has one brightness in all bodies"
        )
    return upper / _BINS
