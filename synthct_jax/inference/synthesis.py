"""Translation of a volume: slices for the network, and HU on the MR's own pixels."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from input_pipeline import slices
from input_pipeline.body import body_mask
from input_pipeline.dataset.subject_volume import SubjectVolume
from input_pipeline.intensity import AIR_HU
from input_pipeline.resample import (
    Grid,
    grid_covering,
    resample_from_grid,
    resample_to_grid,
)
from input_pipeline.volume import Volume
from synthct_jax.inference.loaded_model import LoadedModel


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
        """Resample an image of the scan's pixels, (slices, rows, columns)."""
        volume = dataclasses.replace(
            self.axial, voxels=image[..., None], modality="CT", channels=("hu",)
        )
        return resample_to_grid(volume, self.grid, fill=fill)[..., 0]

    def from_grid(self, images: np.ndarray, fill: float) -> np.ndarray:
        """Resample images of the network's pixels, (n, rows, columns)."""
        images = resample_from_grid(images[..., None], self.grid, self.axial, fill=fill)
        return images[..., 0]


def to_network(model: LoadedModel, axial: Volume) -> NetworkInput:
    """Cut a scan into the slices that the network gets.

    No patient is cropped: the network gets a square of the training's size around the
    whole body, or a larger one if the body does not fit. If it was trained without a
    body mask, it gets the whole field of view.

    Raises:
        UnusableScan: the MR shows no body.
    """
    data = model.data
    # DICOM's decimals and NIfTI's float32 differ in the seventh digit of the spacing,
    # which must not change a rounded HU.
    slice_mm, row_mm, column_mm = (round(mm, 4) for mm in axial.spacing_mm)
    axial = dataclasses.replace(
        axial, affine=np.diag([column_mm, row_mm, slice_mm, 1.0])
    )
    body = body_mask(axial.voxels, "MR", axial.spacing_mm)
    spacing_mm, multiple = data["spacing_mm"], model.method.size_multiple
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


def translate_input(
    model: LoadedModel, network_input: NetworkInput
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield HU and their spread over views on the MR's own pixels.

    They come in batches of slices, (n, rows, columns) float32: accelerators compute the
    next batch while the caller uses this one.

    Raises:
        FloatingPointError: at a batch that is not finite.
    """
    stop = 0
    for batch, batch_spread in model.translator.stream(
        model.params, network_input.mr.stored
    ):
        hu = network_input.from_grid(batch, AIR_HU)
        spread = np.zeros_like(hu)
        if model.has_spread:
            spread = network_input.from_grid(batch_spread, 0)
        start, stop = stop, stop + len(hu)
        if not np.isfinite(hu).all():
            raise FloatingPointError(
                f"{model.source}: the network's HU of slices {start} to "
                f"{stop - 1} hold NaN or infinite values"
            )
        if model.data["mask_outside_body"]:  # the network has not seen it
            outside = ~network_input.body[start:stop]
            hu[outside], spread[outside] = AIR_HU, 0
        yield hu, spread


def synthesise(
    model: LoadedModel, axial: Volume
) -> tuple[Iterator[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Return batches of HU and their spread, and the mask of the body.

    The mask is (slices, rows, columns) bool; all else is as for `to_network` and
    `translate_input`.
    """
    network_input = to_network(model, axial)
    return translate_input(model, network_input), network_input.body
