"""A model's life from training output to production, as a Python interface; `acgs registry` and `acgs release` use it.

manager = MLOpsManager()
version = manager.create_model_version("triage", Path("model"), performance_metrics={"accuracy": 0.91})
manager.stage_model("triage", version["version"], data=Path("held_out.jsonl"))
manager.deploy_model("triage", version["version"])
manager.rollback_model("triage", reason="complaints from ward 3")
"""

from __future__ import annotations

from acgs.mlops.manager import MLOpsManager
from acgs.mlops.tabular import TrainedVersion, train_and_version_model

__all__ = ["MLOpsManager", "TrainedVersion", "train_and_version_model"]
