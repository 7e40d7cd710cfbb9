"""Recipes for clusters, as far as they can be checked without one: job scripts, and manifests against their schema."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SLURM = ROOT / "docs" / "how_to" / "survey_slurm.md"
MANIFESTS = ROOT / "packaging" / "kubernetes" / "survey.yaml"


def test_the_job_script_of_the_page_on_slurm_asks_for_what_it_says():
    jobqueue = pytest.importorskip("dask_jobqueue")
    arguments = re.search(r"SLURMCluster\((cores=.*?)\) as jobs", SLURM.read_text())[1]
    given = eval(f"dict({arguments})")
    with jobqueue.SLURMCluster(**given, scheduler_options={"dashboard_address": None}) as jobs:
        script = jobs.job_script()
    lines = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    assert {"#SBATCH --cpus-per-task=16", "#SBATCH -t 08:00:00"} <= set(lines)
    assert any(re.fullmatch(r"#SBATCH --mem=(60|64)G", line) for line in lines)
    command = script.splitlines()[-1]
    assert all(one in command for one in ("--nthreads 1 ", "--nworkers 16 ", "--nanny"))
    assert re.search(r"--memory-limit (3\.73GiB|4\.00GB)", command), "4 GB for each worker"


def manifests():
    yaml = pytest.importorskip("yaml")
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(MANIFESTS.read_text())}


def test_manifests_of_kubernetes_follow_its_schema():
    validate = pytest.importorskip("kubernetes_validate")
    found = manifests()
    assert len(found) == 5
    for one in found.values():
        validate.validate(one, validate.latest_version(), strict=True)


def test_manifests_of_kubernetes_fit_together():
    found = manifests()
    (port,) = found["Service", "morpheus-scheduler"]["spec"]["ports"]
    address = f"tcp://morpheus-scheduler:{port['port']}"
    pods = {name: one["spec"]["template"] for (_, name), one in found.items() if "template" in one["spec"]}
    commands = {name: pod["spec"]["containers"][0]["command"] for name, pod in pods.items()}
    assert commands["morpheus-scheduler"][:4] == ["dask", "scheduler", "--port", str(port["port"])]
    assert commands["morpheus-workers"][2] == address and "--nthreads" in commands["morpheus-workers"]
    assert commands["morpheus-batch"][-1] == address
    assert len({pod["spec"]["containers"][0]["image"] for pod in pods.values()}) == 1
    labels = found["Service", "morpheus-scheduler"]["spec"]["selector"]
    assert pods["morpheus-scheduler"]["metadata"]["labels"] == labels
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for pod in pods.values()
        for volume in pod["spec"].get("volumes", ())
    }
    assert claims == {"morpheus-survey"} and ("PersistentVolumeClaim", "morpheus-survey") in found
