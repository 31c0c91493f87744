"""The main job on the embedded phantom: train, evaluate, translate somebody new.

    python -m synthct_jax.demo [WORKDIR]

Runs the commands that a user would, and prints each of them. Interrupted, it goes on
where it was; done, it says again where everything is.
"""

import sys
import time
from pathlib import Path

import numpy as np

from input_pipeline.phantom import draw_subject
from input_pipeline.scans.nifti import write_nifti
from input_pipeline.volume import Volume
from synthct_jax.runtime.subprocesses import SubprocessRunner

CONFIG = "configs/phantom.py"
# Not a seed of the data set: those are drawn by SeedSequence, from 32 bits.
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
    print(f"  how good it is:      {report}")
    print(f"  what it was fed:     {workdir / 'data' / 'mr.png'}, ct.png beside it")
    print(f"  a patient's preview: {translation / 'preview.png'}")
    print(f"  ... as a CT series:  {translation / 'dicom'}")
    return 0


def run(*arguments: str) -> None:
    """Runs a mode in a process of its own; the demo ends with it if it fails."""
    with SubprocessRunner() as runner:
        if status := runner.run(*arguments):
            sys.exit(status)


def draw_patient(folder: Path) -> list[Path]:
    """Both phases of a subject whom training never saw, at 2 mm, and the true CT.

    Returns the NIfTI files of the phases, in the order of the model's channels.
    """
    paths = [folder / f"{name}.nii.gz" for name in ("in_phase", "out_of_phase")]
    truth = folder / "true_ct.nii.gz"
    if not truth.exists():
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
        write_nifti(truth, np.round(subject.ct_hu).astype(np.int16), volume)
    return paths


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        sys.exit(__doc__)
    sys.exit(main(Path(arguments[0] if arguments else "runs/demo")))
