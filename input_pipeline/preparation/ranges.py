"""Values that the fields of a configuration may have which describe a data set."""

from input_pipeline.phantom import scanners
from input_pipeline.phantom.build import ANATOMIES
from input_pipeline.phantom.ct import CONTRASTS
from input_pipeline.preparation.split import TRAIN_LESIONS
from input_pipeline.ranges import (
    ABOVE_ZERO,
    BELOW_ONE,
    ONE_OR_MORE,
    SEED,
    ZERO_OR_MORE,
    Range,
    one_of,
)
from input_pipeline.volume import MR_CHANNELS

SOURCES = ("chaos", "folder", "chaos_noncontrast", "phantom")

DATA_RANGES = {
    "seed": SEED,
    "data.source": one_of(SOURCES),
    "data.mr_channels": Range(
        # Each known, each once, and at least one.
        lambda names: 0 < len(names) == len(set(names) & set(MR_CHANNELS)),
        f"one or more of {', '.join(MR_CHANNELS)}, each once",
    ),
    "data.size": ONE_OR_MORE,
    "data.spacing_mm": ABOVE_ZERO,
    "data.mr_percentile": Range(lambda x: 0 < x <= 100, "above 0, up to 100"),
    "data.mr_exponent": ABOVE_ZERO,
    "data.crop": ZERO_OR_MORE,
    "data.rotate_degrees": Range(lambda x: 0 <= x <= 180, "0 to 180"),
    "data.scale_fraction": BELOW_ONE,
    "data.shift_mm": ZERO_OR_MORE,
    "data.channel_dropout": BELOW_ONE,
    "data.workers": ZERO_OR_MORE,
    "phantom.train_mr": ONE_OR_MORE,
    "phantom.train_ct": ZERO_OR_MORE,
    "phantom.pairs": ZERO_OR_MORE,
    "phantom.validation": ZERO_OR_MORE,
    "phantom.test": ZERO_OR_MORE,
    "phantom.slices": ONE_OR_MORE,
    "phantom.slice_mm": ABOVE_ZERO,
    "phantom.contrast": one_of(CONTRASTS),
    "phantom.scanner": one_of(scanners.NAMES),
    "phantom.anatomy": one_of(ANATOMIES),
    "phantom.train_lesions": one_of(TRAIN_LESIONS),
    # Beyond, the reference anatomy is not drawn.
    "phantom.ct_offset_mm": Range(lambda x: -50 <= x <= 80, "-50 to 80"),
    "phantom.anatomies": ZERO_OR_MORE,
}
