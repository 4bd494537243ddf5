"""The files that an address names."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Files:
    """The files that an address names, each with the word that names it; none of them is read here.

    Attributes:
        authorities: Files with certificates of authorities.
        authority_folders: Folders with such files, as `c_rehash` makes them.
        lists: Files with lists of revoked certificates.
        certificate: A file with the client's certificate.
        key: A file with its key; None if the key is in the certificate's file.
        key_password: The password of the key.
        passwords: Files with passwords.
    """

    authorities: tuple[tuple[str, str], ...] = ()
    authority_folders: tuple[tuple[str, str], ...] = ()
    lists: tuple[tuple[str, str], ...] = ()
    certificate: tuple[str, str] | None = None
    key: tuple[str, str] | None = None
    key_password: str = field(default="", repr=False)
    passwords: tuple[tuple[str, str], ...] = ()
