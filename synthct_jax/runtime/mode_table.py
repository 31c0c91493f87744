"""The modes of the program: what each does, and the flags that it reads."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Mode:
    """A mode: its purpose, and the flags that it reads.

    Attributes:
        summary: a sentence for its help.
        example: a command.
        needs: the flags that it cannot do without.
        reads: those that it reads besides.
    """

    summary: str
    example: str
    needs: tuple[str, ...]
    reads: tuple[str, ...] = ()


_EVALUATED = ("views", "split", "inception", "device")
_TRANSLATED = ("input", "patients", "views", "pseudonymise", "device")
MODES = {
    "translate": Mode(
        "make a synthetic CT of a patient's MR: a DICOM series and NIfTI",
        "synthct translate --input=MR_FOLDER --output=OUT",
        ("output",),
        (*_TRANSLATED, "model", "workdir", "step"),
    ),
    "prepare": Mode(
        "check scans, split them by subject and store their slices for training",
        "synthct prepare --config=folder:in_out --raw_dir=RAW --data_dir=DATA",
        ("config", "data_dir"),
        ("raw_dir",),
    ),
    "train": Mode(
        "train on all devices of this machine; the same command resumes",
        "synthct train --config=folder:in_out --data_dir=DATA --workdir=RUN",
        ("config", "workdir"),
        ("data_dir", "anatomies_dir", "device"),
    ),
    "evaluate": Mode(
        "measure a checkpoint on prepared data, with or without paired CT",
        "synthct evaluate --workdir=RUN",
        ("workdir",),
        ("data_dir", "output", "step", *_EVALUATED, "watch", "poll_seconds"),
    ),
    "compare": Mode(
        "compare evaluations on the same subjects",
        "synthct compare --runs=RUN_A,RUN_B",
        ("runs",),
        ("output",),
    ),
    "export": Mode(
        "write the generator of a run as a model file, with its card",
        "synthct export --workdir=RUN --output=NAME.safetensors --card=FACTS.json",
        ("workdir", "output"),
        ("step", "card"),
    ),
    "score": Mode(
        "measure a synthetic CT of any program against the reference CT on its grid",
        "synthct score --input=SYNTHETIC_CT --truth=CT",
        ("input", "truth"),
        ("mask", "output"),
    ),
    "organs": Mode(
        "measure the HU of organs by masks on the grid of the MR",
        "synthct organs --input=OUT --masks=LABELS.nii.gz --organs=1:liver,4:spleen",
        ("input", "masks"),
        ("organs", "contrast", "data_dir", "output"),
    ),
    "sweep": Mode(
        "train and evaluate variants and seeds of an experiment, and compare them",
        "synthct sweep --config=phantom --variants=in,out --seeds=0,1 --workdir=SWEEP",
        ("config", "workdir", "variants"),
        ("seeds", "raw_dir", "only", "device"),
    ),
    "plan": Mode(
        "tell what a training step costs on devices that need not be present",
        "synthct plan --config=chaos --topology=v5e:2x2",
        ("config", "topology"),
    ),
    "benchmark": Mode(
        "measure training steps, input and translation on your devices",
        "synthct benchmark --config=chaos",
        ("config",),
        ("output", "device"),
    ),
}
# With a model file in place of a run.
WITH_MODEL = {
    "evaluate": (("model", "data_dir", "output"), _EVALUATED),
    "translate": (("model", "output"), _TRANSLATED),
}
