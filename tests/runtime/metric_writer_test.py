import json
import math

import matplotlib.image
import numpy as np
import pytest

from synthct_jax.runtime.jsonl import read_rows
from synthct_jax.runtime.metric_writer import MetricWriter


def test_rows_up_to_the_resumed_step_survive_a_restart(tmp_path):
    writer = MetricWriter(tmp_path)
    writer.write_scalars(1, {"loss": np.float32(0.5), "broken": math.nan})
    writer.write_scalars(2, {"loss": 0.25})
    writer.close()
    writer = MetricWriter(tmp_path, resumed_at=1)
    writer.write_scalars(2, {"loss": 0.125})
    writer.close()
    assert read_rows(tmp_path / "metrics.jsonl") == [
        {"step": 1, "loss": 0.5, "broken": None},
        {"step": 2, "loss": 0.125},
    ]


def test_restart_removes_the_torn_last_line_of_a_killed_run(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    MetricWriter(tmp_path, resumed_at=5).close()
    assert path.read_text() == '{"step": 1}\n'


def test_images_and_configuration_are_files(tmp_path):
    writer = MetricWriter(tmp_path)
    image = np.zeros((4, 6, 3), np.uint8)
    image[1, 2] = 255
    writer.write_images(500, {"step": image})
    writer.write_hparams({"model": {"width": 4}})
    writer.close()
    read = matplotlib.image.imread(tmp_path / "samples" / "step_000500.png")
    np.testing.assert_array_equal(read[..., :3] * 255, image)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config == {"model": {"width": 4}}


def test_tensorboard_gets_the_same_if_it_is_installed(tmp_path):
    pytest.importorskip("tensorboardX")
    writer = MetricWriter(tmp_path)
    writer.write_scalars(1, {"a_loss": 0.5})
    writer.write_images(1, {"a_picture": np.zeros((4, 6, 3), np.uint8)})
    writer.write_hparams({"a_field": 3})
    writer.close()
    (events,) = (tmp_path / "tensorboard").glob("events*")
    data = events.read_bytes()
    assert all(name in data for name in (b"a_loss", b"a_picture", b"a_field"))


def test_other_processes_write_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer = MetricWriter(None)
    writer.write_scalars(1, {"loss": 0.5})
    writer.write_images(1, {"step": np.zeros((4, 6, 3), np.uint8)})
    writer.write_hparams({})
    writer.close()
    assert not list(tmp_path.iterdir())
