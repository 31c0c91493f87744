"""Demonstration on the phantom: translate a patient, then train a model of one's own.

    python -m synthct_jax.demo [WORKDIR]

Runs the commands that a user would run, and prints them. After an interruption the same
command goes on; when all is done, it prints again where the results are.
"""

import sys
import time
from pathlib import Path

from input_pipeline.files import new_folder
from input_pipeline.phantom import draw_subject
from input_pipeline.phantom.dicom import write_dicom
from synthct_jax.runtime.subprocesses import SubprocessRunner

CONFIG, MODEL = "phantom:anatomy_in_out", "in_out_portal_venous"
# No subject of a data set has this seed: theirs have 32 bits.
PATIENT = 2**32 + 1


def main(workdir: Path) -> int:
    started = time.monotonic()
    patient = workdir / "patient" / "mr"
    if not patient.exists():
        draw_patient(patient)
    translations = {name: workdir / f"{name}_model" for name in ("shipped", "own")}
    translate(f"--model={MODEL}", patient, translations["shipped"])
    series = translations["shipped"] / "dicom"
    print(f"\nThe shipped model's CT series after {minutes(started)}: {series}\n")

    run(f"--config={CONFIG}", f"--workdir={workdir}")
    run("--mode=evaluate", f"--workdir={workdir}")
    shipped = workdir / "evaluation_of_shipped_model"
    data = f"--data_dir={workdir / 'data'}"
    run("--mode=evaluate", f"--model={MODEL}", data, f"--output={shipped}")
    comparison = workdir / "comparison"
    run("--mode=compare", f"--runs={workdir},{shipped}", f"--output={comparison}")
    translate(f"--workdir={workdir}", patient, translations["own"])
    report = max(
        workdir.glob("evaluation/*/report.html"), key=lambda p: p.stat().st_mtime
    )
    data_sheet = workdir / "data" / "mr.png"
    print(f"\nDone in {minutes(started)}.")
    print(f"  training data:            {data_sheet}, ct.png beside it")
    print(f"  evaluation of your model: {report}")
    print(f"  beside the shipped model: {comparison / 'compare.html'}")
    for name, folder in translations.items():
        print(f"  patient by {name + ' model:':15}{folder / 'preview.png'}")
    return 0


def minutes(started: float) -> str:
    return f"{(time.monotonic() - started) / 60:.1f} minutes"


def translate(model: str, scan: Path, output: Path) -> None:
    """Translate a scan unless that is done."""
    if not output.exists():
        run("--mode=translate", model, f"--input={scan}", f"--output={output}")


def run(*arguments: str) -> None:
    """Run a mode in a process of its own; exit with its status if it fails."""
    with SubprocessRunner() as runner:
        if status := runner.run(*arguments):
            sys.exit(status)


def draw_patient(folder: Path) -> None:
    """Write the MR of a subject that is in no data set, as two DICOM series."""
    subject = draw_subject(
        PATIENT,
        size=192,
        spacing_mm=2.0,
        slices=24,
        slice_mm=6.0,
        contrast="portal_venous",
    )
    with new_folder(folder) as new:
        write_dicom(new, subject)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        sys.exit(__doc__)
    sys.exit(main(Path(arguments[0] if arguments else "runs/demo")))
