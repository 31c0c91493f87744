"""MR scanner: dual-echo spoiled gradient echo and fat-suppressed T2 at 1.5 T.

Echo times, repetition time and flip angle of the gradient echo are those in the headers
of the CHAOS challenge's T1-DUAL series (Kavur et al., Med Image Anal 2021; 69:101950).
"""

import numpy as np

from input_pipeline.phantom import shapes, tissues

TE_OUT_MS, TE_IN_MS = 2.302, 4.635
TR_MS, FLIP_DEGREES = 132.4, 80.0
# Fat-suppressed turbo spin echo: chosen, typical of T2 with SPIR.
T2_TR_MS, T2_TE_MS, FAT_LEFT = 1800.0, 70.0, 0.06

# Subcutaneous fat at 1.5 T (de Bazelaire et al., Radiology 2004; 230:652-659).
FAT_T1_MS, FAT_T2_MS = 343.0, 58.0

# The six peaks of fat relative to water: shift in ppm and share (Hamilton G et al., In
# vivo characterization of the liver fat 1H MR spectrum. NMR Biomed 2011; 24:784-790).
FAT_PPM = np.array([-3.80, -3.40, -2.60, -1.94, -0.39, 0.60])
FAT_SHARE = np.array([0.087, 0.694, 0.128, 0.004, 0.039, 0.048])
LARMOR_MHZ = 63.87  # 42.577 MHz/T at 1.5 T
COIL_MM = 170.0  # over which the coil's bias varies: chosen


def fat_phasor(echo_ms: float) -> complex:
    """Return the phase of fat as a complex signal, 1 at time 0, without decay."""
    turns = FAT_PPM * LARMOR_MHZ * echo_ms * 1e-3
    return complex(np.sum(FAT_SHARE * np.exp(2j * np.pi * turns)))


def spoiled_gradient_echo(t1_ms: np.ndarray | float) -> np.ndarray:
    """Return the steady-state signal of a gradient echo before T2* decay.

    Source: Ernst's formula (Bernstein MA, King KF, Zhou XJ, Handbook of MRI Pulse
    Sequences, 2004).
    """
    flip = np.deg2rad(FLIP_DEGREES)
    recovered = 1 - np.exp(-TR_MS / t1_ms)
    return np.sin(flip) * recovered / (1 - np.cos(flip) * (1 - recovered))


def spin_echo(t1_ms: np.ndarray | float, t2_ms: np.ndarray | float) -> np.ndarray:
    """Return the signal of a turbo spin echo at its effective echo time.

    Source: Bernstein et al., as for `spoiled_gradient_echo`.
    """
    return (1 - np.exp(-T2_TR_MS / t1_ms)) * np.exp(-T2_TE_MS / t2_ms)


def magnetisation(fat_fractions: dict[str, float]) -> dict[str, np.ndarray]:
    """Return the signals of each label before sub-voxels are summed.

    Returns:
        'in_water', 'in_fat', 'out_water' and 'out_fat' of the two gradient echoes, and
        't2', each (labels,) float32 in the order of TISSUES.
    """
    proton_density = tissues.by_label("proton_density")
    t1, t2_star = tissues.by_label("t1_ms"), tissues.by_label("t2_star_ms")
    share = tissues.by_label("fat_fraction", fat_fractions)
    water, fat = proton_density * (1 - share), proton_density * share
    signals = {
        "t2": tissues.by_label("spin_echo_flow")
        * water
        * spin_echo(t1, tissues.by_label("t2_ms"))
        + FAT_LEFT * fat * spin_echo(FAT_T1_MS, FAT_T2_MS)
    }
    for phase, echo_ms in (("in", TE_IN_MS), ("out", TE_OUT_MS)):
        decay = np.exp(-echo_ms / t2_star)
        signals[f"{phase}_water"] = water * spoiled_gradient_echo(t1) * decay
        signals[f"{phase}_fat"] = fat * spoiled_gradient_echo(FAT_T1_MS) * decay
    return {name: values.astype(np.float32) for name, values in signals.items()}


def acquire(
    rng: np.random.Generator,
    labels: np.ndarray,
    *,
    factors: tuple[int, int, int],
    axes: tuple[np.ndarray, ...],
    texture: np.ndarray,
    fat_fractions: dict[str, float],
) -> np.ndarray:
    """Return one MR examination of an anatomy, with coil bias and Rician noise.

    Water and fat are summed over the sub-voxels of a voxel first and added as phasors
    afterwards. This gives the dark line around organs in the out-of-phase image.

    Args:
        labels: labels of sub-voxels, (z, y, x).
        factors: sub-voxels per voxel along each axis.
        axes: positions (slice, row, column) of the voxels in mm.
        texture: relative, of standard deviation 1, (slices, rows, columns).
        fat_fractions: the subject's, of 'liver' and 'marrow'.

    Returns:
        In phase, out of phase and T2, (slices, rows, columns, 3) float32, in arbitrary
        units: the gain of the scanner is random.
    """
    per_label = magnetisation(fat_fractions)
    share = tissues.by_label("mr_texture").astype(np.float32)
    grain = 1 + shapes.coarsen(share[labels], factors) * texture
    voxel = {
        name: shapes.coarsen(values[labels], factors) * grain
        for name, values in per_label.items()
    }
    images = []
    for phase, echo_ms in (("in", TE_IN_MS), ("out", TE_OUT_MS)):
        phasor = fat_phasor(echo_ms)
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
