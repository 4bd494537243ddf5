"""What is sent to the database, and what is made of text it can't store."""

from __future__ import annotations

import hashlib
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import worker.adapters.postgres as package
from worker.adapters.postgres.migrate import Migration, bundled
from worker.adapters.postgres.rows import document, storable_text

any_text = st.text(st.characters() | st.characters(categories=["Cs"]) | st.just("\0"))


@given(any_text)
def test_any_text_becomes_storable(text: str) -> None:
    """Whatever comes in, what goes out is UTF-8 without NUL; storable text is left as it is."""
    clean = storable_text(text)
    assert b"\0" not in clean.encode()
    assert storable_text(clean) == clean


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_good_text_is_untouched(text: str) -> None:
    """Text that can be stored is sent as it is."""
    assert storable_text(text) == text
    assert orjson.loads(document([{"text": text}])) == [{"text": text}]


@given(st.lists(st.fixed_dictionaries({"text": any_text | st.none()})))
def test_a_document_never_holds_what_can_not_be_stored(rows: list[dict[str, str | None]]) -> None:
    """A document has each row in its order, every text storable, null staying null."""
    sent = orjson.loads(document(rows))
    assert sent == [
        {"text": None if row["text"] is None else storable_text(row["text"])} for row in rows
    ]


def test_split_pairs_are_joined() -> None:
    """Two halves of a surrogate pair are the character they spell; one alone is replaced."""
    assert storable_text("\ud83d\ude00 \ud83d") == "\N{GRINNING FACE} \ufffd"


def test_migrations_are_numbered_without_gaps() -> None:
    """The bundled files count up from 1, so that the newest number says all."""
    assert [each.version for each in bundled()] == list(range(1, len(bundled()) + 1))


def test_a_migration_is_known_by_its_text() -> None:
    """Number and name come from the file's name, the checksum from its text."""
    migration = Migration.of("0012_add_rates.sql", "SELECT 1")
    assert (migration.version, migration.name) == (12, "add_rates")
    assert migration.file_name == "0012_add_rates.sql"
    assert migration.checksum == hashlib.sha256(b"SELECT 1").hexdigest()


@pytest.mark.parametrize("name", ["1_a.sql", "0001-a.sql", "0001_A.sql", "0001_a.sql.bak"])
def test_a_badly_named_migration_is_refused(name: str) -> None:
    """A file that no number can be read from is named, not skipped."""
    with pytest.raises(ValueError, match="is not named"):
        Migration.of(name, "")


def test_every_query_says_what_it_does() -> None:
    """Each statement is a file that begins with a comment."""
    everything = Path(package.__path__[0]).rglob("*.sql")
    files = [file for file in everything if file.parent.name != "migrations"]
    assert len(files) > 50
    assert all(file.read_text().startswith("-- ") for file in files)
