"""The guard's training, stage by stage; a finished stage is kept, so that an interrupted run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import lzma
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save
from tokenizers import Tokenizer

from acgs.audit.keys import SigningKey
from acgs.constitution.lock import LockedConstitution
from acgs.files import write_atomic
from acgs.governance import bundle as bundles
from acgs.governance.encoder import EncoderWeights, StaticEncoder
from acgs.governance.features import feature_names, head_names
from acgs.governance.scenarios.generator import Situation, Situations
from acgs.governance.second_tier import SecondTier, minilm_directory
from acgs.learning.guard.adapter import AdapterConfig, average_adapters, train_adapter
from acgs.learning.guard.calibrate import CalibratedForest, calibrate_forest, feature_rows, platt_heads, steps_of
from acgs.learning.guard.card import model_card, quality_by_source
from acgs.learning.guard.corpus import DEFAULT_SETS, Corpus, assemble
from acgs.learning.guard.static_embeddings import distil_static_embeddings
from acgs.learning.guard.student import StudentConfig, StudentData, export, train_student
from acgs.learning.guard.unlabelled import dialogue_sentences, word_exchanged

Report = Callable[[str], None]

_NO_FOLD = -1
"""Fold of a text that no labelled text is related to."""


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """Everything that determines a bundle."""

    name: str = "acgs-guard"
    version: str = "1.0.0"
    seed: int = 20260101
    folds: int = 5
    phrases: int = 14_000
    adapter_phrases: int = 8_000
    dialogue_sentences: int = 8_000
    exchanged_texts: int = 20_000
    sets: tuple[str, ...] = DEFAULT_SETS
    adapters: int = 2
    """Adapters trained, the k-th without fold k; the second tier is their average."""
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    student: StudentConfig = field(default_factory=StudentConfig)

    @property
    def digest(self) -> str:
        """Names the work folder of a run, so that another configuration never reuses its stages."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


class GuardTraining:
    """One run. `work` keeps finished stages; `report` gets one line of progress at a time."""

    def __init__(
        self, constitution: LockedConstitution, data: Path, work: Path, config: GuardConfig, report: Report
    ) -> None:
        self._constitution = constitution
        self._data = data
        self._root = self._work = work
        self._config = config
        self._report = report
        self._heads = head_names(constitution.document.core_principle_ids)
        tokenizer = (minilm_directory() / "tokenizer.json").read_text(encoding="utf-8")
        self._tokenizer_json = _slim_tokenizer(tokenizer)

    def corpus(self) -> Corpus:
        """Load and generate the labelled texts."""
        config = self._config
        corpus = assemble(
            self._data,
            config.sets,
            core_principles=self._constitution.document.core_principle_ids,
            phrases=config.phrases,
            folds=config.folds,
            seed=config.seed,
        )
        self._report(f"corpus: {len(corpus.texts)} texts, {int(corpus.violates.sum())} violations")
        return corpus

    def run(self, output: Path, key: SigningKey) -> bundles.Manifest:
        """Train everything and write the signed bundle to `output`."""
        config = self._config
        corpus = self.corpus()
        self._work = self._root / f"{self._constitution.digest[:16]}-{config.digest}-{corpus.digest}"
        held_out = corpus.folds < config.adapters
        adapters = [self._adapter(corpus, fold) for fold in range(config.adapters)]
        adapter = average_adapters(adapters)
        second_logits = self._cross_fitted_logits(corpus, adapters)
        second_platt = platt_heads(second_logits[held_out], corpus.labels[held_out], corpus.weights[held_out])
        student_data = self._student_data(corpus, adapter, second_logits)
        inline_logits = self._out_of_fold(corpus, student_data)
        inline_platt = platt_heads(inline_logits, corpus.labels, corpus.weights)
        forest = self._forest(corpus, inline_logits, inline_platt)
        encoder = self._student("final", student_data, np.arange(len(student_data.tokens)))
        quality = {
            "inline": quality_by_source(corpus, inline_logits[:, -1]),
            "comprehensive": quality_by_source(corpus, second_logits[:, -1], only=held_out),
        }
        platt = {"inline": inline_platt, "comprehensive": second_platt}
        manifest = self._manifest(forest, platt, {**forest.metrics, "quality": quality})
        contents = {
            bundles.ENCODER: encoder,
            bundles.FOREST: bundles.forest_bytes(forest.grown.trees),
            bundles.TOKENIZER: lzma.compress(self._tokenizer_json.encode(), preset=9),
            bundles.SECOND_TIER: adapter,
            bundles.MODEL_CARD: model_card(manifest, config.sets, asdict(config)).encode(),
        }
        written = bundles.write_bundle(output, manifest, contents, key)
        self._report(f"bundle written to {output}")
        return written

    def _stage(self, name: str, make: Callable[[], bytes]) -> bytes:
        path = self._work / name
        if path.exists():
            self._report(f"{name}: taken from an earlier run")
            return path.read_bytes()
        self._report(f"{name}: started")
        data = make()
        write_atomic(path, data)
        return data

    def _adapter(self, corpus: Corpus, fold: int) -> bytes:
        """Train an adapter on the public texts and a sample of the phrases outside `fold`."""
        rows = corpus.folds != fold
        rng = np.random.default_rng(self._config.seed)
        phrases = np.flatnonzero(rows & np.array([source == "lexicon" for source in corpus.sources]))
        chosen = rng.permutation(phrases)[: self._config.adapter_phrases]
        public = np.flatnonzero(rows & np.array([source != "lexicon" for source in corpus.sources]))
        taken = np.concatenate([public, chosen])
        return self._stage(
            f"adapter-{fold}.safetensors",
            lambda: train_adapter(
                [corpus.texts[i] for i in taken],
                corpus.labels[taken],
                corpus.weights[taken],
                self._config.adapter,
                seed=self._config.seed,
                order_seed=self._config.seed + fold,
                report=self._report,
            ),
        )

    def _cross_fitted_logits(self, corpus: Corpus, adapters: list[bytes]) -> NDArray[np.float32]:
        """The mean of all adapters' logits, but those of a fold that one did not see by that one alone."""
        by_adapter = [
            self._teacher_logits(f"corpus-{fold}", adapter, corpus.texts) for fold, adapter in enumerate(adapters)
        ]
        logits: NDArray[np.float32] = np.mean(by_adapter, axis=0, dtype=np.float32)
        for fold, own in enumerate(by_adapter):
            logits[corpus.folds == fold] = own[corpus.folds == fold]
        return logits

    def _teacher_logits(self, name: str, adapter: bytes, texts: list[str]) -> NDArray[np.float32]:
        data = self._stage(f"teacher-{name}.safetensors", lambda: save({"logits": SecondTier(adapter).logits(texts)}))
        return load(data)["logits"]

    def _student_data(self, corpus: Corpus, adapter: bytes, logits: NDArray[np.float32]) -> StudentData:
        config = self._config
        rng = random.Random(config.seed)  # noqa: S311 - reproducible data, not secrets
        sentences = dialogue_sentences(self._data, config.dialogue_sentences, rng)
        exchanged = word_exchanged(corpus.texts, [*corpus.texts, *sentences], config.exchanged_texts, rng)
        pool = [*sentences, *(text for text, _ in exchanged)]
        pool_logits = self._teacher_logits("pool", adapter, pool)
        encoder = Tokenizer.from_str(self._tokenizer_json)
        tokens = [e.ids or [100] for e in encoder.encode_batch([*corpus.texts, *pool], add_special_tokens=False)]
        blank = np.zeros((len(pool), len(self._heads)), dtype=np.float32)
        return StudentData(
            tokens=tokens,
            labels=np.concatenate([corpus.labels, blank]),
            teacher=_sigmoid(np.concatenate([logits, pool_logits])),
            labelled=np.concatenate([np.ones(len(corpus.texts)), np.zeros(len(pool))]).astype(np.float32),
            weights=np.concatenate([corpus.weights, np.ones(len(pool))]).astype(np.float32),
            folds=np.concatenate(
                [corpus.folds, np.full(len(sentences), _NO_FOLD), corpus.folds[[row for _, row in exchanged]]]
            ),
        )

    def _student(self, name: str, data: StudentData, rows: NDArray[np.int64]) -> bytes:
        def train() -> bytes:
            embeddings = load(
                self._stage(
                    "static.safetensors",
                    lambda: save({"embeddings": distil_static_embeddings(self._config.student.width)}),
                )
            )["embeddings"]
            student = train_student(
                data.take(rows), embeddings, self._config.student, seed=self._config.seed, report=self._report
            )
            return bundles.encoder_bytes(export(student, self._config.student))

        return self._stage(f"encoder-{name}.safetensors", train)

    def _out_of_fold(self, corpus: Corpus, data: StudentData) -> NDArray[np.float32]:
        """Each text's logits by an encoder that was trained without its fold."""
        logits = np.zeros_like(corpus.labels)
        for fold in range(self._config.folds):
            rows = np.flatnonzero(data.folds != fold)
            weights = EncoderWeights(**load(self._student(f"fold{fold}", data, rows)))
            encoder = StaticEncoder(weights, self._tokenizer_json)
            for row in np.flatnonzero(corpus.folds == fold):
                logits[row] = encoder.logits(corpus.texts[row])
        return logits

    def _forest(
        self, corpus: Corpus, logits: NDArray[np.float32], platt: list[tuple[float, float]]
    ) -> CalibratedForest:
        """Texts with and without a situation each, judged by what either breaches."""
        rng = random.Random(self._config.seed)  # noqa: S311 - reproducible data, not secrets
        draw = Situations(self._constitution.document)
        bare = [Situation("general", {}, (), "")] * len(corpus.texts)
        situations = bare + [draw.draw(rng) for _ in corpus.texts]
        rows = feature_rows(self._constitution, self._heads, np.concatenate([logits, logits]), platt, situations)
        broken = np.array([bool(situation.breaches) for situation in situations])
        violates = np.concatenate([corpus.violates, corpus.violates]) | broken
        groups = np.concatenate([corpus.groups, corpus.groups])
        weights = np.concatenate([corpus.weights, corpus.weights / 2]).astype(float)
        self._report(f"policy forest: {len(rows)} scenarios")
        return calibrate_forest(self._constitution, rows, violates, groups, weights, seed=self._config.seed)

    def _manifest(
        self, forest: CalibratedForest, platt: dict[str, list[tuple[float, float]]], metrics: dict[str, Any]
    ) -> bundles.Manifest:
        return bundles.Manifest(
            name=self._config.name,
            version=self._config.version,
            constitution_digest=self._constitution.digest,
            seed=self._config.seed,
            heads=self._heads,
            features=feature_names(self._constitution.document.principle_ids),
            platt=platt,
            tree_weights=forest.report.weights.tolist(),
            out_of_bag_errors=forest.report.errors.tolist(),
            flagged_trees=forest.report.flagged,
            calibration=steps_of(forest.calibration),
            bands=forest.bands,
            threshold=forest.threshold,
            metrics=metrics,
            files={},
        )


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    probability: NDArray[np.float32] = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return probability


def _slim_tokenizer(text: str) -> str:
    """The tokenizer without padding, truncation and layout, which serving does not want."""
    document = json.loads(text)
    document["padding"] = document["truncation"] = None
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
