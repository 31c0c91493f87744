"""Translation of a patient's MR to a synthetic CT on the MR's own grid.

OUT/synthetic_ct.nii.gz   HU, int16
OUT/dicom/                the same as a CT series; unless pseudonymised in the study
                          and the frame of reference of the MR
OUT/uncertainty.nii.gz    spread in HU over views and networks, if there are several
OUT/preview.png           MR and synthetic CT in three planes
OUT/quality.html          outcome, pictures and features beside their limits
OUT/viewer.html           MR, synthetic CT and uncertainty to scroll through
OUT/quality.json          the same for programs, by quality/quality.schema.json
OUT/structures.dcm        if asked for, regions as an RT Structure Set
OUT/report.json           input, generator, versions, HU statistics, warnings
"""

import datetime
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from input_pipeline import files
from input_pipeline.countdown import Countdown
from input_pipeline.intensity import AIR_HU, optional_channels
from input_pipeline.scans.dicom_writer import CtSeries
from input_pipeline.scans.layout import list_scans
from input_pipeline.scans.nifti import write_nifti
from input_pipeline.scans.read_scan import (
    channels_in_name,
    find_channels,
    read_scan,
    split_paths,
)
from input_pipeline.scans.structure_writer import STRUCTURES, write_structures
from input_pipeline.volume import UnusableScan, Volume, to_axial
from synthct_jax.checkpoint import model_file
from synthct_jax.checkpoint.metadata import library_versions
from synthct_jax.inference import input_check, preview
from synthct_jax.inference.loaded_model import (
    LoadedModel,
    load_model,
    load_model_file,
)
from synthct_jax.inference.synthesis import to_network, translate_input
from synthct_jax.metrics import tissues
from synthct_jax.quality.assessment import Assessment
from synthct_jax.quality.features import OUTPUT
from synthct_jax.quality.regions import find_body, find_regions
from synthct_jax.quality.viewer import write_viewer

NOT_A_DEVICE = (
    "Synthetic CT, estimated from MR by a neural network; not measured with X-rays. "
    "For research only: not a medical device, not for diagnosis or treatment."
)


def translate(
    scan: str,
    output: Path,
    *,
    workdir: Path | None = None,
    step: int | None = None,
    model: str | None = None,
    views: int | None = None,
    loaded: LoadedModel | None = None,
    series: Sequence[str] = (),
    pseudonymise: bool = False,
    force: bool = False,
    structures: bool = False,
) -> dict[str, Any]:
    """Translate one scan; the folder `output` appears complete or not at all.

    Args:
        scan: a DICOM folder, or NIfTI files, comma-separated in the order of the
            channels: see `read_scan`.
        output: a folder that does not exist, or is empty.
        workdir: the run whose generator to use.
        step: of the checkpoint, see `load_model`.
        model: without `workdir`, a model file or the name of a shipped model; None for
            the shipped one that fits the channels of the scan.
        views: of each slice to average over, see `views_of`; by default those of the
            generator's configuration.
        loaded: the generator itself, in place of workdir, step and model.
        series: names of DICOM series to choose among, see `dicom_choice.named`.
        pseudonymise: whether nothing in `output` may say who the patient is: the CT
            series has a made-up patient, study and frame of reference then.
        force: whether to translate also what a calibrated model refuses. CT series and
            sheet say so.
        structures: whether to write OUT/structures.dcm, see `find_regions`.

    Returns:
        The content of OUT/report.json.

    Raises:
        FileExistsError: `output` is not empty.
        FileNotFoundError, ValueError: as for `load_model`, `load_model_file` and
            `read_scan`; no shipped model fits the scan; or the MR is unlike those
            that the model was calibrated on.
        FloatingPointError: the network's output is not finite.
    """
    files.check_vacant(output)
    _check_outside(output, scan)
    read_from = scan
    if loaded is None and workdir is None and model is None:
        name, read_from = choose_shipped(scan, series)
        loaded = _load_shipped(name, views)
    elif loaded is None:
        loaded = load(workdir, step, model)
    complete = loaded.with_views(views)
    mr = read_mr(read_from, complete, series)
    loaded = complete.with_channels(mr.channels)
    choice = dict(getattr(mr.origin, "choice", None) or {})
    axial = to_axial(mr)
    network_input = to_network(loaded, axial)
    body = network_input.body
    quality = Assessment(loaded, network_input.mr)
    if quality.refusal and not force:
        raise UnusableScan(f"--input: {quality.refusal}")
    warnings = [
        f"there is no {name}: the CT is of {', '.join(mr.channels)} alone, and no "
        "limits of the model apply"
        for name in complete.data["mr_channels"]
        if name not in mr.channels
    ]
    warnings += list(
        input_check.find_differences(
            axial,
            body,
            data=loaded.data,
            training_mr=loaded.training_mr,
            calibrated=loaded.quality is not None,
        )
    )
    for warning in (*warnings, *quality.unusual()):
        logging.warning("%s", warning)
    warnings += choice.pop("warnings", [])
    versions = library_versions()
    masked = loaded.data["mask_outside_body"]
    outside_body = "set to air" if masked else "as translated"
    with files.new_folder(output) as folder:
        hu, spread = np.empty((2, *body.shape), np.float32)
        with CtSeries(
            folder / "dicom",
            axial,
            software=f"synthct_jax {versions['synthct_jax']}",
            model=_model_name(loaded),
            remark=f"{_made_by(loaded)}outside the body {outside_body}",
            refused=quality.refusal is not None,
            pseudonymise=pseudonymise,
        ) as ct_series:
            warnings += [
                f"{keyword} of the MR is damaged, and not in the CT series"
                for keyword in ct_series.left_out
            ]
            start = 0
            countdown = Countdown(len(body), "slices", every_seconds=2)
            for batch, batch_spread in translate_input(loaded, network_input):
                ct_series.write(batch, start)
                countdown.log(count=len(batch))
                stop = start + len(batch)
                hu[start:stop], spread[start:stop] = batch, batch_spread
                start = stop
        rounded = np.round(hu).astype(np.int16)
        write_nifti(folder / "synthetic_ct.nii.gz", rounded, axial)
        if loaded.has_spread:
            # A tenth of a HU: the file is a quarter as large.
            write_nifti(folder / "uncertainty.nii.gz", np.round(spread, 1), axial)
        inside = find_body(hu, body)
        if structures:
            known_spread = spread if loaded.has_spread else None
            regions = find_regions(inside, known_spread, axial.spacing_mm)
            write_structures(folder / STRUCTURES, ct_series, regions)
        preview.write_preview(folder / "preview.png", axial, hu, body=body)
        quality.add_output(
            network_input.to_grid(hu, AIR_HU),
            network_input.to_grid(spread, 0) if loaded.has_spread else None,
        )
        for warning in quality.unusual(OUTPUT):
            logging.warning("%s", warning)
        made = {
            "notice": NOT_A_DEVICE,
            "created": datetime.datetime.now(datetime.UTC).isoformat(
                timespec="seconds"
            ),
            "input": None if pseudonymise else scan,
            "pseudonymised": pseudonymise,
            "generator": dict(loaded.identity),
        }
        document = quality.write(folder, made, warnings, mr=axial, hu=hu, body=body)
        write_viewer(folder, document, mr=axial, hu=hu)
        report = {
            **made,
            "quality": document["outcome"],
            "mr_channels": list(mr.channels),
            "series": choice or None,
            "grid": {
                "slices_rows_columns": list(axial.voxels.shape[:3]),
                "spacing_mm": [round(mm, 5) for mm in axial.spacing_mm],
                "network_spacing_mm": loaded.data["spacing_mm"],
            },
            "outside_body": outside_body,
            "hu": hu_statistics(hu, inside),
            "views": loaded.views,
            "uncertainty_hu": {
                "mean": round(float(spread[inside].mean()), 1),
                "percentile_95": round(float(np.percentile(spread[inside], 95)), 1),
            }
            if loaded.has_spread and inside.any()
            else None,
            "warnings": warnings + quality.unusual() + quality.unusual(OUTPUT),
            "versions": versions,
            "trained_with_versions": dict(loaded.versions),
        }
        (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def load(workdir: Path | None, step: int | None, model: str | None) -> LoadedModel:
    """Read the generator of a run, or else a model file; errors as in `translate`."""
    return load_model_file(model) if workdir is None else load_model(workdir, step)


@functools.lru_cache(maxsize=4)
def _load_shipped(name: str, views: int | None) -> LoadedModel:
    """Read a shipped model once, so that it is compiled once for many patients."""
    return load_model_file(name).with_views(views)


def _check_outside(output: Path, scan: str) -> None:
    """Raise ValueError if the CT would be read with the MR the next time."""
    if Path(scan).resolve() in output.resolve().parents:
        raise ValueError(f"--output={output}: lies in the folder of the MR, {scan}")


def translate_all(
    patients: Path,
    output: Path,
    *,
    workdir: Path | None = None,
    step: int | None = None,
    model: str | None = None,
    views: int | None = None,
    series: Sequence[str] = (),
    pseudonymise: bool = False,
    force: bool = False,
    structures: bool = False,
) -> tuple[list[str], dict[str, str]]:
    """Translate all patients of a folder, each into a folder of its name in `output`.

    One that has such a folder is done, and one that fails does not stop the others.

    Args:
        patients: each subfolder, zip archive or volume file in it is a scan.
        workdir, step, model, views, series, pseudonymise, force, structures: as for
            `translate`. The folders in `output` keep the names of those in `patients`.

    Returns:
        The names of those that are done, and why the others failed, by name.

    Raises:
        FileNotFoundError, ValueError: there is no such generator; or the folder holds
            no scan, two of one name, or files of single channels.
    """
    loaded = None
    if workdir is not None or model is not None:
        loaded = load(workdir, step, model).with_views(views)
    scans = _find_patients(patients)
    finished = [name for name in scans if (output / name / "report.json").exists()]
    done, failures = [], {}
    countdown = Countdown(len(scans), "patients", done=len(finished))
    for name, path in scans.items():
        try:
            if name in finished:
                _check_finished(output / name, pseudonymise, structures)
            else:
                translate(
                    str(path),
                    output / name,
                    views=views,
                    loaded=loaded,
                    series=series,
                    pseudonymise=pseudonymise,
                    force=force,
                    structures=structures,
                )
                countdown.log(name)
            done.append(name)
        except (OSError, ValueError, FloatingPointError) as error:
            failures[name] = str(error)
            logging.error("%s failed: %s", name, error)
            if name not in finished:
                countdown.log(f"{name} failed")
    return done, failures


def _check_finished(folder: Path, pseudonymise: bool, structures: bool) -> None:
    """Raise ValueError unless a finished translation is what would be written now."""
    report = json.loads((folder / "report.json").read_text())
    if pseudonymise and not report.get("pseudonymised"):
        raise ValueError(
            f"{folder} holds a translation that is not pseudonymised: remove it, or "
            "name another --output"
        )
    if structures and not (folder / STRUCTURES).exists():
        raise ValueError(
            f"{folder} holds a translation without {STRUCTURES}: remove it, or name "
            "another --output"
        )


def _find_patients(patients: Path) -> dict[str, Path]:
    """Return the scan of each patient by name; errors as in `translate_all`."""
    scans = list_scans(patients)
    for path in scans.values():
        if path.is_file() and channels_in_name(path.name):
            raise ValueError(
                f"{path}: the name is that of one channel, expected all files of a "
                "patient in a folder"
            )
    return scans


def choose_shipped(scan: str, series: Sequence[str] = ()) -> tuple[str, str]:
    """Return the shipped model for the channels of a scan, and what to read.

    Raises:
        FileNotFoundError, ValueError: as for `find_channels` and `choose_model`.
    """
    paths = find_channels(scan, series=series)
    path = model_file.choose_model(paths)
    inputs = model_file.read_card(path)["inputs"]
    logging.info(
        "Chosen: %s, which takes %s; the input has %s. --model names another",
        *(path.stem, ", ".join(inputs), ", ".join(paths)),
    )
    return path.stem, ",".join(dict.fromkeys(paths[name] for name in inputs))


def read_mr(scan: str, model: LoadedModel, series: Sequence[str] = ()) -> Volume:
    """Read the channels of an MR that a model takes; if it may lack one, those it has.

    An UnusableScan also names the channels of the model.
    """
    names = model.data["mr_channels"]
    try:
        # As many files as channels are all of them, in their order.
        if optional_channels(model.data) and len(split_paths(scan)) != len(names):
            paths = find_channels(scan, series=series)
            if present := [name for name in names if name in paths]:
                names = present
                scan = ",".join(dict.fromkeys(paths[name] for name in names))
        mr = read_scan(scan, modality="MR", channels=tuple(names), series=series)
        input_check.check_values(mr)
        return mr
    except FileNotFoundError:
        raise
    except ValueError as error:
        raise UnusableScan(f"--input: {error} ({model.channel_needs})") from error


def hu_statistics(hu: np.ndarray, body: np.ndarray) -> dict[str, Any] | None:
    """Return mean, percentiles and fractions of the HU bands in the body.

    Args:
        hu: synthetic CT, (slices, rows, columns).
        body: bool of that shape, see `find_body`; None is returned if it is empty.
    """
    inside = hu[body]
    if not inside.size:
        return None
    low, median, high = np.percentile(inside, (1, 50, 99))
    levels = {"mean": inside.mean(), "percentile_1": low}
    levels |= {"median": median, "percentile_99": high}
    return {
        **{name: round(float(level), 1) for name, level in levels.items()},
        "fraction_of_body": {
            name: round(float(((inside >= start) & (inside < end)).mean()), 4)
            for name, (start, end) in tissues.BANDS.items()
        },
    }


def _model_name(model: LoadedModel) -> str:
    """Return the name of a model file, or the step of a run."""
    return model.identity.get("model") or f"step {model.identity['step']}"


def _made_by(model: LoadedModel) -> str:
    """Return the name of a model file, for DICOM: a run has only a path of its own."""
    if "model" not in model.identity:
        return ""
    return "model {model}, digest {digest}; ".format(**model.identity)
