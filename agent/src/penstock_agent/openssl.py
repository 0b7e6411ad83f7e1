"""Keys on the curve P-256, by the openssl command of the machine: nothing of Python's library makes or uses one."""

from __future__ import annotations

import os
import subprocess
from typing import List

from penstock_agent.failures import ConfigInvalid, reason
from penstock_agent.layout import write_durably

_LIMIT_S = 30


def new_key() -> bytes:
    """A new private key (PEM)."""
    return _run(["ecparam", "-name", "prime256v1", "-genkey", "-noout"], b"")


def signing_request(key_file: str, folder: str) -> str:
    """A signing request (PEM) for the key in a file. The server says whose the certificate is, so the name in it does not count."""
    settings = os.path.join(folder, "openssl.cnf")
    # What the machine's own configuration adds is not asked for.
    write_durably(settings, b"[req]\ndistinguished_name=dn\n[dn]\n")
    return _run(["req", "-config", settings, "-new", "-key", key_file, "-subj", "/CN=host"], b"").decode("ascii")


def sign(key_file: str, data: bytes) -> bytes:
    """The signature of some bytes (ECDSA with SHA-256, DER)."""
    return _run(["dgst", "-sha256", "-sign", key_file], data)


def _run(arguments: List[str], given: bytes) -> bytes:
    """What the command writes. Raises ConfigInvalid when it is not there or fails."""
    try:
        done = subprocess.run(
            ["openssl", *arguments],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=_LIMIT_S,
            check=False,
        )
    except FileNotFoundError:
        raise ConfigInvalid(
            "the openssl command is missing: a host that joins by certificate needs it (Debian and Ubuntu: apt-get install openssl)"
        ) from None
    except subprocess.TimeoutExpired:
        raise ConfigInvalid("openssl %s did not end within %d s" % (arguments[0], _LIMIT_S)) from None
    except OSError as error:
        raise ConfigInvalid("openssl cannot be started: %s" % reason(error)) from None
    if done.returncode or not done.stdout:
        raise ConfigInvalid(
            "openssl %s failed: %s"
            % (arguments[0], done.stderr.decode("utf-8", "replace").strip()[:500] or "it said nothing")
        )
    return done.stdout
