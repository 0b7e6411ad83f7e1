"""Who a host is that has joined: its certificate and key below `root_dir/identity`, and the role's credentials that they give.

host.json   what the server said: role, session, trust anchor, profile, region
host.pem    the private key and the certificate, in one file so that they are replaced together
next.key    a key for which a certificate is asked for
"""

from __future__ import annotations

import base64
import calendar
import hashlib
import json
import os
import threading
import time
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

from penstock_agent import log, openssl
from penstock_agent.cms import Certificate, EnvelopeInvalid, certificates_of_pem
from penstock_agent.connection import Address, Connection, Response, Unreachable
from penstock_agent.failures import ConfigInvalid, reason
from penstock_agent.layout import write_durably
from penstock_agent.service import CALL_TIMEOUT_S, MAX_ANSWER_BYTES, USER_AGENT, Refused, other_clock, understood
from penstock_agent.sigv4 import Credentials, encode_query, sign_by

FOLDER = "identity"
EARLY_S = 1200.0  # before their end credentials are replaced; those who are handed them need some of the hour, too
RETRY_S = 60.0  # between attempts while the present ones are still good
_ALGORITHM = "AWS4-X509-ECDSA-SHA256"
_SAID = ("region", "roleArn", "sessionArn", "trustAnchorArn", "profileArn")


class Joined(NamedTuple):
    """What the server has said to a host that joined."""

    folder: str
    region: str
    role_arn: str
    session_arn: str
    trust_anchor_arn: str
    profile_arn: str


class Granted(NamedTuple):
    """Credentials of a session and their end, in epoch seconds."""

    credentials: Credentials
    expires: float


def read_joined(root_dir: str) -> Optional[Joined]:
    """The identity below a root directory; None when the host has not joined. Raises ConfigInvalid when it cannot be read."""
    folder = os.path.join(root_dir, FOLDER)
    path = os.path.join(folder, "host.json")
    try:
        with open(path, encoding="utf-8") as file:
            said = json.loads(file.read(1 << 16))
        return Joined(folder, *(str(said[name]) for name in _SAID))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigInvalid("%s cannot be read: %s" % (path, reason(error))) from None
    except (ValueError, KeyError, TypeError):
        raise ConfigInvalid(
            "%s is damaged: invite the host again (penstock hosts join), and let it join" % path
        ) from None


def join(root_dir: str, address: Address, context: Any, token: str) -> Joined:
    """Have a key, show the invitation, keep the certificate. Raises Refused, Unreachable, OSError or ConfigInvalid.

    It may be done again with the same token when the answer was lost: the key stays the same until there is a certificate for it.
    """
    folder = os.path.join(root_dir, FOLDER)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    os.chmod(folder, 0o700)
    request = _signing_request(folder)
    answer = _call(address, context, "JoinHost", {"token": token, "certificateSigningRequest": request})
    try:
        certificate = str(answer["certificate"])
        said = {name: str(answer[name]) for name in _SAID}
    except KeyError as error:
        raise Unreachable("the answer has no %s: is %s the address of Penstock?" % (error, address.url)) from None
    write_durably(os.path.join(folder, "host.json"), json.dumps(said, indent=2).encode("utf-8"))
    _adopt(folder, certificate)
    joined = read_joined(root_dir)
    assert joined is not None
    return joined


class RoleCredentials:
    """Credentials of the host's role, replaced before they end; and its certificate, replaced after half of its time."""

    def __init__(self, joined: Joined, endpoint: str, context: Any) -> None:
        self.joined = joined
        self._address = Address(endpoint)
        self._context = context
        self._lock = threading.Lock()
        self._granted: Optional[Granted] = None
        self._tried = 0.0
        self._offset_s = 0.0

    def __call__(self) -> Credentials:
        """Those to sign with now. Raises as `granted`."""
        return self.granted().credentials

    def forget(self) -> None:
        """The server takes the present ones no more: who asks next learns why, or gets others."""
        with self._lock:
            self._granted = None

    def granted(self) -> Granted:
        """Those of now and their end. Raises Refused, Unreachable, OSError or ConfigInvalid when there are none."""
        with self._lock:
            now = self._now()
            present = self._granted
            left = present.expires - now if present is not None else 0.0
            if present is not None and (left > EARLY_S or (left > 0 and time.monotonic() - self._tried < RETRY_S)):
                return present
            self._tried = time.monotonic()
            try:
                self._renew()
                self._granted = self._session()
            except (Refused, Unreachable, OSError, ConfigInvalid) as error:
                if present is None or present.expires <= now:
                    raise
                log.warning("credentials.not_replaced", reason=error, left_s=int(left))
            assert self._granted is not None
            return self._granted

    def _now(self) -> float:
        return time.time() + self._offset_s

    def _session(self) -> Granted:
        """CreateSession of IAM Roles Anywhere."""
        arns = self.joined
        query = encode_query(
            [("profileArn", arns.profile_arn), ("roleArn", arns.role_arn), ("trustAnchorArn", arns.trust_anchor_arn)]
        )
        path, headers = self._address.prefix + "/sessions", {"content-type": "application/json"}
        answer = _post(
            self._address, self._context, path, query, headers, b"{}", "rolesanywhere", self._headers, self._learn
        )
        try:
            given = answer["credentialSet"][0]["credentials"]
            ends = calendar.timegm(time.strptime(given["expiration"][:19], "%Y-%m-%dT%H:%M:%S"))
            credentials = Credentials(given["accessKeyId"], given["secretAccessKey"], given["sessionToken"])
        except (KeyError, IndexError, TypeError, ValueError):
            raise Unreachable(
                "the answer has no credentials: is %s the address of Penstock?" % self._address.url
            ) from None
        log.info("credentials.replaced", role=arns.role_arn, until=given["expiration"])
        return Granted(credentials, float(ends))

    def _renew(self) -> None:
        """Ask for a newer certificate when half of the present one's time is over. That this fails is no reason to stop before its end."""
        certificate, _text = self._certificate()
        if self._now() < (certificate.not_before + certificate.not_after) / 2:
            return
        try:
            folder = self.joined.folder
            body = {
                "trustAnchorArn": self.joined.trust_anchor_arn,
                "certificateSigningRequest": _signing_request(folder),
            }
            answer = _call(self._address, self._context, "RenewHostCertificate", body, self._headers, self._learn)
            _adopt(folder, str(answer.get("certificate", "")))
            log.info("certificate.renewed")
        except (Refused, Unreachable, OSError, ConfigInvalid) as error:
            log.warning("certificate.not_renewed", reason=error)

    def _learn(self, response: Response) -> bool:
        """Take over the server's time after a refusal when it is far from ours."""
        offset = other_clock(response, self._offset_s)
        if offset is not None:
            self._offset_s = offset
        return offset is not None

    def _headers(self, path: str, query: str, headers: Dict[str, str], body: bytes, service: str) -> Dict[str, str]:
        certificate, encoded = self._certificate()
        key_file = os.path.join(self.joined.folder, "host.pem")
        return sign_by(
            lambda data: openssl.sign(key_file, data), "POST", path, query, dict(headers, **{"x-amz-x509": encoded}),
            algorithm=_ALGORITHM, key_id=str(certificate.serial), payload_sha256=hashlib.sha256(body).hexdigest(),
            region=self.joined.region, service=service, now=self._now(),
        )  # fmt: skip

    def _certificate(self) -> Tuple[Certificate, str]:
        """The present certificate, and its DER in base64."""
        path = os.path.join(self.joined.folder, "host.pem")
        try:
            with open(path, encoding="ascii") as file:
                found = certificates_of_pem(file.read(1 << 16))[0]
        except FileNotFoundError:
            raise ConfigInvalid("there is no %s: let the host join once more with the same invitation" % path) from None
        except (EnvelopeInvalid, UnicodeDecodeError):
            raise ConfigInvalid(
                "%s is damaged: invite the host again (penstock hosts join), and let it join" % path
            ) from None
        return found, base64.b64encode(found.encoded).decode("ascii")


def _signing_request(folder: str) -> str:
    """A signing request for the key that is kept for the next certificate; it is made unless there is one."""
    path = os.path.join(folder, "next.key")
    if not os.path.exists(path):
        write_durably(path, openssl.new_key())
    return openssl.signing_request(path, folder)


def _adopt(folder: str, certificate: str) -> None:
    """Keep a certificate with its key in the place of the present ones."""
    try:
        certificates_of_pem(certificate)
    except EnvelopeInvalid as error:
        raise Unreachable("the answer has no certificate: %s" % error) from None
    path = os.path.join(folder, "next.key")
    with open(path, "rb") as file:
        key = file.read(1 << 16)
    write_durably(os.path.join(folder, "host.pem"), key + certificate.encode("ascii"))
    os.unlink(path)


def _unsigned(_path: str, _query: str, headers: Dict[str, str], _body: bytes, _service: str) -> Dict[str, str]:
    return headers


def _call(
    address: Address,
    context: Any,
    operation: str,
    body: Dict[str, Any],
    sign: Callable[..., Dict[str, str]] = _unsigned,
    learn: Callable[[Response], bool] = lambda _response: False,
) -> Dict[str, Any]:
    """An operation of Penstock's own service. Raises Refused or Unreachable."""
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "Penstock_20261101." + operation}
    payload = json.dumps(body).encode("utf-8")
    return _post(address, context, address.prefix + "/", "", headers, payload, "penstock", sign, learn)


def _post(
    address: Address,
    context: Any,
    path: str,
    query: str,
    headers: Dict[str, str],
    body: bytes,
    service: str,
    sign: Callable[..., Dict[str, str]],
    learn: Callable[[Response], bool],
) -> Dict[str, Any]:
    """The answer to a request, which is signed and sent again when `learn` has set our clock right. Raises Refused or Unreachable."""
    connection = Connection(address, context)
    stated = dict(headers, host=address.host)
    stated["user-agent"] = USER_AGENT
    try:
        for attempt in (1, 2):
            signed = sign(path, query, stated, body, service)
            response = connection.request("POST", path + ("?" + query if query else ""), signed, body, CALL_TIMEOUT_S)
            answer = response.read(MAX_ANSWER_BYTES)
            if attempt == 1 and response.status in (400, 401, 403) and learn(response):
                continue
            return understood(response, answer)
    finally:
        connection.close()
    raise AssertionError("unreachable")
