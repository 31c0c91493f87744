"""Pictures of a few fixed slices during training."""

import itertools
from collections.abc import Callable

import jax
import numpy as np
from ml_collections import ConfigDict

from input_pipeline.dataset.dataset import Dataset
from input_pipeline.intensity import hu_to_unit
from synthct_jax.inference.translator import Translator
from synthct_jax.model.ensemble import Trainable
from synthct_jax.model.train_state import Params

_SLICES = 2
_GAP = 2  # pixels between pictures
_GREY = 96


def make_sampler(
    method: Trainable, config: ConfigDict, dataset: Dataset
) -> Callable[[dict[str, Params]], np.ndarray]:
    """Return a function from weights to a picture (height, width, 3) uint8.

    It shows the middle slices of the first subjects, of validation where there are any.
    Each has a line MR, synthetic CT, cycled MR and a line CT, synthetic MR, cycled CT;
    all as the networks see them, -1 black and 1 white. Without a generator from CT to
    MR there is one line: MR, synthetic CT and, if it is the same person's, true CT.
    """
    translator = Translator(
        method,
        config.data,
        stored_channels=dataset.manifest.domains["mr"].channels,
        batch=_SLICES,
    )
    knots = config.data.ct_knots
    mr = translator.network_input(_middle_slices(dataset, "mr"))
    hu = _middle_slices(dataset, "ct")[..., 0].astype(np.float32)

    def to_unit(hu: np.ndarray) -> np.ndarray:
        return hu_to_unit(hu, knots)[..., None]

    def sample(weights: dict[str, Params]) -> np.ndarray:
        # This process' copy: the others do not draw.
        local = jax.tree.map(lambda array: array.addressable_data(0), weights)
        synthetic_ct = translator.translate_input(local["to_ct"], mr)
        if "to_mr" not in local:
            return _draw([(mr, to_unit(synthetic_ct), to_unit(hu))])
        synthetic_mr = translator.translate_back(local["to_mr"], hu)
        cycled_mr = translator.translate_back(local["to_mr"], synthetic_ct)
        cycled_ct = translator.translate_input(local["to_ct"], synthetic_mr)
        from_mr = (mr, to_unit(synthetic_ct), cycled_mr)
        return _draw([from_mr, (to_unit(hu), synthetic_mr, to_unit(cycled_ct))])

    return sample


def _middle_slices(dataset: Dataset, domain: str) -> np.ndarray:
    """Return stored slices, int16 (n, rows, columns, channels), of n subjects.

    n is the same for both domains.
    """
    both = [dataset.manifest.domains[name] for name in ("mr", "ct")]
    split = "validation" if all(d.of_split("validation") for d in both) else "train"
    count = min(_SLICES, *(len(d.of_split(split)) for d in both))
    volumes = itertools.islice(dataset.subjects(domain, split), count)
    return np.stack([volume.stored[len(volume.stored) // 2] for volume in volumes])


def _draw(lines: list[tuple[np.ndarray, ...]]) -> np.ndarray:
    """Draw the lines of each slice, a panel for each channel of each image.

    Args:
        lines: images in [-1, 1], (slices, rows, columns, channels).
    """
    slices, rows, columns, _ = lines[0][0].shape
    panels = [
        [image[i, ..., c] for image in line for c in range(image.shape[-1])]
        for i in range(slices)
        for line in lines
    ]
    height = len(panels) * (rows + _GAP) - _GAP
    width = max(map(len, panels)) * (columns + _GAP) - _GAP
    picture = np.full((height, width), _GREY, np.uint8)
    for i, line in enumerate(panels):
        for j, image in enumerate(line):
            top, left = i * (rows + _GAP), j * (columns + _GAP)
            grey = np.clip((image + 1) * 127.5, 0, 255).astype(np.uint8)
            picture[top : top + rows, left : left + columns] = grey
    return np.repeat(picture[..., None], 3, axis=-1)
