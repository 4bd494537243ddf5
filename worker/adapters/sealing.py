"""Sealed boxes (X25519, XSalsa20-Poly1305): who holds the public key can seal, not open."""

import base64
import binascii
import hashlib
from collections.abc import Iterable

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox


class BadKey(ValueError):
    """A text is no key of a sealing pair; the message does not repeat it."""


class CannotOpen(Exception):
    """None of the private keys opens what was sealed; the message names the keys there are."""


class Sealer:
    """Seals to one public key.

    Attributes:
        key_id: Short name of the public key, 16 hexadecimal digits.

    Raises:
        BadKey: The text is no public key.
    """

    def __init__(self, public_key: str) -> None:
        key = PublicKey(_decoded(public_key))
        self.key_id = _key_id(key)
        self._box = SealedBox(key)
        try:
            self._box.encrypt(b"")
        except (CryptoError, RuntimeError):
            # Some points of the curve, zero among them, give everybody the same secret.
            raise BadKey("the public key is unusable") from None

    def seal(self, plaintext: bytes) -> bytes:
        """Seals, 48 bytes longer than the plaintext; each time differently."""
        return self._box.encrypt(plaintext)


class Opener:
    """Opens what was sealed to any of several keys.

    Attributes:
        key_ids: Short names of the public keys, in the order tried.

    Raises:
        BadKey: A text is no private key, or there is none at all.
    """

    def __init__(self, private_keys: Iterable[str]) -> None:
        keys = [PrivateKey(_decoded(key)) for key in private_keys]
        if not keys:
            raise BadKey("no private key is given")
        self.key_ids = tuple(_key_id(key.public_key) for key in keys)
        self._boxes = [SealedBox(key) for key in keys]

    def open(self, sealed: bytes) -> bytes:
        """Gives the plaintext back, trying the keys in the order given, newest first.

        Raises:
            CannotOpen: No key fits, or it was altered.
        """
        for box in self._boxes:
            try:
                return box.decrypt(sealed)
            except CryptoError:
                continue
        raise CannotOpen(f"sealed to another key, or altered; keys here: {', '.join(self.key_ids)}")


def generate() -> tuple[str, str]:
    """A new pair in base64: the public key that seals, the private key that opens."""
    private = PrivateKey.generate()
    return _encoded(private.public_key), _encoded(private)


def _encoded(key: PublicKey | PrivateKey) -> str:
    return base64.b64encode(bytes(key)).decode()


def _decoded(text: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise BadKey("a key is not base64") from None
    if len(key) != PublicKey.SIZE:
        raise BadKey(f"a key is not of {PublicKey.SIZE} bytes")
    return key


def _key_id(key: PublicKey) -> str:
    return hashlib.sha256(bytes(key)).hexdigest()[:16]
