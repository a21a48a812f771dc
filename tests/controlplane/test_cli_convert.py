"""Converted manifests against a real API server: the TuningJob, and the Job of its first trial."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.controlplane.played_trials import KEYS
from tests.testbed.controlplane import ControlPlane

from tuning_operator.api.metadata import API_VERSION
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.dry_run import dry_run_job
from tuning_operator.cli.convert.conversion import convert
from tuning_operator.cli.convert.settings import Settings
from tuning_operator.search.check import load_job

FOLDER = Path(__file__).parents[1] / "unit" / "cli" / "convert" / "manifests"
MANIFESTS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yaml"))}


@pytest.mark.parametrize("name", MANIFESTS)
async def test_the_server_takes_a_converted_job_and_its_first_trial(
    crds: ControlPlane, namespace: str, client: Client, name: str
) -> None:
    found = convert(MANIFESTS[name], Settings(total=100))
    assert found.manifest is not None
    manifest = {**found.manifest, "metadata": {**found.manifest["metadata"], "namespace": namespace}}
    crds.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(manifest))

    job = load_job(manifest)
    trial = {
        "apiVersion": API_VERSION,
        "kind": "Trial",
        "metadata": {"name": f"{job.metadata.name}-0000", "namespace": namespace, "uid": "0-0-0-0-0"},
        "spec": {
            "job": job.metadata.name,
            "number": 0,
            "seed": 1,
            "parameters": {one.name: one.choices[0] if one.choices else one.min for one in job.spec.parameters},
        },
    }
    assert await dry_run_job(client, job.spec, trial=trial, public_key=KEYS.public_pem, queue={}) is None
