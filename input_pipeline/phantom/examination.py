"""One patient's examination by a random or a named scanner, acquired slice by slice.

An `Examination` holds what is the same in all slices: the scanner, the tissues of this
patient, and the coils. Its slices show partial volume, coil bias, loss of signal beside
gas, failed fat suppression, ghosts, noise, and the resolution and ringing of k-space.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.fft
import scipy.ndimage

from input_pipeline.phantom import ct, mr, shapes, tissues
from input_pipeline.phantom.scanners import MrScanner
from input_pipeline.volume import MR_CHANNELS

# Deviations of the natural logarithm of a property, between patients: chosen, about
# twice those that de Bazelaire et al. found among healthy people.
_SPREAD = {
    "proton_density": 0.06,
    "t1_ms": 0.12,
    "t2_ms": 0.15,
    "t2_star_ms": 0.3,
    "spin_echo_flow": 1.2,
}
# What differs much more from one patient to the next: food, bile, flow, and the blood
# that the spleen stores.
_WIDE = {
    "bowel_content": 0.9,
    "bile": 0.4,
    "artery": 0.3,
    "vein": 0.3,
    "spleen": 0.3,
}
_FAT_LOGIT = 0.35  # of the fat fraction
# Iron: share of patients, chosen, above that of the population, and how many of these
# have it in both organs and in the liver alone; the others in the spleen alone. It adds
# to R2* (1/s at 1.5 T, twice that at 3 T) from traces to what Wood et al. found in
# livers with overload (Blood 2005; 106:1460-1465). The part of it that R2 gains is
# chosen, about as St Pierre et al. (Blood 2005; 105:855-861).
_IRON_SHARE = 0.25
_IRON_IN_BOTH, _IRON_IN_LIVER = 0.5, 0.3
_IRON_R2_STAR = (15.0, 300.0)
_IRON_R2_PART = 0.35
_GAS_MM = 6.0  # over which gas disturbs the field: chosen
_BIAS_MM = 120.0  # over which smooth fields vary: chosen
_T2_NOISE = 0.5  # of T2 relative to that of the gradient echoes: chosen

_COLUMNS = ("in_water", "in_fat", "out_water", "out_fat", "t2_water", "t2_fat", "hu",
            "texture", "gas", "vessel", "body")  # fmt: skip
_COLUMN = {name: index for index, name in enumerate(_COLUMNS)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slice:
    """One slice as both machines see it.

    Attributes:
        mr: in scanner units, (rows, columns, channels) float32.
        hu: CT without noise, (rows, columns) float32.
        body: share of each voxel inside the skin, (rows, columns) float32.
    """

    mr: np.ndarray
    hu: np.ndarray
    body: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Examination:
    """A patient's tissues in a scanner.

    Attributes:
        values: of each label, (labels, columns) float32: signals, HU, texture, and the
            shares of gas, of vessels and of body.
        coils: centre (row, column) and width of each receiver coil in mm.
        coils_z_mm, coils_reach_mm: their middle along the patient, and the distance
            from it where their signal has fallen to 37 %.
        t2_gain: of the T2 images relative to the gradient echoes.
        fields_seed: draws what all slices share: bias, and where suppression fails.
    """

    scanner: MrScanner
    values: np.ndarray
    coils: np.ndarray
    coils_z_mm: float
    coils_reach_mm: float
    t2_gain: float
    fields_seed: int

    def acquire(
        self,
        rng: np.random.Generator,
        planes: np.ndarray,
        *,
        factor: int,
        spacing_mm: float,
        channels: Sequence[str] = MR_CHANNELS,
        z_mm: float = 0.0,
    ) -> Slice:
        """Acquire one slice.

        Args:
            planes: labels of sub-voxels, (planes, factor * rows, factor * columns).
            factor: sub-voxels per voxel, along rows and along columns.
            spacing_mm: of the slice's rows and columns.
            channels: images to acquire, of `MR_CHANNELS`, in order.
            z_mm: position of the slice, where the coils' reach ends.
        """
        voxel = self._mix(planes, factor)
        size = voxel.shape[:2]
        scanner = self.scanner
        texture = shapes.blurred_noise(rng, (1, *size), 3.0 / spacing_mm)[0]
        grain = 1 + voxel[..., _COLUMN["texture"]] * texture
        gas = scipy.ndimage.gaussian_filter(
            voxel[..., _COLUMN["gas"]], _GAS_MM / spacing_mm, truncate=2.0
        )
        axis = [shapes.centres(n, spacing_mm) for n in size]
        fields = np.random.default_rng(self.fields_seed)
        plane = (np.zeros(1, np.float32), *axis)
        reach = np.exp(-(((z_mm - self.coils_z_mm) / self.coils_reach_mm) ** 2))
        smooth = scanner.bias * shapes.smooth_noise(fields, plane, _BIAS_MM)[0]
        bias = self._bias(*axis) * np.exp(smooth) * np.float32(reach)
        in_phase = self.values[:, [_COLUMN["in_water"], _COLUMN["in_fat"]]].sum(axis=1)
        deviation = scanner.noise * float(in_phase.max())
        ghosts = self._draw_ghosts(rng, voxel, axis[0])
        images = []
        for channel in channels:
            if channel == "t2":
                water_left, fat_left = self._suppress(fields, plane, gas)
                t2 = voxel[..., _COLUMN["t2_water"]] * water_left
                t2 = t2 + voxel[..., _COLUMN["t2_fat"]] * fat_left
                fluid = float(self.values[:, _COLUMN["t2_water"]].max())
                image = self._image(
                    rng, ghosts(t2 * grain * bias), scanner.noise * _T2_NOISE * fluid
                )
                images.append(self.t2_gain * image)
            else:
                signal = self._gradient_echo(voxel, channel, gas) * (grain * bias)
                images.append(self._image(rng, ghosts(signal), deviation))
        return Slice(
            mr=np.stack(images, axis=-1),
            hu=voxel[..., _COLUMN["hu"]],
            body=voxel[..., _COLUMN["body"]],
        )

    def _gradient_echo(
        self, voxel: np.ndarray, channel: str, gas: np.ndarray
    ) -> np.ndarray:
        """Return the complex signal in phase or out of phase, (rows, columns)."""
        scanner = self.scanner
        phase, echo_ms = {
            "in_phase": ("in", scanner.te_in_ms),
            "out_of_phase": ("out", scanner.te_out_ms),
        }[channel]
        water = voxel[..., _COLUMN[f"{phase}_water"]]
        fat = voxel[..., _COLUMN[f"{phase}_fat"]]
        phasor = np.complex64(mr.fat_phasor(echo_ms, scanner.tesla))
        rate = scanner.dephasing * scanner.tesla / 1.5 * echo_ms * 1e-3
        return (water + phasor * fat) * np.exp(-rate * gas)

    def _mix(self, planes: np.ndarray, factor: int) -> np.ndarray:
        """Return the means over each voxel's sub-voxels, (rows, columns, values)."""
        count, rows, columns = planes.shape
        rows, columns = rows // factor, columns // factor
        sub_voxels = planes.reshape(count, rows, factor, columns, factor)
        sub_voxels = sub_voxels.transpose(0, 2, 4, 1, 3).reshape(-1, rows * columns)
        voxel = self.values[sub_voxels[0]]
        # Most voxels hold one tissue.
        mixed = np.flatnonzero((sub_voxels != sub_voxels[0]).any(axis=0))
        voxel[mixed] = self.values[sub_voxels[:, mixed]].mean(axis=0)
        return voxel.reshape(rows, columns, -1)

    def _bias(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the sensitivity of the coils, about 1, (rows, columns)."""
        row, column, width = self.coils.T[:, :, None]
        along = np.exp(-(((y - row) / width) ** 2)).T @ np.exp(
            -(((x - column) / width) ** 2)
        )
        along = np.sqrt(along)
        bias = 1 - self.scanner.shading + self.scanner.shading * along / along.mean()
        middle = np.outer(np.exp(-((y / 70) ** 2)), np.exp(-((x / 100) ** 2)))
        return (bias * (1 - self.scanner.centre_loss * middle)).astype(np.float32)

    def _suppress(
        self, rng: np.random.Generator, plane: tuple, gas: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the shares of water and of fat that fat suppression leaves, 0 to 1.

        Where the field is off the pulse misses the fat, and may take the water.
        """
        water = np.ones(gas.shape, np.float32)
        fat = np.full(gas.shape, self.scanner.fat_left, np.float32)
        if share := self.scanner.failed_suppression:
            field = shapes.smooth_noise(rng, plane, _BIAS_MM)[0]
            field = np.abs(field) + 2 * gas
            failed = 1 / (1 + np.exp(-(field - np.quantile(field, 1 - share)) / 0.15))
            fat += (1 - fat) * failed
            water -= max(0.0, rng.uniform(-0.8, 0.8)) * failed
        return water, fat

    def _draw_ghosts(self, rng, voxel: np.ndarray, y: np.ndarray):
        """Return a function that adds the ghosts of breathing and of pulsation.

        The anterior wall moves most. Ghosts are displaced along rows or columns, the
        direction of phase encoding.
        """
        anterior = np.clip(0.5 - y / 160, 0, 1)[:, None]
        moving = self.scanner.ghost * anterior
        moving = moving + self.scanner.pulsation * voxel[..., _COLUMN["vessel"]]
        turn = np.exp(2j * np.pi * rng.uniform()).astype(np.complex64)
        axis, step = int(rng.uniform() < 0.2), int(rng.integers(8, 64))

        def add(signal: np.ndarray) -> np.ndarray:
            ghost = moving * signal
            return signal + turn * (
                np.roll(ghost, step, axis) + np.roll(ghost, -step, axis)
            )

        return add if moving.any() else lambda signal: signal

    def _image(
        self, rng: np.random.Generator, signal: np.ndarray, deviation: float
    ) -> np.ndarray:
        """Return the magnitude of what is left of a signal and noise in k-space."""
        noise = rng.standard_normal((2, *signal.shape), dtype=np.float32)
        noise *= np.float32(deviation)
        spectrum = scipy.fft.fft2(
            (signal + (noise[0] + 1j * noise[1])).astype(np.complex64)
        )
        rows, columns = (
            _window(n, share, self.scanner.taper)
            for n, share in zip(signal.shape, self.scanner.resolution, strict=True)
        )
        spectrum *= rows[:, None]
        spectrum *= columns
        return np.abs(scipy.fft.ifft2(spectrum, overwrite_x=True))


def _window(count: int, share: float, taper: float) -> np.ndarray:
    """Return the weight of each frequency: 1 up to a cosine flank at the limit."""
    distance = np.abs(np.fft.fftfreq(count)) / (0.5 * share)
    flank = np.clip((distance - (1 - taper)) / max(taper, 1e-3), 0, 1)
    return np.where(distance <= 1, 0.5 + 0.5 * np.cos(np.pi * flank), 0).astype(
        np.float32
    )


def draw_examination(
    rng: np.random.Generator,
    scanner: MrScanner,
    *,
    fat_fractions: dict[str, float],
    contrast: str,
) -> Examination:
    """Draw a patient's tissues about the table's, and the scanner's coils.

    Args:
        fat_fractions: the patient's, of 'liver' and 'marrow'.
        contrast: one of `ct.CONTRASTS`.
    """
    properties = draw_properties(rng, scanner, fat_fractions)
    signals = mr.magnetisation(properties, scanner)
    drawn = properties["fat_fraction"]  # MR and CT see the same fat
    fat_fractions = {name: drawn[tissues.LABELS[name]] for name in fat_fractions}
    fully_relaxed = np.sin(np.deg2rad(scanner.flip_degrees))
    flows = zip(scanner.fresh_blood, scanner.flow_loss, strict=True)
    for vessel, (fresh, lost) in zip(("artery", "vein"), flows, strict=True):
        label = tissues.LABELS[vessel]
        for phase, echo_ms in (("in", scanner.te_in_ms), ("out", scanner.te_out_ms)):
            inflow = properties["proton_density"][label] * fully_relaxed
            inflow *= np.exp(-echo_ms / properties["t2_star_ms"][label])
            saturated = signals[f"{phase}_water"][label]
            flowing = saturated + fresh * (inflow - saturated)
            signals[f"{phase}_water"][label] = (1 - lost) * flowing
    signals |= {
        "hu": ct.draw_hu(rng, fat_fractions, contrast),
        "texture": tissues.by_label("mr_texture") * rng.uniform(0.5, 1.5),
        "gas": _share(gas=1.0, lung=0.8),
        "vessel": _share(artery=1.0, vein=0.3),
        "body": 1 - _share(outside=1.0),
    }
    angles = np.linspace(0, 2 * np.pi, int(rng.integers(4, 9)), endpoint=False)
    angles += rng.normal(0, 0.2, angles.shape)
    reach = rng.uniform(0.9, 1.4)
    coils = np.stack(
        [
            130 * reach * np.cos(angles),
            180 * reach * np.sin(angles),
            rng.uniform(110, 220, angles.shape),
        ],
        axis=-1,
    )
    return Examination(
        scanner=scanner,
        values=np.stack([signals[n] for n in _COLUMNS], axis=-1).astype(np.float32),
        coils=coils,
        coils_z_mm=float(rng.uniform(-40, 40)),
        coils_reach_mm=float(rng.uniform(150, 400)),
        t2_gain=float(rng.uniform(1.2, 1.8)),
        fields_seed=int(rng.integers(2**32)),
    )


def draw_properties(
    rng: np.random.Generator, scanner: MrScanner, fat_fractions: dict[str, float]
) -> dict[str, np.ndarray]:
    """Draw a patient's tissue properties for `mr.magnetisation`.

    They vary around the values in `tissues` at the scanner's field strength. Some
    patients have iron overload of the liver, the spleen or both.

    Args:
        fat_fractions: the patient's mean, of 'liver' and 'marrow'.

    Returns:
        Each property by name, (labels,) in the order of TISSUES.
    """
    field = "_3t_ms" if scanner.tesla > 2 else "_ms"
    t2_star = tissues.by_label("t2_star_ms")
    if scanner.tesla > 2:  # what T2* has beyond T2 grows with the field
        beyond = np.maximum(1 / t2_star - 1 / tissues.by_label("t2_ms"), 0)
        t2_star = 1 / (1 / tissues.by_label("t2_3t_ms") + 2 * beyond)
    properties = {
        "proton_density": tissues.by_label("proton_density"),
        "t1_ms": tissues.by_label(f"t1{field}"),
        "t2_ms": tissues.by_label(f"t2{field}"),
        "t2_star_ms": t2_star,
        "spin_echo_flow": tissues.by_label("spin_echo_flow"),
    }
    wide = np.zeros(len(tissues.TISSUES))
    for name, spread in _WIDE.items():
        wide[tissues.LABELS[name]] = spread
    for name, spread in _SPREAD.items():
        if name in ("t1_ms", "t2_ms"):
            spread = np.maximum(spread, wide)
        if name == "spin_echo_flow":  # of what flows
            spread = np.where(properties[name] < 1, spread, 0)
        drawn = np.exp(spread * rng.standard_normal(len(wide)))
        properties[name] = properties[name] * drawn
    properties["spin_echo_flow"] = np.minimum(properties["spin_echo_flow"], 1)
    _add_iron(rng, properties, scanner)
    share = np.clip(tissues.by_label("fat_fraction", fat_fractions), 1e-6, 1 - 1e-6)
    logit = np.log(share / (1 - share)) + _FAT_LOGIT * rng.standard_normal(len(wide))
    properties["fat_fraction"] = 1 / (1 + np.exp(-logit))
    return properties


def _add_iron(
    rng: np.random.Generator, properties: dict[str, np.ndarray], scanner: MrScanner
) -> None:
    """Shorten T2 and T2* of some livers and some spleens."""
    chance, *shares = rng.uniform(size=3)
    if chance >= _IRON_SHARE:
        return
    low, high = np.log(_IRON_R2_STAR)
    r2_stars = np.exp(low + (high - low) * np.array(shares))  # 1/s at 1.5 T
    organs = dict(zip(("liver", "spleen"), r2_stars, strict=True))
    pattern = chance / _IRON_SHARE
    if pattern >= _IRON_IN_BOTH:
        in_liver = pattern < _IRON_IN_BOTH + _IRON_IN_LIVER
        del organs["spleen" if in_liver else "liver"]
    for name, r2_star in organs.items():
        label = tissues.LABELS[name]
        t2, t2_star = properties["t2_ms"][label], properties["t2_star_ms"][label]
        r2, r2_star = _IRON_R2_PART * r2_star, r2_star * scanner.tesla / 1.5
        properties["t2_ms"][label] = 1 / (1 / t2 + r2 * 1e-3)
        properties["t2_star_ms"][label] = 1 / (1 / t2_star + r2_star * 1e-3)


def _share(**of_tissues: float) -> np.ndarray:
    shares = np.zeros(len(tissues.TISSUES))
    for name, share in of_tissues.items():
        shares[tissues.LABELS[name]] = share
    return shares
