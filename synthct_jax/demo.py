"""Demonstration on the phantom: train, evaluate, translate a new patient.

    python -m synthct_jax.demo [WORKDIR]

Runs the commands that a user would run, and prints them. After an interruption the same
command goes on; when all is done, it prints again where the results are.
"""

import sys
import time
from pathlib import Path

import numpy as np

from input_pipeline.phantom import draw_subject
from input_pipeline.scans.nifti import write_nifti
from input_pipeline.volume import Volume
from synthct_jax.runtime.subprocesses import SubprocessRunner

CONFIG = "phantom"
# No subject of a data set has this seed: theirs have 32 bits.
PATIENT = 2**32 + 1


def main(workdir: Path) -> int:
    started = time.monotonic()
    run("--config=" + CONFIG, f"--workdir={workdir}")
    run("--mode=evaluate", f"--workdir={workdir}")
    scans = draw_patient(workdir / "patient")
    translation = workdir / "translation"
    if not translation.exists():
        run(
            "--mode=translate",
            f"--workdir={workdir}",
            f"--input={','.join(map(str, scans))}",
            f"--output={translation}",
        )
    minutes = (time.monotonic() - started) / 60
    report = max(
        workdir.glob("evaluation/*/report.html"), key=lambda p: p.stat().st_mtime
    )
    print(f"\nDone in {minutes:.1f} minutes.")
    print(f"  evaluation report:   {report}")
    print(f"  training data:       {workdir / 'data' / 'mr.png'}, ct.png beside it")
    print(f"  a patient's preview: {translation / 'preview.png'}")
    print(f"  a patient's series:  {translation / 'dicom'}")
    return 0


def run(*arguments: str) -> None:
    """Run a mode in a process of its own; exit with its status if it fails."""
    with SubprocessRunner() as runner:
        if status := runner.run(*arguments):
            sys.exit(status)


def draw_patient(folder: Path) -> list[Path]:
    """Draw a subject that is in no data set; return the files of its two MR phases."""
    paths = [folder / f"{name}.nii.gz" for name in ("in_phase", "out_of_phase")]
    reference_ct = folder / "true_ct.nii.gz"
    if not reference_ct.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subject = draw_subject(
            PATIENT,
            size=192,
            spacing_mm=2.0,
            slices=24,
            slice_mm=6.0,
            contrast="portal_venous",
        )
        volume = Volume(
            voxels=subject.mr.astype(np.float32),
            affine=subject.affine,
            modality="MR",
            channels=("in_phase", "out_of_phase", "t2"),
            source="phantom",
            origin=None,
        )
        for channel, path in enumerate(paths):
            path.unlink(missing_ok=True)
            write_nifti(path, volume.voxels[..., channel], volume)
        write_nifti(reference_ct, np.round(subject.ct_hu).astype(np.int16), volume)
    return paths


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        sys.exit(__doc__)
    sys.exit(main(Path(arguments[0] if arguments else "runs/demo")))
