"""MR scanners: settings of the examination, fixed ones by name or drawn at random.

Ranges of the random ones. Echo times are where fat and water are out of and in phase
for 3.4 ppm (2.3 and 4.6 ms at 1.5 T, half of that at 3 T), give or take what vendors
and bandwidths make of it (Ma J, Dixon techniques for water and fat imaging. J Magn
Reson Imaging 2008; 28:543-558). Repetition times and flip angles are those of dual-echo
protocols of the abdomen, 2D (TR 80 to 220 ms, 60 to 90 degrees) and 3D (TR 3.7 to 7.9
ms, 8 to 15 degrees). Echo times of T2 are those of turbo spin echoes (60 to 110 ms),
and down to two thirds of it, because refocusing below 180 degrees makes the contrast of
a shorter one (Busse RF et al., Magn Reson Med 2006; 55:1030-1037). All other ranges are
chosen to be wider than what images show.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class MrScanner:
    """Settings of one examination: a dual gradient echo and a fat-suppressed T2.

    Attributes:
        tesla: field strength.
        te_out_ms, te_in_ms, tr_ms, flip_degrees: of the spoiled gradient echo.
        t2_te_ms, t2_tr_ms: of the turbo spin echo; the contrast's echo time.
        fat_left: share of the fat's T2 signal that suppression leaves, 0 to 1.
        failed_suppression: share of the field of view where it does nothing, or takes
            the water instead, 0 to 1.
        fresh_blood: share of unsaturated blood that flows into a slice, of arteries
            and veins, 0 to 1.
        flow_loss: share of the gradient echoes' signal of arteries and veins that
            saturation bands and moving spins take, 0 to 1.
        shading: how much coils near the skin brighten it, 0 to 1.
        bias: deviation of the logarithm of any other, smooth bias of sensitivity.
        centre_loss: share of the signal lost in the middle by standing waves.
        resolution: share of the image's spatial frequencies that are acquired, along
            rows and columns.
        taper: share of those that the filter against ringing takes, 0 to 1.
        noise: deviation in each channel before frequencies are cut, relative to the
            brightest tissue's sum over both phases; half of that in T2.
        ghost: amplitude of the ghosts of breathing, relative to what moves.
        pulsation: the same of vessels.
        dephasing: rate of signal loss beside gas in 1/s at 1.5 T.
    """

    tesla: float
    te_out_ms: float
    te_in_ms: float
    tr_ms: float
    flip_degrees: float
    t2_te_ms: float
    t2_tr_ms: float
    fat_left: float = 0.06
    failed_suppression: float = 0.0
    fresh_blood: tuple[float, float] = (0.0, 0.0)
    flow_loss: tuple[float, float] = (0.0, 0.0)
    shading: float = 0.3
    bias: float = 0.08
    centre_loss: float = 0.0
    resolution: tuple[float, float] = (0.8, 1.0)
    taper: float = 0.2
    noise: float = 0.02
    ghost: float = 0.02
    pulsation: float = 0.05
    dephasing: float = 60.0


# The gradient echo has the settings in the headers of the CHAOS challenge's T1-DUAL
# series (Kavur et al., Med Image Anal 2021; 69:101950). Fat-suppressed T2: chosen,
# typical of a turbo spin echo with SPIR. `mr.acquire` makes its images.
REFERENCE = MrScanner(
    tesla=1.5, te_out_ms=2.302, te_in_ms=4.635, tr_ms=132.4, flip_degrees=80.0,
    t2_te_ms=70.0, t2_tr_ms=1800.0, fat_left=0.06,
)  # fmt: skip

# Scanners that no training sees: `draw_scanner` keeps away from their echo times.
FIXED = {
    "three_tesla": MrScanner(
        tesla=3.0, te_out_ms=1.15, te_in_ms=2.46, tr_ms=140.0, flip_degrees=65.0,
        t2_te_ms=84.0, t2_tr_ms=3200.0, fat_left=0.1, fresh_blood=(0.4, 0.4),
        shading=0.5, centre_loss=0.2, noise=0.02,
    ),
    "other_vendor": MrScanner(
        tesla=1.5, te_out_ms=2.1, te_in_ms=4.4, tr_ms=190.0, flip_degrees=85.0,
        t2_te_ms=95.0, t2_tr_ms=2500.0, fat_left=0.03, flow_loss=(0.8, 0.3),
        shading=0.6, noise=0.015, ghost=0.05, pulsation=0.15,
    ),
    "volumetric": MrScanner(
        tesla=1.5, te_out_ms=2.39, te_in_ms=4.77, tr_ms=6.9, flip_degrees=10.0,
        t2_te_ms=75.0, t2_tr_ms=2000.0, fat_left=0.15, shading=0.4, noise=0.03,
        resolution=(0.7, 0.9), dephasing=90.0,
    ),
}  # fmt: skip
NAMES = ("reference", "randomised", *FIXED)
_APART_MS = 0.08


def scanner_of(name: str, rng: np.random.Generator) -> MrScanner:
    """Return the fixed scanner of this name, or draw one for 'randomised'."""
    return FIXED.get(name) or draw_scanner(rng)


def draw_scanner(rng: np.random.Generator) -> MrScanner:
    """Draw a scanner whose in-phase echo is not within 0.08 ms of a fixed scanner's."""
    while True:
        scanner = _draw(rng)
        if all(abs(scanner.te_in_ms - f.te_in_ms) > _APART_MS for f in FIXED.values()):
            return scanner


def _draw(rng: np.random.Generator) -> MrScanner:
    uniform = rng.uniform
    tesla = 3.0 if uniform() < 0.35 else 1.5
    slowness = 1.5 / tesla
    te_out, te_in = uniform(2.1, 2.4) * slowness, uniform(4.2, 4.9) * slowness
    volumetric = uniform() < 0.4
    if volumetric:
        te_out, te_in = max(te_out, 1.1), max(te_in, 2.2)
        tr, flip = te_in + uniform(1.5, 3.0), uniform(8, 15)
        fresh = rng.uniform(0, 0.25, 2)
    else:
        tr, flip = uniform(80, 220), uniform(60, 90)
        fresh = rng.uniform(0, 0.7, 2)
    unsuppressed = uniform() < 0.15  # T2 without fat suppression
    fat_left = uniform(0.3, 1.0) if unsuppressed else np.exp(uniform(-4.0, -1.2))
    return MrScanner(
        tesla=tesla,
        te_out_ms=te_out,
        te_in_ms=te_in,
        tr_ms=tr,
        flip_degrees=flip,
        t2_te_ms=uniform(40, 110),
        t2_tr_ms=np.exp(uniform(np.log(1200), np.log(8000))),
        fat_left=fat_left,
        failed_suppression=max(0.0, uniform(-0.3, 0.25)),
        fresh_blood=tuple(fresh),
        flow_loss=tuple(np.clip(rng.uniform(-0.8, 0.95, 2), 0, 1)),
        shading=uniform(0, 0.9),
        bias=uniform(0, 0.22),
        centre_loss=uniform(0, 0.4 if tesla > 2 else 0.1),
        resolution=tuple(rng.uniform(0.6, 1.0, 2)),
        taper=uniform(0, 0.6),
        noise=np.exp(uniform(np.log(0.004), np.log(0.05))),
        ghost=max(0.0, uniform(-0.05, 0.1)),
        pulsation=max(0.0, uniform(-0.1, 0.25)),
        dephasing=uniform(0, 200),
    )
