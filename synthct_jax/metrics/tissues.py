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

Ranges of organs are those in which the median of a healthy organ is expected. All are
chosen: about the values of `input_pipeline.phantom.tissues`, and as wide as patients
differ. The liver of the portal venous phase includes the 139 to 143 HU of a CHAOS CT
(doi:10.5281/zenodo.3431873).
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

ORGAN_CONTRASTS = ("non_contrast", "portal_venous")
"""Phases of the contrast medium for which ranges of organs are known."""

_AIR, _FAT = (-math.inf, -500.0), (-130.0, -70.0)

ORGANS: dict[str, dict[str, tuple[float, float]]] = {
    organ: dict(zip(ORGAN_CONTRASTS, ranges, strict=True))
    for organ, *ranges in (
        ("liver", (30.0, 75.0), (80.0, 150.0)),
        ("spleen", (30.0, 65.0), (90.0, 160.0)),
        ("kidney", (15.0, 55.0), (130.0, 240.0)),
        ("muscle", (25.0, 80.0), (40.0, 95.0)),
        ("fat", _FAT, _FAT),
        ("marrow", (80.0, 300.0), (90.0, 320.0)),
        ("aorta", (20.0, 65.0), (110.0, 200.0)),
        ("lung", _AIR, _AIR),
        ("gas", _AIR, _AIR),
    )
}
"""Least and greatest HU of the median of each organ, by contrast medium."""


def describe(tissue: str) -> str:
    """Return the limits of a tissue in words, such as 'from -190 to -30 HU'."""
    low, high = BANDS[tissue]
    if math.isinf(low):
        return f"below {high:g} HU"
    return f"from {low:g} HU up" if math.isinf(high) else f"from {low:g} to {high:g} HU"
