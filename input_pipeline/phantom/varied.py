"""The varied anatomy: the order of painting, from the wall to the arms."""

import numpy as np

from input_pipeline.phantom import (
    arms,
    bowel,
    chest,
    gut,
    lesions,
    organs,
    pelvis,
    shapes,
    skeleton,
    thorax,
    torso,
)
from input_pipeline.phantom.build import Build


def draw_labels(
    rng: np.random.Generator,
    build: Build,
    axes: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    """Draw the tissues of a subject of the varied anatomy.

    Arguments and result are as for `anatomy.draw_labels`, which calls this if
    `build.variety` is set. If the grid misses the body, all labels are 0.
    """
    variety = build.variety
    places = (variety.level_mm, *variety.offset_mm)
    axes = tuple((a + p).astype(np.float32) for a, p in zip(axes, places, strict=True))
    labels = np.zeros([len(a) for a in axes], np.uint8)
    box = _body_box(build, axes)
    if box is None:
        return labels
    canvas = shapes.Canvas(rng, tuple(a[b] for a, b in zip(axes, box, strict=True)))
    torso.bend(canvas, build)
    frame = torso.paint_wall(canvas, build)
    skeleton.paint_spine(canvas, build, shell_mm=variety.shell_mm, lowest_mm=-148.0)
    pelvis.paint_bones(canvas, build)
    thorax.paint_cage(canvas, build, frame)
    skeleton.paint_psoas(canvas, build)
    pelvis.paint_iliopsoas(canvas, build)
    chest.paint_chest(canvas, build, frame, front_mm=18 * build.fatness - 8)
    thorax.paint_vessels(canvas, build)
    organs.paint_great_vessels(canvas, build, end_mm=-104)
    pelvis.paint_vessels(canvas, build)
    lost = rng.random(4) < (0.02, 0.02, 0.04, 0.12)
    sides = tuple(side for side, gone in zip((-1, 1), lost, strict=False) if not gone)
    organs.paint_kidneys(canvas, build, sides=sides, sinus_scale=rng.uniform(0.6, 1))
    if not lost[3]:
        lesions.paint_stones(canvas, organs.paint_gallbladder(canvas, build))
    organs.paint_liver(canvas, build, frame, deepest_mm=82.0)
    organs.paint_liver_branches(canvas, build)
    if not lost[2]:
        organs.paint_crescent_spleen(canvas, build, frame)
    organs.paint_pancreas(canvas, build)
    pelvis.paint_organs(canvas, build)
    meal = str(rng.choice(("bowel_content", "bowel_content", "fluid")))
    bowel.paint_stomach(
        canvas, build, frame, radius_scale=(0.3, 1.2), level_mm=(-70, 20), content=meal
    )
    gut.paint_colon(canvas, build)
    gut.paint_small_bowel(canvas, build)
    for _ in range(2):
        organs.paint_mesenteric_vessels(canvas, build)
    lesions.paint_lesions(canvas, build)
    lesions.paint_fluid(canvas, build, frame)
    lesions.paint_hernia(canvas, build, frame)
    lesions.paint_calcified_arteries(canvas, build)
    lesions.paint_metal(canvas, build, gallbladder=not lost[3])
    arms.paint_arms(canvas, build)
    labels[box] = canvas.labels
    return labels


def _body_box(build: Build, axes: tuple[np.ndarray, ...]) -> shapes.Box | None:
    """Return the part of the grid that body and arms can reach; None if it has none."""
    wall = 1.25 * build.wall_mm + 1.7 * build.fat_mm + 25
    arms = 150 if any(gap is not None for gap in build.variety.arms_mm) else 0
    reach = (
        np.inf,
        1.1 * build.half_depth_mm + wall + 55,
        max(build.half_width_mm, 100) + wall + 30 + arms,
    )
    box = tuple(
        slice(*np.searchsorted(axis, (-far, far)))
        for axis, far in zip(axes, reach, strict=True)
    )
    return None if any(part.stop <= part.start for part in box) else box
