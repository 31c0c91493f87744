"""HU of tissues: the only table, for a patient's report and for every metric.

Sources of the numbers:

- -900: upper limit of hyperinflated lung, below which there is next to no tissue;
  normally aerated lung is -900 to -500, poorly aerated lung -500 to -100 HU
  (Gattinoni et al., Am J Respir Crit Care Med 2001; 164:1701).
- -190 and -30: adipose tissue is -190 to -30 HU and muscle -29 to 150 HU (Mitsiopoulos
  et al., J Appl Physiol 1998; 85:115). Poorly aerated lung and fat overlap; what is
  denser than -190 HU counts as fat.
- 250: soft tissue ends where no contrast-enhanced organ of the portal venous phase
  is (vessels about 150, renal cortex 190 HU, see `input_pipeline.phantom.tissues`).
  Spongy bone of less than that counts as soft tissue: no threshold separates the two.
- -400: halfway between lung (-741 HU) and adipose tissue (-77 HU) of ICRU Report 44,
  see `path_length`.
"""

import math

BANDS: dict[str, tuple[float, float]] = {
    "air": (-math.inf, -900.0),
    "lung": (-900.0, -190.0),
    "fat": (-190.0, -30.0),
    "soft_tissue": (-30.0, 250.0),
    "bone": (250.0, math.inf),
}
"""Lower limit (inclusive) and upper limit (exclusive) of each tissue, without gaps."""

BONE_FROM_HU = BANDS["bone"][0]

AERATED_BELOW_HU = -400.0
"""Upper limit (exclusive) of gas and lung, where both are one class."""


def describe(tissue: str) -> str:
    """Return the limits of a tissue in words, such as 'from -190 to -30 HU'."""
    low, high = BANDS[tissue]
    if math.isinf(low):
        return f"below {high:g} HU"
    return f"from {low:g} HU up" if math.isinf(high) else f"from {low:g} to {high:g} HU"
