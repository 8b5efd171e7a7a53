"""The training loop against a plain one, resumed, spread over processes, and interrupted by NaN."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from acgs.errors import IntegrityError, InvalidInputError

if TYPE_CHECKING:
    from acgs.learning.finetune.base_models import Base
    from acgs.learning.finetune.checkpoints import LoopState
    from acgs.learning.finetune.config import Phase
    from acgs.learning.finetune.examples import Example
    from acgs.learning.finetune.loop import LoopOptions, Progress

SEED = 11


class Watcher:
    """Keeps what a loop tells, writes checkpoints, and can stop it."""

    def __init__(self, folder: Path | None = None, stop_at: int | None = None) -> None:
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.model: Any = None
        self.optimizer: Any = None
        self.saved: list[Path] = []
        self._folder, self._stop_at = folder, stop_at

    def stepped(self, progress: Progress) -> None:
        assert progress.loss is not None
        self.losses.append(progress.loss)
        self.rates.append(progress.learning_rate)

    def checkpoint_due(self, state: LoopState, save: Any) -> None:
        if self._folder is not None:
            self.saved.append(self._folder / f"step-{state.step}")
            save(self.saved[-1])

    def stop_reason(self, state: LoopState) -> str | None:
        return "enough" if state.step == self._stop_at else None


def phase_of(**changes: Any) -> Phase:
    from acgs.learning.finetune.config import Phase

    settings = {
        "kind": "sft", "data": "d", "epochs": 2, "batch_size": 6, "micro_batch_size": 4,
        "learning_rate": 1e-2, "warmup_steps": 2, "schedule": "cosine", "max_grad_norm": 1.0,
    }  # fmt: skip
    return Phase.model_validate({**settings, **changes})


def options_of(**changes: Any) -> LoopOptions:
    from acgs.learning.finetune.loop import LoopOptions

    return LoopOptions(**{"seed": SEED, "phase_number": 0, "pad_id": 0, "checkpoint_every": 3, **changes})


def adapted(base: Base, *, dropout: float = 0.1) -> Any:
    import copy

    import torch

    from acgs.learning.finetune.adapters import attach
    from acgs.learning.finetune.config import LoraSettings

    torch.manual_seed(0)
    return attach(copy.deepcopy(base.model), LoraSettings(r=4, alpha=8, dropout=dropout))


def weights(model: Any) -> dict[str, Any]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("schedule", ["cosine", "linear", "polynomial", "constant"])
def test_losses_and_weights_are_those_of_a_plain_loop(base: Base, examples: list[Example], schedule: str) -> None:
    """Accumulation over micro-batches and our own rates against one big batch with PyTorch's parts."""
    import copy

    import torch
    from torch.nn.functional import cross_entropy
    from transformers import get_scheduler

    from acgs.learning.finetune.batches import BatchOrder
    from acgs.learning.finetune.loop import train_phase

    model = adapted(base, dropout=0.0)
    plain = copy.deepcopy(model)
    watcher = Watcher()
    train_phase(model, examples, phase_of(schedule=schedule), options=options_of(), observer=watcher)

    parameters = [p for p in plain.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=2, num_training_steps=8)
    order = BatchOrder(len(examples), 6, SEED)
    plain.train()
    expected = []
    for step in range(8):
        total, count = torch.zeros(()), 0
        for index in order.batch(step):
            ids = torch.tensor([examples[index].ids])
            logits = plain(input_ids=ids).logits[0, :-1]
            wanted = torch.tensor(examples[index].targets[1:])
            total = total + cross_entropy(logits[wanted], ids[0, 1:][wanted], reduction="sum")
            count += int(wanted.sum())
        loss = total / count
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        expected.append(loss.item())
    assert watcher.losses == pytest.approx(expected, rel=1e-4)
    for name, tensor in weights(plain).items():
        torch.testing.assert_close(weights(model)[name], tensor, rtol=2e-3, atol=2e-5)
    assert watcher.losses[-1] < watcher.losses[0]


def test_a_resumed_run_has_the_loss_curve_of_an_uninterrupted_one(
    base: Base, examples: list[Example], tmp_path: Path, corpus_file: Path
) -> None:
    """Exactly, with dropout: a step's randomness comes from its number."""
    import copy

    import torch

    from acgs.learning.finetune.loop import train_phase

    model = adapted(base)
    start = copy.deepcopy(model)
    whole = Watcher()
    train_phase(model, examples, phase_of(), options=options_of(), observer=whole)

    first = copy.deepcopy(start)
    stopped = Watcher(tmp_path, stop_at=5)
    ending = train_phase(first, examples, phase_of(), options=options_of(), observer=stopped)
    assert (ending.reason, ending.state.step) == ("enough", 5)

    resumed = copy.deepcopy(start)
    rest = Watcher()
    ending = train_phase(resumed, examples, phase_of(), options=options_of(), observer=rest, resume=tmp_path / "step-5")
    assert ending.reason == "finished"
    assert stopped.losses + rest.losses == whole.losses
    assert stopped.rates + rest.rates == whole.rates
    assert [loss for _, loss, _ in ending.state.curve] == pytest.approx(whole.losses, abs=1e-6)
    for name, tensor in weights(model).items():
        assert torch.equal(weights(resumed)[name], tensor)


def test_a_loss_that_is_no_number_stops_training_before_the_weights_are_touched(
    base: Base, examples: list[Example], tmp_path: Path
) -> None:
    import torch

    from acgs.learning.finetune.loop import NonFiniteLossError, train_phase

    with torch.no_grad():
        base.model.lm_head.weight[3] = math.nan
    model = adapted(base)
    before = weights(model)
    with pytest.raises(NonFiniteLossError, match="resume"):
        train_phase(model, examples, phase_of(), options=options_of(), observer=Watcher(tmp_path))
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(model).items())


def test_a_checkpoint_of_another_rank_or_a_damaged_one_is_refused(
    base: Base, examples: list[Example], tmp_path: Path
) -> None:
    from acgs.learning.finetune.loop import train_phase

    watcher = Watcher(tmp_path, stop_at=3)
    train_phase(adapted(base), examples, phase_of(), options=options_of(), observer=watcher)
    checkpoint = watcher.saved[0]
    weights_file = checkpoint / "trainable.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:100])
    with pytest.raises(IntegrityError, match="cannot be read"):
        train_phase(adapted(base), examples, phase_of(), options=options_of(), observer=watcher, resume=checkpoint)
    (checkpoint / "state.json").unlink()
    with pytest.raises(IntegrityError, match="no whole checkpoint"):
        train_phase(adapted(base), examples, phase_of(), options=options_of(), observer=watcher, resume=checkpoint)


def test_targets_that_match_no_layer_are_named_with_those_there_are(base: Base) -> None:
    from acgs.learning.finetune.adapters import attach
    from acgs.learning.finetune.config import LoraSettings

    with pytest.raises(InvalidInputError, match=r"c_attn.*q_proj"):
        attach(base.model, LoraSettings(targets=("c_attn",)))


def _worker(rank: int, folder: str, corpus: str, parallel: str) -> None:
    """Train whole, then once more in two parts; writes the losses of both and the weights."""
    import torch
    from torch import distributed

    from acgs.learning.finetune.base_models import make_tiny
    from acgs.learning.finetune.config import TinyModel
    from acgs.learning.finetune.examples import encode_chat
    from acgs.learning.finetune.loop import train_phase
    from acgs.learning.finetune.parallel import is_sharded, trained_weights
    from acgs.learning.finetune.world import World
    from tests.acgs.learning.finetune.conftest import conversation

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    made = make_tiny(TinyModel(corpus=Path(corpus), hidden_size=32, layers=2, heads=2, vocabulary=320, context=128))
    examples = [encode_chat(made.tokenizer, conversation(number), 128) for number in range(24)]

    def train(model: Any, watcher: Watcher, resume: Path | None = None) -> list[float]:
        # The last batch of a pass has one example, and so nothing for process 1.
        phase, options = phase_of(batch_size=23, micro_batch_size=5, epochs=4), options_of(parallel=parallel)
        train_phase(model, examples, phase, options=options, observer=watcher, world=World(rank, 2), resume=resume)
        return watcher.losses

    model = adapted(made, dropout=0.0)
    losses = train(model, Watcher())
    checkpoints = Path(folder) / f"rank{rank}"
    stopped = train(adapted(made, dropout=0.0), Watcher(checkpoints, stop_at=5))
    resumed = adapted(made, dropout=0.0)
    rest = train(resumed, Watcher(), Path(folder) / "rank0" / "step-5")
    assert is_sharded(model) == (parallel == "fsdp")
    made_of = {"losses": losses, "parts": stopped + rest}
    found = {**made_of, "weights": trained_weights(model), "resumed": trained_weights(resumed)}
    torch.save({k: {n: t.detach() for n, t in v.items()} if isinstance(v, dict) else v for k, v in found.items()},
               f"{folder}/rank{rank}.pt")  # fmt: skip
    distributed.destroy_process_group()


@pytest.mark.parametrize("parallel", ["all_reduce", "ddp", "fsdp"])
def test_two_processes_compute_what_one_does_and_hold_the_same_weights(
    base: Base, examples: list[Example], tmp_path: Path, corpus_file: Path, parallel: str
) -> None:
    import torch
    from torch import multiprocessing

    from acgs.learning.finetune.loop import train_phase

    multiprocessing.spawn(_worker, args=(str(tmp_path), str(corpus_file), parallel), nprocs=2)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    alone = adapted(base, dropout=0.0)
    watcher = Watcher()
    phase = phase_of(batch_size=23, micro_batch_size=5, epochs=4)
    train_phase(alone, examples, phase, options=options_of(), observer=watcher)
    assert first["losses"] == second["losses"] == pytest.approx(watcher.losses, rel=1e-4)
    assert first["parts"] == pytest.approx(first["losses"], rel=1e-6)
    for name, tensor in weights(alone).items():
        assert torch.equal(first["weights"][name], second["weights"][name])
        assert torch.equal(first["resumed"][name], first["weights"][name])
        torch.testing.assert_close(first["weights"][name], tensor, rtol=2e-3, atol=2e-5)


def test_half_precision_with_loss_scaling_learns_what_full_precision_does(
    base: Base, examples: list[Example], tmp_path: Path
) -> None:
    import torch

    from acgs.learning.finetune.loop import train_phase

    full, half, rest = Watcher(), Watcher(tmp_path, stop_at=4), Watcher()
    train_phase(adapted(base, dropout=0.0), examples, phase_of(), options=options_of(), observer=full)
    options = options_of(autocast=torch.float16)
    train_phase(adapted(base, dropout=0.0), examples, phase_of(), options=options, observer=half)
    ending = train_phase(
        adapted(base, dropout=0.0), examples, phase_of(), options=options, observer=rest, resume=tmp_path / "step-4"
    )
    assert half.losses + rest.losses == pytest.approx(full.losses, rel=2e-2)
    assert half.losses != full.losses[:4]
    assert ending.state.loss_scale is not None
