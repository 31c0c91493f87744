"""Views of slices: flips, and shifts by less than a network's stride.

A network with strides gives a moved or flipped image another translation. The average
over views is closer to the truth than one of them, and their spread shows where the
network is unsure. Views move whole pixels, so that nothing is interpolated.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from input_pipeline.ranges import check_choice

VIEWS = (1, 2, 4, 8)
_AIR = -1.0  # in the network's input


class View(NamedTuple):
    """A flip left to right, then a shift by rows down and columns to the right."""

    flip: bool
    rows: int
    columns: int

    def of(self, images: np.ndarray) -> np.ndarray:
        """Return this view of images (n, h, w, c), air where they have no pixels."""
        images = images[:, :, ::-1] if self.flip else images
        if not self.rows and not self.columns:
            return images
        view = np.full_like(images, _AIR)
        h, w = images.shape[1] - self.rows, images.shape[2] - self.columns
        view[:, self.rows :, self.columns :] = images[:, :h, :w]
        return view

    def undo(self, images: np.ndarray) -> np.ndarray:
        """Return images (n, h, w) of this view in their places, 0 where it has none."""
        back = np.zeros_like(images)
        h, w = images.shape[1] - self.rows, images.shape[2] - self.columns
        back[:, :h, :w] = images[:, self.rows :, self.columns :]
        return back[:, :, ::-1] if self.flip else back


def views_of(count: int, stride: int) -> tuple[View, ...]:
    """Return views for a network whose strides multiply to `stride`.

    One is the slice as it is, two have its flip as well, four each of them shifted by
    half a stride along both axes, eight along each axis by itself and both.

    Raises:
        ValueError: there are no so many views.
    """
    check_choice("translate.views", count, VIEWS)
    half = stride // 2
    shifts = [(0, 0), (half, half), (0, half), (half, 0)][: max(1, count // 2)]
    flips = (False, True)[:count]
    return tuple(View(flip, *shift) for shift in shifts for flip in flips)


def average(
    translated: Sequence[np.ndarray], views: Sequence[View]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over views (n, h, w), and the standard deviation.

    In HU, not in the network's units: those are not linear in HU, and what half of the
    views call air and half of them fat would become soft tissue.
    """
    back = np.stack(
        [view.undo(images) for view, images in zip(views, translated, strict=True)]
    )
    # The last rows and columns are moved out of shifted views.
    ones = np.ones((1, *back.shape[2:]), bool)
    seen = np.stack([view.undo(ones) for view in views])
    return np.mean(back, axis=0, where=seen), np.std(back, axis=0, where=seen)
