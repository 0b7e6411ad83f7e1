"""The logins of AWS CodeCommit's credential helper: basic authentication whose password is a signature of version 4."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from penstock.wire.errors import SignatureExpired, SignatureMismatch
from penstock.wire.signature import ALGORITHM, stamp_of
from penstock.wire.sigv4 import MAX_SKEW_SECONDS, derive_key, seconds_of_stamp

_PASSWORD = re.compile(r"(\d{8}T\d{6})Z([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitLogin:
    """What Git's basic authentication carries when the credential helper made it."""

    access_key_id: str
    session_token: str
    timestamp: str  # YYYYMMDDThhmmss
    signature: str


def parse_git_login(username: str, password: str) -> GitLogin | None:
    """The login of a credential helper, or None when the password is not of its form."""
    found = _PASSWORD.fullmatch(password)
    if found is None:
        return None
    key, _, token = username.partition("%")
    return GitLogin(access_key_id=key, session_token=token, timestamp=found[1], signature=found[2])


def verify_git_login(login: GitLogin, *, secret: str, region: str, host: str, path: str, now: int) -> None:
    """Raise a refusal unless `secret` signed this login.

    AWS CLI: `codecommit credential-helper`. `region` is the repository's, `host` the Host header (its port is not signed),
    `path` the URL's path as Git knows it (`/v1/repos/NAME`, without `/info/refs`), `now` wall time in ms. A login lives 15
    minutes, as on AWS: a push may take that long.
    """
    signed, today = seconds_of_stamp(f"{login.timestamp}Z"), now / 1000
    if not -MAX_SKEW_SECONDS <= today - signed <= 3 * MAX_SKEW_SECONDS:
        raise SignatureExpired(
            f"The credentials were made at {login.timestamp}Z; it is {stamp_of(datetime.fromtimestamp(today, UTC))}."
        )
    date = login.timestamp[:8]
    name = host.rsplit(":", 1)[0] if host.count(":") == 1 else host
    request = f"GIT\n{path}\n\nhost:{name}\n\nhost\n"
    digest = hashlib.sha256(request.encode()).hexdigest()
    # The helper signs the time without its Z and sends it with one.
    to_sign = f"{ALGORITHM}\n{login.timestamp}\n{date}/{region}/codecommit/aws4_request\n{digest}"
    key = derive_key(login.access_key_id, secret, date, region, "codecommit")
    if not hmac.compare_digest(hmac.digest(key, to_sign.encode(), "sha256").hex(), login.signature):
        raise SignatureMismatch
