"""A run that makes a harm adapter: the private adapter, and where asked for the models it is compared with."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from acgs.constitution.lock import LockedConstitution
from acgs.errors import InvalidInputError
from acgs.files import write_atomic
from acgs.governance.harm_adapter import MANIFEST, HarmAdapterManifest, write_harm_adapter
from acgs.learning.finetune.config import check_settings
from acgs.learning.guard.auroc_comparison import Comparison, compare
from acgs.learning.guard.frozen_baseline import fit_frozen
from acgs.learning.guard.harm_card import harm_card
from acgs.learning.guard.harm_corpus import HARM_SETS, HarmCorpus, load_harm_corpus, public_texts
from acgs.learning.guard.private_adapter import (
    PlainSettings,
    PrivateSettings,
    Report,
    Texts,
    build_model,
    train_plainly,
    train_privately,
)
from acgs.learning.guard.upper_layers import UpperLayers, logits_of, lower_states, vectors_of
from acgs.privacy.budget import BudgetGuard
from acgs.privacy.ledger import DataSet, Ledger
from acgs.privacy.plan import PrivacyPlan, plan_privacy
from acgs.privacy.statement import PrivacyStatement, state_privacy

RUN: Final = "run.json"
CHECKPOINT: Final = "checkpoint.safetensors"
FROZEN: Final = "frozen MiniLM, linear head"
PLAIN: Final = "LoRA"
PRIVATE: Final = "LoRA with DP"
MOST_NOISE: Final = 32.0
"""Noise multiplier above which a run is refused: it would spend the last of a budget on nothing."""
_OWNER: Final = "train_jobs.guard_adapter"

Scores = NDArray[np.float64]


class WarmStart(BaseModel):
    """Training without privacy on public text, before the private training begins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sets: tuple[str, ...] = Field(("openai_moderation",), description="public sets; none of those that are protected")
    phrases: int = Field(2000, ge=0, description="generated from the lexicon, in addition")
    training: PlainSettings = PlainSettings(epochs=1)


class HarmConfig(BaseModel):
    """Everything that determines a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("guard-adapter", pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    sets: tuple[str, ...] = HARM_SETS
    seed: int = 20260101
    max_tokens: int = Field(64, ge=8, le=192)
    population: str = Field("public", description="whose texts these are, for the privacy ledger")
    accountant: Literal["rdp", "prv", "larger"] = "larger"
    warm_start: WarmStart | None = WarmStart()
    private: PrivateSettings = PrivateSettings()
    compared: PlainSettings | None = Field(
        None, description="train the same without privacy, and a frozen baseline: for public data only"
    )
    resamples: Annotated[int, Field(ge=1)] = 1000

    @model_validator(mode="after")
    def _warm_start_is_public(self) -> Self:
        shared = set(self.sets) & set(self.warm_start.sets if self.warm_start else ())
        if shared:
            raise ValueError(
                f"{', '.join(sorted(shared))}: what is protected cannot be the public text of the warm start"
            )
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of all settings."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def changed(config: HarmConfig, top: dict[str, Any], private: dict[str, Any]) -> HarmConfig:
    """The same configuration with some settings, and some of its private part, replaced.

    Raises:
        InvalidInputError: a setting does not fit; it is named.
    """
    raw = config.model_dump(mode="json")
    return check_settings(HarmConfig, {**raw, **top, "private": {**raw["private"], **private}}, "options")


@dataclass(frozen=True, slots=True)
class HarmOutcome:
    """What a run came to."""

    comparison: Comparison
    statement: PrivacyStatement
    steps: int
    seconds: dict[str, float]
    """Wall time by model, from untrained to scored."""
    digest: str
    """Of the manifest that was written."""


class HarmRun:
    """One run, charged to the ledger. A killed one goes on from its last checkpoint with the steps that are left."""

    def __init__(
        self, constitution: LockedConstitution, data: Path, output: Path, config: HarmConfig, ledger: Ledger
    ) -> None:
        self._constitution = constitution
        self._data = data
        self._output = output
        self._config = config
        self._ledger = ledger
        self._seconds: dict[str, float] = {}
        self.corpus: HarmCorpus = load_harm_corpus(data, config.sets, seed=config.seed)

    def plan(self) -> tuple[str, PrivacyPlan]:
        """The run's name and plan; nothing is written.

        Raises:
            InvalidInputError: the plan gives no guarantee, the budget leaves nothing, or the folder holds another run.
        """
        run_id = self._known_run()
        if run_id is not None:
            try:
                return run_id, self._ledger.run(run_id).plan
            except InvalidInputError:
                pass  # named, but killed before the ledger heard of it
        settings = self._config.private
        accounts = [self._ledger.account(item.id) for item in self._charged()]
        plan = plan_privacy(
            population=len(self.corpus.training),
            expected_batch=settings.expected_batch,
            steps=settings.steps,
            target_epsilon=settings.target_epsilon,
            delta=settings.delta,
            max_grad_norm=settings.max_grad_norm,
            accountant=self._config.accountant,
            priors=[account.committed() for account in accounts if account is not None] or [()],
        )
        if plan.noise_multiplier > MOST_NOISE:
            raise InvalidInputError(
                f"so little of epsilon {settings.target_epsilon:g} is left for this data that the noise multiplier "
                f"would be {plan.noise_multiplier:.3g}; nothing would be learned (see `acgs privacy ledger`)",
                field="private.target_epsilon",
            )
        return run_id or f"{self._config.name}-{secrets.token_hex(4)}", plan

    @property
    def finished(self) -> bool:
        """Whether the output holds the adapter already."""
        return self._known_run() is not None and (self._output / MANIFEST).exists()

    def execute(self, report: Report) -> HarmOutcome:
        """Train, measure on the validation part, and write the adapter, whole and at the end.

        Raises:
            AcgsError: the run cannot start or go on; what ran is in the ledger.
        """
        run_id, plan = self.plan()
        # The name first: a run that the ledger knows and the folder does not would be promised its budget for ever.
        write_atomic(self._output / RUN, orjson.dumps({"run_id": run_id, "config_digest": self._config.digest}))
        self._ledger.open_run(run_id, plan, self._charged(), owner=_OWNER)
        scores: dict[str, Scores] = {}
        started = time.monotonic()
        if self._config.compared is not None:
            scores = self._without_privacy(self._config.compared, report)
        model, steps, scores[PRIVATE] = self._private(run_id, plan, report)
        self._seconds[PRIVATE] = time.monotonic() - started - sum(self._seconds.values())
        self._ledger.close_run(run_id)
        rows = self.corpus.validation
        pairs = [(PLAIN, FROZEN), (PRIVATE, PLAIN), (PRIVATE, FROZEN)] if self._config.compared else []
        comparison = compare(
            scores,
            self.corpus.harmful[rows],
            self.corpus.groups[rows],
            [self.corpus.sources[row] for row in rows],
            pairs,
            resamples=self._config.resamples,
            seed=self._config.seed,
        )
        statement = state_privacy(self._ledger, run_id)
        digest = self._write(run_id, model.export(), comparison, statement)
        (self._output / CHECKPOINT).unlink()
        return HarmOutcome(comparison, statement, steps, self._seconds, digest)

    def _known_run(self) -> str | None:
        """The name of the run that the folder belongs to."""
        path = self._output / RUN
        if not path.exists():
            return None
        known: dict[str, str] = orjson.loads(path.read_bytes())
        if known["config_digest"] != self._config.digest:
            raise InvalidInputError(f"{self._output} holds another run; name another output", field="output")
        return known["run_id"]

    def _charged(self) -> list[DataSet]:
        return [DataSet(origin, self._config.population) for origin in self.corpus.origins.values()]

    def _model(self, settings: PlainSettings | PrivateSettings, dropout: float) -> tuple[UpperLayers, list[Any]]:
        """The untrained model, and the states it is fed with, of all texts."""
        config = self._config
        shape = {"first": settings.first_layer, "max_tokens": config.max_tokens}
        model = build_model(**shape, rank=settings.rank, dropout=dropout, seed=config.seed)
        return model, lower_states(self.corpus.texts, **shape)

    def _texts(self, states: Sequence[Any]) -> Texts:
        rows = self.corpus.training
        return Texts([states[row] for row in rows], self.corpus.harmful[rows])

    def _without_privacy(self, settings: PlainSettings, report: Report) -> dict[str, Scores]:
        """Scores of the validation part by the two models that know no privacy."""
        corpus, started = self.corpus, time.monotonic()
        model, states = self._model(settings, settings.dropout)
        held_out = [states[row] for row in corpus.validation]
        # Untrained, LoRA adds nothing: these are MiniLM's own states.
        vectors = vectors_of(model, states)
        rows = corpus.training
        frozen, penalty = fit_frozen(vectors[rows], corpus.harmful[rows], corpus.groups[rows])
        report(f"frozen baseline: penalty {penalty:g}")
        scores: dict[str, Scores] = {FROZEN: frozen.decision_function(vectors[corpus.validation])}
        self._seconds[FROZEN] = time.monotonic() - started
        train_plainly(model, self._texts(states), settings, seed=self._config.seed, report=report)
        scores[PLAIN] = logits_of(model, held_out)
        self._seconds[PLAIN] = time.monotonic() - started - self._seconds[FROZEN]
        return scores

    def _private(self, run_id: str, plan: PrivacyPlan, report: Report) -> tuple[UpperLayers, int, Scores]:
        settings = self._config.private
        warm = self._config.warm_start
        model, states = self._model(settings, warm.training.dropout if warm else 0.0)
        if warm is not None and not (self._output / CHECKPOINT).exists():
            self._warm_up(model, settings, warm, report)
        with BudgetGuard(self._ledger, run_id, block=settings.block) as gate:
            steps = train_privately(
                model,
                self._texts(states),
                settings,
                plan,
                gate=gate,
                checkpoint=self._output / CHECKPOINT,
                report=report,
            )
        return model, steps, logits_of(model, [states[row] for row in self.corpus.validation])

    def _warm_up(self, model: UpperLayers, settings: PrivateSettings, warm: WarmStart, report: Report) -> None:
        texts = public_texts(self._data, warm.sets, phrases=warm.phrases, seed=self._config.seed)
        states = lower_states(list(texts), first=settings.first_layer, max_tokens=self._config.max_tokens)
        report(f"warm start on {len(texts)} public texts")
        labels = np.array(list(texts.values()))
        train_plainly(model, Texts(states, labels), warm.training, seed=self._config.seed, report=report)

    def _write(self, run_id: str, weights: bytes, comparison: Comparison, statement: PrivacyStatement) -> str:
        config = self._config
        manifest = HarmAdapterManifest(
            name=config.name,
            run_id=run_id,
            constitution_digest=self._constitution.digest,
            seed=config.seed,
            max_tokens=config.max_tokens,
            config=config.model_dump(mode="json"),
            data=self.corpus.origins,
            corpus_digest=self.corpus.digest,
            quality=comparison.as_dict(),
            privacy=statement.model_dump(mode="json"),
            weights=hashlib.sha256(weights).hexdigest(),
        )
        card = harm_card(manifest, comparison, statement, training=len(self.corpus.training))
        return write_harm_adapter(self._output, manifest, weights, card)
