"""Files of `score` and `organs`: CT, masks on the grid of a CT, and a table."""

from pathlib import Path

import numpy as np

from input_pipeline.scans.alignment import SAME_GRID_MM, check_same_grid
from input_pipeline.scans.nifti import read_nifti
from input_pipeline.scans.read_scan import read_scan
from input_pipeline.volume import Origin, UnusableScan, Volume, to_axial

SYNTHETIC_CT = "synthetic_ct.nii.gz"


def read_ct(scan: str) -> Volume:
    """Read a CT, or that in an output of `translate`, in axial order."""
    folder_file = Path(scan) / SYNTHETIC_CT
    source = str(folder_file) if folder_file.is_file() else scan
    return to_axial(read_scan(source, modality="CT"))


def read_labels(path: str, ct: Volume) -> np.ndarray:
    """Read the labels of a CT's voxels, (slices, rows, columns).

    Raises:
        FileNotFoundError, UnusableScan: there is no such file; its values are no
            integers; or it lies on another grid than the CT.
    """
    # The modality of a mask only says that values are kept.
    mask = to_axial(read_nifti([path], modality="CT", channels=("hu",)))
    check_grid(path, mask.grid, ct)
    values = mask.voxels[..., 0]
    if (values != np.round(values)).any():
        wrong = float(values[values != np.round(values)][0])
        raise UnusableScan(f"{path}: a voxel is {wrong:g}, expected integer labels")
    return values


def check_grid(path: str, grid: Origin, ct: Volume) -> None:
    """Raise UnusableScan, with both names, unless a file is on the grid of a CT."""
    check_same_grid(
        *(path, grid, ct.source, ct.grid),
        within_mm=SAME_GRID_MM,
        remedy="a synthetic CT, its masks and its reference CT are on the grid of the "
        "MR",
    )


def check_table(output: Path | None) -> None:
    """Raise ValueError for a table that is to be written to other than a CSV file."""
    if output is not None and output.suffix != ".csv":
        raise ValueError(f"--output={output}: expected a name that ends with .csv")
