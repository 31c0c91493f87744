"""Output of a training besides its checkpoints: numbers, images, configuration.

RUN/metrics.jsonl   one object a line, {"step": 50, "cycle_mr": 0.8, ...}
RUN/samples/        images, NAME_STEP.png
RUN/config.json     the configuration in use
RUN/tensorboard/    the same for TensorBoard, if tensorboardX is installed
"""

import importlib.util
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np

from input_pipeline import files
from synthct_jax.runtime.jsonl import null_not_finite, read_rows


class MetricWriter:
    """The writer of one run, with the method names of `clu.metric_writers`."""

    def __init__(self, workdir: Path | None, *, resumed_at: int = 0):
        """Open the files in `workdir`, which is made if missing.

        None, in all processes but one, writes nothing. Rows of steps after `resumed_at`
        are removed, since they will come again.
        """
        self._workdir, self._tensorboard = workdir, None
        if workdir is None:
            return
        workdir.mkdir(parents=True, exist_ok=True)
        path = workdir / "metrics.jsonl"
        if path.exists():
            kept = [row for row in read_rows(path) if row["step"] <= resumed_at]
            files.write_file(path, "".join(json.dumps(row) + "\n" for row in kept))
        self._rows = path.open("a")
        if importlib.util.find_spec("tensorboardX"):
            import tensorboardX

            self._tensorboard = tensorboardX.SummaryWriter(
                str(workdir / "tensorboard"),
                purge_step=resumed_at + 1 if resumed_at else None,
            )

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Append a row; what is not finite becomes null, since JSON has no NaN."""
        if self._workdir is None:
            return
        values = {name: float(value) for name, value in scalars.items()}
        row = null_not_finite({"step": int(step), **values})
        # A line at a time: a killed run leaves at most its last line torn.
        self._rows.write(json.dumps(row) + "\n")
        self._rows.flush()
        if self._tensorboard:
            for name, value in values.items():
                self._tensorboard.add_scalar(name, value, step)

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Write images (height, width, 3) uint8 by name."""
        if self._workdir is None:
            return
        folder = self._workdir / "samples"
        folder.mkdir(exist_ok=True)
        for name, image in images.items():
            png = io.BytesIO()
            matplotlib.image.imsave(png, image, format="png")
            files.write_file(folder / f"{name}_{step:06d}.png", png.getvalue())
            if self._tensorboard:
                self._tensorboard.add_image(name, image, step, dataformats="HWC")

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Write the configuration of the run."""
        if self._workdir is None:
            return
        text = json.dumps(hparams, indent=2)
        files.write_file(self._workdir / "config.json", text + "\n")
        if self._tensorboard:
            self._tensorboard.add_text("config", f"```\n{text}\n```", 0)

    def close(self) -> None:
        """Close the files."""
        if self._workdir is None:
            return
        self._rows.close()
        if self._tensorboard:
            self._tensorboard.close()
