"""Errors of a synthetic CT, of any program, against the reference CT on its grid."""

from pathlib import Path

from input_pipeline.volume import UnusableScan
from synthct_jax.evaluation.ct_files import (
    check_grid,
    check_table,
    read_ct,
    read_labels,
)
from synthct_jax.evaluation.metric_definitions import named
from synthct_jax.evaluation.per_subject import Images, paired_rows
from synthct_jax.evaluation.results import NETWORK, Row, write_csv
from synthct_jax.evaluation.subjects import EvaluationSubject


def score(synthetic: str, truth: str, mask: str | None = None) -> list[Row]:
    """Compare a synthetic CT with the reference CT of the same patient.

    Args:
        synthetic, truth: volume files, DICOM folders or outputs of `translate`, on one
            grid.
        mask: a volume file whose voxels above 0 are compared; None for the body in the
            reference CT.

    Returns:
        A row for each error, whose subject is `synthetic`.

    Raises:
        FileNotFoundError, ValueError: a file is missing or not what is expected, or
            lies on another grid; names both.
    """
    ct, reference = read_ct(synthetic), read_ct(truth)
    check_grid(synthetic, ct.grid, reference)
    subject = EvaluationSubject(
        name=synthetic,
        domain="ct",  # its outline is that of the reference CT
        stored=reference.voxels,
        spacing_mm=reference.spacing_mm,
        reference_ct=reference.voxels[..., 0],
        labels=None if mask is None else read_labels(mask, reference),
    )
    if not subject.body.any():
        raise UnusableScan(f"{mask or truth}: no voxel of a body, expected some")
    return list(paired_rows(NETWORK, Images(ct.voxels[..., 0], subject)))


def report(
    synthetic: str, truth: str, *, mask: str | None = None, output: Path | None = None
) -> str:
    """Score as `score` does, and return a table for a terminal.

    Args:
        output: a CSV file to write as well, with the columns of an evaluation's
            metrics.csv.

    Raises:
        FileNotFoundError, ValueError: as for `score`; or `output` is no CSV file.
    """
    check_table(output)
    rows = score(synthetic, truth, mask)
    if output is not None:
        write_csv(output, rows)
    return "\n".join(
        f"{row.region:18}{row.metric:18}{row.value:10.3f} {named(row.metric).unit}"
        for row in rows
    )
