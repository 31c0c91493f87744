"""Treatment plans: sites, radiations and the directions of their fields.

The command line reads this module at its start, so it imports nothing of ours.
"""

import dataclasses
from collections.abc import Sequence

PHOTONS, PROTONS = "photons", "protons"
RADIATIONS = (PHOTONS, PROTONS)

LIVER, SPINE, TARGET = "liver", "spine", "target"

_GANTRY_DEGREES = {
    (LIVER, PHOTONS): (200.0, 245.0, 290.0, 335.0, 20.0),
    (LIVER, PROTONS): (270.0, 330.0),
    (SPINE, PHOTONS): (100.0, 140.0, 180.0, 220.0, 260.0),
    (SPINE, PROTONS): (150.0, 210.0),
    (TARGET, PHOTONS): (0.0, 72.0, 144.0, 216.0, 288.0),
    (TARGET, PROTONS): (180.0, 270.0),
}
"""Directions that fields come from: 0 is anterior, 90 the patient's left side."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """A treatment plan, before its fluence is optimised.

    Attributes:
        site: LIVER, SPINE or TARGET, one that the user has drawn.
        radiation: PHOTONS or PROTONS.
        gantry_degrees: angle of each field, couch at 0, by IEC 61217.
    """

    site: str
    radiation: str
    gantry_degrees: tuple[float, ...]

    @property
    def name(self) -> str:
        """The site and the radiation, for tables and files."""
        return f"{self.site}_{self.radiation}"


def make_plan(
    site: str, radiation: str, *, proton_gantry: Sequence[float] = ()
) -> Plan:
    """Return the plan of a site; proton fields may come from other directions."""
    own = tuple(proton_gantry) if radiation == PROTONS else ()
    return Plan(site, radiation, own or _GANTRY_DEGREES[site, radiation])


def check_gantry(angles: Sequence[str]) -> tuple[float, ...]:
    """Return the angles of --gantry in degrees.

    Raises:
        ValueError: one is no number from 0 to below 360, or occurs twice; names it.
    """
    degrees: list[float] = []
    for angle in angles:
        try:
            value = float(angle)
        except ValueError:
            value = -1.0
        if not 0 <= value < 360 or value in degrees:
            raise ValueError(
                f"--gantry has {angle!r}, expected different degrees from 0 to below "
                "360"
            )
        degrees.append(value)
    return tuple(degrees)
