"""Properties of the phantom's tissues in one table, with the source of its values.

Relaxation times at 1.5 T come from the publication named in each row. All other values
are chosen to be plausible and are no measurements: proton densities near the share of
water in soft tissues (0.7 to 0.8 by mass: Woodard HQ, White DR, The composition of body
tissues. Br J Radiol 1986; 59:1209-1218), T2*, fat fractions, and HU within the ranges
of textbooks, with the liver above the spleen (Piekarski J et al., Radiology 1980;
137:727-729).
"""

import dataclasses

import numpy as np

# T1 and T2 at 1.5 T.
DE_BAZELAIRE = (
    "de Bazelaire CM et al., MR imaging relaxation times of abdominal and pelvic "
    "tissues measured in vivo at 3.0 T: preliminary results. Radiology 2004; "
    "230:652-659 (its values at 1.5 T)"
)
STANISZ = (
    "Stanisz GJ et al., T1, T2 relaxation and magnetization transfer in tissue at 3T. "
    "Magn Reson Med 2005; 54:507-512 (its values at 1.5 T)"
)
CHOSEN = "chosen for the phantom"


@dataclasses.dataclass(frozen=True)
class Tissue:
    """Properties of one tissue for MR and CT, a row of the table below.

    Attributes:
        name: name in TISSUES; its index there is the label.
        proton_density: density of protons visible in MR, relative to water.
        t1_ms, t2_ms: relaxation times of its water at 1.5 T. Fat has relaxation times
            of its own in all tissues (`mr.FAT_T1_MS`, `mr.FAT_T2_MS`).
        t2_star_ms: decay time of its gradient echoes, for water and fat.
        fat_fraction: proton density fat fraction, 0 to 1.
        spin_echo_flow: share of its spin echo that is left after outflow, 0 to 1.
        hu, hu_enhanced: HU without contrast medium and in the portal venous phase.
        hu_texture, mr_texture: standard deviation of the smooth texture within the
            tissue, in HU and relative to the MR signal.
        relaxation_source: source of T1 and T2.
    """

    name: str
    proton_density: float
    t1_ms: float
    t2_ms: float
    t2_star_ms: float
    fat_fraction: float
    spin_echo_flow: float
    hu: float
    hu_enhanced: float
    hu_texture: float
    mr_texture: float
    relaxation_source: str


# Fat fraction and HU of liver and marrow differ between subjects: see `by_label`.
# fmt: off
_TABLE = (
    #       PD    T1    T2   T2*   fat  flow     HU  enh.  texture: HU, MR
    Tissue("outside",
            0.00, 1.0,  1.0, 1.0, 0.00, 1.0, -1000, -1000, 0.0, 0.00, CHOSEN),
    Tissue("skin",
            0.55, 900,  35,  15,  0.00, 1.0,    30,    45, 4.0, 0.03, CHOSEN),
    # T1 and T2 of the little water between fat cells; those of fat are in mr.py.
    Tissue("subcutaneous_fat",
            0.95, 900,  40,  45,  0.93, 1.0,  -106,  -104, 5.0, 0.05, CHOSEN),
    Tissue("visceral_fat",
            0.95, 900,  40,  40,  0.88, 1.0,   -98,   -94, 9.0, 0.06, CHOSEN),
    Tissue("muscle",
            0.75, 856,  27,  24,  0.04, 1.0,    54,    66, 6.0, 0.05, DE_BAZELAIRE),
    Tissue("liver",
            0.73, 586,  46,  27,  0.03, 1.0,    62,   112, 4.0, 0.03, DE_BAZELAIRE),
    Tissue("spleen",
            0.78, 1057, 79,  45,  0.00, 1.0,    49,   121, 4.0, 0.03, DE_BAZELAIRE),
    Tissue("kidney_cortex",
            0.78, 966,  87,  50,  0.00, 1.0,    33,   190, 4.0, 0.03, DE_BAZELAIRE),
    Tissue("kidney_medulla",
            0.82, 1412, 85,  45,  0.00, 1.0,    29,   165, 4.0, 0.03, DE_BAZELAIRE),
    Tissue("pancreas",
            0.72, 584,  46,  35,  0.08, 1.0,    40,    98, 7.0, 0.05, DE_BAZELAIRE),
    Tissue("artery",
            0.80, 1441, 290, 120, 0.00, 0.12,   41,   150, 2.0, 0.05, STANISZ),
    Tissue("vein",
            0.80, 1441, 290, 80,  0.00, 0.25,   41,   162, 2.0, 0.05, STANISZ),
    Tissue("heart",
            0.78, 1030, 40,  30,  0.00, 0.6,    45,   125, 5.0, 0.05, STANISZ),
    Tissue("cortical_bone",
            0.12, 250,  1.0, 0.6, 0.00, 1.0,   720,   725, 60., 0.10, CHOSEN),
    Tissue("marrow",
            0.62, 549,  49,  12,  0.32, 1.0,   165,   180, 28., 0.07, DE_BAZELAIRE),
    Tissue("disc",
            0.75, 1000, 60,  35,  0.00, 1.0,    85,    88, 8.0, 0.05, CHOSEN),
    # Fluid and nerves together.
    Tissue("spinal_canal",
            0.90, 1600, 180, 60,  0.00, 1.0,    22,    26, 3.0, 0.04, CHOSEN),
    Tissue("bowel_wall",
            0.77, 900,  45,  30,  0.00, 1.0,    40,    85, 5.0, 0.05, CHOSEN),
    Tissue("bowel_content",
            0.85, 1300, 110, 25,  0.03, 1.0,    24,    26, 14., 0.12, CHOSEN),
    Tissue("gas",
            0.00, 1.0,  1.0, 1.0, 0.00, 1.0,  -985,  -985, 8.0, 0.00, CHOSEN),
    Tissue("lung",
            0.16, 1100, 50,  1.6, 0.00, 1.0,  -835,  -815, 28., 0.20, CHOSEN),
    Tissue("bile",
            0.97, 2200, 400, 120, 0.00, 1.0,     9,    10, 2.0, 0.02, CHOSEN),
)
# fmt: on

TABLE: dict[str, Tissue] = {tissue.name: tissue for tissue in _TABLE}
TISSUES: tuple[str, ...] = tuple(TABLE)
LABELS: dict[str, int] = {name: label for label, name in enumerate(TISSUES)}


def by_label(field: str, own: dict[str, float] | None = None) -> np.ndarray:
    """Return one property of all tissues, float64 in the order of TISSUES.

    Args:
        field: name of the property in Tissue.
        own: values of the subject by tissue, in place of the table's.
    """
    values = np.array([getattr(tissue, field) for tissue in _TABLE], np.float64)
    for name, value in (own or {}).items():
        values[LABELS[name]] = value
    return values
