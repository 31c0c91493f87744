"""HU of organs in synthetic CT, by masks or regions drawn on the grid of the MR.

A region is a disc in one slice. A file of regions is JSON, with numbers only, such as
configs/regions/chaos_mr_1.json:

    {"scan": "what they were drawn on", "note": "anything else",
     "grid": {"slices_rows_columns": [35, 256, 256],
              "spacing_mm": [5.5, 1.894, 1.894],
              "first_voxel_ras_mm": [233.0, 238.8, -39.2]},
     "regions": [{"name": "liver dome", "organ": "liver", "slice": 34, "row": 110,
                  "column": 75, "radius_mm": 14}]}

Indices count from 0 in the axial order of `volume.to_axial`: slices from inferior, rows
from anterior, columns from the patient's right. Lists of `grid` are in the order of
slices, rows and columns, but for the position of voxel (0, 0, 0): x, y, z as in NIfTI.
"""

import dataclasses
import difflib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from input_pipeline.files import write_csv
from input_pipeline.scans.nifti import volume_suffix
from input_pipeline.scans.read_scan import split_paths
from input_pipeline.volume import Origin, Volume
from synthct_jax.evaluation.ct_files import (
    check_grid,
    check_table,
    read_ct,
    read_labels,
)
from synthct_jax.evaluation.threshold_ct import ThresholdRule
from synthct_jax.metrics import tissues

_REGION = {"name": str, "organ": str, "slice": int}
_REGION |= {"row": float, "column": float, "radius_mm": float}


@dataclasses.dataclass(frozen=True, kw_only=True)
class OrganHu:
    """HU of one organ or region in one CT; None where it has no voxels.

    Attributes:
        ct: path of the CT.
        region: name of the region, or 'label N'.
        organ: a name in `tissues.ORGANS`.
        median, percentile_5, percentile_95, standard_deviation: HU.
        outside: share of the voxels outside the range.
        low, high: the range that is expected of the median.
        in_range: whether the median is in it, ends included.
    """

    ct: str
    region: str
    organ: str
    voxels: int
    median: float | None
    percentile_5: float | None
    percentile_95: float | None
    standard_deviation: float | None
    outside: float | None
    low: float
    high: float
    in_range: bool | None


def report(
    scans: str,
    masks: Sequence[str],
    labels: Sequence[str],
    *,
    contrast: str = "non_contrast",
    data_dir: Path | None = None,
    output: Path | None = None,
) -> str:
    """Measure organs as `measure` does, and return a table for a terminal.

    Args:
        scans: CT, comma-separated.
        labels: such as '1:liver', '2:kidney'.
        data_dir: prepared data; `scans` are MR then, and measured are the CT of a
            `ThresholdRule` chosen on these data.
        output: a CSV file to write as well, with the fields of `OrganHu`.

    Raises:
        FileNotFoundError, ValueError: as for `measure`; or --organs or --output is not
            what is expected.
    """
    check_table(output)
    paths = split_paths(scans)
    read = read_ct if data_dir is None else ThresholdRule.fit(data_dir).read
    organ_of = parse_labels(labels)
    rows = measure(paths, masks, labels=organ_of, contrast=contrast, read=read)
    if output is not None:
        fields = [field.name for field in dataclasses.fields(OrganHu)]
        write_csv(output, fields, map(dataclasses.astuple, rows))
    return format_table(rows)


def measure(
    scans: Sequence[str],
    masks: Sequence[str],
    *,
    labels: Mapping[int, str],
    contrast: str = "non_contrast",
    read: Callable[[str], Volume] = read_ct,
) -> list[OrganHu]:
    """Measure the organs of every CT.

    Args:
        scans: CT, each a NIfTI file, a DICOM folder or an output of `translate`.
        masks: a NIfTI file with integer labels or a JSON file of regions for each CT,
            or one for all of them.
        labels: organ of each label of NIfTI masks; other labels are ignored.
        contrast: the ranges, of `tissues.ORGAN_CONTRASTS`.
        read: returns the CT of an element of `scans`, in axial order.

    Raises:
        FileNotFoundError, ValueError: a file is missing or not what is expected, or a
            mask lies on another grid than its CT; names the files.
    """
    if len(masks) not in (1, len(scans)):
        raise ValueError(
            f"--masks has {len(masks)} files and --input {len(scans)} CT, expected one "
            "mask for each CT, or one for all"
        )
    for label, organ in labels.items():
        _check_organ(organ, f"--organs, label {label}")
    rows = []
    for scan, mask in zip(scans, itertools.cycle(masks), strict=False):
        ct = read(scan)
        selections = (
            _labelled(mask, ct, labels) if volume_suffix(mask) else _regions(mask, ct)
        )
        for region, organ, voxels in selections:
            limits = tissues.ORGANS[organ][contrast]
            rows.append(_measure(scan, region, organ, ct.voxels[voxels][:, 0], limits))
    return rows


def parse_labels(pairs: Sequence[str]) -> dict[int, str]:
    """Parse ['1:liver', '2:kidney'].

    Raises:
        ValueError: names the pair.
    """
    labels = {}
    for pair in pairs:
        label, _, organ = pair.partition(":")
        if not label.strip().isdecimal() or int(label) in labels or int(label) == 0:
            raise ValueError(
                f"--organs has {pair!r}, expected LABEL:ORGAN with different labels "
                "above 0, such as 1:liver,2:kidney"
            )
        labels[int(label)] = organ.strip()
    return labels


def _measure(
    ct: str, region: str, organ: str, hu: np.ndarray, limits: tuple[float, float]
) -> OrganHu:
    low, high = limits
    values = dict.fromkeys(
        ("median", "percentile_5", "percentile_95", "standard_deviation", "outside")
    )
    if hu.size:
        levels = (*np.percentile(hu, (50, 5, 95)), hu.std(dtype=np.float64))
        levels = [round(float(level), 1) for level in levels]
        outside = round(float(((hu < low) | (hu > high)).mean()), 4)
        values = dict(zip(values, (*levels, outside), strict=True))
    return OrganHu(
        ct=ct,
        region=region,
        organ=organ,
        voxels=hu.size,
        **values,
        low=low,
        high=high,
        in_range=low <= values["median"] <= high if hu.size else None,
    )


# --- masks ----------------------------------------------------------------------------

Selection = tuple[str, str, np.ndarray]
"""A region's name, its organ, and its voxels, (slices, rows, columns) bool."""


def _labelled(path: str, ct: Volume, labels: Mapping[int, str]) -> Iterator[Selection]:
    if not labels:
        raise ValueError(
            f"--masks has labels, {path}: --organs must say which organ each of them "
            "is, such as 1:liver,2:kidney"
        )
    values = read_labels(path, ct)
    for label, organ in labels.items():
        yield f"label {label}", organ, values == label


def _regions(path: str, ct: Volume) -> Iterator[Selection]:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        grid = content["grid"]
        shape = tuple(int(n) for n in grid["slices_rows_columns"])
        spacing_mm = np.array(grid["spacing_mm"], np.float64)
        corner_mm = np.array(grid["first_voxel_ras_mm"], np.float64)
        affine = ct.affine.copy()  # a file of regions says nothing of directions
        affine[:3, :3] *= spacing_mm[::-1] / ct.spacing_mm[::-1]
        affine[:3, 3] = corner_mm
        regions = [
            tuple(kind(region[field]) for field, kind in _REGION.items())
            for region in content["regions"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: neither labels in NIfTI nor regions as synthct_jax/evaluation/"
            f"organs.py describes them: {type(error).__name__}: {error}"
        ) from error
    check_grid(path, Origin(affine=affine, shape=shape), ct)
    _, row_mm, column_mm = ct.spacing_mm
    rows, columns = np.ogrid[: shape[1], : shape[2]]
    for name, organ, index, row, column, radius_mm in regions:
        _check_organ(organ, f"{path}, region {name!r}")
        if not 0 <= index < shape[0]:
            raise ValueError(
                f"{path}, region {name!r}: slice {index}, expected 0 to {shape[0] - 1}"
            )
        voxels = np.zeros(shape, bool)
        y_mm, x_mm = (rows - row) * row_mm, (columns - column) * column_mm
        voxels[index] = y_mm**2 + x_mm**2 <= radius_mm**2
        yield name, organ, voxels


def _check_organ(organ: str, where: str) -> None:
    if organ not in tissues.ORGANS:
        close = difflib.get_close_matches(organ.lower(), tissues.ORGANS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(
            f"{where}: organ {organ!r}, expected one of "
            f"{', '.join(tissues.ORGANS)}{hint}"
        )


# --- output ---------------------------------------------------------------------------


def format_table(rows: Sequence[OrganHu]) -> str:
    """Return the rows as an aligned table, a line of totals below."""
    titles = ("region", "organ", "voxels", "median", "5 % to 95 %", "SD", "outside")
    lines = [(*titles, "range", "in range")]
    for ct, of_ct in itertools.groupby(rows, key=lambda row: row.ct):
        lines.append((ct,))
        lines += [_cells(row) for row in of_ct]
    widths = [max(len(c[i]) for c in lines if len(c) > 1) for i in range(len(lines[0]))]
    known = [row.in_range for row in rows if row.in_range is not None]
    table = [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        if len(cells) > 1
        else cells[0]
        for cells in lines
    ]
    return "\n".join([*table, f"{sum(known)} of {len(known)} medians are in range"])


def _cells(row: OrganHu) -> tuple[str, ...]:
    low, high = row.low, row.high
    limits = f"below {high:g}" if np.isinf(low) else f"{low:g} to {high:g}"
    if not row.voxels:
        return (row.region, row.organ, "0", "-", "-", "-", "-", limits, "-")
    return (
        row.region,
        row.organ,
        f"{row.voxels}",
        f"{row.median:.0f}",
        f"{row.percentile_5:.0f} to {row.percentile_95:.0f}",
        f"{row.standard_deviation:.0f}",
        f"{row.outside:.0%}",
        limits,
        "yes" if row.in_range else "NO",
    )
