"""The teacher of a distilled network, and the CT that it makes of the training MR.

These CT are made once, by a new run, and lie in its folder: a run that resumes learns
from the same CT, also if the teacher is no longer there.
"""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from input_pipeline import files
from input_pipeline.countdown import Countdown
from input_pipeline.dataset.dataset import Dataset
from input_pipeline.ranges import check_choice
from synthct_jax.checkpoint.metadata import flatten, list_steps
from synthct_jax.checkpoint.model_file import UnusableModel
from synthct_jax.inference.loaded_model import (
    LoadedModel,
    load_model,
    load_model_file,
)
from synthct_jax.inference.views import VIEWS

TEACHER_CT = (
    "teacher_ct.npy"  # in the run's folder: HU, int16 (slices, rows, columns, 1)
)

# Fields that say what MR and CT mean to the teacher, and so to the student.
_SAME = ("mr_channels", "ct_knots", "size", "spacing_mm")
_SAME += ("mask_outside_body", "mr_percentile")


def load_teacher(config: ConfigDict, workdir: Path) -> LoadedModel | None:
    """Read the teacher of a new run; None if the run has none, or resumes.

    Raises:
        FileNotFoundError: there is no such run or model.
        UnusableModel: it takes or gives other images; names the field and both values.
        ValueError: there are no so many views.
    """
    source = config.train.distil_from
    if not source or list_steps(workdir):
        return None
    check_choice("train.distil_views", config.train.distil_views, VIEWS)
    if Path(source).is_dir():
        teacher = load_model(Path(source))
    else:
        try:
            teacher = load_model_file(source)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"train.distil_from: {source} is no folder of a run, and {error}"
            ) from error
    theirs, ours = flatten(teacher.data), flatten(config.data.to_dict())
    for field in _SAME:
        if theirs[field] != ours[field]:
            raise UnusableModel(
                f"train.distil_from: data.{field} of {teacher.source} is "
                f"{theirs[field]}, and {ours[field]} in this training; expected the "
                "same"
            )
    return teacher.with_views(config.train.distil_views)


def write_targets(teacher: LoadedModel, dataset: Dataset, workdir: Path) -> None:
    """Write the mean of the teacher's networks and views, in the order of stored MR.

    Raises:
        FloatingPointError: it is not finite.
    """
    manifest = dataset.manifest
    mr = manifest.domains["mr"]
    translator = teacher.translator_of(mr.channels)
    subjects = mr.of_split("train")
    shape = (sum(s.slices for s in subjects), manifest.size, manifest.size, 1)
    countdown = Countdown(len(subjects), "volumes")
    with files.atomic_file(workdir / TEACHER_CT) as path:
        targets = np.lib.format.open_memmap(path, "w+", dtype=np.int16, shape=shape)
        start = 0
        for volume in dataset.subjects("mr", "train"):
            for hu, _ in translator.stream(teacher.params, volume.stored):
                if not np.isfinite(hu).all():
                    raise FloatingPointError(
                        f"train.distil_from: the CT that {teacher.source} makes of "
                        f"{volume.name} holds NaN or infinite values"
                    )
                targets[start : start + len(hu), ..., 0] = np.rint(hu)
                start += len(hu)
            countdown.log(volume.name)
        targets.flush()
