"""Stored slices of one subject, apart from the libraries that read them."""

import dataclasses
import functools

import numpy as np

from input_pipeline.body import body_mask
from input_pipeline.volume import MODALITY


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubjectVolume:
    """The stored slices of one subject in one domain.

    Attributes:
        domain: 'mr', 'ct' or 'labels'.
        stored: (slices, size, size, channels) int16, from inferior to superior.
        spacing_mm: distance of neighbouring (slices, rows, columns).
    """

    name: str
    domain: str
    stored: np.ndarray
    spacing_mm: tuple[float, float, float]

    @functools.cached_property
    def outline(self) -> np.ndarray:
        """The body, (slices, rows, columns) bool, of MR or CT."""
        return body_mask(self.stored, MODALITY[self.domain], self.spacing_mm)
