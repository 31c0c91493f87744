"""Layouts of folders of raw data: the place of each subject's scans.

`chaos`: the CHAOS challenge as it is unpacked (doi:10.5281/zenodo.3431873); RAW holds
Train_Sets, and Test_Sets if wanted, or is one of them. People with the same number in
MR and CT are different people.

    RAW/Train_Sets/MR/ID/T1DUAL/DICOM_anon/{InPhase,OutPhase}/*.dcm
    RAW/Train_Sets/MR/ID/T2SPIR/DICOM_anon/*.dcm
    RAW/Train_Sets/CT/ID/DICOM_anon/*.dcm

`chaos_noncontrast`: the MR of CHAOS, whose CT are all with contrast medium, beside CT
without, from elsewhere; a folder or a link to one. CHAOS' own CT are not read.

    RAW/Train_Sets/MR/ID/...        as above
    RAW/Noncontrast_CT/SUBJECT/...  DICOM files, or a single .nii.gz or .nii

`folder`: a folder of your own, with one folder for each subject. The same name in `mr`
and `ct` means the same person, who is then never split between training and test.

    RAW/mr/SUBJECT/...              DICOM files, in any folders below
    RAW/mr/SUBJECT/in_phase.nii.gz, out_of_phase.nii.gz, t2.nii.gz
                                    or NIfTI: those that data.mr_channels names; a
                                    single channel's file may have any name
    RAW/ct/SUBJECT/...              DICOM files, or a single .nii.gz or .nii

Names of your own folders may be those of patients. Subjects are numbered instead, in
the order of the names.
"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from input_pipeline.scans import archives
from input_pipeline.scans.nifti import READ_SUFFIXES, volume_suffix

NONCONTRAST = "Noncontrast_CT"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScanPath:
    """A subject's scan in one domain ('mr' or 'ct'), for `read_scan`.

    Attributes:
        folder: name of the subject's folder; empty if the name of the subject says it.
    """

    name: str
    domain: str
    path: Path
    folder: str = ""


def list_scans(folder: Path) -> dict[str, Path]:
    """Return the scans of a folder by name: folders, zip archives and volume files.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it has no scan, or two of one name; names them.
    """
    paths = [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and (path.is_dir() or _suffix(path.name))
    ]
    if not paths:
        suffixes = ", ".join((archives.SUFFIX, *READ_SUFFIXES))
        raise ValueError(
            f"{folder}: neither folders nor files that end with {suffixes}"
        )
    return name_scans(paths)


def name_scans(paths: Iterable[Path]) -> dict[str, Path]:
    """Return scans by name: that of a folder, or of a file without its suffix.

    Raises:
        ValueError: two have one name; names them.
    """
    scans: dict[str, Path] = {}
    for path in paths:
        name = (
            path.name if path.is_dir() else path.name.removesuffix(_suffix(path.name))
        )
        if name in scans:
            raise ValueError(f"{scans[name]} and {path} have one name: rename one")
        scans[name] = path
    return scans


def _suffix(name: str) -> str:
    """Return the suffix of a zip archive or volume file, '' of any other name."""
    if name.lower().endswith(archives.SUFFIX):
        return name[-len(archives.SUFFIX) :]
    return name[len(name) - len(volume_suffix(name)) :]


def find_scans(raw_dir: Path, source: str) -> list[ScanPath]:
    """List all scans in a folder, MR before CT, by name, without opening any.

    Raises:
        FileNotFoundError: a folder that the layout asks for is missing or empty.
    """
    if not raw_dir.is_dir():
        raise FileNotFoundError(f"{raw_dir}: no such folder")
    match source:
        case "chaos":
            return _find_chaos(raw_dir, "mr") + _find_chaos(raw_dir, "ct")
        case "chaos_noncontrast":
            return _find_chaos(raw_dir, "mr") + _find_noncontrast(raw_dir)
        case _:
            return _find_folders(raw_dir)


def _find_folders(raw_dir: Path) -> list[ScanPath]:
    hint = f" ({raw_dir}/mr/SUBJECT/..., {raw_dir}/ct/SUBJECT/...)"
    folders = {domain: _subjects([raw_dir / domain], hint) for domain in ("mr", "ct")}
    names = _number("subject", folders["mr"] + folders["ct"])
    return [
        ScanPath(name=names[f.name], domain=domain, path=f, folder=f.name)
        for domain, subjects in folders.items()
        for f in subjects
    ]


def _number(prefix: str, folders: list[Path]) -> dict[str, str]:
    """Return names such as subject_001 by the names of folders, in their order."""
    names = sorted({folder.name for folder in folders}, key=_by_number)
    return {name: f"{prefix}_{place + 1:03d}" for place, name in enumerate(names)}


def _by_number(name: str) -> tuple[int, str]:
    return len(name), name


def _find_chaos(raw_dir: Path, domain: str) -> list[ScanPath]:
    sets = [raw_dir / name for name in ("Train_Sets", "Test_Sets")]
    sets = [folder for folder in sets if folder.is_dir()] or [raw_dir]
    # Ground holds masks; the MR reader passes over files that are not DICOM.
    below = "DICOM_anon" if domain == "ct" else ""
    hint = " (the CHAOS layout: Train_Sets/{MR,CT}/ID/...)"
    return [
        ScanPath(name=f"chaos_{domain}_{s.name}", domain=domain, path=s / below)
        for s in _subjects([folder / domain.upper() for folder in sets], hint)
    ]


def _find_noncontrast(raw_dir: Path) -> list[ScanPath]:
    hint = ", with its CT without contrast medium"
    folders = _subjects([raw_dir / NONCONTRAST], hint)
    names = _number("noncontrast_ct", folders)
    return [
        ScanPath(name=names[f.name], domain="ct", path=f, folder=f.name)
        for f in folders
    ]


def _subjects(folders: list[Path], hint: str) -> list[Path]:
    """List the folders in some folders, by number or name."""
    subjects = []
    for folder in folders:
        below = folder.iterdir() if folder.is_dir() else ()
        visible = [f for f in below if f.is_dir() and f.name[0] != "."]
        subjects += sorted(visible, key=lambda f: _by_number(f.name))
    if not subjects:
        problem = "no folders in it" if folders[0].is_dir() else "no such folder"
        raise FileNotFoundError(
            f"{folders[0]}: {problem}, expected one folder for each subject{hint}"
        )
    return subjects
