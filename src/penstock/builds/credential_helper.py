"""Git's credentials for repositories of this installation, and the helper that gives them to git inside a build.

`env.git-credential-helper: yes` copies this file into the build, where git runs it (AWS: "git-credential-helper" of the buildspec). It
imports the standard library only.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sys
import time
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit


def git_credentials(credentials: Mapping[str, Any], region: str, host: str, path: str, now: float) -> tuple[str, str]:
    """User and password as AWS's credential helper makes them: the key (and token), and a signature of the request.

    `host` has no port; `now` is wall time in seconds, since signatures are judged by it. AWS: "The AWS CLI credential helper". The password is a time stamp and a SigV4 signature of `GIT <path>`.
    """
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
    scope = f"{stamp[:8]}/{region}/codecommit/aws4_request"
    canonical = f"GIT\n{path}\n\nhost:{host}\n\nhost\n"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{credentials['SecretAccessKey']}".encode()
    for part in (stamp[:8], region, "codecommit", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    user = credentials["AccessKeyId"]
    if credentials.get("SessionToken"):
        user += f"%{credentials['SessionToken']}"
    return user, f"{stamp}Z{signature}"


def _answer(asked: Mapping[str, str]) -> str:
    """What git gets for the repository it asks about; nothing for another server's."""
    endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    if (asked.get("protocol"), asked.get("host")) != (endpoint.scheme, endpoint.netloc):
        return ""
    request = urllib.request.Request(  # noqa: S310 - the address is the supervisor's
        os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
        headers={"Authorization": os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        session = json.load(answer)
    user, password = git_credentials(
        session | {"SessionToken": session["Token"]},
        os.environ["AWS_REGION"],
        endpoint.hostname or "",
        "/" + asked.get("path", ""),
        time.time(),
    )
    return f"username={user}\npassword={password}\n"


if __name__ == "__main__" and sys.argv[1:] == ["get"]:
    lines = (line.rstrip("\n").partition("=") for line in sys.stdin)
    sys.stdout.write(_answer({name: value for name, _, value in lines}))
