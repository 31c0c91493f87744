"""The manifests, against the published schemas and against the program."""

import copy
import re
import signal
from pathlib import Path

import pytest
import yaml
from paths import REPOSITORY
from programs import need

from synthct_jax import flags
from synthct_jax.runtime.signals import RESUMABLE

FOLDER = REPOSITORY / "launch" / "kubernetes"
MANIFESTS = ("gpu", "tpu")
# The oldest Kubernetes that is supported here, and the newest schemas there are.
VERSIONS = ("1.31", None)

# What JobSet's schema leaves to its text: api/jobset/v1alpha2/jobset_types.go of
# kubernetes-sigs/jobset.
STRATEGIES = {"Recreate", "BlockingRecreate"}
ACTIONS = {"FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"}


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
    need("kubernetes_validate")
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
def test_jobs_follow_the_schema_of_kubernetes(jobset, version):
    validate(jobset, version)
    wrong = copy.deepcopy(jobset)
    rules = job_of(wrong)["podFailurePolicy"]["rules"]
    rules[0]["onExitCode"] = rules[0].pop("onExitCodes")
    with pytest.raises(Exception, match="onExitCode"):
        validate(wrong, version)


def as_jobset_knows_it(jobset: dict) -> dict:
    """Without fields that JobSet's published schema does not have.

    Raises:
        ValueError: a field is missing, or is not of its type.
    """
    need("kubeflow_trainer_api")
    from kubeflow_trainer_api.models import jobset_v1alpha2_job_set as schema

    return schema.JobsetV1alpha2JobSet.from_dict(jobset).to_dict()


def around_its_jobs(jobset: dict) -> dict:
    """Without the Jobs: there the schema fills in what Kubernetes would."""
    jobset = copy.deepcopy(jobset)
    for job in jobset["spec"]["replicatedJobs"]:
        del job["template"]["spec"]
    return jobset


def test_jobset_follows_the_published_schema(jobset):
    assert jobset["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    assert jobset["kind"] == "JobSet"
    assert around_its_jobs(as_jobset_knows_it(jobset)) == around_its_jobs(jobset)
    policy = jobset["spec"]["failurePolicy"]
    assert policy["restartStrategy"] in STRATEGIES
    (job,) = jobset["spec"]["replicatedJobs"]
    for rule in policy["rules"]:
        assert rule["action"] in ACTIONS
        assert re.fullmatch("[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", rule["name"])
    coordinator = jobset["spec"].get("coordinator", {"replicatedJob": job["name"]})
    assert coordinator["replicatedJob"] == job["name"]


def test_unknown_field_of_a_jobset_is_noticed(jobset):
    wrong = copy.deepcopy(jobset)
    policy = wrong["spec"]["failurePolicy"]
    policy["maxRestart"] = policy.pop("maxRestarts")
    assert around_its_jobs(as_jobset_knows_it(wrong)) != around_its_jobs(wrong)
    policy["maxRestarts"] = "many"
    with pytest.raises(ValueError, match="maxRestarts"):
        as_jobset_knows_it(wrong)


def test_stopped_training_restarts_all_pods_and_counts_as_no_failure(jobset):
    job, policy = job_of(jobset), jobset["spec"]["failurePolicy"]
    exit_codes, disruption = job["podFailurePolicy"]["rules"]
    assert exit_codes["action"] == disruption["action"] == "FailJob"
    # Saved; or ended by SIGTERM before there was anything to save.
    statuses = [RESUMABLE, 128 + signal.SIGTERM]
    assert exit_codes["onExitCodes"] == {"operator": "In", "values": statuses}
    assert disruption["onPodConditions"][0]["type"] == "DisruptionTarget"
    (rule,) = policy["rules"]
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    # Other failures are counted, and no process starts again without the others.
    assert policy["maxRestarts"] > 0 and job["backoffLimit"] == 0
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["terminationGracePeriodSeconds"] >= 120


def test_number_of_processes_is_the_number_of_pods():
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


def test_pods_fill_a_tpu_slice():
    jobset = load("tpu")
    job = job_of(jobset)
    assert job["parallelism"] == job["completions"]
    selector = job["template"]["spec"]["nodeSelector"]
    topology = selector["cloud.google.com/gke-tpu-topology"].split("x")
    chips = container_of(jobset)["resources"]["limits"]["google.com/tpu"]
    assert int(topology[0]) * int(topology[1]) == chips * job["parallelism"]


def test_arguments_are_flags_of_the_program(jobset):
    command = container_of(jobset)["command"]
    assert command[:3] == ["python", "-m", "synthct_jax.main"]
    given = dict(argument.removeprefix("--").split("=") for argument in command[3:])
    assert set(given) == {"config", "data_dir", "workdir"}
    assert set(given) <= {*flags.flags_of("train")}
    assert (REPOSITORY / given["config"]).is_file()
    mounts = [mount["mountPath"] for mount in container_of(jobset)["volumeMounts"]]
    for folder in (given["data_dir"], given["workdir"]):
        assert any(Path(mount) in Path(folder).parents for mount in mounts)
