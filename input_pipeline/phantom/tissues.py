"""Properties of the phantom's tissues in one table, with the source of its values.

Relaxation times come from the publication named in each row. All other values
are chosen to be plausible and are no measurements: proton densities near the share of
water in soft tissues (0.7 to 0.8 by mass: Woodard HQ, White DR, The composition of body
tissues. Br J Radiol 1986; 59:1209-1218), T2*, fat fractions, and HU within the ranges
of textbooks, with the liver above the spleen (Piekarski J et al., Radiology 1980;
137:727-729).
"""

import dataclasses

import numpy as np

# T1 and T2 at 1.5 T and 3 T.
DE_BAZELAIRE = (
    "de Bazelaire CM et al., MR imaging relaxation times of abdominal and pelvic "
    "tissues measured in vivo at 3.0 T: preliminary results. Radiology 2004; "
    "230:652-659"
)
STANISZ = (
    "Stanisz GJ et al., T1, T2 relaxation and magnetization transfer in tissue at 3T. "
    "Magn Reson Med 2005; 54:507-512"
)
CHOSEN = "chosen for the phantom"


@dataclasses.dataclass(frozen=True)
class Tissue:
    """Properties of one tissue for MR and CT, a row of the table below.

    Attributes:
        name: name in TISSUES; its index there is the label.
        proton_density: density of protons visible in MR, relative to water.
        relaxation_source: source of the relaxation times.
        t1_ms, t2_ms: relaxation times of its water at 1.5 T. Fat has relaxation times
            of its own in all tissues (see `mr`).
        t1_3t_ms, t2_3t_ms: the same at 3 T.
        t2_star_ms: decay time of its gradient echoes at 1.5 T, for water and fat.
        fat_fraction: proton density fat fraction, 0 to 1.
        spin_echo_flow: share of its spin echo that is left after outflow, 0 to 1.
        mr_texture: standard deviation of the smooth texture within the tissue,
            relative to the MR signal.
        hu: HU without contrast medium.
        hu_arterial, hu_portal_venous, hu_delayed: HU about 35 s, 70 s and 4 min after
            its injection.
        hu_texture: standard deviation of the smooth texture within the tissue, in HU.
    """

    name: str
    relaxation_source: str
    proton_density: float
    t1_ms: float
    t2_ms: float
    t1_3t_ms: float
    t2_3t_ms: float
    t2_star_ms: float
    fat_fraction: float
    spin_echo_flow: float
    mr_texture: float
    hu: float
    hu_arterial: float
    hu_portal_venous: float
    hu_delayed: float
    hu_texture: float


# Fat fraction and HU of liver and marrow differ between subjects: see `by_label`.
# fmt: off
_TABLE = (
    #         PD T1 1.5 T2 1.5  T1 3   T2 3    T2*    fat   flow  texture
    #         HU: plain, arterial, portal venous, delayed; texture
    Tissue("outside", CHOSEN,
           0.00,   1.0,   1.0,   1.0,   1.0,   1.0,  0.00,   1.0,  0.00,
          -1000, -1000, -1000, -1000,   0.0),
    Tissue("skin", CHOSEN,
           0.55,   900,    35,  1000,    33,    15,  0.00,   1.0,  0.03,
             30,    35,    45,    40,   4.0),
    # T1 and T2 of the little water between fat cells; those of fat are in mr.py.
    Tissue("subcutaneous_fat", CHOSEN,
           0.95,   900,    40,  1000,    38,    45,  0.93,   1.0,  0.05,
           -106,  -105,  -104,  -104,   5.0),
    Tissue("visceral_fat", CHOSEN,
           0.95,   900,    40,  1000,    38,    40,  0.88,   1.0,  0.06,
            -98,   -97,   -94,   -95,   9.0),
    Tissue("muscle", DE_BAZELAIRE,
           0.75,   856,    27,   898,    29,    24,  0.04,   1.0,  0.05,
             54,    60,    66,    68,   6.0),
    Tissue("liver", DE_BAZELAIRE,
           0.73,   586,    46,   809,    34,    27,  0.03,   1.0,  0.03,
             62,    76,   112,    94,   4.0),
    Tissue("spleen", DE_BAZELAIRE,
           0.78,  1057,    79,  1328,    61,    45,  0.00,   1.0,  0.03,
             49,   128,   121,    88,   4.0),
    Tissue("kidney_cortex", DE_BAZELAIRE,
           0.78,   966,    87,  1142,    76,    50,  0.00,   1.0,  0.03,
             33,   175,   190,   135,   4.0),
    Tissue("kidney_medulla", DE_BAZELAIRE,
           0.82,  1412,    85,  1545,    81,    45,  0.00,   1.0,  0.03,
             29,    70,   165,   160,   4.0),
    Tissue("pancreas", DE_BAZELAIRE,
           0.72,   584,    46,   725,    43,    35,  0.08,   1.0,  0.05,
             40,   108,    98,    74,   7.0),
    Tissue("artery", STANISZ,
           0.80,  1441,   290,  1932,   275,   120,  0.00,  0.12,  0.05,
             41,   290,   150,   105,   2.0),
    Tissue("vein", STANISZ,
           0.80,  1441,   290,  1932,   275,    80,  0.00,  0.25,  0.05,
             41,    75,   162,   108,   2.0),
    Tissue("heart", STANISZ,
           0.78,  1030,    40,  1471,    47,    30,  0.00,   0.6,  0.05,
             45,   125,   125,    88,   5.0),
    Tissue("cortical_bone", CHOSEN,
           0.12,   250,   1.0,   280,   1.0,   0.6,  0.00,   1.0,  0.10,
            720,   722,   725,   724,   60.),
    Tissue("marrow", DE_BAZELAIRE,
           0.62,   549,    49,   586,    49,    12,  0.32,   1.0,  0.07,
            165,   172,   180,   174,   28.),
    Tissue("disc", CHOSEN,
           0.75,  1000,    60,  1150,    55,    35,  0.00,   1.0,  0.05,
             85,    86,    88,    90,   8.0),
    # Fluid and nerves together.
    Tissue("spinal_canal", CHOSEN,
           0.90,  1600,   180,  1850,   170,    60,  0.00,   1.0,  0.04,
             22,    23,    26,    25,   3.0),
    Tissue("bowel_wall", CHOSEN,
           0.77,   900,    45,  1050,    42,    30,  0.00,   1.0,  0.05,
             40,    82,    85,    70,   5.0),
    Tissue("bowel_content", CHOSEN,
           0.85,  1300,   110,  1500,   100,    25,  0.03,   1.0,  0.12,
             24,    24,    26,    24,   14.),
    Tissue("gas", CHOSEN,
           0.00,   1.0,   1.0,   1.0,   1.0,   1.0,  0.00,   1.0,  0.00,
           -985,  -985,  -985,  -985,   8.0),
    Tissue("lung", CHOSEN,
           0.16,  1100,    50,  1250,    45,   1.6,  0.00,   1.0,  0.20,
           -835,  -835,  -815,  -835,   28.),
    Tissue("bile", CHOSEN,
           0.97,  2200,   400,  2400,   380,   120,  0.00,   1.0,  0.02,
              9,     9,    10,     9,   2.0),
    # Below: tissues of the varied anatomy alone. New ones go to the end, because labels
    # in data sets are positions in this table.
    # Serous fluid: cysts, urine, ascites, pleural effusion, liquid in the bowel.
    Tissue("fluid", CHOSEN,
           0.98,  2600,   600,  2900,   550,   300,  0.00,   1.0,  0.02,
              8,     8,     9,    10,   2.0),
    # Cysts with protein or blood, sludge: short T1.
    Tissue("dense_fluid", CHOSEN,
           0.92,   420,    80,   500,    70,    60,  0.00,   1.0,  0.04,
             55,    55,    56,    56,   4.0),
    # Metastases and other tumours with few vessels.
    Tissue("pale_tumour", CHOSEN,
           0.82,  1050,    85,  1250,    75,    45,  0.00,   1.0,  0.08,
             42,    56,    72,    70,   7.0),
    # Tumours with many vessels, of liver or kidney.
    Tissue("vascular_tumour", CHOSEN,
           0.82,   900,    95,  1100,    85,    45,  0.02,   1.0,  0.08,
             40,   125,   105,    80,   8.0),
    Tissue("gallstone", CHOSEN,
           0.10,   300,   2.0,   330,   2.0,   1.0,  0.00,   1.0,  0.10,
            140,   140,   140,   140,  40.0),
    Tissue("cartilage", CHOSEN,
           0.65,   900,    35,  1100,    32,    18,  0.00,   1.0,  0.05,
            110,   112,   115,   116,  12.0),
    Tissue("metal", CHOSEN,
           0.00,   1.0,   1.0,   1.0,   1.0,   1.0,  0.00,   1.0,  0.00,
           2600,  2600,  2600,  2600,  100.),
    Tissue("fatty_muscle", CHOSEN,
           0.80,   856,    29,   898,    31,    26,  0.42,   1.0,  0.10,
              2,     5,     9,    10,  10.0),
    Tissue("sclerotic_bone", CHOSEN,
           0.30,   600,    20,   650,    19,   4.0,  0.08,   1.0,  0.10,
            430,   432,   435,   434,  50.0),
    # Colonic content with little water: short T1.
    Tissue("stool", CHOSEN,
           0.70,   500,    50,   560,    46,    12,  0.08,   1.0,  0.20,
             35,    35,    36,    36,  25.0),
    # Uterus, prostate, seminal vesicles: the values are those of the myometrium.
    Tissue("pelvic_organ", DE_BAZELAIRE,
           0.80,  1309,   117,  1514,    79,    50,  0.00,   1.0,  0.06,
             42,    80,    98,    90,   6.0),
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
