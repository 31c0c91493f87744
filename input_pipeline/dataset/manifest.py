"""What a prepared data set says of itself: prepared.json, typed and checked."""

import dataclasses
import json
from pathlib import Path

FILE = "prepared.json"
FORMAT = 1
SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """One volume of a domain.

    Attributes:
        name: the same in all domains for one person.
        split: train, validation or test.
        slices: how many are stored, from inferior to superior.
        affine: 4 x 4, (column, row, slice, 1) of the stored slices to RAS mm.
        scale: for MR, what each channel was divided by; empty otherwise.
        source: where it came from.
    """

    name: str
    split: str
    slices: int
    affine: tuple[tuple[float, ...], ...]
    scale: tuple[float, ...]
    source: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domain:
    """All volumes of one kind of image.

    Attributes:
        channels: names, in stored order.
        subjects: training first, then by name.
        statistics: for each split, of stored values inside the body: number of
            `slices`, `body_fraction` of all pixels, for each channel `mean` and
            `percentiles`; for CT a `histogram` of `counts` in bins of `step` HU
            from `start`.
    """

    channels: tuple[str, ...]
    subjects: tuple[Subject, ...]
    statistics: dict

    def of_split(self, split: str) -> tuple[Subject, ...]:
        return tuple(s for s in self.subjects if s.split == split)

    @property
    def held_out(self) -> str:
        """The split that says most: held-out subjects, where there are any."""
        return next(s for s in ("test", "validation", "train") if self.of_split(s))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """A prepared data set.

    Attributes:
        source: chaos, folder, chaos_noncontrast or phantom.
        size: rows and columns of a slice.
        spacing_mm: of both.
        mask_outside_body: air, couch and coil were replaced by air.
        mr_percentile: of the body, that gave the scale of MR.
        seed: drew the split, and the phantoms.
        domains: 'mr', 'ct', and 'labels' where the truth is known.
        label_names: tissue names of label values 0, 1, ...; empty without labels.
        warnings: what a user should know before training.
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

    def save(self, folder: Path) -> None:
        text = json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=1)
        (Path(folder) / FILE).write_text(text + "\n")


def load_prepared(data_dir: str | Path) -> Prepared:
    """Reads DATA/prepared.json.

    Raises:
        FileNotFoundError: there is none; nothing was prepared there.
        ValueError: it is not what this version writes; names the field.
    """
    path = Path(data_dir) / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file, so {data_dir} is no prepared data set; "
            "make one with --mode=prepare"
        )
    try:
        fields = json.loads(path.read_text())
        found = fields.pop("format")
        if found != FORMAT:
            raise ValueError(f"format is {found}, expected {FORMAT}; prepare it again")
        domains = {
            name: _typed(
                Domain,
                domain,
                channels=tuple(domain["channels"]),
                subjects=tuple(_subject(subject) for subject in domain["subjects"]),
            )
            for name, domain in fields["domains"].items()
        }
        return _typed(
            Prepared,
            fields,
            domains=domains,
            label_names=tuple(fields["label_names"]),
            warnings=tuple(fields["warnings"]),
        )
    except KeyError as error:
        raise ValueError(f"{path}: field {error} is missing") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _subject(fields: dict) -> Subject:
    affine = tuple(tuple(float(v) for v in row) for row in fields["affine"])
    if [len(row) for row in affine] != [4] * 4:
        raise ValueError(f"affine of {fields['name']} is {affine}, expected 4 x 4")
    if fields["split"] not in SPLITS:
        raise ValueError(
            f"split of {fields['name']} is {fields['split']!r}, expected one of "
            f"{', '.join(SPLITS)}"
        )
    return _typed(Subject, fields, affine=affine, scale=tuple(fields["scale"]))


def _typed(cls, fields: dict, **converted):
    """An instance of a dataclass whose plain fields have the annotated types."""
    known = {field.name: field.type for field in dataclasses.fields(cls)}
    values = {**fields, **converted}
    if unknown := values.keys() - known.keys():
        raise ValueError(f"unknown field {min(unknown)!r}")
    for name, kind in known.items():
        value = values[name]
        if kind in (int, float, str, bool, dict):
            right = (int, float) if kind is float else kind
            if not isinstance(value, right) or (kind is int and value is True):
                raise ValueError(f"{name} is {value!r}, expected {kind.__name__}")
    return cls(**values)
