"""Sealed boxes (X25519, XSalsa20-Poly1305): with the public key one can seal, but not open."""

import base64
import binascii
import hashlib
from collections.abc import Iterable

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox


class BadKey(ValueError):
    """A text is not a key of a sealing pair; the message does not repeat it."""


class CannotOpen(Exception):
    """None of the private keys opens the sealed data; the message names these keys."""


class Sealer:
    """Seals to one public key.

    Attributes:
        key_id: Short name of the public key, 16 hexadecimal digits.

    Raises:
        BadKey: The text is not a public key.
    """

    def __init__(self, public_key: str) -> None:
        key = PublicKey(_decoded(public_key))
        self.key_id = _key_id(key)
        self._box = SealedBox(key)
        try:
            self._box.encrypt(b"")
        except (CryptoError, RuntimeError):
            # Some points of the curve, such as zero, give the same shared secret to everyone.
            raise BadKey("the public key is unusable") from None

    def seal(self, plaintext: bytes) -> bytes:
        """Encrypts; the result is 48 bytes longer than the plaintext, and differs each time."""
        return self._box.encrypt(plaintext)


class Opener:
    """Opens data sealed to any of several keys.

    Attributes:
        key_ids: Short names of the public keys, in the order tried.

    Raises:
        BadKey: A text is not a private key, or no key is given.
    """

    def __init__(self, private_keys: Iterable[str]) -> None:
        keys = [PrivateKey(_decoded(key)) for key in private_keys]
        if not keys:
            raise BadKey("no private key is given")
        self.key_ids = tuple(_key_id(key.public_key) for key in keys)
        self._boxes = [SealedBox(key) for key in keys]

    def open(self, sealed: bytes) -> bytes:
        """Decrypts, trying the keys in the order given.

        Raises:
            CannotOpen: No key fits, or the data was altered.
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
        raise BadKey(f"a key does not have {PublicKey.SIZE} bytes")
    return key


def _key_id(key: PublicKey) -> str:
    return hashlib.sha256(bytes(key)).hexdigest()[:16]
