"""Assessment of one patient: features as they become known, then the two files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from input_pipeline.dataset.subject_volume import SubjectVolume
from input_pipeline.volume import Volume
from synthct_jax.inference.loaded_model import LoadedModel
from synthct_jax.quality import judgement
from synthct_jax.quality.features import (
    INPUT,
    features_of,
    measure_input,
    measure_output,
)
from synthct_jax.quality.limits import read_limits
from synthct_jax.quality.predicted_error import predict_error
from synthct_jax.quality.sheet import render_sheet

SCHEMA = Path(__file__).with_name("quality.schema.json")
_OF_VIEWS = ("uncertainty_mean_hu", "uncertainty_95_hu")


class Assessment:
    """Features of a patient, judged by the limits of a model's card if it has any."""

    def __init__(self, loaded: LoadedModel, mr: SubjectVolume):
        """Measure the MR.

        Args:
            loaded: the generator.
            mr: the slices that it gets, with its channels.
        """
        self._calibration = loaded.quality or {}
        self._identity, self._mr = loaded.identity, mr
        self._table = features_of(loaded.data["mr_channels"])
        self._limits = {}
        if self._calibration:
            self._limits = read_limits(self._calibration, self._table)
        # With another number of views spread and error are others.
        self._same_views = self._calibration.get("views") == loaded.views
        if not self._same_views:
            for name in _OF_VIEWS:
                self._limits.pop(name, None)
        self._values = measure_input(mr, loaded.data["mr_channels"])

    def add_output(self, hu: np.ndarray, spread: np.ndarray | None) -> None:
        """Measure the synthetic CT.

        Args:
            hu, spread: on the pixels of `mr`, see `measure_output`.
        """
        self._values |= measure_output(self._mr, hu, spread)

    @property
    def findings(self) -> list[judgement.Finding]:
        """All features that are known so far."""
        return judgement.judge(self._values, self._table, self._limits)

    @property
    def refusal(self) -> str | None:
        """Return why the MR is not to be translated; None if it may be."""
        name = self._identity.get("model", "the model")
        return judgement.refusal(self.findings, name)

    def unusual(self, stage: str = INPUT) -> list[str]:
        """Return a sentence for each feature of a stage outside its limits."""
        return [
            finding.describe()
            for finding in self.findings
            if finding.feature.stage == stage
            and finding.verdict in (judgement.WARN, judgement.REFUSE)
        ]

    def to_json(
        self, made: Mapping[str, Any], warnings: Sequence[str]
    ) -> dict[str, Any]:
        """Return the content of quality.json, see quality.schema.json.

        Args:
            made: notice, time, input and generator, for the head of the document.
            warnings: those that are not of features.
        """
        findings = self.findings
        error = None
        if self._same_views:
            error = predict_error(self._calibration, self._values)
        if error is not None:
            feature = self._table.get(error["feature"])
            error["meaning"] = feature and feature.meaning
        outcome = judgement.outcome_of(findings)
        about = ("data", "volumes", "views", "deviations", "alarms")
        return {
            "format": judgement.FORMAT,
            "format_version": judgement.FORMAT_VERSION,
            **made,
            "outcome": outcome,
            "forced": outcome == judgement.REFUSE,
            "sentence": judgement.sentence_of(findings),
            "body_mae_hu": error,
            "calibration": {name: self._calibration[name] for name in about}
            if self._calibration
            else None,
            "features": [finding.to_json() for finding in findings],
            "warnings": list(warnings),
            "not_seen": list(judgement.NOT_SEEN),
        }

    def write(
        self,
        folder: Path,
        made: Mapping[str, Any],
        warnings: Sequence[str],
        *,
        mr: Volume,
        hu: np.ndarray,
        body: np.ndarray,
    ) -> dict[str, Any]:
        """Write quality.json and quality.html; return the content of the first.

        Args:
            made, warnings: see `to_json`.
            mr: in axial order.
            hu, body: on its grid, (slices, rows, columns).
        """
        document = self.to_json(made, warnings)
        text = json.dumps(document, indent=1, allow_nan=False)
        (folder / "quality.json").write_text(text + "\n")
        page = render_sheet(document, mr, hu, body)
        (folder / "quality.html").write_text(page, encoding="utf-8")
        return document
