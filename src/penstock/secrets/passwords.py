"""Random passwords. (AWS: Secrets Manager API Reference, GetRandomPassword.)"""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from typing import Any

from penstock.secrets.errors import InvalidParameterException

LENGTH = 32  # unless said
_TYPES = {
    "ExcludeLowercase": string.ascii_lowercase,
    "ExcludeUppercase": string.ascii_uppercase,
    "ExcludeNumbers": string.digits,
    "ExcludePunctuation": string.punctuation,
}


def password(input: Mapping[str, Any]) -> str:
    """A password as an input of GetRandomPassword asks for it. Raises InvalidParameterException."""
    left_out = set(input.get("ExcludeCharacters", ""))
    types = [letters for member, letters in _TYPES.items() if not input.get(member)]
    if input.get("IncludeSpace"):
        types.append(" ")
    types = [kept for letters in types if (kept := "".join(one for one in letters if one not in left_out))]
    alphabet = "".join(types)
    if not alphabet:
        raise InvalidParameterException(
            "There is no character left that the password could have. Exclude fewer of them."
        )
    length = input.get("PasswordLength", LENGTH)
    required = types if input.get("RequireEachIncludedType", True) else []
    if length < len(required):
        raise InvalidParameterException(
            f"The password length {length} is too short for one character of each of {len(required)} types. Make it longer, or set "
            "RequireEachIncludedType to false."
        )
    found = [secrets.choice(letters) for letters in required]
    found += [secrets.choice(alphabet) for _ in range(length - len(found))]
    secrets.SystemRandom().shuffle(found)
    return "".join(found)
