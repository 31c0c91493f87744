"""The rule of two thresholds, applied to a scan: the baseline without a network."""

import dataclasses
from pathlib import Path

import numpy as np

from input_pipeline.body import body_mask
from input_pipeline.dataset.dataset import Dataset
from input_pipeline.intensity import mr_scale, mr_to_int16
from input_pipeline.scans.read_scan import read_scan
from input_pipeline.volume import Volume, to_axial
from synthct_jax.evaluation import baselines, ct_methods


@dataclasses.dataclass(frozen=True)
class ThresholdRule:
    """HU by the brightness of one MR channel.

    Attributes:
        hu: of stored MR 0, 1, ..., 32767, float32.
        channel: the name of the channel.
        percentile: of the body's brightness that is the scale.
    """

    hu: np.ndarray
    channel: str
    percentile: float

    @classmethod
    def fit(cls, data_dir: Path) -> "ThresholdRule":
        """Choose the thresholds on the validation subjects of prepared data.

        Raises:
            ValueError: none of them has a reference CT.
        """
        dataset = Dataset.open(data_dir)
        hu = ct_methods.fit_thresholds(dataset)
        if hu is None:
            raise ValueError(
                f"{data_dir} has no validation subjects with reference CT, expected "
                "some to choose thresholds on"
            )
        channels = dataset.manifest.domains["mr"].channels
        return cls(
            hu=hu,
            channel=channels[ct_methods.brightness_channel(dataset)],
            percentile=dataset.manifest.mr_percentile,
        )

    def read(self, scan: str) -> Volume:
        """Read an MR, in axial order; return the HU that the rule gives its voxels.

        Raises:
            FileNotFoundError, UnusableScan: as for `read_scan`.
        """
        mr = to_axial(read_scan(scan, modality="MR", channels=(self.channel,)))
        body = body_mask(mr.voxels, "MR", mr.spacing_mm)
        scale = mr_scale(
            mr.voxels, body, channels=mr.channels, percentile=self.percentile
        )
        stored = mr_to_int16(mr.voxels, scale)[..., 0]
        hu = baselines.map_brightness(self.hu, stored, body)
        return dataclasses.replace(
            mr, voxels=hu[..., None], modality="CT", channels=("hu",)
        )
