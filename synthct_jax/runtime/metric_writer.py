"""Where numbers and pictures of a run go; clu's method names, without TensorFlow.

RUN/metrics.jsonl   always: one object a line, {"step": 50, "cycle_mr": 0.8, ...}
RUN/samples/        pictures, NAME_STEP.png
RUN/config.json     the configuration in use
RUN/tensorboard/    the same for TensorBoard, when tensorboardX is installed
"""

import importlib.util
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import matplotlib.image
import numpy as np


class MetricWriter(Protocol):
    """The interface of `clu.metric_writers.MetricWriter`."""

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None: ...

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Pictures (height, width, 3) uint8 by name."""

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None: ...

    def write_hparams(self, hparams: Mapping[str, Any]) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class FolderWriter:
    """Plain files in the run's folder."""

    def __init__(self, workdir: Path, *, resumed_at: int = 0):
        """Opens for appending; rows of steps after `resumed_at` will come again."""
        self._workdir = workdir
        path = workdir / "metrics.jsonl"
        if path.exists():
            kept = [row for row in read_rows(path) if row["step"] <= resumed_at]
            new = path.with_suffix(".jsonl.tmp")
            new.write_text("".join(json.dumps(row) + "\n" for row in kept))
            os.replace(new, path)
        self._file = path.open("a")

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        values = {name: float(value) for name, value in scalars.items()}
        self._write(
            step, {k: v if math.isfinite(v) else None for k, v in values.items()}
        )

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        self._write(step, texts)

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        folder = self._workdir / "samples"
        folder.mkdir(exist_ok=True)
        for name, image in images.items():
            path = folder / f"{name}_{step:06d}.png"
            new = path.with_suffix(".tmp")
            matplotlib.image.imsave(new, image, format="png")
            os.replace(new, path)

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        path = self._workdir / "config.json"
        new = path.with_suffix(".tmp")
        new.write_text(json.dumps(hparams, indent=2) + "\n")
        os.replace(new, path)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _write(self, step: int, values: Mapping[str, Any]) -> None:
        # No NaN, which is not JSON; a line at a time, so that a killed run leaves at
        # most its last line torn.
        self._file.write(json.dumps({"step": int(step), **values}) + "\n")
        self._file.flush()


class TensorBoardWriter:
    """The same for TensorBoard."""

    def __init__(self, folder: Path, *, resumed_at: int = 0):
        import tensorboardX

        # TensorBoard forgets what was written for the steps that come again.
        self._writer = tensorboardX.SummaryWriter(
            str(folder), purge_step=resumed_at + 1 if resumed_at else None
        )

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        for name, image in images.items():
            self._writer.add_image(name, image, step, dataformats="HWC")

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        for name, text in texts.items():
            self._writer.add_text(name, text, step)

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        text = json.dumps(hparams, indent=2)
        self._writer.add_text("config", f"```\n{text}\n```", 0)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class ManyWriters:
    """Writes everything to each of several writers; to none on other hosts."""

    def __init__(self, writers: Sequence[MetricWriter]):
        self._writers = tuple(writers)

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        for writer in self._writers:
            writer.write_scalars(step, scalars)

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        for writer in self._writers:
            writer.write_images(step, images)

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        for writer in self._writers:
            writer.write_texts(step, texts)

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        for writer in self._writers:
            writer.write_hparams(hparams)

    def flush(self) -> None:
        for writer in self._writers:
            writer.flush()

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


def create(workdir: Path, *, resumed_at: int = 0, primary: bool = True) -> ManyWriters:
    """The writers of a run that goes on after step `resumed_at`.

    One process of all writes: `primary` is false in the others.
    """
    if not primary:
        return ManyWriters([])
    workdir.mkdir(parents=True, exist_ok=True)
    writers: list[MetricWriter] = [FolderWriter(workdir, resumed_at=resumed_at)]
    if importlib.util.find_spec("tensorboardX"):
        folder = workdir / "tensorboard"
        writers.append(TensorBoardWriter(folder, resumed_at=resumed_at))
    return ManyWriters(writers)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl, in order; [] where there is none.

    The last line of a run that was killed may be torn, and is left out.
    """
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(lines := path.read_text().splitlines(), start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(f"{path}: line {number} is not JSON") from error
    return rows
