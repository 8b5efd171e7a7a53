"""Putting a loop together from settings: critic, independent evaluator, generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from acgs.constitution.document import Constitution
from acgs.errors import InvalidInputError, UnavailableError
from acgs.governance.assembly import open_governor
from acgs.governance.bundle import SECOND_TIER
from acgs.governance.decision import Governor
from acgs.governance.second_tier import SecondTier
from acgs.learning.data.dataset import Dataset
from acgs.learning.revision.assessment import Judge
from acgs.learning.revision.chain import Sampling
from acgs.learning.revision.critic import CERTAINTY, GovernorCritic
from acgs.learning.revision.evaluator import SecondTierEvaluator
from acgs.learning.revision.generator import Generator
from acgs.learning.revision.hf import HuggingFaceGenerator
from acgs.learning.revision.loop import LoopSettings, RevisionLoop
from acgs.learning.revision.openai_api import OpenAiGenerator
from acgs.learning.revision.retrieval_edit import RetrievalEditReviser, SentenceCorpus, compliant_sentences
from acgs.learning.revision.reviser import PromptedReviser, Reviser
from acgs.settings import Settings

RETRIEVAL: Final = "retrieval"
HF: Final = "hf:"
_OTHER_ENGINE: Final = {"rego": "clauses", "cedar": "clauses", "clauses": "rego"}
"""The evaluator's rule engine, by the critic's."""


@dataclass(frozen=True, slots=True)
class GeneratorChoice:
    """`retrieval`, `hf:NAME`, or an endpoint's URL with its model and the variable of its key."""

    name: str = RETRIEVAL
    model: str | None = None
    key_variable: str | None = None


def open_generator(choice: GeneratorChoice) -> Generator:
    """A language model in this process or behind an endpoint.

    Raises:
        InvalidInputError: the choice names neither, or lacks the model.
        UnavailableError: the model cannot be loaded.
    """
    if choice.name.startswith(HF):
        return HuggingFaceGenerator.load(choice.name.removeprefix(HF))
    if choice.name.startswith(("http://", "https://")):
        if not choice.model:
            raise InvalidInputError("name the endpoint's model", field="model")
        return OpenAiGenerator(choice.name, choice.model, key_variable=choice.key_variable)
    raise InvalidInputError("the generator is 'retrieval', 'hf:FOLDER_OR_ID' or an http URL", field="generator")


OpenGenerator = Callable[[GeneratorChoice], Generator]


def open_loop(
    settings: Settings,
    choice: GeneratorChoice,
    loop: LoopSettings,
    *,
    corpus: Dataset,
    certainty: float = CERTAINTY,
    open_model: OpenGenerator = open_generator,
) -> RevisionLoop:
    """The loop with the default critic, who asks for `certainty`, and the default evaluator.

    Args:
        open_model: opens a generator that is a language model, such as one that runs elsewhere.

    Raises:
        AcgsError: a part is missing or does not match; nothing starts half.
    """
    governor = open_governor(settings)
    critic = GovernorCritic(governor, certainty=certainty)
    constitution = governor.constitution.document
    if choice.name == RETRIEVAL:
        reviser: Reviser = open_retrieval(corpus, critic, constitution)
    else:
        reviser = open_prompted(open_model(choice), constitution, loop.sampling)
    return RevisionLoop(
        critic=critic,
        evaluator=open_evaluator(settings, governor),
        reviser=reviser,
        constitution_digest=governor.constitution.digest,
        settings=loop,
    )


def open_retrieval(corpus: Dataset, critic: Judge, constitution: Constitution) -> RetrievalEditReviser:
    """The offline reviser over the compliant sentences of a data set, of its training split if it is divided."""
    found = compliant_sentences(corpus.records(corpus.training_split), critic)
    return RetrievalEditReviser(SentenceCorpus(found), constitution)


def open_prompted(generator: Generator, constitution: Constitution, sampling: Sampling) -> PromptedReviser:
    """A reviser that asks a generator."""
    return PromptedReviser(generator, constitution, sampling)


def open_evaluator(settings: Settings, governor: Governor) -> SecondTierEvaluator:
    """The second tier of the critic's bundle, with the rules by another engine.

    Raises:
        UnavailableError: the bundle has no second tier, or torch is missing; no run goes on without an evaluator.
    """
    bundle = governor.bundle
    if SECOND_TIER not in bundle.manifest.files:
        raise UnavailableError("the guard bundle has no second tier to evaluate with; train one that has")
    engine = _OTHER_ENGINE[settings.rule_engine]
    other = open_governor(settings.model_copy(update={"rule_engine": engine}), constitution=governor.constitution)
    return SecondTierEvaluator(other, SecondTier((bundle.directory / SECOND_TIER).read_bytes()).logits)
