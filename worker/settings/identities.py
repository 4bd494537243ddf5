"""Validation of AWS identifiers, and of the keys that seal and open payloads."""

import base64
import binascii
import re

from pydantic import SecretStr

from worker.settings.kinds import as_text

KEY_BYTES = 32
_REGION = re.compile(r"[a-z]{2,8}(-[a-z]{2,12}){1,3}-[0-9]{1,2}", re.ASCII)
_ROLE = re.compile(r"arn:aws[a-z-]{0,16}:iam::[0-9]{12}:role/[\w+=,.@/-]{1,576}", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)
_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)


def check_region(text: str) -> str:
    """Validates the name of an AWS region.

    Raises:
        ValueError: It is not one.
    """
    return _matching(_REGION, text, "is not the name of a region")


def check_role(text: str) -> str:
    """Validates the ARN of an IAM role.

    Raises:
        ValueError: It is not one.
    """
    return _matching(_ROLE, text, "is not the ARN of a role")


def check_external_id(text: str) -> str:
    """Validates the external ID that a role's trust policy asks for.

    Raises:
        ValueError: It is not one.
    """
    return _matching(_EXTERNAL_ID, text, "is not an external ID")


def check_account(text: str) -> str:
    """Validates the ID of an AWS account.

    Raises:
        ValueError: It is not one.
    """
    return _matching(_ACCOUNT, text, "is not an AWS account ID")


def check_key(text: str) -> str:
    """Validates one key of a sealing pair.

    Raises:
        ValueError: It is not a key; the message does not repeat it.
    """
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"is not a key of {KEY_BYTES} bytes")
    return text


def read_keys(value: object) -> tuple[SecretStr, ...]:
    """Reads private keys: a TOML array, or text with commas; spaces around each are ignored.

    Raises:
        ValueError: One of them is not a key, or is repeated; the message does not contain any.
    """
    listed = value if isinstance(value, list | tuple) else as_text(value).split(",")
    keys = [check_key(as_text(key)) for key in listed]
    if len(set(keys)) < len(keys):
        raise ValueError("contains the same key twice")
    return tuple(SecretStr(key) for key in keys)


def _matching(pattern: re.Pattern[str], text: str, fault: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(fault)
    return text
