"""Who calls Git's endpoint, by basic authentication.

The login is a service-specific credential of IAM's for Git, an access key, or what AWS CodeCommit's credential helper made of one.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from penstock.repositories import records
from penstock.repositories.git_login import GitLogin, parse_git_login, verify_git_login
from penstock.wire.call import Call, Credential, Origin, Session, partition_of
from penstock.wire.errors import InvalidSessionToken, Refused, SignatureMismatch, UnknownAccessKey

if TYPE_CHECKING:
    from typing import Any

    from penstock.application import App

_HOST_REGION = re.compile(r"git-codecommit(?:-fips)?\.([a-z0-9-]+)\.")
_SERVICE_USER = re.compile(r".+-at-[0-9]{12}", re.ASCII)  # no access key has such an id
_SERVICE = "codecommit.amazonaws.com"
_MAX_HEADER = 32_768
_WRONG = (
    "These are neither Git credentials nor an active access key with its secret. Git may have kept them: `git credential reject` forgets"
    " them, and `aws iam create-service-specific-credential --service-name codecommit.amazonaws.com --user-name NAME` makes new ones."
)


class Unauthenticated(Exception):
    """No credentials, or none that are right; the message is for the client's terminal."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """A verified caller of Git, and the region it speaks of."""

    session: Session
    regions: tuple[str, ...]  # where to look for the repository, in order


async def visitor(app: App, *, authorization: str, host: str, path: str) -> Visitor:
    """Verify an Authorization header. `path` is the repository's path as Git knows it (`/v1/repos/NAME`).

    Raises Unauthenticated.
    """
    username, password = _basic(authorization)
    login = parse_git_login(username, password)
    key, _, token = username.partition("%")
    regions = _regions(app, host)
    try:
        if _SERVICE_USER.fullmatch(unquote(username)):
            return Visitor(await app.identity.service_session(_SERVICE, unquote(username), password), regions)
        if login is None:
            # Some versions of git hand the token on percent-encoded, as it stands in a URL.
            credential = await app.identity.credential(key, unquote(token))
            if hmac.compare_digest(credential.secret.encode(), password.encode()):
                return Visitor(credential.session, regions)
            raise Unauthenticated(_WRONG)
        credential = await app.identity.credential(login.access_key_id, unquote(login.session_token))
        return Visitor(credential.session, (_signed_region(login, credential, regions, host, path),))
    except (UnknownAccessKey, InvalidSessionToken, SignatureMismatch):
        raise Unauthenticated(_WRONG) from None
    except Refused as refused:
        raise Unauthenticated(refused.message) from None


async def repository(app: App, visitor: Visitor, name: str) -> tuple[Any, str]:
    """The row of a repository of the visitor's account, or None, and its region (that of a missing one: the first looked at)."""
    for region in visitor.regions:
        row = await app.store.read(records.find, visitor.session.account, region, name)
        if row is not None:
            return row, region
    return None, visitor.regions[0]


async def authorize(app: App, visitor: Visitor, *, action: str, name: str, region: str, origin: Origin) -> None:
    """Ask for `codecommit:GitPull` or `codecommit:GitPush` on the repository. Raises AccessDenied."""
    session = visitor.session
    app.identity.used(session, "codecommit", region)
    call = Call(
        app=app,
        session=session,
        account=session.account,
        region=region,
        service="codecommit",
        operation=action.partition(":")[2],
        request_id=app.ids.uuid(),
        now=app.clock.now(),
        via=origin.via,
        source_ip=origin.source_ip,
        user_agent=origin.user_agent,
        secure=origin.secure,
    )
    arn = f"arn:{partition_of(region)}:codecommit:{region}:{session.account}:{name}"
    await app.identity.authorize(call, action, [arn])


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if not authorization:
        raise Unauthenticated("This repository needs Git credentials or an access key.")
    if scheme.lower() != "basic" or len(encoded) > _MAX_HEADER:
        raise Unauthenticated("Git signs in by basic authentication here.")
    try:
        username, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthenticated("The Authorization header cannot be read.") from None
    if not colon:
        raise Unauthenticated("The Authorization header cannot be read.")
    return username, password


def _regions(app: App, host: str) -> tuple[str, ...]:
    """A host name like AWS's names the region; else the first site's comes first."""
    configured = app.settings.all_regions()
    named = _HOST_REGION.match(host)
    if named is not None and named[1] in configured:
        return (named[1],)
    return configured


def _signed_region(login: GitLogin, credential: Credential, regions: tuple[str, ...], host: str, path: str) -> str:
    """The region that was signed for. Raises a Refused."""
    now = int(time.time() * 1000)  # signatures are judged by the wall clock
    for region in regions:
        try:
            verify_git_login(login, secret=credential.secret, region=region, host=host, path=path, now=now)
        except SignatureMismatch:
            continue
        return region
    raise SignatureMismatch
