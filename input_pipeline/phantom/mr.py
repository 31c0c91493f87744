"""Signals of tissues in MR, and the reference scanner's images.

Water and fat of a tissue are kept apart until the sub-voxels of a voxel are summed.
"""

import numpy as np

from input_pipeline.phantom import shapes, tissues
from input_pipeline.phantom.scanners import REFERENCE, MrScanner

# T1 and T2 of subcutaneous fat by field strength (de Bazelaire et al., Radiology 2004;
# 230:652-659).
FAT_T1_MS = {1.5: 343.0, 3.0: 382.0}
FAT_T2_MS = {1.5: 58.0, 3.0: 68.0}

# The six peaks of fat relative to water, shift in ppm and share, as the ISMRM challenge
# of 2012 on separating water and fat has them, after Hamilton G et al., In vivo
# characterization of the liver fat 1H MR spectrum. NMR Biomed 2011; 24:784-790.
FAT_PPM = np.array([-3.80, -3.40, -2.60, -1.94, -0.39, 0.60])
FAT_SHARE = np.array([0.087, 0.694, 0.128, 0.004, 0.039, 0.048])
MHZ_PER_TESLA = 42.58
COIL_MM = 170.0  # over which the coil's bias varies: chosen


def fat_phasor(echo_ms: float, tesla: float) -> complex:
    """Return the phase of fat as a complex signal, 1 at time 0, without decay."""
    turns = FAT_PPM * (MHZ_PER_TESLA * tesla) * echo_ms * 1e-3
    return complex(np.sum(FAT_SHARE * np.exp(2j * np.pi * turns)))


def spoiled_gradient_echo(t1_ms: np.ndarray | float, scanner: MrScanner) -> np.ndarray:
    """Return the steady-state signal of a gradient echo before T2* decay.

    Source: Ernst's formula (Bernstein MA, King KF, Zhou XJ, Handbook of MRI Pulse
    Sequences, 2004).
    """
    flip = np.deg2rad(scanner.flip_degrees)
    recovered = 1 - np.exp(-scanner.tr_ms / t1_ms)
    return np.sin(flip) * recovered / (1 - np.cos(flip) * (1 - recovered))


def spin_echo(
    t1_ms: np.ndarray | float, t2_ms: np.ndarray | float, scanner: MrScanner
) -> np.ndarray:
    """Return the signal of a turbo spin echo at its effective echo time.

    Source: Bernstein et al., as for `spoiled_gradient_echo`.
    """
    recovered = 1 - np.exp(-scanner.t2_tr_ms / t1_ms)
    return recovered * np.exp(-scanner.t2_te_ms / t2_ms)


def magnetisation(
    properties: dict[str, np.ndarray], scanner: MrScanner
) -> dict[str, np.ndarray]:
    """Return the signals of each label before sub-voxels are summed.

    Args:
        properties: of each label, by the names in `tissues.Tissue`: proton_density,
            t1_ms, t2_ms, t2_star_ms, fat_fraction and spin_echo_flow.

    Returns:
        'in_water', 'in_fat', 'out_water' and 'out_fat' of the two gradient echoes,
        't2_water' and 't2_fat', before fat suppression, each (labels,) float64 in the
        order of TISSUES.
    """
    t1, t2_star = properties["t1_ms"], properties["t2_star_ms"]
    share = properties["fat_fraction"]
    water = properties["proton_density"] * (1 - share)
    fat = properties["proton_density"] * share
    fat_t1, fat_t2 = FAT_T1_MS[scanner.tesla], FAT_T2_MS[scanner.tesla]
    signals = {
        "t2_water": properties["spin_echo_flow"]
        * water
        * spin_echo(t1, properties["t2_ms"], scanner),
        "t2_fat": fat * spin_echo(fat_t1, fat_t2, scanner),
    }
    for phase, echo_ms in (("in", scanner.te_in_ms), ("out", scanner.te_out_ms)):
        decay = np.exp(-echo_ms / t2_star)
        signals[f"{phase}_water"] = water * spoiled_gradient_echo(t1, scanner) * decay
        signals[f"{phase}_fat"] = fat * spoiled_gradient_echo(fat_t1, scanner) * decay
    return signals


def acquire(
    rng: np.random.Generator,
    labels: np.ndarray,
    *,
    factors: tuple[int, int, int],
    axes: tuple[np.ndarray, ...],
    texture: np.ndarray,
    fat_fractions: dict[str, float],
) -> np.ndarray:
    """Return the reference scanner's MR, with coil bias and Rician noise.

    Water and fat are averaged over the sub-voxels of each voxel. In the gradient
    echoes they are then added as phasors, which gives the India ink artefact at organ
    borders out of phase. In the T2-weighted image some fat signal is left.

    Args:
        labels: labels of sub-voxels, (z, y, x).
        factors: sub-voxels per voxel along each axis.
        axes: positions (slice, row, column) of the voxels in mm.
        texture: noise of standard deviation 1, (slices, rows, columns); each tissue
            has its own share of it.
        fat_fractions: the subject's, of 'liver' and 'marrow'.

    Returns:
        In-phase, out-of-phase and T2-weighted images, (slices, rows, columns, 3)
        float32, in arbitrary units: the gain of the scanner is random.
    """
    names = ("proton_density", "t1_ms", "t2_ms", "t2_star_ms", "spin_echo_flow")
    properties = {name: tissues.by_label(name) for name in names}
    properties["fat_fraction"] = tissues.by_label("fat_fraction", fat_fractions)
    per_label = magnetisation(properties, REFERENCE)
    fat_left = REFERENCE.fat_left * per_label.pop("t2_fat")
    per_label["t2"] = per_label.pop("t2_water") + fat_left
    share = tissues.by_label("mr_texture").astype(np.float32)
    grain = 1 + shapes.coarsen(share[labels], factors) * texture
    voxel = {
        name: shapes.coarsen(values.astype(np.float32)[labels], factors) * grain
        for name, values in per_label.items()
    }
    images = []
    for phase, echo_ms in (
        ("in", REFERENCE.te_in_ms),
        ("out", REFERENCE.te_out_ms),
    ):
        phasor = fat_phasor(echo_ms, REFERENCE.tesla)
        water, fat = voxel[f"{phase}_water"], voxel[f"{phase}_fat"]
        images.append(np.hypot(water + phasor.real * fat, phasor.imag * fat))
    images.append(voxel["t2"])

    strength = np.float32(rng.uniform(0.08, 0.2))
    bias = np.exp(strength * shapes.smooth_noise(rng, axes, COIL_MM))
    t2_bias = bias * np.exp(np.float32(0.04) * shapes.smooth_noise(rng, axes, COIL_MM))
    gains = rng.uniform(600, 1400) * np.array([1.0, 1.0, rng.uniform(1.2, 1.8)])
    noise = rng.uniform(0.006, 0.012)
    scans = [
        gain * add_rician_noise(rng, image * field, noise)
        for image, field, gain in zip(images, (bias, bias, t2_bias), gains, strict=True)
    ]
    return np.stack(scans, axis=-1).astype(np.float32)


def add_rician_noise(
    rng: np.random.Generator, signal: np.ndarray, deviation: float
) -> np.ndarray:
    """Return the magnitude of a signal with Gaussian noise in both channels.

    `deviation` is that of each channel, in units of the signal.

    Source: Gudbjartsson and Patz, Magn Reson Med 1995; 34:910-914.
    """
    real = signal + deviation * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = deviation * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.hypot(real, imaginary)
