"""Detectors of a failed training, measured at its validations without reference CT.

All limits are constants. Those of values relative to real CT follow the training scans.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

from input_pipeline.dataset.brightness import fat_threshold
from input_pipeline.dataset.dataset import Dataset
from synthct_jax.evaluation.subjects import evenly_spaced
from synthct_jax.inference.translator import Translator
from synthct_jax.metrics import signs, spectrum
from synthct_jax.model.losses import tissue_masks, tissue_ranges
from synthct_jax.model.train_state import Params

PREFIX = "guard_"
"""Prefix of the detectors' values among the metrics of a validation."""

_MR_SLICES = 32  # of validation, at most some more
_CT_SLICES = 128  # of training
_SUBJECTS = 24  # of each, at most
_NOISE_HU = 20.0  # chosen, about that of an abdominal CT: a cycle has to bear it


@dataclasses.dataclass(frozen=True)
class Detector:
    """A detector: its fault, and the limits beyond which its value is that fault.

    The limits were chosen between values of trained networks and of planted faults
    (docs/guards.md).
    """

    fault: str
    low: float = -math.inf
    high: float = math.inf

    def describe(self, name: str, value: float) -> str:
        """Return the fault, with the name, the value and its limit."""
        low = value < self.low
        limit = f"at least {self.low:g}" if low else f"at most {self.high:g}"
        return f"{self.fault}: {PREFIX}{name} is {value:.3g}, expected {limit}"


DETECTORS = {
    "fat_soft_swap": Detector("fat and soft tissue are swapped", high=0.25),
    "bone_air_swap": Detector("bone and air are swapped", high=0.25),
    "bone_in_soft_tissue": Detector("soft tissue has HU of bone", high=0.1),
    "bone_excess": Detector("there is more bone than people have", high=2.0),
    "shift": Detector("the anatomy is shifted", high=1.0),
    "hidden_information": Detector("the CT hides details of the MR", high=1.1),
    "checkerboard": Detector("there is a checkerboard pattern", high=0.0),
    "variation": Detector("all CT are alike, whatever the MR", low=0.4),
    "discriminator_ct": Detector("the discriminator of CT dominates", low=0.2),
    "discriminator_mr": Detector("the discriminator of MR dominates", low=0.2),
    "loss_growth": Detector("the losses grow", high=2.0),
}
"""All detectors by name. The last three are of losses, see `guard.Guard`."""


def faults(values: Mapping[str, float]) -> list[str]:
    """Return a description of each value beyond its limits; NaN is within them."""
    return [
        DETECTORS[name].describe(name, value)
        for name, value in values.items()
        if value < DETECTORS[name].low or value > DETECTORS[name].high
    ]


class ImageDetectors:
    """Detectors of images: a few slices of validation MR, and their translations.

    Scans are read at the first call. Of an ensemble, the mean is judged.
    """

    def __init__(self, translator: Translator, config: ConfigDict, dataset: Dataset):
        self._translator, self._config, self._dataset = translator, config, dataset

    def __call__(self, params: Mapping[str, Params]) -> dict[str, float]:
        """Return the values of these weights, by name in DETECTORS.

        `hidden_information` needs a generator from CT to MR; the swaps and
        `bone_in_soft_tissue` need T1-weighted MR alone.
        """
        stored, body = self._validation_mr
        hu = self._translator(params["to_ct"], stored)
        values = self._anatomy(hu) | {
            "shift": signs.displacement(self._mr.mean(axis=-1), hu),
            "variation": signs.variation(hu) / self._training["variation"],
            "checkerboard": float(spectrum.checkerboard_energy(hu).mean())
            - self._training["checkerboard"],
            "bone_excess": signs.bone_share(hu, body) / self._training["bone"],
        }
        if "to_mr" in params:
            noise = np.random.default_rng(0).normal(0, _NOISE_HU, hu.shape)
            noisy = (hu + np.where(body, noise, 0)).astype(np.float32)
            lost, lost_with_noise = (
                self._lost(self._translator.translate_back(params["to_mr"], ct))
                for ct in (hu, noisy)
            )
            values["hidden_information"] = lost_with_noise / max(lost, 1e-9)
        return values

    def _lost(self, cycled_mr: np.ndarray) -> float:
        """Return the mean absolute difference from the MR in the body."""
        _, body = self._validation_mr
        return float(np.abs(cycled_mr - self._mr)[body].mean(dtype=np.float64))

    def _anatomy(self, hu: np.ndarray) -> dict[str, float]:
        """Return the values that take the tissues from the MR, if it shows them."""
        if self._tissues is None:
            return {}
        fat, soft, gas = self._tissues
        return {
            "fat_soft_swap": signs.fat_soft_swap(hu, fat, soft),
            "bone_air_swap": signs.bone_air_swap(hu, gas, fat | soft),
            "bone_in_soft_tissue": signs.bone_share(hu, soft),
        }

    @functools.cached_property
    def _validation_mr(self) -> tuple[np.ndarray, np.ndarray]:
        """Stored slices (n, rows, columns, channels), and the body in them."""
        return _slices(self._dataset, "mr", "validation", _MR_SLICES)

    @functools.cached_property
    def _mr(self) -> np.ndarray:
        """The slices as the network takes them, (n, rows, columns, channels)."""
        return self._translator.network_input(self._validation_mr[0])

    @functools.cached_property
    def _tissues(self) -> list[np.ndarray] | None:
        """Pixels that the MR shows as fat, soft tissue, and gas or lung.

        None if a channel is not T1-weighted.
        """
        data, fat = self._config.data, self._config.loss.fat_threshold
        if "t2" in data.mr_channels:
            return None
        fat = fat or fat_threshold(self._dataset, data)
        masks = tissue_masks(self._mr, tissue_ranges(data.ct_knots, fat))
        return [np.asarray(mask)[..., 0] for mask in masks]

    @functools.cached_property
    def _training(self) -> dict[str, float]:
        """Variation, greatest checkerboard of a slice and share of bone of real CT."""
        stored, body = _slices(self._dataset, "ct", "train", _CT_SLICES)
        hu = stored[..., 0].astype(np.float32)
        return {
            "variation": max(signs.variation(hu), 1e-9),
            "checkerboard": float(spectrum.checkerboard_energy(hu).max()),
            "bone": max(signs.bone_share(hu, body), 1e-9),
        }


def _slices(
    dataset: Dataset, domain: str, split: str, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return about `count` stored slices of the first subjects, and the body in them.

    Raises:
        ValueError: the split has no subjects.
    """
    volumes = list(itertools.islice(dataset.subjects(domain, split), _SUBJECTS))
    share = -(-count // len(volumes))
    chosen = [evenly_spaced(len(volume.stored), share) for volume in volumes]
    pairs = list(zip(volumes, chosen, strict=True))
    return (
        np.concatenate([volume.stored[slices] for volume, slices in pairs]),
        np.concatenate([volume.outline[slices] for volume, slices in pairs]),
    )
