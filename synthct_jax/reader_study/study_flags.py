"""Flags of the modes of a reader study."""

from absl import flags

from synthct_jax.reader_study import settings
from synthct_jax.runtime.flag_help import describe

REAL = flags.DEFINE_list(
    "real",
    None,
    describe(
        "real",
        reader_kit="real CT: a folder of scans, or several, comma-separated. DICOM "
        "folders, zip archives or volume files.",
    ),
)
SYNTHETIC = flags.DEFINE_list(
    "synthetic",
    None,
    describe(
        "synthetic",
        reader_kit="synthetic CT, as --real: the output of translate --patients, or "
        "several of translate, comma-separated. A name that is on both lists is one "
        "person.",
    ),
)
KEY = flags.DEFINE_string(
    "key",
    None,
    describe(
        "key",
        reader_kit="a JSON file with what is real, outside of OUTPUT: readers must not "
        "get it.",
        reader_study="the key of the kit.",
    ),
)
READERS = flags.DEFINE_integer(
    "readers",
    None,
    describe("readers", reader_kit="how many readers, a page for each."),
)
DESIGN = flags.DEFINE_enum(
    "design",
    settings.SINGLE,
    list(settings.ANSWERS),
    describe(
        "design",
        reader_kit="single: is this CT real or synthetic? pair: which of the two is "
        "synthetic?",
    ),
)
CASES = flags.DEFINE_integer(
    "cases",
    None,
    describe(
        "cases",
        reader_kit="how many cases, half of them synthetic, or pairs; by default as "
        "many as the scans allow.",
    ),
)
SLICES = flags.DEFINE_integer(
    "slices",
    settings.SLICES,
    describe("slices", reader_kit="slices of a case, to scroll through."),
)
REPEATS = flags.DEFINE_float(
    "repeats",
    settings.REPEATS,
    describe("repeats", reader_kit="share of the trials that is shown twice."),
)
SEED = flags.DEFINE_integer(
    "seed",
    None,
    describe(
        "seed",
        reader_kit="draws cases, slices, noise and the order of trials; by default "
        "random. The key has it. As secret as the key: who knows it can compute what "
        "is real.",
    ),
)
ANSWERS = flags.DEFINE_list(
    "answers",
    None,
    describe(
        "answers",
        reader_study="the files that readers saved, or a folder of them; "
        "comma-separated.",
    ),
)
MARGIN = flags.DEFINE_float(
    "margin",
    settings.MARGIN,
    describe(
        "margin",
        reader_plan__reader_kit="distance of the accuracy from 0.5 that counts as "
        "guessing. The key of a kit has it, for the analysis.",
    ),
)
READER_SD = flags.DEFINE_float(
    "reader_sd",
    settings.READER_SD,
    describe(
        "reader_sd",
        reader_plan="standard deviation of the accuracy between readers; the report "
        "of a pilot study has it.",
    ),
)
CASE_SD = flags.DEFINE_float(
    "case_sd",
    settings.CASE_SD,
    describe(
        "case_sd",
        reader_plan="standard deviation, between cases, of the share of readers who "
        "are right; likewise.",
    ),
)
