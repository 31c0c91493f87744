"""Reader of any scan that a user names: a folder, a file, or a list of files."""

import dataclasses
import os
import re
from collections.abc import Collection, Sequence

from input_pipeline.scans import archives
from input_pipeline.scans.alignment import check_one_body
from input_pipeline.scans.dicom_frames import find_frames
from input_pipeline.scans.dicom_reader import find_contrasts, read_dicom
from input_pipeline.scans.nifti import READ_SUFFIXES, read_nifti, volume_suffix
from input_pipeline.scans.quiet import quiet
from input_pipeline.volume import (
    CHANNELS,
    MR_CHANNELS,
    UnusableScan,
    Volume,
    check_channels,
)


def _word(*names: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z0-9])({'|'.join(names)})(?![a-z0-9])")


_CHANNEL_WORD = _word(*MR_CHANNELS)
_MR_WORD, _CT_WORD = _word(*MR_CHANNELS, "mri?"), _word("ct", "hu")


def read_scan(
    scan: str | os.PathLike,
    *,
    modality: str,
    channels: Sequence[str] | None = None,
    series: Sequence[str] = (),
) -> Volume:
    """Read a scan as it is stored; `volume.to_axial` brings it to the canonical order.

    T2 beside the phases is resampled onto their grid, and must show the same body.

    Args:
        scan: a folder of DICOM files (both phases in it or in folders below it, as
            in CHAOS), a multi-frame DICOM file, a folder with NIfTI files named after
            their channels (in_phase.nii.gz, ..., hu.nii.gz; a single file may have any
            name if `channels` has one, as for CT), a zip archive of such a folder, one
            NIfTI file, or several of them, comma-separated in the order of `channels`.
            MetaImage (.mha, .mhd) and NRRD files are taken in place of NIfTI.
        modality: 'MR' or 'CT'.
        channels: names out of in_phase, out_of_phase, t2 for MR, in the order of the
            result; None takes those that a folder has. CT has the one channel 'hu'.
        series: names of DICOM series of MR to choose among, see `dicom_choice.named`.

    Raises:
        FileNotFoundError: names what is missing.
        UnusableScan: the scan cannot become a volume, a file in a list is named after
            another channel, or `series` is given and it is not DICOM; names the file
            and the reason.
        ValueError: the number of files is not that of the channels, or a channel or
            modality is unknown.
    """
    scan = os.fspath(scan)
    if scan.lower().endswith(archives.SUFFIX):
        with archives.unpacked(scan) as folder:
            volume = _read(folder, modality, channels, series)
            volume = dataclasses.replace(volume, source=scan)
    else:
        volume = _read(scan, modality, channels, series)
    check_one_body(volume)
    return volume


def find_channels(
    scan: str | os.PathLike, *, series: Sequence[str] = ()
) -> dict[str, str]:
    """Return the channels that an MR has, each with the path to read it from.

    DICOM headers and the names in a folder of NIfTI files say what an image shows. The
    name of a NIfTI file that is given by itself has to hold in_phase, out_of_phase or
    t2, as a word: patient2_in_phase.nii.gz.

    Args:
        scan, series: as for `read_scan`.

    Raises:
        FileNotFoundError: names what is missing.
        UnusableScan: a name holds no channel, or two files the same one; or no image
            of a folder is known by its headers.
    """
    scan = os.fspath(scan)
    if scan.lower().endswith(archives.SUFFIX):
        with archives.unpacked(scan) as folder:
            return dict.fromkeys(find_channels(folder, series=series), scan)
    paths = split_paths(scan)
    if len(paths) == 1 and not volume_suffix(scan):
        files = _channel_files(scan, MR_CHANNELS, None) if os.path.isdir(scan) else {}
        _check_series(scan, series, files)
        return dict.fromkeys(files or find_contrasts(scan, series=series), scan)
    _check_series(scan, series, paths)
    channels = {}
    for path in paths:
        if os.path.isdir(path):
            raise UnusableScan(
                f"{path}: a folder in a list, expected one folder that holds all DICOM "
                "images, of both phases, or one volume file a channel"
            )
        words = channels_in_name(path)
        if len(words) != 1 or words[0] in channels:
            raise UnusableScan(
                f"{path}: NIfTI does not say what it shows, and the name holds "
                f"{' and '.join(words) or 'no channel'}"
                f"{', as another does' if words and words[0] in channels else ''}; "
                f"expected one of {', '.join(MR_CHANNELS)}, as a word. With --model "
                "files may have names without any, in the order of its inputs"
            )
        channels[words[0]] = path
    return channels


def _check_series(
    scan: str, series: Sequence[str], volume_files: Collection[str]
) -> None:
    if series and volume_files:
        raise UnusableScan(
            f"{scan}: --series={','.join(series)} names DICOM series, and there are "
            "volume files"
        )


def _read(
    scan: str, modality: str, channels: Sequence[str] | None, series: Sequence[str]
) -> Volume:
    check_channels(modality, channels or ())
    known = CHANNELS[modality]
    if modality == "CT" and channels is None:
        channels = known
    paths = split_paths(scan)
    if len(paths) == 1 and os.path.isdir(scan):
        files = _channel_files(scan, known, channels)
        if not files:
            return read_dicom(scan, modality=modality, channels=channels, series=series)
        _check_series(scan, series, files)
        return read_nifti(list(files.values()), modality=modality, channels=list(files))
    if len(paths) == 1 and not volume_suffix(scan):
        return read_dicom(scan, modality=modality, channels=channels, series=series)
    _check_series(scan, series, paths)
    for path in paths:
        if not volume_suffix(path):
            raise UnusableScan(
                f"{path}: expected one of {', '.join(READ_SUFFIXES)}; a list has one "
                "file a channel, a DICOM folder or zip archive is given alone"
            )
    if channels is None:
        raise ValueError(
            f"{scan}: NIfTI files do not say what they show: pass `channels`, one a "
            f"file, out of {', '.join(known)}"
        )
    for path, channel in zip(paths, channels, strict=False):
        if modality != "MR":
            break
        words = channels_in_name(path)
        if words and channel not in words:
            raise UnusableScan(
                f"{path}: the name says {words[0]}, the place in the list {channel}; "
                f"expected files in the order {', '.join(channels)}"
            )
    return read_nifti(paths, modality=modality, channels=channels)


def channels_in_name(path: str) -> list[str]:
    """Return the MR channels that are words in a file's name."""
    return _CHANNEL_WORD.findall(os.path.basename(path).lower())


def mr_in_name(path: str) -> str | None:
    """Return the word by which a file's name says MR; None if there is none, or CT."""
    name = os.path.basename(path).lower()
    word = _MR_WORD.search(name)
    return word[0] if word and not _CT_WORD.search(name) else None


def split_paths(scan: str) -> list[str]:
    """Return comma-separated paths; raise FileNotFoundError for one that is missing."""
    # A path may contain commas itself.
    paths = [scan] if os.path.exists(scan) else scan.split(",")
    paths = [path.strip() for path in paths] if len(paths) > 1 else paths
    for path in paths:
        if not os.path.exists(path):
            raise FileNotFoundError(f"{path or 'empty path'}: no such file or folder")
    return paths


def _channel_files(
    folder: str, known: Sequence[str], channels: Sequence[str] | None
) -> dict[str, str]:
    """Find the NIfTI file of each channel; empty for a folder of DICOM files."""
    files = [name for name in sorted(os.listdir(folder)) if volume_suffix(name)]
    if not files:
        return {}
    by_stem: dict[str, str] = {}
    for name in files:
        stem = name[: -len(volume_suffix(name))]
        if stem in by_stem:
            raise UnusableScan(
                f"{folder}: both {by_stem[stem]} and {name}, expected one of them"
            )
        by_stem[stem] = name
    wanted = channels or [channel for channel in known if channel in by_stem]
    if len(files) == len(wanted) == 1:
        chosen = {wanted[0]: files[0]}
    elif wanted and set(wanted) <= set(by_stem):
        chosen = {channel: by_stem[channel] for channel in wanted}
    else:
        chosen = {}
    with quiet("pydicom"):
        with_dicom = bool(find_frames(folder)[0])
    if with_dicom and chosen:
        raise UnusableScan(
            f"{folder}: both DICOM images and {', '.join(chosen.values())}, expected "
            "one of them"
        )
    if not with_dicom and not chosen:
        raise UnusableScan(
            f"{folder}: NIfTI files {', '.join(files)}; expected "
            f"{', '.join(f'{name}.nii.gz' for name in wanted or known)}"
        )
    return {name: os.path.join(folder, file) for name, file in chosen.items()}
