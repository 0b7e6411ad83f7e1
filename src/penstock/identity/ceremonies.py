"""The ceremonies of WebAuthn: what a browser is asked for, and whether what it brings back is that.

Source: W3C, "Web Authentication: An API for accessing Public Key Credentials", Level 3, sections 7.1 and 7.2. What comes back is checked by
py_webauthn. It is loaded by the first ceremony of a process, on a thread: 85 ms for what most processes never need.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

import orjson

from penstock.identity.sealed_tokens import seal, unseal
from penstock.pools import PASSKEYS
from penstock.wire.cbor import read_cbor, write_cbor
from penstock.wire.errors import AccessDenied
from penstock.wire.sign_in import Ceremony

if TYPE_CHECKING:
    from penstock.application import App

P = ParamSpec("P")
R = TypeVar("R")

LASTS_MS = 5 * 60_000
MAX_ANSWER = 8192  # characters of JSON, which a credential with the longest id and key has a third of
_MAX_ID = 1023  # bytes (WebAuthn: "Credential ID")
_MAX_DATA = 4096  # bytes of an authenticator's data; none of its extensions is asked for
_MAX_TOKEN = 1024
_CHALLENGE_BYTES = 32
_ALGORITHMS = (-7, -8, -257)  # ES256, EdDSA, RS256 (IANA: "COSE Algorithms")
_TRANSPORTS = frozenset({"ble", "cable", "hybrid", "internal", "nfc", "smart-card", "usb"})
_NOT_TAKEN = "This passkey was not taken: what the browser sent is not what this console asked it for. Begin again."
_LATE = "This took too long, or was started elsewhere. Begin again."


@dataclass(frozen=True, slots=True)
class Party:
    """For whom passkeys are: browsers show one only at the name and the address for which it was made."""

    name: str  # "relying party ID"
    origin: str


def party_of(public_url: str) -> Party:
    """Whose passkeys an installation with this address has. Raises AccessDenied with a sentence where browsers allow none."""
    address = urlsplit(public_url)
    host, port = address.hostname or "", "" if address.port in (None, 80, 443) else f":{address.port}"
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        number = None
    if number is not None and number.is_loopback:
        host, number = "localhost", None
    if number is not None:
        raise AccessDenied(
            f"Passkeys belong to a name, and this console's address is {host}. Whoever runs it gives it a name, by --public-url."
        )
    if address.scheme != "https" and host != "localhost" and not host.endswith(".localhost"):
        raise AccessDenied(
            f"Browsers allow passkeys over https only, and this console's address is {public_url}. Whoever runs it turns TLS on."
        )
    return Party(host, f"{address.scheme}://{host}{port}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A public key that an authenticator has made for a user."""

    id: bytes
    public_key: bytes  # COSE
    count: int  # of its signatures; 0 where it does not count
    synced: bool  # whether it may have copies on its user's other devices
    transports: Sequence[str]


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a ceremony that is going on has to answer."""

    value: bytes
    until: int  # ms

    @property
    def digest(self) -> str:
        """What is noted of a challenge that was met."""
        return hashlib.sha256(self.value).hexdigest()


def begin(app: App, purpose: str, whose: str, asked: Mapping[str, Any]) -> Ceremony:
    """A challenge for one purpose and for somebody, such as a session, in the options that the browser takes."""
    challenge = text_of(secrets.token_bytes(_CHALLENGE_BYTES))
    token = seal(app, {"challenge": challenge, "whose": whose}, purpose, until=app.clock.now() + LASTS_MS)
    options = {"challenge": challenge, "timeout": LASTS_MS, **asked}
    return Ceremony(token=token, options=orjson.dumps(options).decode())


def resume(app: App, purpose: str, whose: str, token: str) -> Challenge:
    """What the ceremony of a token has to answer. Raises AccessDenied for one that is over, or not this purpose's and somebody's."""
    content = unseal(app, token, purpose, most=_MAX_TOKEN)
    if content is None or content["whose"] != whose:
        raise AccessDenied(_LATE)
    return Challenge(bytes_of(content["challenge"]), content["until"])


def options_to_make(
    party: Party, *, user_id: str, name: str, present: Sequence[tuple[bytes, Sequence[str]]]
) -> dict[str, Any]:
    """What is asked for a new passkey, on an authenticator that has none of those present."""
    return {
        "rp": {"id": party.name, "name": "Penstock"},
        "user": {"id": text_of(user_id.encode()), "name": name, "displayName": name},
        "pubKeyCredParams": [{"type": "public-key", "alg": one} for one in _ALGORITHMS],
        "attestation": "none",
        "authenticatorSelection": {
            "residentKey": "required",
            "requireResidentKey": True,
            "userVerification": "required",
        },
        "excludeCredentials": _named(present),
    }


def options_to_show(party: Party, allowed: Sequence[tuple[bytes, Sequence[str]]]) -> dict[str, Any]:
    """What is asked for to be shown a passkey: one of these, or with none of them any that its user chooses."""
    return {"rpId": party.name, "userVerification": "required", "allowCredentials": _named(allowed)}


def _named(credentials: Sequence[tuple[bytes, Sequence[str]]]) -> list[dict[str, Any]]:
    return [{"type": "public-key", "id": text_of(id_), "transports": list(ways)} for id_, ways in credentials]


async def verify_made(party: Party, challenge: bytes, answer: Mapping[str, Any]) -> Credential:
    """The new passkey of an answer. Raises AccessDenied with a sentence, and Throttled when too much is waiting."""
    return await PASSKEYS.run(_checked, _made, party, challenge, answer)


async def verify_shown(
    party: Party, challenge: bytes, answer: Mapping[str, Any], public_key: bytes, *, synced: bool
) -> int:
    """How often the passkey of an answer has signed. Raises AccessDenied and Throttled."""
    return await PASSKEYS.run(_checked, _shown, party, challenge, answer, public_key, synced=synced)


def parse(text: str) -> dict[str, Any]:
    """What a browser has sent. Raises AccessDenied for what is no answer of any authenticator."""
    try:
        answer = orjson.loads(text[: MAX_ANSWER + 1])
        if isinstance(answer, dict) and 0 < len(id_of(answer)) <= _MAX_ID and isinstance(answer["response"], dict):
            return answer
    except (ValueError, TypeError, KeyError):
        pass
    raise AccessDenied(_NOT_TAKEN)


def id_of(answer: Mapping[str, Any]) -> bytes:
    """By what the authenticator names the passkey."""
    return bytes_of(answer["rawId"])


def _checked(check: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    import webauthn  # noqa: F401, PLC0415 - see above; outside of what is caught

    try:
        return check(*args, **kwargs)
    except Exception:  # noqa: BLE001 - of any kind: a stranger wrote what is read here
        raise AccessDenied(_NOT_TAKEN) from None


def _made(party: Party, challenge: bytes, answer: Mapping[str, Any]) -> Credential:
    from webauthn import verify_registration_response  # noqa: PLC0415
    from webauthn.helpers.structs import CredentialDeviceType  # noqa: PLC0415

    response = answer["response"]
    # Who made the authenticator is not asked for, so that what it says of that, and all its formats, are not read.
    data = read_cbor(bytes_of(response["attestationObject"]))["authData"]
    _check_data(data)
    _check_client(response, challenge)
    plain = write_cbor({"fmt": "none", "attStmt": {}, "authData": data})
    verified = verify_registration_response(
        credential={**answer, "response": {**response, "attestationObject": text_of(plain)}},
        expected_challenge=challenge,
        expected_rp_id=party.name,
        expected_origin=party.origin,
        require_user_verification=True,
    )
    if verified.credential_id != id_of(answer):
        raise ValueError("the answer is about two credentials")
    _check_key(verified.credential_public_key)
    return Credential(
        id=verified.credential_id,
        public_key=verified.credential_public_key,
        count=verified.sign_count,
        synced=verified.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
        transports=sorted(_TRANSPORTS.intersection(response.get("transports") or ())),
    )


def _shown(party: Party, challenge: bytes, answer: Mapping[str, Any], public_key: bytes, *, synced: bool) -> int:
    from webauthn import verify_authentication_response  # noqa: PLC0415
    from webauthn.helpers.structs import CredentialDeviceType  # noqa: PLC0415

    _check_data(bytes_of(answer["response"]["authenticatorData"]))
    _check_client(answer["response"], challenge)
    verified = verify_authentication_response(
        credential=dict(answer),
        expected_challenge=challenge,
        expected_rp_id=party.name,
        expected_origin=party.origin,
        credential_public_key=public_key,
        credential_current_sign_count=0,  # it is compared where it is written
        require_user_verification=True,
    )
    # Section 7.2, step 19: whether it may have copies is so for its life.
    if synced is not (verified.credential_device_type is CredentialDeviceType.MULTI_DEVICE):
        raise ValueError("another kind of passkey")
    return verified.new_sign_count


def _check_data(data: bytes) -> None:
    if len(data) > _MAX_DATA:
        raise ValueError("more data than an authenticator has")


def _check_client(response: Mapping[str, Any], challenge: bytes) -> None:
    """What the library does not compare, or not as closely: the challenge to the letter, and that it was no page in another site's frame."""
    said = orjson.loads(bytes_of(response["clientDataJSON"]))
    if said["challenge"] != text_of(challenge) or said.get("crossOrigin", False) is not False:
        raise ValueError("not what was asked for")


def _check_key(public_key: bytes) -> None:
    """A key of one of the algorithms that were asked for, with which a signature costs what is usual."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415
    from webauthn.helpers import decode_credential_public_key, decoded_public_key_to_cryptography  # noqa: PLC0415

    decoded = decode_credential_public_key(public_key)
    match decoded.alg, decoded_public_key_to_cryptography(decoded):
        case -7, ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return
        case -8, ed25519.Ed25519PublicKey():
            return
        case -257, rsa.RSAPublicKey() as key if 2048 <= key.key_size <= 4096 and key.public_numbers().e == 65537:
            return
    raise ValueError("a key of another kind")


def text_of(raw: bytes) -> str:
    """Bytes as browsers send them: base64url without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def bytes_of(text: str) -> bytes:
    """What such a text says. Raises ValueError."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None
