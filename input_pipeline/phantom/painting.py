"""Painting of shapes over chosen tissues."""

import numpy as np

from input_pipeline.phantom import shapes
from input_pipeline.phantom.tissues import LABELS


def paint_shape(
    canvas: shapes.Canvas,
    shape: shapes.Shape | None,
    label: str,
    *,
    over: tuple[str, ...] = ("visceral_fat",),
) -> None:
    """Paint the inside of a shape, but only over the labels in `over`."""
    if shape is None:
        return
    box, depth = shape
    free = np.isin(canvas.labels[box], [LABELS[name] for name in over])
    if "visceral_fat" in over:
        free &= ~canvas.reserved[box]
    canvas.paint(box, (depth > 0) & free, LABELS[label])


def jitter(rng: np.random.Generator, point, deviation: float = 3.0) -> np.ndarray:
    """Move a point in mm by Gaussian noise."""
    return np.asarray(point, float) + rng.normal(0, deviation, 3)
