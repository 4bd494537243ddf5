"""Sealed boxes: the public key seals, only a private key opens."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer import Typer
from typer.testing import CliRunner

from worker.adapters.sealing import BadKey, CannotOpen, Opener, Sealer, generate
from worker.cli.keygen import keygen
from worker.settings import load

SEAL_KEY, OPEN_KEY = generate()


@given(st.binary(max_size=70_000))
def test_what_is_sealed_opens_again(plaintext: bytes) -> None:
    """The plaintext comes back as it was, 48 bytes shorter than sealed."""
    sealed = Sealer(SEAL_KEY).seal(plaintext)
    assert len(sealed) == len(plaintext) + 48
    assert Opener([OPEN_KEY]).open(sealed) == plaintext


def test_sealing_twice_gives_different_bytes() -> None:
    """Equal messages can't be told by their boxes."""
    sealer = Sealer(SEAL_KEY)
    assert sealer.seal(b"same") != sealer.seal(b"same")


def test_older_keys_still_open() -> None:
    """After a rotation, what was sealed to the old key opens with the list of both."""
    new_seal, new_open = generate()
    opener = Opener([new_open, OPEN_KEY])
    assert opener.open(Sealer(SEAL_KEY).seal(b"old")) == b"old"
    assert opener.open(Sealer(new_seal).seal(b"new")) == b"new"
    assert opener.key_ids == (Sealer(new_seal).key_id, Sealer(SEAL_KEY).key_id)


@pytest.mark.parametrize("change", ["key", "byte", "cut", "empty"])
def test_what_cannot_be_opened_says_which_keys_there_are(change: str) -> None:
    """Another key's, altered, truncated or absent: an error that names the keys at hand."""
    seal_key = generate()[0] if change == "key" else SEAL_KEY
    sealed = bytearray(Sealer(seal_key).seal(b"plaintext"))
    if change == "byte":
        sealed[-1] ^= 1
    if change in {"cut", "empty"}:
        del sealed[40 if change == "cut" else 0 :]
    opener = Opener([OPEN_KEY])
    with pytest.raises(CannotOpen, match=opener.key_ids[0]) as caught:
        opener.open(bytes(sealed))
    assert OPEN_KEY not in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "x",
        "hunter2!",
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(33)).decode(),
    ],
)
def test_what_is_no_key_is_refused_without_repeating_it(key: str) -> None:
    """Both sides refuse it, and the error keeps it to itself."""
    for use in (Sealer, lambda text: Opener([text])):
        with pytest.raises(BadKey) as caught:
            use(key)
        assert len(key) < 2 or key not in str(caught.value)


def test_a_public_key_that_gives_everyone_the_same_secret_is_refused() -> None:
    """The point of order one seals for nobody."""
    with pytest.raises(BadKey, match="unusable"):
        Sealer(base64.b64encode(bytes(32)).decode())


def test_an_opener_needs_a_key() -> None:
    """Without any there is nothing to try."""
    with pytest.raises(BadKey, match="no private key"):
        Opener([])


def test_keys_are_accepted_with_spaces_around() -> None:
    """A key copied with spaces or a line end is the same key."""
    sealed = Sealer(f" {SEAL_KEY}\n").seal(b"x")
    assert Opener([f"  {OPEN_KEY} \n"]).open(sealed) == b"x"


def test_key_ids_name_the_pair() -> None:
    """Both halves have the same short name, and each pair another."""
    assert Sealer(SEAL_KEY).key_id == Opener([OPEN_KEY]).key_ids[0]
    assert len(Sealer(SEAL_KEY).key_id) == 16
    assert int(Sealer(SEAL_KEY).key_id, 16) >= 0
    assert Sealer(generate()[0]).key_id != Sealer(SEAL_KEY).key_id


def test_keygen_prints_a_pair_that_works_and_nothing_else() -> None:
    """The two lines are settings as they stand, and their keys belong together."""
    app = Typer()
    app.command()(keygen)
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    environ = dict(line.split("=", 1) for line in lines)
    assert list(environ) == ["WORKER_DEAD_LETTERS__SEAL_KEY", "WORKER_DEAD_LETTERS__OPEN_KEYS"]
    letters = load(environ=environ).dead_letters
    assert letters.seal_key is not None
    opener = Opener(key.get_secret_value() for key in letters.open_keys)
    assert opener.open(Sealer(letters.seal_key).seal(b"token")) == b"token"
