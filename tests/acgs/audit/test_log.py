from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgs.audit.checkpoints import open_checkpoint
from acgs.audit.keys import SigningKey
from acgs.audit.log import CHECKPOINT_FILE, STATE_FILE, AuditLog
from acgs.audit.log_writer import LogWriter
from acgs.audit.merkle import CompactRange, leaf_hash, verify_consistency, verify_inclusion
from acgs.audit.notes import VerifierKey
from acgs.audit.proofs import InclusionProof, prove_inclusion, verify_proof
from acgs.audit.tiles import tile_path
from acgs.errors import IntegrityError, InvalidInputError, UnavailableError

ORIGIN = "example.com/log"
KEY = SigningKey.generate()
VERIFIER = VerifierKey(ORIGIN, KEY.public)


def numbered(start: int, end: int) -> list[bytes]:
    return [b'{"n":%d}' % number for number in range(start, end)]


def grown(directory: Path, *sizes: int) -> AuditLog:
    """Grow the log to each of the sizes in turn, signing each."""
    with LogWriter.open(directory, ORIGIN) as writer:
        for size in sizes:
            writer.append(numbered(writer.log.size, size), {})
            writer.publish_checkpoint(KEY)
        return writer.log


def roots(size: int) -> list[bytes]:
    tree = CompactRange()
    known = [tree.root()]
    for entry in numbered(0, size):
        tree.append(leaf_hash(entry))
        known.append(tree.root())
    return known


@pytest.mark.parametrize(
    ("level", "index", "width", "path"),
    [
        (0, 0, 256, "tile/0/000"),
        (0, 1234067, 256, "tile/0/x001/x234/067"),
        (1, 273, 112, "tile/1/273.p/112"),
        ("entries", 1000, 5, "tile/entries/x001/000.p/5"),
    ],
)
def test_tiles_have_the_paths_of_the_standard(level: int | str, index: int, width: int, path: str) -> None:
    assert tile_path(level, index, width) == path


@given(sizes=st.lists(st.integers(0, 700), min_size=1, max_size=6).map(sorted))
@settings(max_examples=25, deadline=None)
def test_a_log_grown_in_any_steps_has_the_tree_and_the_entries_of_its_size(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    log = grown(tmp_path_factory.mktemp("log"), *sizes)
    known = roots(sizes[-1])
    assert log.size == sizes[-1]
    assert log.state.root_hash == known[-1] == log.compact_range().root()
    assert list(log.entries()) == numbered(0, sizes[-1])
    for old in {*sizes, *range(0, sizes[-1], 97)}:
        assert log.root_at(old) == known[old]
        verify_consistency(old, known[old], log.size, known[-1], log.consistency_proof(old))
    for index in {0, 255, 256, 511, 512, sizes[-1] - 1} & set(range(sizes[-1])):
        proof = log.inclusion_proof(index)
        verify_inclusion(leaf_hash(log.entry(index)), index, log.size, proof, known[-1])


def test_a_tree_of_three_tile_levels_is_proven_across_them(tmp_path: Path) -> None:
    size = 256 * 256 + 300
    log = grown(tmp_path, 65_000, 65_536, size)
    known = roots(size)
    assert (tmp_path / tile_path(2, 0, 1)).exists()
    for index in (0, 255, 256, 65_535, 65_536, size - 1):
        verify_inclusion(leaf_hash(log.entry(index)), index, size, log.inclusion_proof(index), known[-1])
    for old in (1, 256, 65_000, 65_535, 65_536, 65_537):
        verify_consistency(old, known[old], size, known[-1], log.consistency_proof(old))


def test_a_reader_of_an_older_state_still_reads_while_the_log_grows(tmp_path: Path) -> None:
    old = grown(tmp_path, 10)
    grown(tmp_path, 20)
    assert list(old.entries()) == numbered(0, 10)
    grown(tmp_path, 300)
    assert list(old.entries()) == numbered(0, 10)
    assert old.compact_range().root() == roots(10)[-1]


def test_only_the_needed_partial_tile_is_kept(tmp_path: Path) -> None:
    grown(tmp_path, 5, 9)
    assert [path.name for path in (tmp_path / "tile/0/000.p").iterdir()] == ["9"]
    grown(tmp_path, 256)
    assert not (tmp_path / "tile/0/000.p").exists()
    assert not (tmp_path / "tile/entries/000.p").exists()


def test_two_writers_are_refused(tmp_path: Path) -> None:
    with LogWriter.open(tmp_path, ORIGIN), pytest.raises(UnavailableError, match="another sequencer"):
        LogWriter.open(tmp_path, ORIGIN)
    LogWriter.open(tmp_path, ORIGIN).close()


def test_a_log_that_is_not_there_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no audit log yet"):
        AuditLog.open(tmp_path)


def test_a_log_is_not_continued_under_another_name(tmp_path: Path) -> None:
    grown(tmp_path, 3)
    with pytest.raises(IntegrityError):
        LogWriter.open(tmp_path, "example.com/other")


def test_a_log_that_lost_its_state_is_not_begun_anew(tmp_path: Path) -> None:
    grown(tmp_path, 3)
    (tmp_path / STATE_FILE).unlink()
    with pytest.raises(IntegrityError):
        LogWriter.open(tmp_path, ORIGIN)
    (tmp_path / CHECKPOINT_FILE).unlink()
    with pytest.raises(IntegrityError):
        LogWriter.open(tmp_path, ORIGIN)


@pytest.mark.parametrize("path", ["tile/0/001.p/44", "tile/1/000.p/1", STATE_FILE])
def test_a_writer_refuses_an_altered_tree(tmp_path: Path, path: str) -> None:
    grown(tmp_path, 300)
    data = bytearray((tmp_path / path).read_bytes())
    data[-30] ^= 1
    (tmp_path / path).write_bytes(data)
    with pytest.raises(IntegrityError):
        grown(tmp_path, 600)


def test_an_altered_entry_is_not_given_out(tmp_path: Path) -> None:
    log = grown(tmp_path, 3)
    bundle = tmp_path / "tile/entries/000.p/3"
    bundle.write_bytes(bundle.read_bytes().replace(b'{"n":1}', b'{"n":7}'))
    with pytest.raises(IntegrityError, match="altered"):
        log.entry(1)
    assert log.entry(0) == b'{"n":0}'


def test_no_checkpoint_is_signed_that_contradicts_the_last(tmp_path: Path) -> None:
    grown(tmp_path / "honest", 12)
    signed = (tmp_path / "honest" / CHECKPOINT_FILE).read_bytes()
    for name, entries in {"forged": [b"other}", *numbered(1, 20)], "shorter": numbered(0, 11)}.items():
        with LogWriter.open(tmp_path / name, ORIGIN) as writer:
            writer.append(entries, {})
            (tmp_path / name / CHECKPOINT_FILE).write_bytes(signed)
            with pytest.raises(IntegrityError):
                writer.publish_checkpoint(KEY)
        assert (tmp_path / name / CHECKPOINT_FILE).read_bytes() == signed


def test_a_new_key_continues_the_log_only_where_the_old_one_is_named(tmp_path: Path) -> None:
    grown(tmp_path, 12)
    new = SigningKey.generate()
    with LogWriter.open(tmp_path, ORIGIN) as writer:
        writer.append(numbered(12, 13), {})
        with pytest.raises(IntegrityError):
            writer.publish_checkpoint(new)
        note = writer.publish_checkpoint(new, [VERIFIER])
    assert open_checkpoint(note, [VerifierKey(ORIGIN, new.public)]).size == 13


def test_a_proof_file_is_verified_without_the_log(tmp_path: Path) -> None:
    proof = prove_inclusion(grown(tmp_path, 300), 270)
    parsed = InclusionProof.parse(proof.text())
    assert parsed == proof
    assert proof.text().startswith("c2sp.org/tlog-proof@v1\nindex 270\n")
    with_extra = proof.text().replace("\nindex", "\nextra Zm9v\nindex", 1)
    assert InclusionProof.parse(with_extra) == proof
    assert verify_proof(parsed, leaf_hash(b'{"n":270}'), [VERIFIER]).size == 300
    with pytest.raises(IntegrityError):
        verify_proof(parsed, leaf_hash(b'{"n":271}'), [VERIFIER])
    with pytest.raises(IntegrityError):
        verify_proof(parsed, leaf_hash(b'{"n":270}'), [VerifierKey(ORIGIN, SigningKey.generate().public)])


@pytest.mark.parametrize(
    "text", ["", "c2sp.org/tlog-proof@v1\n\nx", "c2sp.org/tlog-proof@v1\nindex -1\n\nx", "index 1\n\nx",
             "c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\nx", "c2sp.org/tlog-proof@v1\nindex 1\n!!\n\nx"],
)  # fmt: skip
def test_a_malformed_proof_file_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        InclusionProof.parse(text)


def test_an_entry_outside_the_checkpoint_is_not_proven(tmp_path: Path) -> None:
    with LogWriter.open(tmp_path, ORIGIN) as writer:
        writer.append(numbered(0, 2), {})
        with pytest.raises(UnavailableError):
            prove_inclusion(writer.log, 0)
        writer.publish_checkpoint(KEY)
        writer.append(numbered(2, 4), {})
        assert prove_inclusion(writer.log, 1).index == 1
        with pytest.raises(UnavailableError, match="not under a checkpoint"):
            prove_inclusion(writer.log, 3)
        with pytest.raises(InvalidInputError):
            prove_inclusion(writer.log, 4)
