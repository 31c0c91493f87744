"""Endless simulated pairs, a pure function of (seed, position)."""

import dataclasses
from pathlib import Path

import grain
import numpy as np
import scipy.ndimage

from input_pipeline import intensity
from input_pipeline.dataset.augment import Augmentation, Placement
from input_pipeline.phantom import ct
from input_pipeline.phantom.build import ANATOMIES, draw_fat_fractions
from input_pipeline.phantom.examination import draw_examination
from input_pipeline.phantom.scanners import FIXED, scanner_of
from input_pipeline.simulation.anatomies import (
    PLANES,
    Anatomies,
    anatomies_of,
    open_records,
)

_SCALE_SPREAD = 0.12  # deviation of a slice's scale from that of its volume: chosen


def stream_simulated(
    config, folder: Path, *, seed: int | None = None
) -> grain.MapDataset:
    """Return endless shuffled pairs: {'mr': (h, w, channels), 'ct': (h, w, 1)}.

    Both are float32 in [-1, 1], acquired by a new scanner each time.

    Args:
        config: `data`, `phantom` and `seed` are read.
        folder: its anatomies, see `anatomies.draw`.
        seed: draws the samples; by default that of the configuration, which draws the
            people as well.

    Raises:
        FileNotFoundError, ValueError: as for `open_records` and `check_fields`.
    """
    check_fields(config)
    data, anatomies = config.data, anatomies_of(config)
    acquire = _Acquire(
        anatomies=anatomies,
        scanner=config.phantom.scanner,
        contrast=config.phantom.contrast,
        channels=tuple(data.mr_channels),
        knots=tuple(tuple(float(v) for v in knot) for knot in data.ct_knots),
        percentile=float(data.mr_percentile),
        mr_exponent=float(data.mr_exponent),
        mask_outside_body=bool(data.mask_outside_body),
        augmentation=Augmentation(
            flip=bool(data.flip),
            rotate_degrees=float(data.rotate_degrees),
            scale_fraction=float(data.scale_fraction),
            shift=float(data.shift_mm) / (anatomies.spacing_mm / 2),
        ),
    )
    return (
        grain.MapDataset.source(open_records(anatomies, folder))
        .seed(int(config.seed if seed is None else seed))
        .shuffle()
        .random_map(acquire)
        .repeat()
    )


def check_fields(config) -> None:
    """Raise ValueError for a field that simulated pairs cannot be made with."""
    for field, choices in (
        ("scanner", ("randomised", *FIXED)),
        ("anatomy", ANATOMIES),
        ("contrast", ct.CONTRASTS),
    ):
        if config.phantom[field] not in choices:
            raise ValueError(
                f"phantom.{field} is {config.phantom[field]!r}, expected for simulated "
                f"pairs one of: {', '.join(choices)}"
            )
    if config.data.crop:
        raise ValueError(
            f"data.crop is {config.data.crop}, expected 0: simulated pairs are whole "
            "slices"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Acquire:
    """Acquire a slab's middle by a drawn scanner; can be pickled for workers."""

    anatomies: Anatomies
    scanner: str
    contrast: str
    channels: tuple[str, ...]
    knots: tuple[tuple[float, float], ...]
    percentile: float
    mr_exponent: float
    mask_outside_body: bool
    augmentation: Augmentation

    def __call__(
        self, record: bytes, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        planes = self.anatomies.decode(record)
        count = int(rng.integers(1, PLANES, endpoint=True))
        first = int(rng.integers(0, PLANES - count, endpoint=True))
        placement = self.augmentation.draw(rng, planes.shape[1])
        planes = _place(planes[first : first + count], placement)
        examination = draw_examination(
            rng,
            scanner_of(self.scanner, rng),
            fat_fractions=draw_fat_fractions(rng),
            contrast=self.contrast,
        )
        acquired = examination.acquire(
            rng,
            planes,
            factor=2,
            spacing_mm=self.anatomies.spacing_mm,
            channels=self.channels,
        )
        body = acquired.body > 0.5
        view = _field_of_view(rng, body.shape)
        scale = self._scale(rng, acquired.mr, body & view)
        pixels = int(rng.integers(0, 4))  # body masks of MR may be wider on all sides
        wide = (
            scipy.ndimage.binary_dilation(body, iterations=pixels) if pixels else body
        )
        mask = view & (wide | (not self.mask_outside_body))
        mr = intensity.mr_to_unit(
            acquired.mr / scale * intensity.MR_ONE, self.mr_exponent
        )
        mr = np.where(mask[..., None], mr, np.float32(-1))
        hu = np.where(body & view, acquired.hu, np.float32(intensity.AIR_HU))
        return {
            "mr": mr,
            "ct": intensity.hu_to_unit(hu, self.knots)[..., None],
        }

    def _scale(
        self, rng: np.random.Generator, mr: np.ndarray, body: np.ndarray
    ) -> np.ndarray:
        """Return the divisor of each channel, about that of a whole volume."""
        if not body.any():
            return np.ones(len(self.channels), np.float32)
        scale = intensity.mr_scale(
            mr[None],
            body[None],
            channels=self.channels,
            percentile=self.percentile,
        )
        # Phases share the error of their scale.
        t2, phases = np.exp(_SCALE_SPREAD * rng.standard_normal(2))
        return scale * np.array(
            [t2 if name == "t2" else phases for name in self.channels], np.float32
        )


def _place(planes: np.ndarray, placement: Placement) -> np.ndarray:
    """Move label maps (planes, n, n) to a placement; label 0 comes in from outside."""
    size = planes.shape[1]
    places = np.arange(size, dtype=np.float32)
    (a, b), (c, d) = placement.matrix.astype(np.float32)
    e, f = placement.offset.astype(np.float32) + np.float32(0.5)
    row = np.add.outer(a * places + e, b * places)
    column = np.add.outer(c * places + f, d * places)
    inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
    index = np.where(inside, row.astype(np.int32) * size + column.astype(np.int32), 0)
    return np.take(planes.reshape(len(planes), -1), index, axis=1) * inside


def _field_of_view(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw a rectangle of true pixels: in 30 % of draws it cuts all four sides."""
    inside = np.ones(shape, bool)
    if rng.uniform() < 0.3:
        rows, columns = (int(n * rng.uniform(0, 0.2)) for n in shape)
        inside[: rows // 2] = inside[shape[0] - rows // 2 :] = False
        inside[:, :columns] = inside[:, shape[1] - columns :] = False
    return inside
