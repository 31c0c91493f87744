"""The organs of the abdomen, each painted over visceral fat."""

import numpy as np

from input_pipeline.phantom import shapes
from input_pipeline.phantom.build import BodyFrame, Build
from input_pipeline.phantom.painting import jitter, paint_shape


def paint_great_vessels(
    canvas: shapes.Canvas, build: Build, *, end_mm: float = -130.0
) -> None:
    """Paint aorta, inferior vena cava, and their renal and mesenteric branches.

    `end_mm` is the height of their lower ends.
    """
    rng = canvas.rng
    spine = build.spine_mm
    front = spine - 17
    aorta_mm = float(rng.uniform(8, 11.5))
    aorta = [(160, spine - 12, 22), (70, front - 8, 12), (30, front - 13, 7),
             (-50, front - 12, 6), (end_mm, front - 12, 5)]  # fmt: skip
    paint_shape(canvas, canvas.tube(aorta, aorta_mm), "artery")
    cava_mm = float(rng.uniform(9.5, 12.5))
    cava = [(110, -4, -24), (60, 2, -26), (30, front - 20, -24), (0, front - 11, -20),
            (end_mm, front - 10, -18)]  # fmt: skip
    paint_shape(canvas, canvas.tube(shapes.smooth_path(cava, 3), cava_mm), "vein")
    for side in (-1, 1):
        hilum = (-18 + 5 * side, spine - 4, side * 44)
        start = (-8, front - 10, side * 8)
        paint_shape(canvas, canvas.tube([start, hilum], 3.0), "artery")
        start = (-14, front - 18, -16 if side < 0 else 4)
        middle = (-15, front - 24, 10) if side > 0 else start
        hilum = (-20 + 5 * side, spine - 9, side * 44)
        paint_shape(canvas, canvas.tube([start, middle, hilum], 4.5), "vein")
    forward = [(6, front - 22, 8), (-5, front - 36, 7), (-70, front - 44, 2)]
    paint_shape(canvas, canvas.tube(shapes.smooth_path(forward), 3.6), "artery")


def paint_kidneys(
    canvas: shapes.Canvas,
    build: Build,
    *,
    sides: tuple[int, ...] = (-1, 1),
    sinus_scale: float = 1.0,
) -> None:
    """Paint cortex, medullary pyramids, renal pelvis and the fat of the sinus.

    Side -1 is the patient's right, 1 the left.
    """
    rng = canvas.rng
    for side in sides:
        height = -19.0 + 5 * side
        scale = build.organ_scale * float(rng.normal(1, 0.05))
        centre = jitter(rng, (height, build.spine_mm - 5, side * 62))
        turn = (side * 0.55, side * 0.12, -0.12)
        kidney = canvas.blob(
            centre,
            np.array([54, 29, 24]) * scale,
            rotation=turn,
            power=2.2,
            roughness=0.04,
        )
        sinus = canvas.blob(
            centre + np.array([0, -6, -side * 14]),
            np.array([24, 11, 17]) * scale * sinus_scale,
            rotation=turn,
            roughness=0.08,
        )
        paint_shape(canvas, kidney, "kidney_cortex")
        if kidney is not None:
            box, depth = kidney
            pyramids = depth + 2.5 * canvas.noise(box, 11.0)
            inner = (box, np.minimum(depth - 5, pyramids - 8))
            paint_shape(canvas, inner, "kidney_medulla", over=("kidney_cortex",))
        kidney_labels = ("kidney_cortex", "kidney_medulla")
        paint_shape(canvas, sinus, "visceral_fat", over=kidney_labels)
        pelvis = canvas.blob(
            centre + np.array([-2, -6, -side * 17]),
            np.array([10, 4, 9]) * scale,
            rotation=turn,
        )
        paint_shape(canvas, pelvis, "bile")
        if kidney is not None:
            box, depth = kidney
            canvas.reserved[box] |= depth > -(2 + 3.5 * build.fatness)


def paint_gallbladder(canvas: shapes.Canvas, build: Build) -> shapes.Shape | None:
    """Paint the gallbladder below the liver; call it before `paint_liver`.

    Returns:
        Its shape, or None if it is off the grid.
    """
    rng = canvas.rng
    gallbladder = canvas.blob(
        jitter(rng, (-24, -0.48 * build.half_depth_mm, -46), 4),
        np.array([27, 14, 13]) * rng.uniform(0.8, 1.15),
        rotation=(0.2, 0.3, -0.35),
    )
    paint_shape(canvas, gallbladder, "bile")
    return gallbladder


def paint_liver(
    canvas: shapes.Canvas,
    build: Build,
    frame: BodyFrame,
    *,
    deepest_mm: float = np.inf,
) -> None:
    """Paint both lobes of the liver, its fissure, portal and hepatic veins.

    `deepest_mm` limits its half depth: it grows less than the belly.
    """
    rng = canvas.rng
    scale = build.organ_scale * (1 + 0.3 * build.liver_fat_fraction)
    depth_mm = build.half_depth_mm
    right_x = -0.52 * build.half_width_mm
    right = canvas.blob(
        jitter(rng, (26, -2, right_x), 4),
        np.array([76, min(0.96 * depth_mm, deepest_mm), 70]) * scale,
        power=2.4,
        rotation=(0.15, -0.15, 0),
        roughness=0.04,
    )
    left = canvas.blob(
        jitter(rng, (36, -0.48 * depth_mm, 8), 4),
        np.array([36, 34, 66]) * scale * rng.uniform(0.9, 1.12),
        power=2.1,
        rotation=(-0.12, -0.25, 0),
        roughness=0.06,
    )
    for lobe in (right, left):
        if lobe is None:
            continue
        box, depth = lobe
        wall = -frame.beyond_mm[box] - 0.5 - 2 * build.fatness
        depth = np.minimum(depth, np.minimum(wall, -frame.above_mm[box] - 1.5))
        paint_shape(canvas, (box, depth), "liver")
    # The fissure of the round ligament, between the lobes.
    fissure = canvas.blob(
        jitter(rng, (20, -0.68 * depth_mm, -12), 2),
        (24, 17, rng.uniform(2, 4.5)),
        rotation=(rng.normal(-0.3, 0.15), 0, rng.normal(0, 0.2)),
        roughness=0.15,
    )
    paint_shape(canvas, fissure, "visceral_fat", over=("liver",))

    hilum = np.array([14.0, build.spine_mm - 46, -30.0])
    within = ("visceral_fat", "liver")
    portal = [
        ([(-8, build.spine_mm - 40, -2), hilum], [6.5, 6.5]),
        ([hilum, hilum + (6, 2, -25), hilum + (14, 14, -48)], [5.5, 4, 2]),
        ([hilum, hilum + (10, -16, -20), hilum + (22, -28, -36)], [4.5, 3.5, 1.8]),
        ([hilum, hilum + (12, -18, 14), hilum + (16, -30, 30)], [4.5, 3.5, 2]),
        ([hilum, hilum + (-14, 6, -26), hilum + (-30, 10, -40)], [4, 3, 1.6]),
    ]
    roof = np.array([50.0, 2.0, -26.0])
    hepatic = [
        ([roof, roof + (-8, 8, -28), roof + (-26, 14, -56)], [5, 4, 1.8]),
        ([roof, roof + (-8, -24, -14), roof + (-26, -44, -26)], [5, 4, 1.8]),
        ([roof, roof + (-4, -24, 14), roof + (-12, -36, 34)], [4.5, 3.2, 1.6]),
    ]
    for points, radii in portal + hepatic:
        path = np.array(points) + rng.normal(0, 1.5, (len(points), 3))
        path[0] = points[0]
        tube = canvas.tube(shapes.smooth_path(path), np.interp(
            np.linspace(0, 1, 5 * (len(points) - 1) + 1),
            np.linspace(0, 1, len(radii)), radii))  # fmt: skip
        paint_shape(canvas, tube, "vein", over=within)


def paint_liver_branches(canvas: shapes.Canvas, build: Build) -> None:
    """Paint thin veins that run from the portal and the hepatic trunks all over."""
    rng = canvas.rng
    trunks = np.array([(14.0, build.spine_mm - 46, -30.0), (44.0, 0.0, -30.0)])
    depth_mm = build.half_depth_mm
    right = np.array([(26, -2, -0.52 * build.half_width_mm), (70, 0.9 * depth_mm, 64)])
    left = np.array([(36, -0.48 * depth_mm, 8), (34, 30, 60)])
    for _ in range(int(rng.integers(50, 120))):
        centre, reach = right if rng.uniform() < 0.75 else left
        end = centre + reach * rng.uniform(-1, 1, 3)
        start = trunks[rng.integers(2)]
        start = start + rng.uniform(0, 0.7) * (end - start)
        path = start + np.linspace(0, 1, 5)[:, None] * (end - start)
        path[1:] += np.cumsum(rng.normal(0, 3.0, (4, 3)), axis=0)
        radii = float(rng.uniform(1.4, 3.2)) * np.linspace(1, 0.45, 21)
        tube = canvas.tube(shapes.smooth_path(path), radii)
        paint_shape(canvas, tube, "vein", over=("liver",))


def paint_spleen(canvas: shapes.Canvas, build: Build, frame: BodyFrame) -> None:
    """Paint the spleen between diaphragm and kidney, concave towards the middle."""
    rng = canvas.rng
    scale = build.organ_scale * float(rng.uniform(0.92, 1.28))
    centre = jitter(
        rng, (28, build.half_depth_mm * 0.42, 0.74 * build.half_width_mm), 4
    )
    spleen = canvas.blob(
        centre,
        np.array([48, 46, 25]) * scale,
        rotation=(0.35, 0.25, 0.2),
        roughness=0.05,
    )
    hollow = canvas.blob(
        centre + np.array([0, -16, -36]), np.array([40, 34, 20]) * scale, roughness=0.05
    )
    if spleen is None:
        return
    box, depth = spleen
    depth = np.minimum(depth, -frame.beyond_mm[box] - 2.0)
    depth = np.minimum(depth, -frame.above_mm[box] - 1.5)
    paint_shape(canvas, (box, depth), "spleen")
    paint_shape(canvas, hollow, "visceral_fat", over=("spleen",))


def paint_crescent_spleen(
    canvas: shapes.Canvas, build: Build, frame: BodyFrame
) -> None:
    """Paint a spleen that lies along the wall, from beside the spine to the flank.

    Its thickness is measured from the wall, so that its inner side is concave. The long
    axis follows the ribs: lower parts lie further in front.
    """
    rng = canvas.rng
    size = build.organ_scale * float(rng.uniform(0.85, 1.25))
    middle_mm = float(rng.normal(16, 10))
    half_height_mm = size * float(rng.uniform(44, 64))
    thickness_mm = size * float(rng.uniform(32, 52))
    half_arc = size * float(rng.uniform(48, 74)) / build.half_width_mm
    box = canvas.box(
        (middle_mm - half_height_mm, -np.inf, 0),
        (middle_mm + half_height_mm, np.inf, np.inf),
    )
    middle_angle = float(rng.normal(1.1, 0.15))
    slope = float(rng.normal(0.006, 0.003))  # radians per mm
    if box is None:
        return
    up_mm = canvas.z[box] - middle_mm
    along = (frame.angle[box] - middle_angle + slope * up_mm) / half_arc
    apart = along**2 + (up_mm / half_height_mm) ** 2
    bulge = thickness_mm * (1 + 0.12 * canvas.noise(box, 28.0))
    inwards_mm = -frame.beyond_mm[box]
    depth = bulge * np.sqrt(np.maximum(1 - apart, 0)) - inwards_mm
    depth = np.minimum(depth, np.minimum(inwards_mm - 2, -frame.above_mm[box] - 1.5))
    depth = np.minimum(depth, canvas.x[box] - 36)  # not between kidney and spine
    paint_shape(canvas, (box, depth), "spleen")


def paint_pancreas(canvas: shapes.Canvas, build: Build) -> None:
    """Paint the lobulated pancreas from head to tail, and the splenic vein behind."""
    rng = canvas.rng
    spine = build.spine_mm
    head = np.array([-14.0, spine - 44, -24.0]) + rng.normal(0, 3, 3)
    path = [head + (-14, 4, -2), head, head + (14, -6, 24), head + (24, 6, 52),
            head + (34, 22, 84)]  # fmt: skip
    path = shapes.smooth_path(path)
    vein = canvas.tube(path[5:] + np.array([0, 9, 0]), 3.8)
    paint_shape(canvas, vein, "vein")
    pancreas = canvas.tube(path, np.interp(np.linspace(0, 4, len(path)), range(5),
                                           [13, 15, 11, 12, 9.5]))  # fmt: skip
    if pancreas is not None:
        box, depth = pancreas
        paint_shape(canvas, (box, depth + 2.2 * canvas.noise(box, 8.0)), "pancreas")


def paint_mesenteric_vessels(canvas: shapes.Canvas, build: Build) -> None:
    """Paint thin vessels that fan out from the root of the mesentery."""
    rng = canvas.rng
    root = np.array([-10, build.spine_mm - 50, 6])
    wide, deep = build.half_width_mm, build.half_depth_mm
    for _ in range(16):
        end = np.array([rng.uniform(-120, 10), rng.uniform(-0.7, 0) * deep,
                        rng.uniform(-0.6, 0.7) * wide])  # fmt: skip
        middle = jitter(rng, 0.5 * (root + end), 10)
        tube = canvas.tube(shapes.smooth_path([root, middle, end]), rng.uniform(1.2, 2))
        paint_shape(canvas, tube, "vein")
