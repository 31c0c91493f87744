"""Give `translate` scans with planted faults, and real ones; print a table of answers.

    PYTHONPATH=. python tests/support/refusals.py

The faults are planted in the MR of one simulated person. Real scans are read from the
folder in SYNTHCT_REAL_DATA, if it is set: with every model that ships for their
channels, and where they are no MR that a model takes, as what somebody might take them
for. Nothing of them is printed but messages.
"""

import functools
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from quality_faults import (
    FIRST_SEED,
    INPUT_FAULTS,
    Person,
    draw_example,
    volume_of,
)

from input_pipeline.command_line import USAGE_ERROR
from input_pipeline.scans.nifti import write_nifti
from synthct_jax.inference.loaded_model import LoadedModel, load_model_file
from synthct_jax.inference.synthesis import to_network
from synthct_jax.translate import translate

HEAD = "| given | model | status | answer |\n|---|---|---|---|"
MODEL = "in_out_noncontrast"
CHANNELS = ("in_phase", "out_of_phase")


@functools.cache
def load(name: str) -> LoadedModel:
    """Load a shipped model once, with the single view that is the fastest."""
    return load_model_file(name).with_views(1)


def answer(scan: str, model: str | None, folder: Path) -> str:
    """Translate a scan; return the cells for model, status and answer.

    Args:
        scan: as for `translate`, in `folder` if paths are to be left out.
        model: a shipped model; None lets `translate` choose.
        folder: an output is written into it.
    """
    try:
        with tempfile.TemporaryDirectory(dir=folder) as output:
            loaded = model and load(model)
            report = translate(scan, Path(output) / "out", loaded=loaded)
            sheet = json.loads((Path(output) / "out" / "quality.json").read_text())
        model = report["generator"]["model"]
        status, texts = 0, [f"**{sheet['outcome']}**", sheet["sentence"]]
        texts += report["warnings"] if sheet["outcome"] == "not calibrated" else []
    except (OSError, ValueError) as error:
        status, texts = USAGE_ERROR, [str(error)]
    text = re.sub(r"[\d.]{30,}", "UID", " / ".join(texts)).replace("|", r"\|")
    text = text.replace(f"{Path(scan.split(',')[0]).parent}/", "")
    return f"{f'`{model}`' if model else '–'} | {status} | {' '.join(text.split())}"


# --- planted faults -------------------------------------------------------------------


@functools.cache
def draw_patient() -> tuple[Person, np.ndarray]:
    """Draw a person whom no model and no limits have seen; return the CT as well."""
    subject = draw_example(FIRST_SEED)
    body = to_network(load(MODEL), volume_of(subject.mr[..., :2])).body
    unknown = np.zeros(body.shape, np.float32)
    person = Person(
        seed=FIRST_SEED, mr=subject.mr, hu=unknown, spread=unknown, body=body
    )
    return person, subject.ct_hu


def plant(name: str) -> np.ndarray:
    """Return the phases of the patient with a fault: (slices, rows, columns, 2)."""
    person, hu = draw_patient()
    phases = person.mr[..., :2]
    match name:
        case "no fault":
            return phases
        case "CT in place of both phases":
            return np.stack([hu, hu + 1], axis=-1)
        case "CT in place of the image out of phase":
            return np.stack([phases[..., 0], hu], axis=-1)
        case "one image as both phases":
            return phases[..., [0, 0]]
        case "nothing but zeros":
            return np.zeros_like(phases)
        case "some voxels NaN":
            return np.where(np.arange(24)[:, None, None, None] == 3, np.nan, phases)
    return INPUT_FAULTS[name](person)


PLANTED = (
    "no fault",
    "CT in place of both phases",
    "CT in place of the image out of phase",
    "one image as both phases",
    "nothing but zeros",
    "some voxels NaN",
    *INPUT_FAULTS,
)


def answer_planted(name: str, folder: Path) -> str:
    """Return the cells of a fault of PLANTED; `folder` is for files."""
    voxels = plant(name)
    scan = Path(tempfile.mkdtemp(dir=folder))
    for channel, values in zip(CHANNELS, np.moveaxis(voxels, -1, 0), strict=True):
        write_nifti(scan / f"{channel}.nii.gz", values, volume_of(voxels))
    scans = ",".join(str(scan / f"{channel}.nii.gz") for channel in CHANNELS)
    return answer(scans, MODEL, folder)


# --- real scans -----------------------------------------------------------------------


def real_scans(data: Path) -> Iterator[tuple[str, Path, str | None]]:
    """Yield what is given, where it lies, and the model that it is given to."""
    chaos = data / "chaos/Train_Sets"
    phases = chaos / "MR/1/T1DUAL/DICOM_anon"
    for model in ("in_out_noncontrast", "in_out_portal_venous"):
        yield "CHAOS MR 1, both phases", phases, model
    yield "CHAOS MR 1, in phase", phases / "InPhase", "in_noncontrast"
    yield "CHAOS MR 1, out of phase", phases / "OutPhase", "out_noncontrast"
    yield "CHAOS MR 1, in phase alone", phases / "InPhase", "in_out_noncontrast"
    yield "CHAOS MR 1, out of phase as in phase", phases / "OutPhase", "in_noncontrast"
    yield "CHAOS CT 3", chaos / "CT/3/DICOM_anon", None
    for number in (1, 2, 3, 5, 8, 10, 13, 15, 19, 20):
        image = data / f"chaos_t2spir_nifti/image_{number}.nii.gz"
        yield f"CHAOS T2 {number}", image, "t2_noncontrast"
    yield (
        "CHAOS T2 1 as in phase",
        data / "chaos_t2spir_nifti/image_1.nii.gz",
        "in_noncontrast",
    )
    examples = data / "totalsegmentator_examples"
    for name in ("mr_sm", "ct", "ct_sm"):
        image = examples / f"example_{name}.nii.gz"
        yield f"TotalSegmentator, example_{name} as in phase", image, "in_noncontrast"
    yield "head CT with gantry tilt", data / "dcm_qa_ct_ge/In/GE", None
    yield "test files of pydicom", data / "pydicom_data_sel", None
    headers = data / "dicom2nifti_tests/tests/data"
    for folder in sorted({path.parent for path in headers.rglob("*.dcm")}):
        yield f"dicom2nifti, {folder.relative_to(headers)}", folder, None


def main() -> None:
    """Print the table; real scans with the same answer share a row."""
    real = {}
    with tempfile.TemporaryDirectory(prefix="refusals_") as folder:
        print(HEAD)
        for name in PLANTED:
            print(f"| {name} | {answer_planted(name, Path(folder))} |", flush=True)
        if data := os.environ.get("SYNTHCT_REAL_DATA"):
            for given, path, model in real_scans(Path(data)):
                cells = answer(str(path), model, Path(folder))
                real.setdefault(cells, []).append(given)
    for cells, given in real.items():
        print(f"| {'; '.join(given)} | {cells} |")


if __name__ == "__main__":
    main()
