"""The viewer of one patient: MR and synthetic CT to scroll through in a browser.

It is one HTML file that needs no network: the volumes as NIfTI, and NiiVue, which draws
them. Its Content-Security-Policy forbids the browser to fetch or send anything.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from input_pipeline.display import SOFT_TISSUE, WINDOWS
from input_pipeline.scans.nifti import encode_nifti
from input_pipeline.volume import Volume
from synthct_jax.evaluation.report.rendering import render_page
from synthct_jax.inference import preview
from synthct_jax.quality.judgement import PASS
from synthct_jax.quality.sheet import name_of

_NIIVUE = Path(__file__).with_name("niivue")
_STEPS = 1000  # of grey from black to white: finer ones are noise, and not compressed
_SPREAD_HU = (20.0, 200.0)  # what colours begin and end at


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Layer:
    """A volume of the page, and the values at the ends of its colours."""

    name: str
    unit: str
    colours: str
    black: float
    white: float
    nifti: bytes


def write_viewer(
    folder: Path, document: Mapping[str, Any], *, mr: Volume, hu: np.ndarray
) -> None:
    """Write viewer.html beside the NIfTI files of a translation, which it contains.

    Args:
        folder: holds synthetic_ct.nii.gz, and uncertainty.nii.gz if that is known.
        document: content of quality.json.
        mr: in axial order.
        hu: synthetic CT on its grid, (slices, rows, columns).
    """
    ct = [
        _Layer(
            name="synthetic CT",
            unit="HU",
            colours="gray",
            black=SOFT_TISSUE.low,
            white=SOFT_TISSUE.high,
            nifti=(folder / "synthetic_ct.nii.gz").read_bytes(),
        )
    ]
    spread = folder / "uncertainty.nii.gz"
    if spread.exists():
        black, white = _SPREAD_HU
        ct.append(
            _Layer(
                name="uncertainty",
                unit="HU",
                colours="warm",
                black=black,
                white=white,
                nifti=spread.read_bytes(),
            )
        )
    page = render_page(
        "viewer.html",
        title="MR and synthetic CT",
        subtitle=f"model {name_of(document)} · {document['created'][:10]}",
        notes=[] if document["outcome"] == PASS else [document["sentence"]],
        mr=[_mr_layer(row, mr) for row in preview.rows_of(mr, hu)[: len(mr.channels)]],
        ct=ct,
        windows=WINDOWS,
        spread_hu=_SPREAD_HU,
        licence=(_NIIVUE / "LICENSE.txt").read_text(encoding="utf-8"),
        niivue=(_NIIVUE / "niivue.umd.js").read_text(encoding="utf-8"),
    )
    (folder / "viewer.html").write_text(page, encoding="utf-8")


def _mr_layer(row: preview.Row, mr: Volume) -> _Layer:
    step = row.white / _STEPS
    limits = np.iinfo(np.int16)
    grey = np.clip(np.rint(row.voxels / step), limits.min, limits.max)
    return _Layer(
        name=row.label,
        unit="",
        colours="gray",
        black=row.black,
        white=row.white,
        nifti=encode_nifti(grey.astype(np.int16), mr, step=step),
    )
