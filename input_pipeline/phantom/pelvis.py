"""Pelvis: hip bones, sacrum, femoral heads, and the organs between them.

Heights and sizes are chosen after sections of adults, relative to the spine.
"""

import numpy as np
from scipy.interpolate import PchipInterpolator

from input_pipeline.phantom import shapes
from input_pipeline.phantom.build import Build
from input_pipeline.phantom.painting import jitter, paint_shape
from input_pipeline.phantom.tissues import LABELS

# Height; posterior end (x, y) and anterior end (x, y) of the iliac wing in an axial
# section; y counts from the middle of the vertebral bodies.
_WING = np.array([
    (-205, 76, 2, 100, -38), (-190, 66, 18, 106, -50), (-175, 52, 33, 112, -56),
    (-150, 44, 34, 118, -54), (-120, 50, 28, 116, -38), (-90, 58, 20, 112, -22),
])  # fmt: skip
_WING_ENDS = PchipInterpolator(_WING[:, 0], _WING[:, 1:], extrapolate=True)

# Height; y of the middle, half width and half depth of the sacrum.
_SACRUM = np.array([
    (-270, 30, 6, 5), (-250, 36, 14, 7), (-225, 36, 28, 10), (-200, 30, 42, 13),
    (-175, 16, 50, 18), (-152, 2, 50, 19), (-140, -4, 38, 18),
])  # fmt: skip
_SACRUM_SHAPE = PchipInterpolator(_SACRUM[:, 0], _SACRUM[:, 1:], extrapolate=True)

HIP_MM = -236.0


def _paint_bone(
    canvas: shapes.Canvas, shape: shapes.Shape | None, shell: float
) -> None:
    """Paint marrow in a shell of cortical bone over everything."""
    if shape is None:
        return
    box, depth = shape
    canvas.paint(box, depth > 0, LABELS["cortical_bone"])
    canvas.paint(box, depth > shell, LABELS["marrow"])


def paint_bones(canvas: shapes.Canvas, build: Build) -> None:
    """Paint the hip bones, sacrum, femoral heads and necks, and gluteal muscles.

    Iliacus muscles and hip cartilage are painted too. Three in a hundred femoral
    heads are of metal.
    """
    spine, shell = build.spine_mm, build.variety.shell_mm
    wide = 0.6 + 0.4 * build.half_width_mm / 112
    for side in (-1, 1):
        _paint_wing(canvas, build, side, wide)
    _paint_sacrum(canvas, build)
    for side in (-1, 1):
        hip = np.array([HIP_MM, spine - 30, side * 90 * wide])
        socket = canvas.blob(hip + (5, 0, -side * 5), (35, 33, 31), roughness=0.03)
        _paint_bone(canvas, socket, shell)
        ischium = canvas.tube([hip + (4, 26, 0), hip + (-50, 40, -side * 26)], [19, 14])
        _paint_bone(canvas, ischium, shell)
        pubis = canvas.tube(
            [hip + (0, -28, -side * 12), hip + (-24, -40, -side * 78)], 9
        )
        _paint_bone(canvas, pubis, shell)
        space = canvas.blob(hip, (26.5, 26.5, 26.5), power=2.0, roughness=0)
        paint_shape(canvas, space, "cartilage", over=("cortical_bone", "marrow"))
        head = canvas.tube(
            [hip, hip + (-12, 8, side * 36), hip + (-24, 14, side * 52)], [24.5, 15, 20]
        )
        _paint_bone(canvas, head, 0.7 * shell)
        if canvas.rng.random() < 0.03:
            path = [hip, hip + (-12, 8, side * 36), hip + (-60, 12, side * 46)]
            paint_shape(canvas, canvas.tube(path, [15, 7, 7]), "metal",
                        over=("cortical_bone", "marrow", "cartilage"))  # fmt: skip


def _paint_wing(canvas: shapes.Canvas, build: Build, side: int, wide: float) -> None:
    """Paint one iliac wing, the iliacus in front and the gluteal muscles behind."""
    rng, spine = canvas.rng, build.spine_mm
    low, high = (0, 150) if side > 0 else (-150, 0)
    box = canvas.box((-222, spine - 90, low), (-75, spine + 60, high))
    if box is None:
        return
    z, y, x = canvas.coordinates(box)
    ends = _WING_ENDS(canvas.axes[0][box[0]])[:, None, None, :].astype(np.float32)
    back_x, back_y, front_x, front_y = np.moveaxis(ends, -1, 0)
    back_x, front_x = back_x * wide, front_x * wide
    along_x, along_y = front_x - back_x, front_y - back_y
    length = np.hypot(along_x, along_y)
    dx, dy = side * x - back_x, y - spine - back_y
    s = (dx * along_x + dy * along_y) / length**2
    # Outwards, to the gluteal side; the wing bulges that way.
    out = (dy * along_x - dx * along_y) / length
    out = out - 9 * (1 - (2 * s - 1) ** 2) + 1.0 * canvas.noise(box, 25.0)
    crest = -93 - 260 * (s - 0.42) ** 2 + float(rng.normal(0, 4))
    within = np.minimum(np.minimum(s, 1 - s) * length + 2, crest - z)
    labels = canvas.labels[box]
    body = labels != LABELS["outside"]
    soft = (labels == LABELS["visceral_fat"]) | (labels == LABELS["muscle"])
    near = (s > -0.25) & (s < 1.12) & body & soft & (within > -14)
    muscle = LABELS["muscle"]
    canvas.paint(box, near & (out > 0) & (labels == LABELS["visceral_fat"]), muscle)
    iliacus = (
        12 * build.variety.muscle * np.clip(1.3 * (1 - (1.6 * s - 0.8) ** 2), 0, 1)
    )
    canvas.paint(box, near & (out <= 0) & (out > -iliacus) & (crest - z > 2), muscle)
    # Planes of fat between the three gluteal muscles.
    gap = 0.8 + 1.4 * build.fatness
    plane = np.minimum(np.abs(out - 14 - 8 * s), np.abs(out - 34 - 14 * s)) < gap
    plane &= near & (out > 0) & (labels == muscle) & (crest - z > 0)
    canvas.paint(box, plane, LABELS["visceral_fat"])
    thick = (
        3.6 + 5.5 * np.exp(-((s / 0.18) ** 2)) + 2.5 * np.exp(-(((s - 1) / 0.12) ** 2))
    )
    thick = thick + 3 * np.exp(-(np.clip(crest - z, 0, None) / 6))
    _paint_bone(canvas, (box, np.minimum(thick - np.abs(out), within)),
                build.variety.shell_mm)  # fmt: skip


def _paint_sacrum(canvas: shapes.Canvas, build: Build) -> None:
    """Paint the sacrum with its canal and foramina."""
    spine = build.spine_mm
    box = canvas.box((-272, spine - 35, -70), (-138, spine + 70, 70))
    if box is None:
        return
    z, y, x = canvas.coordinates(box)
    height = canvas.axes[0][box[0]]
    middle, half_width, half_depth = np.moveaxis(
        _SACRUM_SHAPE(height)[:, None, None, :].astype(np.float32), -1, 0
    )
    y = y - spine - middle
    # The front is hollow; the wings lie further back than the body.
    bent = y - 0.0035 * np.minimum(np.abs(x), 50) ** 2
    radius = np.sqrt((bent / half_depth) ** 2 + np.abs(x / half_width) ** 3)
    # The upper end plate is tilted forwards.
    depth = np.minimum((1 - radius) * half_depth, -148 - 0.55 * y - z)
    _paint_bone(canvas, (box, depth), build.variety.shell_mm)
    bone = depth > 1
    canal = np.hypot((bent - 0.3 * half_depth) * 1.7, x * 0.8) < 0.45 * half_depth
    canvas.paint(box, canal & bone, LABELS["spinal_canal"])
    foramen = np.hypot(bent * 0.6, np.abs(x) - 0.5 * half_width) < 4.5
    holes = foramen & bone & (np.abs((z + 160) % 24 - 12) < 6)
    canvas.paint(box, holes, LABELS["visceral_fat"])
    # The crest behind, and the muscle between it and the iliac bones.
    crest = np.minimum(3.5 - np.abs(x), 14 - np.abs(y - half_depth - 4))
    _paint_bone(canvas, (box, np.where(half_width > 20, crest, -1)), 1.5)


def paint_iliopsoas(canvas: shapes.Canvas, build: Build) -> None:
    """Paint the psoas muscles from the end of `skeleton.paint_psoas` to the groin."""
    spine, size = build.spine_mm, build.variety.muscle
    for side in (-1, 1):
        path = [(-110, spine - 8, side * 54), (-150, spine - 20, side * 66),
                (-190, spine - 42, side * 80),
                (-245, spine - 68, side * 92)]  # fmt: skip
        psoas = canvas.tube(shapes.smooth_path(path, 2), 20 * (0.5 + 0.5 * size))
        paint_shape(canvas, psoas, "muscle")


def paint_vessels(canvas: shapes.Canvas, build: Build) -> None:
    """Paint the iliac arteries and veins from the bifurcation to the groin."""
    rng, spine = canvas.rng, build.spine_mm
    front = spine - 29
    for label, x, radius, back in (("artery", 5, 5.0, 0), ("vein", -14, 6.5, 9)):
        for side in (-1, 1):
            path = [(-104, front + back * 0.6, x), (-135, front + 4 + back, side * 24),
                    (-165, front + 8 + back, side * 48),
                    (-205, front - 24 + back, side * 66),
                    (-245, front - 48 + back, side * 70)]  # fmt: skip
            path = np.array(path) + rng.normal(0, 1.5, (5, 3))
            path[0] = -104, front + back * 0.6, x
            tube = canvas.tube(
                shapes.smooth_path(path, 3), radius * rng.uniform(0.85, 1.2)
            )
            paint_shape(canvas, tube, label, over=("visceral_fat", "muscle"))


def paint_organs(canvas: shapes.Canvas, build: Build) -> None:
    """Paint bladder, rectum, and uterus or prostate."""
    rng, spine = canvas.rng, build.spine_mm
    filling = float(rng.uniform(0.45, 1.35))
    front = -0.5 * build.half_depth_mm
    centre = jitter(rng, (HIP_MM - 4 + 22 * filling, front + 20 * filling, 0), 3)
    size = np.array([34, 31, 40]) * filling
    bladder = canvas.blob(centre, size + 3, roughness=0.05)
    over = ("visceral_fat", "muscle")
    paint_shape(canvas, bladder, "muscle", over=over)
    if bladder is not None:
        box, depth = bladder
        urine = (box, depth - (3 if filling > 0.7 else 5))
        paint_shape(canvas, urine, "fluid", over=("muscle",))
    if rng.random() < 0.5:
        organ = canvas.blob(
            centre + (10 + 12 * filling, 34 + 20 * filling, rng.normal(0, 6)),
            (24, 36, 28),
            rotation=(rng.normal(0, 0.3), 0, rng.normal(-0.4, 0.3)),
            roughness=0.06,
        )
    else:
        organ = canvas.blob((HIP_MM - 30, front + 34, 0), (20, 19, 26), roughness=0.06)
    paint_shape(canvas, organ, "pelvic_organ")
    path = [(-170, spine - 14, 16), (-195, spine + 4, 4), (-225, spine + 10, 0),
            (-270, spine + 12, 0)]  # fmt: skip
    path = np.array(path) + rng.normal(0, 3, (4, 3))
    rectum = canvas.tube(shapes.smooth_path(path, 3), rng.uniform(12, 22))
    if rectum is not None:
        box, depth = rectum
        depth = depth + 1.5 * canvas.noise(box, 16.0)
        paint_shape(canvas, (box, depth), "bowel_wall")
        content = ("stool", "gas", "stool")[int(rng.integers(3))]
        paint_shape(canvas, (box, depth - 4), content, over=("bowel_wall",))
