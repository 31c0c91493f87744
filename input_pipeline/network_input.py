"""A scan as a network gets it, and the network's images on the scan's own pixels."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from input_pipeline import slices
from input_pipeline.body import body_mask
from input_pipeline.dataset.subject_volume import SubjectVolume
from input_pipeline.resample import (
    Grid,
    grid_covering,
    resample_from_grid,
    resample_to_grid,
)
from input_pipeline.volume import Volume


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkInput:
    """A scan as a network gets it.

    Attributes:
        axial: the scan, with an affine of its spacing alone.
        body: its mask, (slices, rows, columns) bool.
        grid: the network's pixels.
        mr: the slices on them.
    """

    axial: Volume
    body: np.ndarray
    grid: Grid
    mr: SubjectVolume

    def to_grid(self, image: np.ndarray, fill: float) -> np.ndarray:
        """Resample an image from the scan's pixels to the network's.

        Args:
            image: (slices, rows, columns).
            fill: value outside the image.
        """
        volume = dataclasses.replace(
            self.axial, voxels=image[..., None], modality="CT", channels=("hu",)
        )
        return resample_to_grid(volume, self.grid, fill=fill)[..., 0]

    def from_grid(self, images: np.ndarray, fill: float) -> np.ndarray:
        """Resample images from the network's pixels to the scan's.

        Args:
            images: (n, rows, columns).
            fill: value outside the images.
        """
        images = resample_from_grid(images[..., None], self.grid, self.axial, fill=fill)
        return images[..., 0]


def cut_slices(
    axial: Volume, data: Mapping[str, Any], *, multiple: int
) -> NetworkInput:
    """Cut a scan into the slices that a network gets.

    No patient is cropped: the network gets a square of the training's size around the
    whole body, or a larger one if the body does not fit. If it was trained without a
    body mask, it gets the whole field of view.

    Args:
        axial: the scan, in axial order.
        data: `config.data` of the training.
        multiple: number that divides the rows and columns of the network's images.

    Raises:
        UnusableScan: the MR shows no body.
    """
    # DICOM's decimals and NIfTI's float32 differ in the seventh digit of the spacing,
    # which must not change a rounded HU.
    slice_mm, row_mm, column_mm = (round(mm, 4) for mm in axial.spacing_mm)
    axial = dataclasses.replace(
        axial, affine=np.diag([column_mm, row_mm, slice_mm, 1.0])
    )
    body = body_mask(axial.voxels, "MR", axial.spacing_mm)
    spacing_mm = data["spacing_mm"]
    if data["mask_outside_body"]:  # only air is outside of this square
        grid = slices.grid_of_body(
            axial, body, size=data["size"], spacing_mm=spacing_mm, grow_by=multiple
        )
    else:
        grid = grid_covering(axial, spacing_mm, multiple=multiple)
    stored, _ = slices.to_slices(
        axial,
        grid,
        mask=body,
        mask_outside=data["mask_outside_body"],
        mr_percentile=data["mr_percentile"],
    )
    mr = SubjectVolume(
        name="", domain="mr", stored=stored, spacing_mm=(slice_mm, *[spacing_mm] * 2)
    )
    return NetworkInput(axial=axial, body=body, grid=grid, mr=mr)
