"""Run the commands of a newcomer, mistakes above all, and print the answer of each.

    .venv/bin/python tests/support/answers.py > docs/answers.md

They run one after the other in a folder of drawn scans, with a training of a few steps.
A traceback, a signal that ended a command, an undocumented exit status, or something
half-written that stays ends the program with an error. As root on Linux, small and
read-only file systems are mounted for the commands that need them.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import fake_dicom
from tiny_run import tiny_run, variables
from tiny_scans import write_scan, write_subjects

from input_pipeline.command_line import USAGE_ERROR
from input_pipeline.phantom import draw_subject
from input_pipeline.phantom.dicom import write_dicom
from synthct_jax.checkpoint.model_file import find_model
from synthct_jax.runtime.signals import STOPPED

_HEAD = """# What mistakes are answered

With this page you can judge what the program says when something is wrong. It is
written by `.venv/bin/python tests/support/answers.py > docs/answers.md`, which runs
these commands in a folder of drawn scans: `PATIENT` (DICOM, in phase and out of phase),
`RAW` (subjects as NIfTI), `RUN` (a training of six steps) and its `DATA`. An answer is
the error if there is one, else what was printed. `SIGINT 3:` is Ctrl-C after three
seconds. `FULL` and `READ_ONLY` are file systems without space, and without writing.
Answers to scans that can be read, but are unlike those of a model, are in
[quality.md](quality.md#every-refusal-with-its-message).
"""

# Commands whose whole output is shown.
_SCREENS = """
synthct translate --input=PATIENT --output=OUT_5
synthct prepare --config=folder --raw_dir=RAW --data_dir=NEW_3
synthct translate --patients=PATIENTS --output=OUT_6
"""
# A title, or a command; "SIGINT 2: COMMAND" sends a signal after so many seconds.
_COMMANDS = """
# Help
synthct
synthct help
synthct -h
synthct --version
synthct translate -h
python -m synthct_jax.main --help
# Words and flags
synthct trasnlate
synthct --mode=trasnlate
synthct train --wrokdir=RUN
synthct translate --steps=3
synthct translate --config=phantom --input=PATIENT --output=OUT
synthct translate --device=tpuu --input=PATIENT --output=OUT
synthct translate --device=gpu --input=PATIENT --output=OUT
# Configurations
synthct train
synthct train --config=choas
synthct train --config=chaos:inout
synthct train --config=NO/FILE.py
synthct train --config=phantom --config.model.widht=8
synthct train --config=phantom --config.train.width=8
synthct train --config=phantom --config.train.steps=many
synthct train --config=phantom --config.train.steps=1e3
synthct train --config=phantom --workdir=NEW --config.train.learning_rate=-1
synthct train --config=phantom --workdir=NEW --config.train.beta1=1.5
synthct train --config=phantom --workdir=NEW --config.model.width=0
synthct train --config=phantom --workdir=NEW --config.data.mr_percentile=200
synthct train --config=phantom --workdir=NEW --config.mesh.data=3
synthct train --config=phantom --workdir=NEW --config.train.init_from=in_noncontrasst
synthct train --config=phantom:in --workdir=NEW --config.data.channel_dropout=0.5
# Data
synthct prepare --config=folder --data_dir=NEW
synthct prepare --config=folder --raw_dir=MISSING --data_dir=NEW
synthct prepare --config=folder --raw_dir=PATIENT --data_dir=NEW
synthct prepare --config=folder --raw_dir=RAW --data_dir=RAW
synthct prepare --config=folder:t2 --raw_dir=RAW --data_dir=NEW
synthct prepare --config=folder --raw_dir=RAW_DAMAGED --data_dir=NEW
synthct prepare --config=folder --raw_dir=RAW_EXCHANGED --data_dir=NEW
synthct prepare --config=folder --raw_dir=RAW --data_dir=FULL/NEW
synthct prepare --config=folder --raw_dir=RAW --data_dir=READ_ONLY/NEW
# Training
synthct train --config=folder --data_dir=MISSING --workdir=NEW
synthct train --config=folder --data_dir=EMPTY --workdir=NEW
synthct train --config=folder --data_dir=RAW --workdir=NEW
synthct train --config=phantom --data_dir=DATA --workdir=NEW
synthct train --config=TINY.py --data_dir=DATA --workdir=RUN
synthct train --config=TINY.py --data_dir=DATA --workdir=RUN --config.model.width=8
synthct train --config=phantom --workdir=FILE
synthct train --config=phantom --workdir=READ_ONLY/NEW
# Translation
synthct translate
synthct translate --input=MISSING --output=OUT
synthct translate --input=EMPTY --output=OUT
synthct translate --input=PATIENT --output=RAW
synthct translate --input=PATIENT --output=OUT --workdir=MISSING
synthct translate --input=PATIENT --output=OUT --workdir=RUN --step=5
synthct translate --input=PATIENT --output=OUT --model=in_out
synthct translate --input=PATIENT --output=OUT --model=MISSING.safetensors
synthct translate --input=PATIENT --output=OUT --model=DAMAGED.safetensors
synthct translate --input=PATIENT --output=OUT --views=3
synthct translate --input=PATIENT --output=FULL/OUT
synthct translate --input=PATIENT --output=READ_ONLY/OUT
synthct translate --input=PATIENT_IN --output=OUT --model=in_out_noncontrast
synthct translate --input=CT --output=OUT
synthct translate --input=MR_AND_CT --output=OUT_1
synthct translate --input=TRUNCATED/in_phase.nii.gz --output=OUT
synthct translate --input=TEXT/in_phase.nii.gz --output=OUT
synthct translate --input=PICTURE/in_phase.png --output=OUT
synthct translate --input=NAMELESS/scan.nii.gz --output=OUT
synthct translate --input=PATIENTS --output=OUT
synthct translate --input=PATIENT.zip --output=OUT_2
synthct translate --patients=PATIENTS --output=OUT_3
synthct translate --input=EXCHANGED --output=OUT_4
synthct translate --input=TWICE --output=OUT
synthct translate --input=PATIENT --output=OUT --series=99
synthct translate --input=PATIENT --output=OUT --send=archive:104
synthct send --input=RAW --send=dicom://ARCHIVE@localhost:104
synthct calibrate --model=in_out_noncontrast --data_dir=DATA --output=NEW.safetensors
synthct adapt --model=in_noncontrast --raw_dir=MISSING --output=A.safetensors
# Evaluation and the others
synthct evaluate --workdir=MISSING
synthct evaluate --workdir=RUN --data_dir=MISSING
synthct compare --runs=RUN
synthct compare --runs=RUN,RAW
synthct score --input=RAW/ct/c/ct.nii.gz --truth=RAW/mr/a/in_phase.nii.gz
synthct organs --input=RAW/ct/c/ct.nii.gz
synthct dose --input=RAW/ct/c/ct.nii.gz --output=DOSE
synthct dose --workdir=RUN --output=DOSE --gantry=10
synthct dose --input=A --truth=B --mask=C --gantry=360 --output=DOSE
synthct dose --workdir=RUN --output=DOSE
synthct reader_plan --margin=0.6
synthct reader_kit --readers=1 --real=RAW/ct --synthetic=MISSING --output=KIT --key=K
synthct reader_study --answers=EMPTY --key=FILE --output=STUDY
synthct sweep --config=phantom --workdir=SWEEP --variants=in,inn
synthct sweep --config=phantom --workdir=SWEEP --variants=in --seeds=1,01
synthct plan --config=phantom --topology=v99:2x2
synthct export --workdir=RUN --output=RAW
# Signals
SIGINT 0.4: synthct translate --input=PATIENT --output=OUT
SIGINT 1.5: synthct translate --input=PATIENT --output=OUT
SIGINT 3: synthct translate --input=PATIENT --output=OUT
SIGINT 6: synthct translate --input=PATIENT --output=OUT
SIGTERM 6: synthct translate --input=PATIENT --output=OUT
SIGINT 4: synthct prepare --config=phantom --data_dir=NEW_1
SIGTERM 6: synthct train --config=phantom --workdir=NEW_2
SIGINT 9: synthct train --config=LONG.py --data_dir=DATA --workdir=RUN_2
SIGTERM 5: synthct evaluate --workdir=RUN
"""
_STATUSES = {0, 1, USAGE_ERROR, *STOPPED}
_MOUNTS = {"FULL": "size=40k", "READ_ONLY": "ro"}


def make_scans() -> None:
    """Write what the commands name into the working folder."""
    patient = Path("PATIENT")
    patient.mkdir()
    write_dicom(patient, draw_subject(2**32 + 1, size=128, slices=8))
    shutil.make_archive("PATIENT", "zip", patient)
    shutil.copytree(patient, "PATIENTS/one")
    other = Path("PATIENTS/two")
    other.mkdir()
    write_dicom(other, draw_subject(2**32 + 2, size=128, slices=8))
    in_phase = shutil.ignore_patterns("series_2*")
    shutil.copytree(patient, "PATIENT_IN", ignore=in_phase)
    Path("PATIENTS/three").mkdir()
    fake_dicom.write_ct(Path("CT"))
    shutil.copytree(patient, "MR_AND_CT/MR")
    shutil.copytree("CT", "MR_AND_CT/CT")
    write_subjects(Path("RAW"), mr=["a", "b", "both"], ct=["c", "both"])
    shutil.copytree("RAW", "RAW_DAMAGED")
    scan = Path("RAW_DAMAGED/mr/a/in_phase.nii.gz")
    scan.write_bytes(scan.read_bytes()[:500])
    shutil.copytree("RAW", "RAW_EXCHANGED")
    shutil.copytree("RAW/mr/a", "RAW_EXCHANGED/ct/c", dirs_exist_ok=True)
    for name in ("EXCHANGED", "TWICE", "NAMELESS", "TRUNCATED", "TEXT", "PICTURE"):
        Path(name).mkdir()
    write_scan(Path("EXCHANGED/in_phase.nii.gz"), (0, 100))
    write_scan(Path("EXCHANGED/out_of_phase.nii.gz"), (0, 400))
    write_scan(Path("TWICE/in_phase.nii.gz"), (0, 400))
    shutil.copy("TWICE/in_phase.nii.gz", "TWICE/out_of_phase.nii.gz")
    shutil.copy("TWICE/in_phase.nii.gz", "NAMELESS/scan.nii.gz")
    Path("TRUNCATED/in_phase.nii.gz").write_bytes(scan.read_bytes())
    Path("TEXT/in_phase.nii.gz").write_text("an image")
    Path("PICTURE/in_phase.png").write_bytes(b"\x89PNG")
    Path("EMPTY").mkdir()
    Path("FILE").write_text("")
    shipped = find_model("in_noncontrast")
    shutil.copy(shipped.with_suffix(".json"), "DAMAGED.json")
    Path("DAMAGED.safetensors").write_bytes(shipped.read_bytes()[:-9])
    shutil.copytree(tiny_run().workdir, "RUN")
    code = "from tiny_run import tiny_config\ndef get_config():\n    return tiny_config"
    Path("TINY.py").write_text(f"{code}()\n")
    Path("LONG.py").write_text(f"{code}(steps=9999)\n")
    shutil.copytree(tiny_run().data_dir, "DATA")
    for name in _MOUNTS:
        Path(name).mkdir()


def rows() -> Iterator[tuple[str, str]]:
    """Yield a title or a command, and what it answers."""
    for line in _COMMANDS.strip().splitlines():
        if line.startswith("# "):
            yield line, ""
            continue
        before = set(os.listdir())
        yield line, answer(line)
        for name in set(os.listdir()) - before:
            if name.startswith("."):
                raise SystemExit(f"{line} left {name}")


def run(line: str) -> tuple[str, str]:
    """Run a command; return its exit status, as text, and all that it prints."""
    name, after, command = "", "0", line
    if line.startswith("SIG"):
        signal_at, command = line.split(": ")
        name, after = signal_at.split()
    program, *arguments = command.split()
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name(program)), *arguments],
        env=variables(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seconds = ""
    if name:
        time.sleep(float(after))
        process.send_signal(signal.Signals[name])
        began = time.monotonic()
    output, _ = process.communicate(timeout=300)
    if name:
        seconds = f", {time.monotonic() - began:.1f} s after the signal"
    if process.returncode not in _STATUSES or "Traceback" in output:
        raise SystemExit(f"{line}: {process.returncode}\n{output}")
    return f"{process.returncode}{seconds}", output


def answer(line: str) -> str:
    """Return a command's exit status and the gist of what it prints, as table cells."""
    status, output = run(line)
    lines = [text.strip() for text in output.splitlines() if text.strip()]
    errors = [n for n, text in enumerate(lines) if text.startswith("error: ")]
    if errors:
        text = " / ".join(lines[errors[0] :])
    elif line == "synthct" or line.endswith(("help", " -h")):
        text = f"{lines[0]} ... ({len(lines)} lines)"
    else:  # all of a short output, as warnings come early
        text = " / ".join(lines if len(lines) <= 12 else lines[-3:])
    text = re.sub(r"[\d.]{30,}", "UID", text).replace("|", r"\|")
    return f"{status} | {text}"


def main() -> None:
    """Print the page."""
    with tempfile.TemporaryDirectory(prefix="answers_") as folder:
        os.chdir(folder)
        make_scans()
        mounts = [name for name in _MOUNTS if os.geteuid() == 0]
        for name in mounts:
            options = ("-o", _MOUNTS[name], "tmpfs", name)
            subprocess.run(["mount", "-t", "tmpfs", *options], check=True)
        try:
            print(_HEAD, end="")
            for line, result in rows():
                if line.startswith("# "):
                    print(f"\n#{line}\n\n| command | status | answer |\n|---|---|---|")
                else:
                    text = result.replace(folder, "...")
                    print(f"| `{line}` | {text} |", flush=True)
            print("\n## While it works\n\n```")
            for line in _SCREENS.split("\n")[1:-1]:
                output = run(line)[1].replace(folder, "...")
                print(f"$ {line}\n{output.strip()}", flush=True)
            print("```")
        finally:
            for name in mounts:
                subprocess.run(["umount", name], check=True)
            os.chdir("/")


if __name__ == "__main__":
    main()
