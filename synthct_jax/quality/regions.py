"""Regions of a synthetic CT for a planning system: the body, and where to look."""

import numpy as np
import scipy.ndimage

from input_pipeline.body import fill_holes
from input_pipeline.scans.structure_writer import Region

LIMIT_HU = 20
"""The spread above which a place is marked."""

# The spread of single voxels is confetti, which nobody can look at.
_BLUR_MM = 5.0
_SKIN_HU = -400


def find_body(hu: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Return the body in a synthetic CT.

    The outline in the MR has some millimetres of air around the skin. The body is what
    is not air in the CT within it, with all that this encloses in a slice.

    Args:
        hu: synthetic CT, (slices, rows, columns).
        outline: of the MR, bool of that shape.
    """
    return fill_holes(outline & (hu >= _SKIN_HU))


def find_regions(
    body: np.ndarray,
    spread: np.ndarray | None,
    spacing_mm: tuple[float, float, float],
) -> list[Region]:
    """Return the body in a synthetic CT, and where translations disagree.

    A place is marked if the mean spread around it, weighted by a Gaussian of 5 mm
    standard deviation within the body, is above `LIMIT_HU`.

    Args:
        body: see `find_body`, (slices, rows, columns).
        spread: standard deviation over views and networks in HU, of that shape; None
            if there is only one, and no second region.
        spacing_mm: of slices, rows and columns.
    """
    outline = Region(
        name="BODY",
        description="body in the synthetic CT",
        mask=body,
        colour=(0, 255, 0),
        interpreted_type="EXTERNAL",
    )
    if spread is None:
        return [outline]
    weight = body.astype(np.float32)
    total, weight = (
        scipy.ndimage.gaussian_filter(image, _BLUR_MM / np.array(spacing_mm))
        for image in (spread * weight, weight)
    )
    return [
        outline,
        Region(
            name=f"SPREAD_{LIMIT_HU}HU",
            description=f"translations differ by more than {LIMIT_HU} HU, std. dev.",
            mask=body & (total > LIMIT_HU * weight),
            colour=(255, 128, 0),
        ),
    ]
