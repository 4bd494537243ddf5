"""What can be done about a certificate that is refused: it depends on why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl

# The codes of X509_verify_cert_error_string(3).
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_REVOKED: Final = 23
_ANOTHER_NAME: Final = frozenset({62, 64})


def certificate_remedy(error: ssl.SSLCertVerificationError, address: str, authority: str) -> str:
    """What to do about a server's certificate that is refused.

    Args:
        error: Why it is refused.
        address: What names the host, such as a setting.
        authority: What to do if the authority that signed it is not trusted.
    """
    code = getattr(error, "verify_code", None)
    if code in _ANOTHER_NAME:
        return (
            f"use in {address} a host name that the certificate is for, or give the server one for "
            "this name"
        )
    if code == _NOT_YET_VALID:
        return "set this machine's clock, or replace the server's certificate: it is not valid yet"
    if code == _EXPIRED:
        return "renew the server's certificate; if it is not old, set this machine's clock"
    if code == _REVOKED:
        return "replace the server's certificate: it is revoked"
    return authority
