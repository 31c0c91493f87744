"""The contrast of an MR image: in phase, out of phase, T2.

The protons of fat precess 3.4 ppm slower than those of water, 217 Hz at 1.5 T. In a
gradient echo the two point the same way when the echo time holds a whole number of
turns, and opposite ways at a half (Dixon, Radiology 153, 1984; Ma, J Magn Reson
Imaging 28, 2008). Folder and series names are not used.
"""

from input_pipeline.scans.dicom_frames import Frame
from input_pipeline.volume import UnusableScan

FAT_WATER_SHIFT_PPM = 3.4
PROTON_MHZ_PER_TESLA = 42.577478  # gyromagnetic ratio of 1H / 2 pi (CODATA 2018)
T2_ECHO_TIME_MS = 30.0  # single echoes beyond are T2-weighted
_PHASE_ECHO_TIME_MS = 15.0  # beyond, T2* has decayed too far for a phase image
_PHASE_TOLERANCE = 0.15  # turns

_IN_PHASE = {"IN_PHASE", "INPHASE", "IN-PHASE", "IP"}
_OUT_OF_PHASE = {
    "OUT_PHASE",
    "OUTPHASE",
    "OUT_OF_PHASE",
    "OUT-PHASE",
    "OPP_PHASE",
    "OPPOSED_PHASE",
    "OP",
}
# Water and fat images computed from the phases share the echo time of one of them;
# phase, real and imaginary images share their magnitude's.
_OTHER_IMAGES = {"W", "WATER", "F", "FAT", "FF", "FAT_FRACTION"}
_OTHER_IMAGES |= {"P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY"}


def _fat_water_turns(frame: Frame) -> float | None:
    """Return the turns of fat against water at the echo, None if unknown."""
    tesla = frame.number_or_none("MagneticFieldStrength")
    if tesla and tesla > 100:  # some scanners write gauss
        tesla /= 10_000
    mhz = tesla and tesla * PROTON_MHZ_PER_TESLA
    mhz = mhz or frame.number_or_none("ImagingFrequency")
    if not frame.echo_ms or not mhz:
        return None
    return frame.echo_ms * 1e-3 * FAT_WATER_SHIFT_PPM * mhz


def contrast(frame: Frame, *, single_echo: bool) -> str | None:
    """Return 'in_phase', 'out_of_phase', 't2', or None for any other MR image.

    Args:
        single_echo: its series has one echo time only.

    Raises:
        UnusableScan: ImageType and EchoTime contradict each other.
    """
    kinds = set(frame.image_type()[2:])
    component = frame.text("ComplexImageComponent") or "MAGNITUDE"
    if kinds & _OTHER_IMAGES or component not in ("MAGNITUDE", "MIXED"):
        return None
    by_type = None
    if kinds & _IN_PHASE:
        by_type = "in_phase"
    elif kinds & _OUT_OF_PHASE:
        by_type = "out_of_phase"
    by_echo = _phase_by_echo(frame)
    if by_type and by_echo and by_type != by_echo:
        raise UnusableScan(
            f"{frame.path}: ImageType {'/'.join(frame.image_type())} says {by_type}, "
            f"but EchoTime {frame.echo_ms} ms is {by_echo} at "
            f"{frame.text('MagneticFieldStrength') or '?'} T; expected them to agree"
        )
    if by_type or by_echo:
        return by_type or by_echo
    if single_echo and (frame.echo_ms or 0) > T2_ECHO_TIME_MS:
        return "t2"
    return None


def _phase_by_echo(frame: Frame) -> str | None:
    turns = _fat_water_turns(frame)
    # A spin echo brings fat and water back together whatever its echo time.
    sequence = frame.text("ScanningSequence")
    spin_echo = "SE" in sequence and "GR" not in sequence
    if turns is None or frame.echo_ms > _PHASE_ECHO_TIME_MS or spin_echo:
        return None
    if abs(turns - round(turns)) < _PHASE_TOLERANCE and round(turns) >= 1:
        return "in_phase"
    if abs(turns % 1 - 0.5) < _PHASE_TOLERANCE:
        return "out_of_phase"
    return None
