"""Trunk of the varied anatomy: posture, and the wall from the chest to the hips.

Heights are those of the reference: 0 is the first lumbar vertebra, the iliac crest is
near -95, the hip joint near -235, the domes of the diaphragm near 86. Measures are
chosen after sections of adults, and are no measurements.
"""

import dataclasses

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import expit

from input_pipeline.phantom import chest, shapes
from input_pipeline.phantom.build import BodyFrame, Build
from input_pipeline.phantom.tissues import LABELS

# Height; half width and front depth of the cavity relative to the build; thickness in
# mm of the wall's muscle at the side, and of that behind the spine, for muscle = 1.
_SHAPE = np.array([
    (-290, 0.46, 0.68, 92, 52), (-230, 0.52, 0.74, 84, 58), (-190, 0.70, 0.78, 56, 56),
    (-150, 0.93, 0.80, 26, 44), (-100, 0.97, 0.83, 19, 38), (-50, 0.96, 0.88, 18, 37),
    (0, 0.98, 0.94, 15, 34), (45, 1.00, 1.00, 14, 30), (100, 0.98, 1.02, 14, 26),
    (170, 0.90, 0.98, 20, 26),
])  # fmt: skip
_CURVES = PchipInterpolator(_SHAPE[:, 0], _SHAPE[:, 1:3], extrapolate=True)


def bend(canvas: shapes.Canvas, build: Build) -> None:
    """Bend the canvas to the subject's posture: kyphosis, scoliosis and a turn."""
    variety = build.variety
    y, x = canvas.y, canvas.x
    height = canvas.axes[0][:, None, None]
    behind = expit((y - (build.spine_mm - 45)) / 18)
    hump = np.clip((height - 20) / 90, 0, 1.5) ** 2
    hollow = np.exp(-(((height + 75) / 45) ** 2))
    back_mm = variety.kyphosis_mm * (hump - 0.7 * hollow)
    side_mm = variety.scoliosis_mm * np.sin((height + 100) / 50)
    side_mm = side_mm * np.exp(-(((height + 20) / 90) ** 2))
    beside = behind * np.exp(-((x / 75) ** 2))
    canvas.y = y - back_mm * behind - variety.roll * x
    canvas.x = x - side_mm * beside + variety.roll * y
    canvas.margin_mm += 6.0


@dataclasses.dataclass
class _Points:
    """Points of the wall, each field (n,) float32.

    Attributes:
        index: places in the flattened grid.
        z, y, x: coordinates in mm; z is not deformed.
        beyond: distance outwards from the cavity's surface, in mm.
        turn: radians from posterior, without sign.
    """

    index: np.ndarray
    z: np.ndarray
    y: np.ndarray
    x: np.ndarray
    beyond: np.ndarray
    turn: np.ndarray

    def noise(self, canvas: shapes.Canvas, correlation_mm: float) -> np.ndarray:
        return canvas.noise(canvas.everywhere(), correlation_mm).ravel()[self.index]


def _points(canvas: shapes.Canvas, where: np.ndarray, beyond: np.ndarray) -> _Points:
    index = np.flatnonzero(where)
    z = canvas.axes[0][index // where[0].size]
    y, x = canvas.y.ravel()[index], canvas.x.ravel()[index]
    return _Points(index, z, y, x, beyond.ravel()[index], np.arctan2(np.abs(x), y))


def paint_wall(canvas: shapes.Canvas, build: Build) -> BodyFrame:
    """Paint skin, subcutaneous fat and muscle layers around a cavity of visceral fat.

    Returns:
        Polar coordinates of the voxels relative to the cavity.
    """
    rng = canvas.rng
    y, x = canvas.y, canvas.x
    height = canvas.axes[0][:, None, None]
    curves = _CURVES(canvas.axes[0]).astype(np.float32)
    width, depth = curves[:, None, None, 0], curves[:, None, None, 1]
    # A thin belly sinks in, a stout one stands out.
    belly = np.exp(-(((height + 65) / 60) ** 2))
    depth = depth + np.float32(0.22 * (build.fatness - 0.35)) * belly
    depth = np.where(y < 0, build.half_depth_mm * depth, build.half_depth_mm)
    power = float(rng.uniform(2.2, 2.7))
    share = np.abs(x / (build.half_width_mm * width)) ** power
    share += np.abs(y / depth) ** power
    share **= 1 / power
    share *= 1 + 0.014 * canvas.noise(canvas.everywhere(), 60.0)
    share = np.maximum(share, 1e-3)
    beyond = np.hypot(x, y) * (1 - 1 / share)

    labels = canvas.labels
    inside = beyond < 0
    labels[inside] = LABELS["visceral_fat"]
    points = _points(canvas, ~inside & (share < 3), beyond)
    whole, lines = _muscle_mm(points, build)
    muscle = whole * (1 - lines)
    fat = _subcutaneous_fat_mm(canvas, points, build) + whole - muscle
    cleft = np.exp(-((points.x / 7) ** 2)) * (points.y > 0)
    cleft *= expit((-205 - points.z) / 8)
    outline = np.maximum((muscle + fat) * (1 - 0.5 * cleft), 3)
    skin_mm = float(rng.uniform(1.5, 2.3))
    tissue = np.select(
        [points.beyond < np.minimum(muscle, outline), points.beyond < outline,
         points.beyond < outline + skin_mm],
        [np.uint8(LABELS[name]) for name in ("muscle", "subcutaneous_fat", "skin")],
        np.uint8(0),
    )  # fmt: skip
    # Fascia and septa of the fat: thin sheets along the skin and across.
    level = (points.beyond - muscle) / fat + 0.1 * points.noise(canvas, 35.0)
    sheets = np.abs(level - 0.55) * fat < 0.35 * expit((25 - points.z) / 10)
    sheets |= np.abs(points.noise(canvas, 11.0)) < 0.012
    sheets &= (tissue == LABELS["subcutaneous_fat"]) & (fat > 9)
    tissue[sheets] = LABELS["skin"]
    labels.ravel()[points.index] = tissue
    # The cavity ends at the muscles beside the spine; the lungs reach further back.
    back = build.spine_mm + 18 + 0.0022 * x**2 + 24 * expit((height - 30) / 9)
    labels[inside & (y > back) & (np.abs(x) < 70)] = LABELS["muscle"]
    _paint_fat_in_muscle(canvas, build, beyond)

    angle = np.arctan2(x, y)
    above = chest.above_diaphragm_mm(canvas, build, angle, share)
    return BodyFrame(angle=angle, beyond_mm=beyond, above_mm=above)


def _muscle_mm(points: _Points, build: Build) -> tuple[np.ndarray, np.ndarray]:
    """Return the thickness of the muscle wall in mm, and the share that lines cut out.

    The lines, alba and semilunares, are between muscles and not seen from outside.
    """
    strength = build.variety.muscle
    low = expit((-185 - points.z) / 12)
    side_mm, back_mm = (
        np.interp(points.z, _SHAPE[:, 0], _SHAPE[:, i]).astype(np.float32)
        for i in (3, 4)
    )
    muscle = side_mm * strength
    # Rectus abdominis, and the thighs' flexors at the groin.
    front = (9.5 + 16 * low) * strength
    muscle += expit((points.turn - 2.35 + 0.1 * low) / (0.07 + 0.2 * low)) * (
        front - muscle
    )
    # Erector spinae and, in the pelvis, gluteus maximus; the furrow between them.
    ax = np.abs(points.x)
    reach = 62 + 20 * low - 8 * expit((points.z - 20) / 20)
    bulk = back_mm * (0.7 + 0.3 * strength) - 11 * np.exp(-((ax / 11) ** 2))
    bulk -= 5 * np.clip(ax - 30, 0, 60) / 40
    muscle += expit((reach - ax) / 4) * expit(points.y / 8) * (bulk - muscle)
    # Linea alba in the middle, linea semilunaris beside the rectus.
    lines = 0.55 * np.exp(-(((np.pi - points.turn) / 0.06) ** 2))
    lines += 0.5 * (1 - low) * np.exp(-(((points.turn - 2.35) / 0.06) ** 2))
    return muscle, lines * expit((60 - points.z) / 10)


def _subcutaneous_fat_mm(
    canvas: shapes.Canvas, points: _Points, build: Build
) -> np.ndarray:
    """Return the thickness of the fat under the skin at points, in mm."""
    back = build.variety.back_fat_weight
    low = expit((-20 - points.z) / 30)
    love_handle = np.exp(-(((points.turn - 0.9) / 0.4) ** 2))
    share = 0.75 + (0.15 + 0.7 * (back - 0.8) * low) * love_handle
    share *= 1 - 0.42 * expit((points.z - 15) / 20)
    belly = float(canvas.rng.uniform(0.0, 0.5))
    share += belly * low * np.exp(-(((points.turn - np.pi) / 0.6) ** 2))
    # Over the gluteal muscles.
    share += 0.5 * expit((-150 - points.z) / 20) * expit((1.5 - points.turn) / 0.2)
    share *= 1 + 0.12 * points.noise(canvas, 50.0)
    navel = np.hypot(points.z + 78, points.x) / 9
    share *= 1 - 0.8 * np.exp(-(navel**2)) * (points.y < 0)
    furrow = 0.5 * np.exp(-((points.x / 15) ** 2)) * (points.y > 0)
    # Few people have less than 3 mm.
    return 2.5 + build.fat_mm * np.maximum(share - furrow, 0)


def _paint_fat_in_muscle(
    canvas: shapes.Canvas, build: Build, beyond: np.ndarray
) -> None:
    """Paint the planes between muscles, streaks of fat, and muscle turning into fat."""
    infiltration = build.variety.infiltration
    points = _points(canvas, canvas.labels == LABELS["muscle"], beyond)
    layers, coarse = points.noise(canvas, 13.0), points.noise(canvas, 30.0)
    muscle, _ = _muscle_mm(points, build)
    level = points.beyond / muscle + 0.05 * layers
    side = (points.turn > 1.0) & (points.turn < 2.3) & (points.z < 25)
    planes = np.minimum(np.abs(level - 0.33), np.abs(level - 0.66)) * muscle
    planes = planes < 0.4 + 0.7 * build.fatness
    # Septa of the back: between the columns, and thin sheets within them.
    ax = np.abs(points.x)
    septa = np.abs(ax - 27 - 4 * layers - 0.25 * points.beyond)
    septa = septa < 0.7 + 1.3 * infiltration
    deep = np.exp(-(((ax - 8) / 14) ** 2))  # the multifidus is infiltrated first
    streaks = np.abs(layers) < 0.03 + 0.13 * infiltration * (0.5 + deep)
    behind = (points.turn < 0.95) & (points.beyond > -25) & (level < 0.95)
    weak = (coarse + 1.2 * deep + 2.6 * infiltration > 3.1) & (layers > -0.4) & behind
    canvas.labels.ravel()[points.index[weak]] = LABELS["fatty_muscle"]
    fat = (side & planes) | (behind & (septa | streaks))
    canvas.labels.ravel()[points.index[fat]] = LABELS["subcutaneous_fat"]
