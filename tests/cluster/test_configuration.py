"""The cluster files are valid by Ray's own schemas, and declare what the applications hold."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import yaml

CLUSTER = Path(__file__).resolve().parents[2] / "cluster"


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((CLUSTER / name).read_text(encoding="utf-8"))
    return document


def ray_file(name: str) -> Path:
    spec = find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / name


def test_the_aws_cluster_is_valid_by_rays_schema() -> None:
    schema = json.loads(ray_file("autoscaler/ray-schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(read("aws.yaml"), schema)


def test_the_aws_cluster_has_cpu_and_gpu_workers_that_leave_when_idle() -> None:
    cluster = read("aws.yaml")
    workers = {name: node for name, node in cluster["available_node_types"].items() if name != "head"}
    assert workers.keys() == {"cpu_worker", "gpu_worker"}
    assert all(node["min_workers"] <= node["max_workers"] for node in workers.values())
    assert cluster["idle_timeout_minutes"] > 0


def test_every_node_authenticates() -> None:
    cluster = read("aws.yaml")
    for commands in (cluster["head_start_ray_commands"], cluster["worker_start_ray_commands"]):
        assert all("RAY_AUTH_MODE=token" in command for command in commands if "ray start" in command)


def test_the_serve_configuration_is_valid_and_declares_every_deployment() -> None:
    from ray.serve.schema import ServeDeploySchema

    document = read("serve.yaml")
    schema = ServeDeploySchema.model_validate(document)
    declared = {app.name: {deployment.name for deployment in app.deployments} for app in schema.applications}
    assert declared == {
        "governance": {"Governance", "SecondTier", "AuditSequencer"},
        "training": {"Training"},
        "retrieval": {"Retrieval"},
        "mlops": {"MLOps"},
        "models": {"ModelRouter", "SlotBlue", "SlotGreen"},
    }
    assert document["http_options"]["host"] == "127.0.0.1"


def test_queues_are_bounded() -> None:
    deployments = [item for app in read("serve.yaml")["applications"] for item in app["deployments"]]
    for deployment in deployments:
        assert 0 < deployment["max_queued_requests"] < 10_000
        assert deployment["max_ongoing_requests"] > 5


def test_a_redeploy_keeps_the_replicas_that_run() -> None:
    deployments = [item for app in read("serve.yaml")["applications"] for item in app["deployments"]]
    # Serve falls back to it with every change of a deployment's configuration.
    assert not any("initial_replicas" in item.get("autoscaling_config", {}) for item in deployments)


def test_models_cost_nothing_until_someone_asks_and_flips_reach_all_replicas_at_once() -> None:
    models = next(app for app in read("serve.yaml")["applications"] if app["name"] == "models")
    for deployment in models["deployments"]:
        assert deployment["autoscaling_config"]["min_replicas"] == 0
        assert deployment["rolling_update_percentage"] == 1.0


def test_the_runtime_environment_is_one_that_ray_accepts() -> None:
    from ray.runtime_env import RuntimeEnv

    assert RuntimeEnv(**read("runtime_env.yaml"))["env_vars"]["HF_HUB_OFFLINE"] == "1"
