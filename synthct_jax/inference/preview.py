"""Pictures to look at: samples during training, and a preview of a translation."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import matplotlib.figure
import numpy as np
from ml_collections import ConfigDict

from input_pipeline.dataset import stream
from input_pipeline.dataset.manifest import load_prepared
from input_pipeline.display import WINDOWS
from input_pipeline.intensity import hu_to_unit, mr_to_unit
from input_pipeline.volume import Volume
from synthct_jax.metrics import tissues
from synthct_jax.model.method import Method
from synthct_jax.model.supervised import Supervised
from synthct_jax.model.train_state import Params

_WINDOWS = ("soft tissue", "bone")  # lung is seen in the bone window, too
_SAMPLES = 2
_GAP = 2  # pixels between pictures
_MARGIN_MM = 10.0  # of air around the body


def sampler(
    gan: Method, config: ConfigDict, data_dir: Path
) -> Callable[[dict[str, Params]], np.ndarray]:
    """A function from weights to a picture (height, width, 3) uint8 of fixed slices.

    The middle slices of the first subjects, of validation where there are any. For each
    a line MR, synthetic CT, cycled MR and a line CT, synthetic MR, cycled CT; all as
    the networks see them, -1 black and 1 white. A supervised network has no way back:
    MR, synthetic CT and, where it is the same person's, true CT.
    """
    prepared = load_prepared(data_dir)
    stored = prepared.domains["mr"].channels
    channels = [stored.index(name) for name in config.data.mr_channels]
    device = jax.local_devices()[0]
    mr = jax.device_put(
        mr_to_unit(_middle_slices(data_dir, "mr")[..., channels]), device
    )
    ct = jax.device_put(
        hu_to_unit(_middle_slices(data_dir, "ct"), config.data.ct_knots), device
    )
    to_ct = jax.jit(lambda params, x: gan.to_ct.apply({"params": params}, x))
    if isinstance(gan, Supervised):
        to_mr = None
    else:
        to_mr = jax.jit(lambda params, x: gan.to_mr.apply({"params": params}, x))

    def sample(weights: dict[str, Params]) -> np.ndarray:
        # This process' copy: the others do not draw.
        here = jax.device_put(
            jax.tree.map(lambda array: array.addressable_data(0), weights), device
        )
        synthetic_ct = to_ct(here["to_ct"], mr)
        if to_mr is None:
            return _picture([(mr, synthetic_ct, ct)])
        synthetic_mr = to_mr(here["to_mr"], ct)
        cycled_mr = to_mr(here["to_mr"], synthetic_ct)
        cycled_ct = to_ct(here["to_ct"], synthetic_mr)
        return _picture([(mr, synthetic_ct, cycled_mr), (ct, synthetic_mr, cycled_ct)])

    return sample


def _picture(lines: list[tuple[jax.Array, ...]]) -> np.ndarray:
    """Of each sample all lines, of batches of images, a panel for each channel."""
    lines = jax.device_get(lines)
    return _tiled(
        [
            [image[i, ..., c] for image in line for c in range(image.shape[-1])]
            for i in range(len(lines[0][0]))
            for line in lines
        ]
    )


def _middle_slices(data_dir: Path, domain: str) -> np.ndarray:
    """(n, rows, columns, channels) int16 as stored, n the same for all domains."""
    prepared = load_prepared(data_dir)
    both = [prepared.domains[name] for name in ("mr", "ct")]
    split = "validation" if all(d.of_split("validation") for d in both) else "train"
    count = min(_SAMPLES, *(len(d.of_split(split)) for d in both))
    subjects = stream.read_subjects(data_dir, domain, split)
    return np.stack(
        [
            images[len(images) // 2]
            for _, (_, images) in zip(range(count), subjects, strict=False)
        ]
    )


def _tiled(lines: list[list[np.ndarray]]) -> np.ndarray:
    """Lines of (rows, columns) images in [-1, 1] as one picture."""
    rows, columns = lines[0][0].shape
    wide = max(map(len, lines))
    picture = np.full(
        (len(lines) * (rows + _GAP) - _GAP, wide * (columns + _GAP) - _GAP),
        96,
        np.uint8,
    )
    for i, line in enumerate(lines):
        for j, image in enumerate(line):
            top, left = i * (rows + _GAP), j * (columns + _GAP)
            grey = np.clip((image + 1) * 127.5, 0, 255).astype(np.uint8)
            picture[top : top + rows, left : left + columns] = grey
    return np.repeat(picture[..., None], 3, axis=-1)


def save(path: Path, mr: Volume, hu: np.ndarray, *, body: np.ndarray) -> None:
    """Three axial planes, a coronal and a sagittal one, of the MR and its synthetic CT.

    In the radiologist's orientation and true proportions in millimetres; air around the
    body is not shown.

    Args:
        path: of the PNG file.
        mr: in axial order.
        hu: (slices, rows, columns) on its grid.
        body: the same, bool; True somewhere.
    """
    row_mm, column_mm, slice_mm = mr.spacing_mm
    shown = _around(body, mr.spacing_mm)
    mr = dataclasses.replace(mr, voxels=mr.voxels[shown])
    hu, body, first = hu[shown], body[shown], shown[0].start
    row, column = (n // 2 for n in hu.shape[1:])
    # Of each plane: its name, how to cut it out, height and width of a pixel in mm.
    planes = [
        (f"axial, slice {first + s + 1}", lambda v, s=s: v[s], row_mm, column_mm)
        for s in sorted({int(q * (len(hu) - 1)) for q in (0.25, 0.5, 0.75)})
    ]
    planes += [
        ("coronal", lambda v: v[::-1, row], slice_mm, column_mm),
        ("sagittal", lambda v: v[::-1, :, column], slice_mm, row_mm),
    ]
    lines = []
    for c, name in enumerate(mr.channels):
        voxels = mr.voxels[..., c]
        tissue = voxels[hu >= tissues.BANDS["air"][1]]
        top = float(np.percentile(tissue, 99.5)) if tissue.size else 1.0
        lines.append((f"MR {name.replace('_', ' ')}", voxels, 0.0, max(top, 1e-6)))
    for name in _WINDOWS:
        window = WINDOWS[name]
        label = (
            f"synthetic CT\n{name}, level {window.level:g},\nwidth {window.width:g} HU"
        )
        lines.append((label, hu, window.low, window.high))

    sizes = [np.multiply(cut(hu).shape, (high, wide)) for _, cut, high, wide in planes]
    heights = max(size[0] for size in sizes)
    widths = [size[1] for size in sizes]
    scale = 2.6 / max(heights, 1e-6)  # inches per mm: a line is 2.6 inches high
    label_inches = 1.5
    figure = matplotlib.figure.Figure(
        figsize=(
            label_inches + scale * sum(widths) + 0.1 * len(planes),
            2.7 * len(lines) + 0.5,
        ),
        dpi=100,
        facecolor="black",
    )
    total = figure.get_figwidth()
    axes = figure.subplots(
        len(lines),
        len(planes),
        squeeze=False,
        width_ratios=widths,
        gridspec_kw=dict(
            left=label_inches / total,
            right=0.995,
            bottom=0.01,
            top=1 - 0.4 / figure.get_figheight(),
            wspace=0.03,
            hspace=0.03,
        ),
    )
    for i, (label, voxels, low, high) in enumerate(lines):
        for j, (title, cut, pixel_high, pixel_wide) in enumerate(planes):
            axis = axes[i, j]
            axis.imshow(
                cut(voxels),
                cmap="gray",
                vmin=low,
                vmax=high,
                aspect=pixel_high / pixel_wide,
                interpolation="bilinear",
            )
            axis.set_axis_off()
            if i == 0:
                axis.set_title(title, color="white", fontsize=9)
        middle = axes[i, 0].get_position()
        figure.text(
            0.1 / total,
            (middle.y0 + middle.y1) / 2,
            label,
            color="white",
            fontsize=10,
            va="center",
        )
    figure.savefig(path, facecolor="black")


def _around(
    body: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[slice, slice, slice]:
    """The box that holds the body, and a margin in the plane."""
    row_mm, column_mm, _ = spacing_mm
    box = []
    margins = (0, round(_MARGIN_MM / row_mm), round(_MARGIN_MM / column_mm))
    for axis, margin in enumerate(margins):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero(body.any(axis=others))
        box.append(slice(max(found[0] - margin, 0), found[-1] + 1 + margin))
    return tuple(box)
