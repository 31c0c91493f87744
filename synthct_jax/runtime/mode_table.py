"""The modes of the program: what each does, and the flags that it needs."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Mode:
    """A mode: its purpose, and the flags that it needs.

    Attributes:
        summary: a sentence for its help.
        example: a command.
        needs: the flags that it cannot do without. `flags` has the others.
    """

    summary: str
    example: str
    needs: tuple[str, ...]


_WATCHING = ("watch", "poll_seconds")
_FILES_OF_DOSE = ("input", "truth", "mask", "organs", "gantry")
MODES = {
    "translate": Mode(
        "make a synthetic CT of a patient's MR: a DICOM series and NIfTI",
        "synthct translate --input=MR_FOLDER --output=OUT",
        ("output",),
    ),
    "prepare": Mode(
        "check scans, split them by subject and store their slices for training",
        "synthct prepare --config=folder:in_out --raw_dir=RAW --data_dir=DATA",
        ("config", "data_dir"),
    ),
    "train": Mode(
        "train on all devices of this machine; the same command resumes",
        "synthct train --config=folder:in_out --data_dir=DATA --workdir=RUN",
        ("config", "workdir"),
    ),
    "evaluate": Mode(
        "measure a checkpoint on prepared data, with or without paired CT",
        "synthct evaluate --workdir=RUN",
        ("workdir",),
    ),
    "compare": Mode(
        "compare evaluations on the same subjects",
        "synthct compare --runs=RUN_A,RUN_B",
        ("runs",),
    ),
    "export": Mode(
        "write the generator of a run as a model file, or a model file as ONNX",
        "synthct export --workdir=RUN --output=NAME.safetensors --card=FACTS.json",
        ("workdir", "output"),
    ),
    "send": Mode(
        "send a synthetic CT to an archive, once more or later than translate",
        "synthct send --input=OUT --send=dicom://ARCHIVE@HOST:104",
        ("input", "send"),
    ),
    "calibrate": Mode(
        "measure healthy people, and write the limits of their features into a card",
        "synthct calibrate --model=NAME --data_dir=DATA --output=NAME.safetensors",
        ("model", "data_dir", "output"),
    ),
    "adapt": Mode(
        "train a model further on a site's MR and CT, and write it unless it is worse",
        "synthct adapt --model=NAME --raw_dir=RAW --output=NEW.safetensors",
        ("model", "raw_dir", "output"),
    ),
    "score": Mode(
        "measure a synthetic CT of any program against the reference CT on its grid",
        "synthct score --input=SYNTHETIC_CT --truth=CT",
        ("input", "truth"),
    ),
    "organs": Mode(
        "measure the HU of organs by masks on the grid of the MR",
        "synthct organs --input=OUT --masks=LABELS.nii.gz --organs=1:liver,4:spleen",
        ("input", "masks"),
    ),
    "dose": Mode(
        "compute plans made on the reference CT on the synthetic CT, and compare doses",
        "synthct dose --workdir=RUN --output=DOSE",
        ("workdir", "output"),
    ),
    "reader_plan": Mode(
        "tell how many readers and cases a blinded study needs",
        "synthct reader_plan --margin=0.1",
        (),
    ),
    "reader_kit": Mode(
        "make a blinded study: a page for each reader, and a key that stays with you",
        "synthct reader_kit --real=CT --synthetic=OUT --readers=5 --output=KIT "
        "--key=KEY.json",
        ("real", "synthetic", "readers", "output", "key"),
    ),
    "reader_study": Mode(
        "analyse the answers of readers: can they tell synthetic CT from real CT?",
        "synthct reader_study --answers=ANSWERS --key=KEY.json --output=STUDY",
        ("answers", "key", "output"),
    ),
    "sweep": Mode(
        "train and evaluate variants and seeds of an experiment, and compare them",
        "synthct sweep --config=phantom --variants=in,out --seeds=0,1 --workdir=SWEEP",
        ("config", "workdir", "variants"),
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
    ),
}
# With a model file in place of a run: the flags that a mode needs, and does not read.
WITH_MODEL = {
    "dose": (
        ("model", "data_dir", "output"),
        ("workdir", "step", *_FILES_OF_DOSE),
    ),
    "evaluate": (("model", "data_dir", "output"), ("workdir", "step", *_WATCHING)),
    "export": (("model", "output"), ("workdir", "step", "card")),
    "translate": (("model", "output"), ("workdir", "step")),
}
# With CT files in place of a run or a model.
WITH_INPUT = {
    "dose": (
        ("input", "truth", "mask", "output"),
        (
            *("workdir", "model", "data_dir", "step", "views", "split", "subjects"),
            "device",
        ),
    ),
}
