"""Flags of the modes that measure CT files: score, organs and dose."""

from absl import flags

from synthct_jax.metrics import tissues
from synthct_jax.runtime.flag_help import describe

TRUTH = flags.DEFINE_string(
    "truth", None, describe("truth", score__dose="the reference CT, as --input.")
)
MASK = flags.DEFINE_string(
    "mask",
    None,
    describe(
        "mask",
        score="a volume file, whose voxels above 0 are compared; by default the body.",
        dose="a volume file of labels on the grid of the CT: 1 is the target, others "
        "are organs at risk.",
    ),
)
MASKS = flags.DEFINE_list(
    "masks",
    None,
    describe(
        "masks",
        organs="for each CT, or one for all, a volume file of labels or a JSON file of "
        "regions (synthct_jax/evaluation/organs.py), on the grid of the MR.",
    ),
)
ORGANS = flags.DEFINE_list(
    "organs",
    [],
    describe(
        "organs",
        organs="organs of the labels: 1:liver,2:kidney,3:kidney.",
        dose="names of the labels of --mask other than 1: 2:cord,3:kidneys.",
    ),
)
CONTRAST = flags.DEFINE_enum(
    "contrast",
    tissues.ORGAN_CONTRASTS[0],
    tissues.ORGAN_CONTRASTS,
    describe("contrast", organs="contrast medium of the CT, for the ranges."),
)
