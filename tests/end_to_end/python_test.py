"""The example of docs/python.md works as it stands there."""

import re

import numpy as np
import pytest
from paths import REPOSITORY
from tiny_run import tiny_config

from input_pipeline.phantom import draw_subject
from input_pipeline.phantom.dicom import write_dicom
from synthct_jax.configs import phantom
from synthct_jax.runtime import environment


@pytest.mark.slow
def test_example_of_the_page_works(tmp_path, monkeypatch, capsys):
    page = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(environment, "set_environment", lambda: None)  # JAX is there
    config = tiny_config()
    monkeypatch.setattr(phantom, "get_config", {"in_out": config}.__getitem__)
    (tmp_path / "MR").mkdir()
    subject = draw_subject(77, size=96, spacing_mm=4.0, slices=4, slice_mm=20.0)
    write_dicom(tmp_path / "MR", subject)
    values = {}
    exec(program, values)
    assert values["report"]["generator"]["model"] == "in_out_noncontrast"
    assert values["hu"].shape == (4, 96, 96)
    assert np.median(values["hu"][values["body"]]) > -300
    assert values["evaluation"].report.is_file()
    assert values["own"].data["mr_channels"] == ("in_phase", "out_of_phase")
    assert "report.html Interval(" in capsys.readouterr().out
