"""Runs in Beam's environment (make beam-test), and is skipped in the ordinary one."""

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from paths import REPOSITORY
from tiny_scans import hashes, own_config, tiny_phantom, write_scan, write_subjects

pytest.importorskip("apache_beam")

from absl import flags
from absl.testing import flagsaver
from apache_beam.options.pipeline_options import PipelineOptions

from input_pipeline.beam import __main__ as entry
from input_pipeline.beam import pipeline
from input_pipeline.preparation import shards
from input_pipeline.preparation.jobs import PhantomJob, SliceFormat
from input_pipeline.preparation.prepare import prepare
from input_pipeline.volume import UnusableScan

HERE = "--runner=FnApiRunner"  # DirectRunner without its attempt to download another
ENTRY = ("-m", "input_pipeline.beam")
TINY = (
    "--config=configs/phantom.py",
    "--config.data.size=32",
    "--config.data.spacing_mm=12.0",
    "--config.phantom.train_mr=2",
    "--config.phantom.train_ct=1",
    "--config.phantom.validation=1",
    "--config.phantom.test=1",
    "--config.phantom.slices=3",
)


def prepare_with_beam(config, raw_dir, data_dir, *options):
    write = functools.partial(pipeline.write, options=PipelineOptions([HERE, *options]))
    return prepare(config, raw_dir, data_dir, write=write)


def run(*arguments, python=sys.executable, **kwargs):
    return subprocess.run(
        [python, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        **kwargs,
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Hashes of the tiny phantom as one process prepares it."""
    data_dir = tmp_path_factory.mktemp("tiny") / "data"
    prepare(tiny_phantom(), None, data_dir, workers=1)
    found = hashes(data_dir)
    assert len(found) == 17  # 8 shards, 6 of TFDS's, 2 sheets, prepared.json
    return found


# --- the same bytes -------------------------------------------------------------------


def test_phantoms_have_the_bytes_of_the_local_preparation(tmp_path, tiny):
    prepare_with_beam(tiny_phantom(), None, tmp_path / "data")
    assert hashes(tmp_path / "data") == tiny
    assert os.listdir(tmp_path) == ["data"]


def test_shards_that_cut_volumes_have_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 4 * 32 * 32 * 2)
    config = tiny_phantom(train_mr=1, train_ct=3, validation=0, test=1)
    prepare(config, None, tmp_path / "processes", workers=1)
    prepare_with_beam(config, None, tmp_path / "beam")
    found = hashes(tmp_path / "processes")
    assert "slices/ct/1.0.0/slices-train.array_record-00001-of-00002" in found
    assert found == hashes(tmp_path / "beam")


def test_scans_have_the_same_bytes(tmp_path):
    write_subjects(tmp_path / "raw", mr=["a", "b", "both"], ct=["c", "both"])
    prepare(own_config(), tmp_path / "raw", tmp_path / "processes", workers=2)
    prepare_with_beam(own_config(), tmp_path / "raw", tmp_path / "beam")
    found = hashes(tmp_path / "processes")
    # 3 shards, 4 of TFDS's, 2 sheets, prepared.json, names of the subjects
    assert len(found) == 11 and found == hashes(tmp_path / "beam")


def test_command_with_worker_processes_writes_the_same_bytes(tmp_path, tiny):
    """And nobody imports what takes its place on an accelerator's machine."""
    done = run(
        "-c",
        "import runpy, sys\n"
        "try:\n"
        f"    runpy.run_module({ENTRY[1]!r}, run_name='__main__', alter_sys=True)\n"
        "finally:\n"
        "    print('jax' in sys.modules, 'tensorflow' in sys.modules)",
        *TINY,
        f"--data_dir={tmp_path / 'data'}",
        "--",
        HERE,
        "--direct_running_mode=multi_processing",
        "--direct_num_workers=2",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False False"
    assert hashes(tmp_path / "data") == tiny


@pytest.mark.skipif(
    not (REPOSITORY / ".venv/bin/python").exists(), reason="no ordinary environment"
)
def test_ordinary_environment_writes_the_same_bytes(tmp_path, tiny):
    """Its protobuf and its pillow are newer."""
    script = (
        "import sys\n"
        "sys.path.insert(0, 'tests/support')\n"
        "from tiny_scans import tiny_phantom\n"
        "from input_pipeline.preparation.prepare import prepare\n"
        "prepare(tiny_phantom(), None, sys.argv[1], workers=1)"
    )
    done = run(
        "-c", script, str(tmp_path / "data"), python=REPOSITORY / ".venv/bin/python"
    )
    assert done.returncode == 0, done.stderr
    assert hashes(tmp_path / "data") == tiny


def test_dask_cluster_that_loses_a_worker_writes_the_same_bytes(tmp_path, tiny):
    (port,) = _free_ports(1)
    address = f"tcp://localhost:{port}"
    marker = tmp_path / "killed"
    worker = ("dask", "worker", address, "--no-nanny", "--nthreads=1", "--no-dashboard")
    with contextlib.ExitStack() as stack:
        start = functools.partial(_running, folder=tmp_path)
        scheduler = ("dask", "scheduler", "--host=localhost", f"--port={port}")
        stack.enter_context(start(*scheduler, "--no-dashboard"))
        _await_server(port)
        workers = [stack.enter_context(start(*worker)) for _ in range(2)]
        done = run(
            REPOSITORY / "tests/support/fatal_job.py",
            address,
            tmp_path / "data",
            marker,
            env=_worker_environment(),
        )
        assert done.returncode == 0, done.stderr
        assert marker.exists()
        assert sorted(worker.poll() or 0 for worker in workers) == [-signal.SIGKILL, 0]
    assert hashes(tmp_path / "data") == tiny


@pytest.mark.slow
def test_job_service_and_its_workers_write_the_same_bytes(tmp_path, tiny):
    """What FlinkRunner and SparkRunner speak, to workers that someone else started."""
    job_port, worker_port = _free_ports(2)
    services = (
        (
            "apache_beam.runners.portability.local_job_service_main",
            f"--port={job_port}",
            f"--staging_dir={tmp_path / 'staging'}",
        ),
        (
            "apache_beam.runners.worker.worker_pool_main",
            f"--service_port={worker_port}",
        ),
    )
    with contextlib.ExitStack() as stack:
        for service in services:
            stack.enter_context(_running(*service, folder=tmp_path))
        for port in (job_port, worker_port):
            _await_server(port)
        done = run(
            *ENTRY,
            *TINY,
            f"--data_dir={tmp_path / 'data'}",
            "--",
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{job_port}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{worker_port}",
        )
    assert done.returncode == 0, done.stderr
    assert hashes(tmp_path / "data") == tiny


def _free_ports(count):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _worker_environment():
    # Workers are started as `python`, and look for the package there.
    folders = [str(REPOSITORY), str(REPOSITORY / "tests/support")]
    return os.environ | {
        "PYTHONPATH": ":".join(folders),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


@contextlib.contextmanager
def _running(*arguments, folder):
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,  # elsewhere than the command
        env=_worker_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _await_server(port):
    for _ in range(300):
        try:
            socket.create_connection(("localhost", port), timeout=1).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.2)
    raise TimeoutError(f"nobody listens on port {port}")


# --- whole or not at all --------------------------------------------------------------


def test_all_refusals_are_listed_and_nothing_is_left_behind(tmp_path):
    write_subjects(tmp_path / "raw", mr=["a", "b"], ct=["c", "d"])
    (tmp_path / "raw/mr/b/out_of_phase.nii.gz").unlink()
    write_scan(tmp_path / "raw/ct/d/ct.nii.gz", (-1000, -1000))
    messages = []
    for way in (functools.partial(prepare, workers=1), prepare_with_beam):
        with pytest.raises(UnusableScan) as caught:
            way(own_config(), tmp_path / "raw", tmp_path / "data")
        messages.append(str(caught.value))
        assert os.listdir(tmp_path) == ["raw"]
    assert messages[0] == messages[1]
    assert messages[0].startswith("2 of 4 scans cannot be used")


def test_failed_pipeline_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(shards, "write_shard", fail)
    with pytest.raises(OSError, match="disk full"):
        prepare_with_beam(tiny_phantom(), None, tmp_path / "data")
    assert os.listdir(tmp_path) == []


def test_two_attempts_at_a_subject_have_files_of_their_own(tmp_path):
    config = tiny_phantom()
    job = PhantomJob(
        name="p",
        split="train",
        domains=("ct",),
        seed=1,
        slices=2,
        slice_mm=6.0,
        contrast=config.phantom.contrast,
        scanner="reference",
        anatomy="reference",
    )
    slice_format = SliceFormat(
        size=32,
        spacing_mm=12.0,
        mr_channels=("in_phase",),
        mask_outside_body=True,
        mr_percentile=99.5,
    )
    (place, (one,)), (again, (other,)) = (
        pipeline._store_subject((7, job), slice_format, tmp_path) for _ in range(2)
    )
    assert place == again == 7 and one.path != other.path
    assert one.path.read_bytes() == other.path.read_bytes()
    with pytest.raises(FileNotFoundError, match="all workers have mounted"):
        pipeline._store_subject((7, job), slice_format, tmp_path / "elsewhere")


# --- the command ----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # of configs
@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--runner=FnApiRunner"], "flag 'runner'; options of Beam follow --"),
        (["RAW"], "'RAW' is not a flag"),
        ([], "Beam's --runner is needed"),
        (["--", "--runer=FnApiRunner"], "Beam's --runner is needed"),
        (["--config.data.sise=3"], "the configuration has no field 'sise'"),
        (["--config=configs/phantom.py:inn"], "phantom.py has no variant 'inn'"),
        (["--config=configs/folder.py", "--", HERE], "needs the folder of its scans"),
        (["--data_dir=tests", "--", HERE], "tests holds "),
    ],
)
def test_usage_errors_are_named_in_one_line(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(REPOSITORY)
    # ml_collections looks for overrides of the configuration there.
    command = ["beam", TINY[0], f"--data_dir={tmp_path / 'data'}", *arguments]
    monkeypatch.setattr(sys, "argv", command)
    with flagsaver.flagsaver():
        flags.FLAGS.unparse_flags()
        try:
            status = entry.main(entry.parse_flags(sys.argv))
        except SystemExit as stopped:
            status = stopped.code
    error = capsys.readouterr().err.splitlines()[-1]
    assert status == 2 and error.startswith("error: ") and message in error
    assert os.listdir(tmp_path) == []
