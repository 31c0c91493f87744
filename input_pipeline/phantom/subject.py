"""Phantom subject: MR and CT of one random abdomen."""

import dataclasses
import math

import numpy as np

from input_pipeline.phantom import ct, mr, scanners, shapes
from input_pipeline.phantom.anatomy import draw_labels
from input_pipeline.phantom.build import draw_build
from input_pipeline.phantom.examination import draw_examination
from input_pipeline.phantom.lesions import add_lesions
from input_pipeline.ranges import check_choice

# Largest sub-voxels in plane and along the slices. They resolve cortical bone
# and the dark line where fat and water share a voxel.
_IN_PLANE_MM, _ALONG_MM = 1.6, 3.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhantomSubject:
    """A random abdomen in canonical axial order.

    Slices go from inferior to superior, rows from anterior to posterior, columns from
    the patient's right to left.

    Attributes:
        ct_hu: HU, (slices, rows, columns) float32.
        mr: in phase, out of phase and T2 in arbitrary scanner units, (slices, rows,
            columns, 3) float32; both phases have the same unit.
        labels: tissue that fills most of the voxel, as an index of TISSUES, (slices,
            rows, columns) uint8.
        affine: matrix from (column, row, slice, 1) to RAS mm, (4, 4) float64.
        liver_fat_fraction: proton density fat fraction of the liver, 0 to 1.
    """

    ct_hu: np.ndarray
    mr: np.ndarray
    labels: np.ndarray
    affine: np.ndarray
    liver_fat_fraction: float


def draw_subject(
    seed: int,
    *,
    size: int = 128,
    spacing_mm: float = 3.0,
    slices: int = 24,
    slice_mm: float = 6.0,
    contrast: str = "non_contrast",
    scanner: str = "reference",
    anatomy: str = "reference",
    lesions: bool = False,
    level_mm: float = 0.0,
) -> PhantomSubject:
    """Draw a random subject; the same arguments give the same voxels.

    The reference body is at most about 370 mm wide, a varied one 430 mm without arms.
    A field of view (`size * spacing_mm`) below that cuts it off. Anatomy and MR do not
    depend on the contrast.

    Args:
        size: rows and columns.
        spacing_mm: distance of rows and of columns.
        slices: number of slices.
        slice_mm: spacing of slices.
        contrast: one of `ct.CONTRASTS`.
        scanner: one of `scanners.NAMES`; 'randomised' draws one.
        anatomy: one of `build.ANATOMIES`: the abdomens that results are measured on, or
            patients of greater variety.
        lesions: add cysts and tumours of liver and kidneys; nothing else changes.
        level_mm: height of the volume above where it is by default.
    """
    check_choice("scanner", scanner, scanners.NAMES)
    check_choice("contrast", contrast, ct.CONTRASTS)
    if min(size, slices, spacing_mm, slice_mm) <= 0:
        raise ValueError(
            f"size {size}, spacing_mm {spacing_mm}, slices {slices} and slice_mm "
            f"{slice_mm} must all be positive"
        )
    shape_rng, mr_rng, ct_rng, texture_rng, lesion_rng = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(5)
    )
    plane = shapes.centres(size, spacing_mm)
    axes = (shapes.centres(slices, slice_mm), plane, plane)
    along = math.ceil(slice_mm / _ALONG_MM)
    in_plane = max(2, math.ceil(spacing_mm / _IN_PLANE_MM))
    factors = (along, in_plane, in_plane)
    fine_plane = shapes.centres(size * in_plane, spacing_mm / in_plane)
    fine_axes = (
        shapes.centres(slices * along, slice_mm / along) + np.float32(level_mm),
        fine_plane,
        fine_plane,
    )
    build = draw_build(shape_rng, anatomy)
    fine = draw_labels(shape_rng, build, fine_axes)
    if lesions:
        add_lesions(lesion_rng, fine, fine_axes)
    fat_fractions = {
        "liver": build.liver_fat_fraction,
        "marrow": build.marrow_fat_fraction,
    }
    affine = np.diag([-spacing_mm, -spacing_mm, slice_mm, 1.0])
    affine[:3, 3] = -plane[0], -plane[0], axes[0][0] + level_mm
    if scanner == "reference":
        texture = shapes.blurred_noise(
            texture_rng, (slices, size, size), 3.0 / spacing_mm
        )
        common = dict(factors=factors, texture=texture, fat_fractions=fat_fractions)
        ct_hu = ct.acquire(ct_rng, fine, contrast=contrast, **common)
        images = mr.acquire(mr_rng, fine, axes=axes, **common)
    else:
        settings = scanners.scanner_of(scanner, mr_rng)
        examination = draw_examination(
            mr_rng, settings, fat_fractions=fat_fractions, contrast=contrast
        )
        acquired = [
            examination.acquire(
                mr_rng, planes, factor=in_plane, spacing_mm=spacing_mm, z_mm=z_mm
            )
            for planes, z_mm in zip(
                fine.reshape(slices, along, *fine.shape[1:]), axes[0], strict=True
            )
        ]
        images = 1000 * np.stack([each.mr for each in acquired])
        hu = np.stack([each.hu for each in acquired])
        ct_hu = ct.add_scanner(ct_rng, hu, spacing_mm=spacing_mm)
    return PhantomSubject(
        ct_hu=ct_hu,
        mr=images,
        labels=majority_label(fine, factors),
        affine=affine,
        liver_fat_fraction=build.liver_fat_fraction,
    )


def majority_label(fine: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """Return the label of most sub-voxels of each voxel, the lowest of equals, uint8.

    Args:
        fine: labels of sub-voxels, (z, y, x).
        factors: sub-voxels per voxel along each axis.
    """
    sub_voxels = shapes.blocks(fine, factors).transpose(1, 3, 5, 0, 2, 4)
    shape = sub_voxels.shape[3:]
    sub_voxels = sub_voxels.reshape(-1, *shape)
    best = np.zeros(shape, np.uint8)
    votes = np.zeros(shape, np.uint16)
    for label in np.flatnonzero(np.bincount(fine.ravel())):
        count = (sub_voxels == label).sum(axis=0, dtype=np.uint16)
        best = np.where(count > votes, np.uint8(label), best)
        np.maximum(votes, count, out=votes)
    return best
