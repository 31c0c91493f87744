"""Findings of the varied anatomy: cysts, tumours, stones, fluid, hernias, clips.

The share of people with each is chosen so that training sees it often enough.
`add_lesions` gives the reference anatomy lesions where a configuration wants them.
"""

import numpy as np
import scipy.ndimage

from input_pipeline.phantom import shapes
from input_pipeline.phantom.build import BodyFrame, Build
from input_pipeline.phantom.painting import paint_shape
from input_pipeline.phantom.tissues import LABELS

_KIDNEY = ("kidney_cortex", "kidney_medulla")
# Tissues of an organ, kinds of its lesions, least and largest number and radius in mm:
# chosen, large enough to have voxels of their own at 4 mm.
_ADDED = (
    (("liver",), ("fluid", "pale_tumour"), (3, 6), (11.0, 20.0)),
    (_KIDNEY, ("fluid", "vascular_tumour"), (2, 4), (9.0, 14.0)),
)
_ADDED_DEPTH_MM = 5.0  # least depth of a centre in its organ, along each axis


def add_lesions(
    rng: np.random.Generator,
    labels: np.ndarray,
    axes: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Paint cysts and tumours into the liver and the kidneys of drawn labels, in place.

    All that is not in these lesions stays as it is. Labels and axes are those of
    `anatomy.draw_labels`.
    """
    for tissues, kinds, (fewest, most), (least_mm, most_mm) in _ADDED:
        organ = np.isin(labels, [LABELS[name] for name in tissues])
        reach = [np.searchsorted(a, a[0] + _ADDED_DEPTH_MM, "right") - 1 for a in axes]
        window = [2 * int(steps) + 1 for steps in reach]
        places = np.argwhere(scipy.ndimage.minimum_filter(organ, window))
        if not len(places):
            continue
        for _ in range(int(rng.integers(fewest, most + 1))):
            centre = places[rng.integers(len(places))]
            radii = rng.uniform(least_mm, most_mm) * rng.uniform(0.85, 1.15, 3)
            z, y, x = (
                ((axis - axis[place]) / radius) ** 2
                for axis, place, radius in zip(axes, centre, radii, strict=True)
            )
            inside = z[:, None, None] + y[:, None] + x < 1
            labels[organ & inside] = LABELS[str(rng.choice(kinds))]


def _direction(rng: np.random.Generator) -> np.ndarray:
    """Draw a random unit vector."""
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)


def paint_lesions(canvas: shapes.Canvas, build: Build) -> None:
    """Paint cysts and tumours of liver and kidneys, and foci in bone."""
    rng = canvas.rng
    lobe = np.array([26, -2, -0.52 * build.half_width_mm])
    lobe_size = np.array([66, 0.85 * build.half_depth_mm, 60]) * build.organ_scale
    for share, most, radii, labels in (
        (0.22, 6, (3, 22), ("fluid", "fluid", "fluid", "dense_fluid")),
        (0.2, 8, (4, 28), ("pale_tumour", "vascular_tumour")),
    ):
        count = int(rng.integers(1, most)) if rng.random() < share else 0
        label = str(rng.choice(labels))
        for _ in range(count):
            centre = lobe + lobe_size * _direction(rng) * rng.random() ** (1 / 3)
            lesion = _round(canvas, centre, radii)
            paint_shape(canvas, lesion, label, over=("liver", "vein"))
            # A large tumour is necrotic inside.
            if lesion is not None and "tumour" in label and rng.random() < 0.3:
                box, depth = lesion
                paint_shape(canvas, (box, depth - 7), "fluid", over=(label,))
    for side, height in ((-1, -24.0), (1, -14.0)):
        kidney = np.array([height, build.spine_mm - 5, side * 62])
        size = np.array([50, 25, 20]) * build.organ_scale
        cysts = int(rng.integers(1, 5)) if rng.random() < 0.25 else 0
        tumours = int(rng.random() < 0.06)
        for label in ["fluid"] * cysts + ["vascular_tumour"] * tumours:
            if label == "fluid" and rng.random() < 0.12:
                label = "dense_fluid"
            lesion = _round(canvas, kidney + size * _direction(rng), (3, 24))
            if lesion is not None:
                box, depth = lesion
                near = [LABELS[name] for name in (*_KIDNEY, "visceral_fat")]
                where = (depth > 0) & np.isin(canvas.labels[box], near)
                canvas.paint(box, where, LABELS[label])
    if rng.random() < 0.1:
        label = str(rng.choice(("sclerotic_bone", "sclerotic_bone", "pale_tumour")))
        for _ in range(int(rng.integers(1, 12))):
            z, side = rng.uniform(-220, 130), rng.uniform(-1, 1)
            reach = 14 if z > -140 else 95
            centre = (z, build.spine_mm + rng.uniform(-12, 12), side * reach)
            lesion = _round(canvas, centre, (4, 14))
            paint_shape(canvas, lesion, label, over=("marrow", "cortical_bone"))


def _round(canvas: shapes.Canvas, centre, radii) -> shapes.Shape | None:
    """Return a roundish lesion with a radius in mm between those given."""
    low, high = radii
    size = low + (high - low) * canvas.rng.random() ** 2
    stretch = canvas.rng.uniform(0.8, 1.2, 3)
    return canvas.blob(centre, size * stretch, power=2.0, roughness=0.06)


def paint_stones(canvas: shapes.Canvas, gallbladder: shapes.Shape | None) -> None:
    """Paint stones, or sludge at the bottom, into some gallbladders."""
    rng = canvas.rng
    if gallbladder is None or rng.random() > 0.22:
        return
    box, depth = gallbladder
    low = canvas.y[box] * np.ones_like(depth)
    bottom = np.quantile(low[depth > 0], 0.6) if (depth > 0).any() else 0
    if rng.random() < 0.35:
        paint_shape(canvas, (box, np.minimum(depth, low - bottom)), "dense_fluid",
                    over=("bile",))  # fmt: skip
        return
    # Blobs of noise stand for a heap of stones.
    grains = canvas.noise(box, float(rng.uniform(5, 14))) - rng.uniform(-0.4, 0.6)
    stones = np.minimum(np.minimum(depth - 1, low - bottom + 6), grains)
    paint_shape(canvas, (box, stones), "gallstone", over=("bile",))


def paint_fluid(canvas: shapes.Canvas, build: Build, frame: BodyFrame) -> None:
    """Paint pleural effusions and ascites."""
    rng = canvas.rng
    everywhere = canvas.everywhere()
    labels, fluid = canvas.labels, LABELS["fluid"]
    for side in (-1, 1):
        if rng.random() < 0.09:
            level = build.half_depth_mm * rng.uniform(-0.1, 0.75)
            lying = canvas.y + 3 * canvas.noise(everywhere, 30.0) > level
            lung = (labels == LABELS["lung"]) & (side * canvas.x > 0)
            labels[lung & lying] = fluid
    if rng.random() < 0.08:
        thick = rng.uniform(3, 16) * (1 + 0.6 * canvas.noise(everywhere, 40.0))
        between = canvas.noise(everywhere, 18.0) > rng.uniform(0.6, 2.5)
        free = (labels == LABELS["visceral_fat"]) & ~canvas.reserved
        free &= (canvas.y < build.spine_mm - 12) & (frame.beyond_mm < 0)
        free &= frame.above_mm < 0
        labels[free & ((frame.beyond_mm > -thick) | between)] = fluid


def paint_hernia(canvas: shapes.Canvas, build: Build, frame: BodyFrame) -> None:
    """Paint visceral fat or bowel that bulges through a gap in the front wall."""
    rng = canvas.rng
    kind = rng.random()
    if kind < 0.05:
        z, x = -75 + rng.normal(0, 12), rng.normal(0, 6)
    elif kind < 0.09:
        z, x = -222 + rng.normal(0, 5), float(rng.choice((-1, 1))) * rng.normal(48, 5)
    else:
        return
    size, gap = float(rng.uniform(12, 32)), float(rng.uniform(6, 14))
    box = canvas.box((z - 40, -1e4, x - 40), (z + 40, 0, x + 40))
    if box is None:
        return
    height, _, beside = canvas.coordinates(box)
    across = np.hypot(height - z, beside - x)
    beyond = frame.beyond_mm[box]
    neck = np.minimum(gap - across, np.minimum(beyond + 3, 14 + size * 0.4 - beyond))
    out = 11 + 0.7 * size
    sac = size - np.hypot(across, (beyond - out) * 1.2) + canvas.noise(box, 15.0)
    hernia = (box, np.maximum(neck, sac))
    wall = ("muscle", "subcutaneous_fat")
    paint_shape(canvas, hernia, "bowel_wall", over=wall)
    paint_shape(canvas, (box, hernia[1] - 1.2), "visceral_fat", over=("bowel_wall",))
    if rng.random() < 0.4:
        loop = canvas.noise(box, 14.0) * 4 + hernia[1] - 6
        paint_shape(canvas, (box, loop), "bowel_wall")
        paint_shape(canvas, (box, loop - 2.5), "bowel_content", over=("bowel_wall",))


def paint_metal(canvas: shapes.Canvas, build: Build, *, gallbladder: bool) -> None:
    """Paint clips, where the gallbladder was or elsewhere, and pedicle screws."""
    rng = canvas.rng
    places = []
    if not gallbladder and rng.random() < 0.7:
        places.append((4, -0.35 * build.half_depth_mm, -40))
    if rng.random() < 0.05:
        wide = 0.6 * build.half_width_mm
        places.append((rng.uniform(-220, 60), rng.uniform(-40, 30),
                       rng.uniform(-wide, wide)))  # fmt: skip
    for place in places:
        for _ in range(int(rng.integers(1, 6))):
            start = np.asarray(place) + rng.normal(0, 7, 3)
            clip = canvas.tube(
                [start, start + 7 * _direction(rng)], rng.uniform(1, 1.7)
            )
            _paint_implant(canvas, clip)
    if rng.random() < 0.02:
        levels = rng.uniform(-130, 40) + np.arange(int(rng.integers(2, 4))) * 33
        spine = build.spine_mm
        for side in (-1, 1):
            for z in levels:
                screw = [(z, spine + 38, side * 24), (z, spine - 6, side * 10)]
                _paint_implant(canvas, canvas.tube(screw, 3.0))
            rod = [(levels[0] - 8, spine + 40, side * 24),
                   (levels[-1] + 8, spine + 40, side * 24)]  # fmt: skip
            _paint_implant(canvas, canvas.tube(rod, 2.8))


def _paint_implant(canvas: shapes.Canvas, shape: shapes.Shape | None) -> None:
    """Paint metal over every tissue."""
    if shape is not None:
        box, depth = shape
        inside = canvas.labels[box] != LABELS["outside"]
        canvas.paint(box, (depth > 0) & inside, LABELS["metal"])


def paint_calcified_arteries(canvas: shapes.Canvas, build: Build) -> None:
    """Paint plaques into the walls of the large arteries of the elderly."""
    rng = canvas.rng
    amount = float(rng.uniform(0, 1.4))
    if rng.random() > 0.35:
        return
    box = canvas.box((-1e4, -90, -80), (1e4, build.spine_mm + 20, 80))
    if box is None:
        return
    artery = canvas.labels[box] == LABELS["artery"]
    rim = artery & ~scipy.ndimage.binary_erosion(artery, np.ones((1, 3, 3)))
    canvas.paint(box, rim & (canvas.noise(box, 9.0) > 2.2 - amount),
                 LABELS["cortical_bone"])  # fmt: skip
