"""The manifest of a prepared data set: prepared.json, typed and checked."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from input_pipeline.digests import check_digest, with_digest

FILE = "prepared.json"
FORMAT = 2
_WITHOUT_DIGEST = 1  # the format of older data sets
SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """One subject's volume in a domain.

    Attributes:
        name: the same in all domains for one person.
        slices: number of stored slices, from inferior to superior.
        affine: 4 x 4, (column, row, slice, 1) of the stored slices to RAS mm.
        scale: for MR, the divisor of each channel; empty otherwise.
    """

    name: str
    split: str
    slices: int
    affine: tuple[tuple[float, ...], ...]
    scale: tuple[float, ...]

    @property
    def slice_mm(self) -> float:
        """Distance of neighbouring slices in mm."""
        return math.hypot(*(row[2] for row in self.affine[:3]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domain:
    """All volumes of one kind of image.

    Attributes:
        channels: names, in stored order.
        subjects: training first, then by name.
        statistics: for each split, of stored values inside the body: number of
            `slices`, `body_fraction` of all pixels, and for each channel `percentiles`
            and the lowest and the highest of its volumes' `upper_quartiles`.
    """

    channels: tuple[str, ...]
    subjects: tuple[Subject, ...]
    statistics: dict

    def of_split(self, split: str) -> tuple[Subject, ...]:
        """Return the subjects of a split, in stored order."""
        return tuple(s for s in self.subjects if s.split == split)

    @property
    def held_out(self) -> str:
        """The first of test, validation and train that has subjects."""
        return next(s for s in ("test", "validation", "train") if self.of_split(s))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """Origin, geometry, subjects and statistics of a prepared data set.

    Attributes:
        source, size, spacing_mm, mask_outside_body, mr_percentile: of `config.data`.
        seed: drew the split, and the phantoms.
        domains: 'mr', 'ct', and 'labels' where the tissues are known.
        label_names: tissue names of label values 0, 1, ...; empty without labels.
        warnings: sentences that a user should read before training.
        fingerprints: of the files with the slices, see `storage.fingerprints`; none
            in older data sets.
    """

    source: str
    size: int
    spacing_mm: float
    mask_outside_body: bool
    mr_percentile: float
    seed: int
    domains: dict[str, Domain]
    label_names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    fingerprints: dict = dataclasses.field(default_factory=dict)

    def paired_names(self, split: str) -> set[str]:
        """Return the subjects of a split whose MR and CT are on one grid."""
        mr, ct = (
            {s.name: (s.slices, s.affine) for s in self.domains[name].of_split(split)}
            for name in ("mr", "ct")
        )
        return {name for name in mr if mr[name] == ct.get(name)}

    def to_json(self) -> dict[str, Any]:
        """Return the content of prepared.json."""
        return json.loads(self._text())

    def save(self, folder: Path) -> None:
        """Write FOLDER/prepared.json."""
        (Path(folder) / FILE).write_text(self._text())

    def _text(self) -> str:
        fields = {"format": FORMAT, **dataclasses.asdict(self)}
        return json.dumps(with_digest(fields), indent=1) + "\n"


def read_manifest(folder: str | Path) -> Manifest:
    """Read FOLDER/prepared.json.

    Raises:
        FileNotFoundError: there is none, so FOLDER is not a prepared data set.
        ValueError: it is not what this version writes; names the field.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file, so {folder} is not a prepared data set; "
            "make one with --mode=prepare"
        )
    try:
        fields = json.loads(
            path.read_text(), parse_constant=_finite, parse_float=_finite
        )
        version = fields["format"]
        if version not in (FORMAT, _WITHOUT_DIGEST):
            raise ValueError(
                f"format is {version}, expected {FORMAT}; prepare it again"
            )
        if version == FORMAT:
            check_digest(fields)
            del fields["digest"]
        del fields["format"]
        domains = {
            name: _checked(
                Domain,
                domain,
                channels=tuple(domain["channels"]),
                subjects=tuple(_subject(subject) for subject in domain["subjects"]),
            )
            for name, domain in fields["domains"].items()
        }
        return _checked(
            Manifest,
            fields,
            domains=domains,
            label_names=tuple(fields["label_names"]),
            warnings=tuple(fields["warnings"]),
            fingerprints=fields.get("fingerprints", {}),
        )
    except KeyError as error:
        raise ValueError(f"{path}: field {error} is missing") from error
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _subject(fields: dict) -> Subject:
    fields.pop("source", None)  # older data sets have the path of the scan
    affine = tuple(tuple(float(v) for v in row) for row in fields["affine"])
    if [len(row) for row in affine] != [4] * 4:
        raise ValueError(f"affine of {fields['name']} is {affine}, expected 4 x 4")
    if fields["split"] not in SPLITS:
        raise ValueError(
            f"split of {fields['name']} is {fields['split']!r}, expected one of "
            f"{', '.join(SPLITS)}"
        )
    if fields["slices"] < 1:
        raise ValueError(
            f"{fields['name']} has {fields['slices']} slices, expected some"
        )
    scale = tuple(float(value) for value in fields["scale"])
    return _checked(Subject, fields, affine=affine, scale=scale)


def _finite(text: str) -> float:
    """Return a number of JSON."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"a number is {text}, expected a finite one")
    return number


def _checked(cls, fields: dict, **converted):
    """Make a dataclass of JSON fields, once the plain ones have the annotated types."""
    types = {field.name: field.type for field in dataclasses.fields(cls)}
    values = {**fields, **converted}
    if unknown := values.keys() - types.keys():
        raise ValueError(f"unknown field {min(unknown)!r}")
    for name, kind in types.items():
        value = values[name]
        if kind in (int, float, str, bool, dict):
            right = (int, float) if kind is float else kind
            if not isinstance(value, right) or (kind is int and value is True):
                raise ValueError(f"{name} is {value!r}, expected {kind.__name__}")
    return cls(**values)
