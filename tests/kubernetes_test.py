"""The manifests, against the published schemas and against the program."""

import copy
import importlib.util
import os
import re
from pathlib import Path

import pytest
import yaml
from absl import flags
from conftest import REPOSITORY

from synthct_jax import main

FOLDER = REPOSITORY / "launch" / "kubernetes"
MANIFESTS = ("gpu", "tpu")
# The oldest Kubernetes that is supported here, and the newest schemas there are.
VERSIONS = ("1.31", None)

# Fields of JobSet that the manifests may use: api/jobset/v1alpha2/jobset_types.go of
# kubernetes-sigs/jobset. The Jobs inside are Kubernetes' own.
JOBSET = {"apiVersion", "kind", "metadata", "spec"}
SPEC = {"replicatedJobs", "network", "failurePolicy", "coordinator"}
NETWORK = {"enableDNSHostnames", "subdomain", "publishNotReadyAddresses"}
COORDINATOR = {"replicatedJob", "jobIndex", "podIndex"}
FAILURE_POLICY = {"maxRestarts", "restartStrategy", "rules"}
STRATEGIES = {"Recreate", "BlockingRecreate"}
RULE = {"name", "action", "onJobFailureReasons", "targetReplicatedJobs"}
ACTIONS = {"FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"}
REPLICATED_JOB = {"name", "replicas", "template"}


@pytest.fixture(params=MANIFESTS)
def jobset(request) -> dict:
    return load(request.param)


def load(name: str) -> dict:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text())


def job_of(jobset: dict) -> dict:
    (job,) = jobset["spec"]["replicatedJobs"]
    return job["template"]["spec"]


def container_of(jobset: dict) -> dict:
    (container,) = job_of(jobset)["template"]["spec"]["containers"]
    return container


def validate(jobset: dict, version: str | None) -> None:
    """Raises for a Job that Kubernetes would refuse, or that has a field it ignores."""
    if importlib.util.find_spec("kubernetes_validate") is None:
        message = "kubernetes-validate is not installed"
        if os.environ.get("SYNTHCT_REQUIRE_PROGRAMS"):
            pytest.fail(message)
        pytest.skip(message)
    import kubernetes_validate

    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "job"},
        "spec": job_of(jobset),
    }
    version = version or kubernetes_validate.latest_version()
    kubernetes_validate.validate(job, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_jobs_follow_the_published_schema(jobset, version):
    validate(jobset, version)
    wrong = copy.deepcopy(jobset)
    rules = job_of(wrong)["podFailurePolicy"]["rules"]
    rules[0]["onExitCode"] = rules[0].pop("onExitCodes")
    with pytest.raises(Exception, match="onExitCode"):
        validate(wrong, version)


def test_what_is_around_them_is_what_jobset_knows(jobset):
    assert jobset["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    assert jobset["kind"] == "JobSet"
    assert set(jobset) == JOBSET
    spec = jobset["spec"]
    assert set(spec) <= SPEC
    assert set(spec["network"]) <= NETWORK
    policy = spec["failurePolicy"]
    assert set(policy) <= FAILURE_POLICY
    assert policy["restartStrategy"] in STRATEGIES
    (job,) = spec["replicatedJobs"]
    assert set(job) == REPLICATED_JOB
    for rule in policy["rules"]:
        assert set(rule) <= RULE and rule["action"] in ACTIONS
        assert re.fullmatch("[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", rule["name"])
    if "coordinator" in spec:
        assert set(spec["coordinator"]) <= COORDINATOR
        assert spec["coordinator"]["replicatedJob"] == job["name"]


def test_a_stop_restarts_all_without_counting_as_a_failure(jobset):
    job, policy = job_of(jobset), jobset["spec"]["failurePolicy"]
    exit_codes, disruption = job["podFailurePolicy"]["rules"]
    assert exit_codes["action"] == disruption["action"] == "FailJob"
    assert exit_codes["onExitCodes"] == {"operator": "In", "values": [main.STOPPED]}
    assert disruption["onPodConditions"][0]["type"] == "DisruptionTarget"
    (rule,) = policy["rules"]
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    # Other failures are counted, and no process starts again without the others.
    assert policy["maxRestarts"] > 0 and job["backoffLimit"] == 0
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["terminationGracePeriodSeconds"] >= 120


def test_processes_are_as_many_as_pods():
    jobset = load("gpu")
    job = job_of(jobset)
    said = {entry["name"]: entry for entry in container_of(jobset)["env"]}
    count = int(said["JAX_NUM_PROCESSES"]["value"])
    assert job["parallelism"] == job["completions"] == count
    assert job["completionMode"] == "Indexed"
    port = said["JAX_COORDINATOR_ADDRESS"]["value"].split(":")[1]
    assert {"containerPort": int(port)} in container_of(jobset)["ports"]
    # A variable can be used by those that come after it.
    names = list(said)
    assert names.index("COORDINATOR") < names.index("JAX_COORDINATOR_ADDRESS")


def test_a_slice_is_whole():
    jobset = load("tpu")
    job = job_of(jobset)
    assert job["parallelism"] == job["completions"]
    selector = job["template"]["spec"]["nodeSelector"]
    topology = selector["cloud.google.com/gke-tpu-topology"].split("x")
    chips = container_of(jobset)["resources"]["limits"]["google.com/tpu"]
    assert int(topology[0]) * int(topology[1]) == chips * job["parallelism"]


def test_the_program_knows_its_arguments(jobset):
    command = container_of(jobset)["command"]
    assert command[:3] == ["python", "-m", "synthct_jax.main"]
    given = dict(argument.removeprefix("--").split("=") for argument in command[3:])
    assert set(given) == {"config", "data_dir", "workdir"}
    assert set(given) <= set(flags.FLAGS)
    assert (REPOSITORY / given["config"]).is_file()
    mounts = [mount["mountPath"] for mount in container_of(jobset)["volumeMounts"]]
    for folder in (given["data_dir"], given["workdir"]):
        assert any(Path(mount) in Path(folder).parents for mount in mounts)
