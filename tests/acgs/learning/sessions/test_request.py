from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from acgs.errors import AcgsError, ConstitutionMismatchError, InvalidInputError
from acgs.learning.data.dataset import Dataset
from acgs.learning.finetune.config import RunConfig, load_run
from acgs.learning.sessions.request import PlannedRun, Policy, TrainingRequest, plan_run
from acgs.learning.sessions.workspace import SessionFiles

ROWS = [{"prompt": f"question {number}", "response": "answer"} for number in range(20)]
POLICY = Policy(
    bases=("/models/llama", "./models/small", "org/base"),
    label="cdd01ef066bc6cf2",
    digest="6e" * 32,
    compliance_threshold=0.95,
    private_by_default=True,
    max_epsilon=8.0,
    max_delta=1e-5,
    max_training_seconds=86_400,
)


@pytest.fixture
def files(tmp_path: Path) -> SessionFiles:
    return SessionFiles(tmp_path, "7c0e")


def request(**fields: Any) -> TrainingRequest:
    return TrainingRequest.model_validate({"model_name": "tiny", "training_data": ROWS} | fields)


def plan(files: SessionFiles, policy: Policy = POLICY, **fields: Any) -> RunConfig:
    return plan_run(request(**fields), policy, files).config


def test_the_contracts_names_reach_the_run(files: SessionFiles) -> None:
    config = plan(
        files,
        constitutional_constraints={
            "compliance_threshold": 0.97, "stop_below_threshold": True, "learning_rate": 1e-3, "num_epochs": 2,
            "batch_size": 2, "gradient_accumulation_steps": 4, "warmup_steps": 5, "save_steps": 7, "eval_steps": 9,
            "max_new_tokens": 11, "max_length": 128,
        },
        lora_config={"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "lora_dropout": 0.2, "use_rslora": True},
        privacy_config={"epsilon": 4, "run_epsilon": 2, "delta": 1e-6, "max_grad_norm": 0.5, "population": "patients"},
        max_training_time=120,
    )  # fmt: skip
    phase, lora, privacy = config.phases[0], config.lora, config.privacy
    assert (phase.kind, phase.learning_rate, phase.epochs, phase.warmup_steps) == ("sft", 1e-3, 2, 5)
    assert (phase.micro_batch_size, phase.batch_size, phase.max_length, phase.private) == (2, 8, 128, True)
    assert (lora.r, lora.alpha, lora.targets, lora.dropout, lora.rslora) == (4, 8, ("q_proj",), 0.2, True)
    assert privacy is not None
    assert (privacy.target_epsilon, privacy.run_epsilon, privacy.delta) == (4, 2, 1e-6)
    assert (privacy.max_grad_norm, privacy.population) == (0.5, "patients")
    assert (config.checkpoint_every_steps, config.evaluation.every_steps) == (7, 9)
    assert (config.evaluation.max_new_tokens, config.evaluation.compliance_threshold) == (11, 0.97)
    assert config.evaluation.stop_below_threshold
    assert config.max_training_seconds == 120
    assert config.name == files.session_id


def test_a_bare_request_gets_the_published_defaults(files: SessionFiles) -> None:
    config = plan(files)
    assert (config.lora.r, config.lora.alpha, config.lora.dropout) == (16, 32, 0.1)
    assert config.lora.targets == ("q_proj", "k_proj", "v_proj", "o_proj")
    assert config.privacy is not None
    assert (config.privacy.target_epsilon, config.privacy.delta) == (8.0, 1e-5)
    assert (config.max_training_seconds, config.evaluation.compliance_threshold) == (3600, 0.95)


def test_privacy_is_left_out_only_where_the_request_says_so(files: SessionFiles) -> None:
    assert plan(files, privacy_config={"enable_differential_privacy": False}).privacy is None
    assert plan(files, privacy_config={}).privacy is not None


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("llama", "path", Path("/models/llama")),
        ("small", "path", Path("models/small").resolve()),
        ("org/base", "hub", "org/base"),
    ],
)
def test_bases_are_those_that_the_deployment_names(files: SessionFiles, name: str, kind: str, value: object) -> None:
    assert getattr(plan(files, model_name=name).base_model, kind) == value


@pytest.mark.parametrize("name", ["base", "org", "models/small", "/models/llama", "other/base", "models", ".."])
def test_other_bases_are_refused(files: SessionFiles, name: str) -> None:
    with pytest.raises((InvalidInputError, ValidationError)):
        plan(files, model_name=name)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"model_name": "gpt-9"}, "model_name"),
    ({"training_data": ROWS[:1]}, "training_data"),
    ({"training_data": [row | {"user": "one"} for row in ROWS]}, "training_data"),
    ({"max_training_time": 1e6}, "max_training_time"),
    ({"constitutional_constraints": {"compliance_threshold": 0.5}}, "constitutional_constraints.compliance_threshold"),
    ({"constitutional_constraints": {"batch_size": 64}}, "constitutional_constraints.batch_size"),
    (
        {"constitutional_constraints": {"batch_size": 4, "gradient_accumulation_steps": 9}},
        "constitutional_constraints.batch_size",
    ),
    ({"constitutional_constraints": {"constitutional_hash": "beef"}}, "constitutional_constraints.constitutional_hash"),
    ({"privacy_config": {"epsilon": 9}}, "privacy_config.epsilon"),
    ({"privacy_config": {"delta": 1e-4}}, "privacy_config.delta"),
    ({"lora_config": {"use_dora": True}}, "body"),
]


@pytest.mark.parametrize(("fields", "field"), BAD, ids=[field for _, field in BAD])
def test_what_cannot_be_run_is_refused_with_its_field_and_nothing_is_written(
    files: SessionFiles, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(AcgsError) as caught:
        plan(files, **fields)
    assert caught.value.field == field
    assert list(files.root.iterdir()) == []


def test_a_delta_that_would_publish_a_row_is_refused(files: SessionFiles) -> None:
    from dataclasses import replace

    with pytest.raises(InvalidInputError, match="below 1/n"):
        plan(files, policy=replace(POLICY, max_delta=0.5), privacy_config={"delta": 1 / 18})


def test_either_name_of_the_constitution_is_accepted(files: SessionFiles) -> None:
    for name in (POLICY.label, POLICY.digest):
        plan(files, constitutional_constraints={"constitutional_hash": name})
    with pytest.raises(ConstitutionMismatchError):
        plan(files, constitutional_constraints={"constitutional_hash": "0" * 16})


@pytest.mark.parametrize(
    "fields",
    [
        {"training_data": []},
        {"training_data": [{"prompt": "a"}]},
        {"training_data": [{"prompt": "", "response": "b"}]},
        {"training_data": [{"prompt": "a", "response": "b", "colour": "red"}]},
        {"colour": "red"},
        {"model_name": None},
        {"max_training_time": 0},
        {"max_training_time": float("nan")},
        {"privacy_config": {"epsilon": 0}},
        {"privacy_config": {"noise_multiplier": 0.1}},
        {"lora_config": {"r": 0}},
        {"lora_config": {"bias": "all"}},
        {"constitutional_constraints": {"learning_rate": -1}},
    ],
)
def test_a_body_outside_the_contract_is_no_request(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        request(**fields)


def stored(files: SessionFiles, rows: list[dict[str, str]]) -> PlannedRun:
    planned = plan_run(request(training_data=rows), POLICY, files)
    files.write(planned.config, planned.train, planned.validation, ["public words"])
    return planned


def test_the_job_reads_back_the_run_and_every_row_once(files: SessionFiles) -> None:
    planned = stored(files, ROWS)
    assert load_run(files.run_file) == planned.config
    dataset = Dataset(planned.config.phases[0].data)
    train, validation = list(dataset.records("train")), list(dataset.records("validation"))
    assert (tuple(train), tuple(validation)) == (planned.train, planned.validation)
    assert validation
    assert sorted(record.prompt[0].content for record in train + validation) == sorted(row["prompt"] for row in ROWS)
    assert planned.config.base_model.tiny is not None
    assert planned.config.base_model.tiny.corpus.read_text() == "public words"


def test_rows_of_one_person_stay_on_one_side(files: SessionFiles) -> None:
    rows = [{"prompt": f"p{number}", "response": "r", "user": f"u{number % 5}"} for number in range(30)]
    planned = stored(files, rows)
    sides = [{record.user for record in side} for side in (planned.train, planned.validation)]
    assert not sides[0] & sides[1]


def test_only_its_owner_may_enter_a_sessions_folder(files: SessionFiles) -> None:
    stored(files, ROWS)
    assert files.folder.stat().st_mode & 0o077 == 0


def test_the_same_rows_in_another_order_are_charged_to_the_same_privacy_account(tmp_path: Path) -> None:
    origins = []
    for name, rows in (("a", ROWS), ("b", ROWS[::-1]), ("c", ROWS[1:])):
        files = SessionFiles(tmp_path, name)
        stored(files, rows)
        origins.append(Dataset(files.data).manifest.origins)
    assert origins[0] == origins[1] != origins[2]
