from __future__ import annotations

import os
import shutil
import subprocess
import sys
from mmap import mmap
from pathlib import Path

import numpy as np
import orjson
import pytest

from acgs.errors import IntegrityError, InvalidInputError
from acgs.retrieval.corpus import Document
from acgs.retrieval.encoders import Encoded, StaticEncoder
from acgs.retrieval.index import MANIFEST, PARTS, Bm25Options, Index, build_index, make_variant, open_index
from acgs.retrieval.vectors import GraphOptions
from tests.acgs.retrieval.corpora import TINY, made_documents, write_static_encoder


class InterruptedBuildError(Exception):
    """Stands for a kill while an index is built."""


@pytest.fixture
def copy(index_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(index_folder, tmp_path / "copy")


class TestBuilding:
    def test_progress_counts_every_document_once(self, encoder: StaticEncoder, tmp_path: Path) -> None:
        counts: list[int] = []
        manifest = build_index(made_documents(600), encoder, tmp_path / "index", advance=counts.append)
        assert sum(counts) == manifest.documents == 600
        assert len(counts) > 1
        assert not (tmp_path / "index" / PARTS).exists()

    def test_an_interrupted_build_goes_on_and_gives_the_same_index(
        self, encoder: StaticEncoder, tmp_path: Path
    ) -> None:
        documents, encoded = made_documents(600), []

        class Counting(StaticEncoder):
            def __init__(self) -> None:
                self.__dict__.update(encoder.__dict__)

            def encode(self, texts: list[str]) -> Encoded:
                encoded.append(len(texts))
                return encoder.encode(texts)

        def stop(_count: int) -> None:
            raise InterruptedBuildError

        folder = tmp_path / "index"
        with pytest.raises(InterruptedBuildError):
            build_index(documents, Counting(), folder, advance=stop)
        with pytest.raises(InvalidInputError, match="no finished index"):
            open_index(folder)
        before = sum(encoded)
        resumed = build_index(documents, Counting(), folder)
        assert sum(encoded) - before == 600 - 256, "the part that was encoded is not encoded again"
        assert resumed == build_index(documents, encoder, tmp_path / "at once")

    def test_a_damaged_part_is_encoded_again(self, encoder: StaticEncoder, tmp_path: Path) -> None:
        def stop(_count: int) -> None:
            raise InterruptedBuildError

        documents, folder = made_documents(300), tmp_path / "index"
        with pytest.raises(InterruptedBuildError):
            build_index(documents, encoder, folder, advance=stop)
        for part in (folder / PARTS).rglob("*.safetensors"):
            part.write_bytes(part.read_bytes()[:-7])
        assert build_index(documents, encoder, folder) == build_index(documents, encoder, tmp_path / "at once")

    def test_an_index_is_the_same_in_every_process(self, encoder_folder: Path, tmp_path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from acgs.retrieval.encoders import StaticEncoder;"
            "from acgs.retrieval.index import build_index; from tests.acgs.retrieval.corpora import TINY;"
            "print(build_index(TINY.documents, StaticEncoder(Path(sys.argv[1])), Path(sys.argv[2])).digest)"
        )
        digests = set()
        for seed in ("1", "2"):
            words = [sys.executable, "-c", program, str(encoder_folder), str(tmp_path / seed)]
            done = subprocess.run(
                words, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
            )
            digests.add(done.stdout.strip())
        assert len(digests) == 1

    def test_an_index_of_the_same_making_is_not_encoded_again(self, copy: Path, encoder: StaticEncoder) -> None:
        class Silent(StaticEncoder):
            def __init__(self) -> None:
                self.__dict__.update(encoder.__dict__)

            def encode(self, texts: list[str]) -> Encoded:
                raise AssertionError("encoded again")

        counts: list[int] = []
        manifest = build_index(TINY.documents, Silent(), copy, advance=counts.append)
        assert manifest.digest == open_index(copy).manifest.digest
        assert sum(counts) == len(TINY.documents)

    @pytest.mark.parametrize(
        ("options", "changed"),
        [
            ({"bm25": Bm25Options(k1=0.9, b=0.4)}, "bm25"),
            ({"graph": GraphOptions(connectivity=8)}, "graph"),
        ],
    )
    def test_other_options_make_another_index(
        self, options: dict[str, object], changed: str, copy: Path, encoder: StaticEncoder
    ) -> None:
        before = open_index(copy).manifest
        after = build_index(TINY.documents, encoder, copy, **options)
        assert after.digest != before.digest
        assert getattr(open_index(copy).manifest, changed) == options[changed]

    def test_an_old_index_answers_until_the_new_one_is_encoded(self, copy: Path, encoder: StaticEncoder) -> None:
        def stop(_count: int) -> None:
            raise InterruptedBuildError

        before = open_index(copy).manifest
        with pytest.raises(InterruptedBuildError):
            build_index(made_documents(20), encoder, copy, advance=stop)
        assert open_index(copy).manifest == before
        build_index(made_documents(20), encoder, copy)
        assert open_index(copy).manifest.documents == 20

    def test_a_failure_while_files_are_written_leaves_no_index_and_is_mended_by_the_next_build(
        self, copy: Path, encoder: StaticEncoder
    ) -> None:
        documents = made_documents(20)
        target = copy / "tokens.values.npy"
        target.unlink()
        target.mkdir()
        with pytest.raises(OSError, match="regular file"):
            build_index(documents, encoder, copy)
        with pytest.raises(InvalidInputError, match="no finished index"):
            open_index(copy)
        assert not [item.name for item in copy.iterdir() if item.name.startswith(".")]
        target.rmdir()
        build_index(documents, encoder, copy)
        assert open_index(copy).manifest.documents == 20

    def test_a_damaged_index_is_built_anew_in_its_place(self, copy: Path, encoder: StaticEncoder) -> None:
        before = open_index(copy).manifest
        for name in (MANIFEST, "vectors.npy"):
            (copy / name).write_bytes((copy / name).read_bytes()[:-1])
            with pytest.raises(IntegrityError, match="build it anew"):
                open_index(copy)
            assert build_index(TINY.documents, encoder, copy) == before
            assert open_index(copy).manifest == before

    def test_an_empty_corpus_is_refused_and_nothing_is_written(self, encoder: StaticEncoder, tmp_path: Path) -> None:
        for documents in ([], [Document("a", "", " "), Document("b", "", "")]):
            with pytest.raises(InvalidInputError, match="nothing to search"):
                build_index(documents, encoder, tmp_path / "index")
        assert not (tmp_path / "index").exists()

    def test_duplicate_ids_are_refused_by_name(self, encoder: StaticEncoder, tmp_path: Path) -> None:
        with pytest.raises(InvalidInputError, match="the id d1 stands twice"):
            build_index([*TINY.documents, TINY.documents[0]], encoder, tmp_path / "index")

    def test_a_folder_with_other_files_is_left_alone(self, encoder: StaticEncoder, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("years of work")
        with pytest.raises(InvalidInputError, match="holds files that are no index"):
            build_index(TINY.documents, encoder, tmp_path)
        with pytest.raises(InvalidInputError, match="is no folder"):
            build_index(TINY.documents, encoder, tmp_path / "thesis.txt")
        assert [item.name for item in tmp_path.iterdir()] == ["thesis.txt"]

    def test_an_encoder_that_gives_no_numbers_is_refused(self, encoder: StaticEncoder, tmp_path: Path) -> None:
        class Broken(StaticEncoder):
            def __init__(self) -> None:
                self.__dict__.update(encoder.__dict__)

            def encode(self, texts: list[str]) -> Encoded:
                said = encoder.encode(texts)
                return Encoded(np.full_like(said.vectors, np.nan), said.states, said.pieces, said.starts)

        with pytest.raises(InvalidInputError, match="not finite"):
            build_index(TINY.documents, Broken(), tmp_path / "index")

    @pytest.mark.parametrize("texts", [["one", "two"], ["the", "!!!"], ["\u00e9t\u00e9", "one two"]])
    def test_texts_of_one_word_of_none_or_of_stop_words_are_indexed(
        self, texts: list[str], encoder: StaticEncoder, tmp_path: Path
    ) -> None:
        documents = [Document(str(number), "", text) for number, text in enumerate(texts)]
        build_index(documents, encoder, tmp_path / "index")
        assert len(open_index(tmp_path / "index").documents) == 2


class TestVariants:
    other = Bm25Options(k1=0.9, b=0.4)

    def test_a_variant_is_the_index_that_would_have_been_built(
        self, index_folder: Path, encoder: StaticEncoder, tmp_path: Path
    ) -> None:
        before = open_index(index_folder).manifest
        made = make_variant(index_folder, tmp_path / "variant", self.other)
        assert made == build_index(TINY.documents, encoder, tmp_path / "built", bm25=self.other)
        assert open_index(tmp_path / "variant").manifest == made
        assert open_index(index_folder).manifest == before

    def test_a_variant_outlives_its_source_and_leaves_it_alone(
        self, copy: Path, encoder: StaticEncoder, tmp_path: Path
    ) -> None:
        before = open_index(copy).manifest
        made = make_variant(copy, tmp_path / "variant", self.other)
        assert make_variant(copy, tmp_path / "variant", self.other) == made
        build_index(made_documents(20), encoder, tmp_path / "variant")
        assert open_index(copy).manifest == before
        assert make_variant(copy, tmp_path / "variant", self.other) == made
        build_index(made_documents(20), encoder, copy)
        assert open_index(tmp_path / "variant").manifest == made

    def test_a_variant_needs_a_sound_source_and_a_folder_of_its_own(self, copy: Path, tmp_path: Path) -> None:
        with pytest.raises(InvalidInputError, match="a folder of its own"):
            make_variant(copy, copy, self.other)
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "thesis.txt").write_text("years of work")
        with pytest.raises(InvalidInputError, match="no index"):
            make_variant(copy, tmp_path / "thesis", self.other)
        (copy / "vectors.npy").write_bytes(b"")
        with pytest.raises(IntegrityError):
            make_variant(copy, tmp_path / "variant", self.other)
        assert not (tmp_path / "variant").exists()


class TestOpening:
    def test_documents_come_back_as_they_were(self, index: Index) -> None:
        assert [index.documents[number] for number in range(len(index.documents))] == list(TINY.documents)

    def test_arrays_stay_on_disk(self, index: Index) -> None:
        for array in (index.vectors, index.tokens.values, index.lexical.words.data):
            assert isinstance(array.base, mmap | np.memmap)
            assert not array.flags.writeable

    def test_a_flipped_or_cut_byte_in_any_file_is_refused(self, copy: Path) -> None:
        rng = np.random.default_rng(0)
        for file in sorted(copy.iterdir()):
            whole = file.read_bytes()
            place = int(rng.integers(len(whole)))
            flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
            for damaged in (flipped, whole[: len(whole) // 2], b""):
                file.write_bytes(damaged)
                with pytest.raises(IntegrityError):
                    open_index(copy)
            file.write_bytes(whole)
        open_index(copy)

    def test_a_flipped_byte_all_over_the_manifest_is_refused(self, copy: Path) -> None:
        whole = (copy / MANIFEST).read_bytes()
        for place in range(0, len(whole), 7):
            (copy / MANIFEST).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(IntegrityError):
                open_index(copy)

    def test_a_missing_file_is_named(self, copy: Path) -> None:
        (copy / "graph.usearch").unlink()
        with pytest.raises(IntegrityError, match=r"lacks graph\.usearch"):
            open_index(copy)

    @pytest.mark.parametrize("field", ["format", "analysis"])
    def test_another_version_is_refused(self, field: str, copy: Path) -> None:
        stated = orjson.loads((copy / MANIFEST).read_bytes())
        (copy / MANIFEST).write_bytes(orjson.dumps({**stated, field: 99, "new": "field"}))
        with pytest.raises(IntegrityError, match="another version"):
            open_index(copy)

    def test_a_manifest_that_leaves_a_file_out_is_refused(self, copy: Path) -> None:
        manifest = open_index(copy).manifest
        fewer = manifest.model_copy(update={"files": {k: v for k, v in manifest.files.items() if k != "vectors.npy"}})
        stated = {**fewer.model_dump(mode="json"), "digest": fewer.digest}
        (copy / MANIFEST).write_bytes(orjson.dumps(stated, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        with pytest.raises(IntegrityError, match="manifest"):
            open_index(copy)

    @pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"not json", b'{"format": 3, "analysis": 2}'])
    def test_a_foreign_manifest_is_refused(self, content: bytes, copy: Path) -> None:
        (copy / MANIFEST).write_bytes(content)
        with pytest.raises(IntegrityError):
            open_index(copy)

    def test_a_file_of_another_index_is_refused(self, copy: Path, encoder: StaticEncoder, tmp_path: Path) -> None:
        build_index(made_documents(12), encoder, tmp_path / "other")
        shutil.copy(tmp_path / "other" / "graph.usearch", copy / "graph.usearch")
        with pytest.raises(IntegrityError, match=r"graph\.usearch"):
            open_index(copy)

    def test_a_folder_without_an_index_says_how_to_make_one(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInputError, match="acgs retrieval index"):
            open_index(tmp_path / "nowhere")

    def test_the_graph_and_exact_search_agree_on_a_small_corpus(self, index: Index, encoder: StaticEncoder) -> None:
        for text in TINY.queries.values():
            vector = encoder.encode([text]).vectors[0]
            assert index.graph(64).nearest(vector, 5).tolist() == index.exact().nearest(vector, 5).tolist()

    def test_another_encoder_makes_another_index(self, index: Index, tmp_path: Path) -> None:
        other = StaticEncoder(write_static_encoder(tmp_path / "static", seed=1))
        assert build_index(TINY.documents, other, tmp_path / "index").encoder_sha256 != index.manifest.encoder_sha256
