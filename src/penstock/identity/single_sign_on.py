"""Signing in to the console by an OpenID Connect issuer, as one of the roles that trust it.

The authorization code flow with PKCE (OpenID Connect Core 1.0, section 3.1; RFC 7636; RFC 9207; RFC 9700, "Best Current Practice for OAuth 2.0
Security"). The browser holds state, nonce and verifier in a sealed cookie, so that nothing is kept here for somebody who never comes
back. Who gets in, and as what, say the trust policies of roles, by `sts:AssumeRoleWithWebIdentity` as for every other client.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import orjson
import sqlalchemy as sa

from penstock.egress import Unreachable, Untrusted, Unusable
from penstock.identity import records, signin
from penstock.identity.issuers import FRESH_MS, TIMEOUT_S, Form
from penstock.identity.operations.session_requests import tags_of
from penstock.identity.operations.web_identities import first_refused
from penstock.identity.sealed_tokens import seal, unseal
from penstock.identity.settings import IdentitySettings
from penstock.identity.web_tokens import WebIdentity, read, verify
from penstock.wire.call import ANONYMOUS, Origin
from penstock.wire.errors import AccessDenied, MalformedBody, ServiceError
from penstock.wire.invoke import call_of
from penstock.wire.sign_in import Offer

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.identity.authority import Authority

PATH = "/console/sso/done"
_LASTS_MS = 10 * 60_000  # that somebody may take at the issuer's pages, and then to choose a role
_HELD, _OFFERED = "identity/sso-held", "identity/sso-offer"
_MAX_SEALED = 64 << 10
_MAX_TOKEN = 20_000  # characters (STS: "WebIdentityToken")
_MAX_CODE = 4096
_MAX_ROLES = 100
_NO_NAME = re.compile(r"[^\w+=,.@-]", re.ASCII)


class SingleSignOn:
    """One issuer and the console as its client."""

    def __init__(self, app: App, authority: Authority) -> None:
        self._app, self._authority = app, authority
        self.settings = app.settings.of(IdentitySettings)
        self._issuer = self.settings.sign_in_issuer.removeprefix("https://")
        self._discovered: dict[str, Any] = {}
        self._read = 0  # ms, when the issuer said that

    @property
    def label(self) -> str:
        """What its button is called."""
        return self.settings.sign_in_label

    async def begin(self, target: str) -> tuple[str, str]:
        """Where a browser goes, and what it holds meanwhile, sealed. Raises AccessDenied when the issuer cannot be asked."""
        discovered = await self._discover()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code",
            "client_id": self.settings.sign_in_client,
            "redirect_uri": self._redirect,
            "scope": self.settings.sign_in_scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        address = str(discovered["authorization_endpoint"])
        held = {"state": state, "nonce": nonce, "verifier": verifier, "target": target}
        return f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}", self._seal(held, _HELD)

    async def finish(self, held: str, query: Mapping[str, str], origin: Origin) -> Offer:
        """What a browser that comes back may enter. Raises AccessDenied with a sentence for the page."""
        content = self._open(held, _HELD)
        if not _same(content["state"], query.get("state", "")):
            raise AccessDenied("This sign-in was not begun in this browser. Begin again.")
        if query.get("iss", self.settings.sign_in_issuer) != self.settings.sign_in_issuer:
            raise AccessDenied("Another issuer than the one that was asked has answered. Begin again.")
        if "error" in query:
            raise AccessDenied(f"{self.label} has refused: {(query.get('error_description') or query['error'])[:200]}")
        code = query.get("code", "")
        if not 0 < len(code) <= _MAX_CODE:
            raise AccessDenied(f"{self.label} has answered without a code. Begin again.")
        text = await self._redeem(code, content["verifier"])
        identity = await self._verified(text, content["nonce"])
        name = self._name(identity)
        roles = await self._roles(identity, name, origin)
        if not roles:
            raise AccessDenied(
                f"{self.label} knows you, and no role here lets you in. Ask an administrator for a role that trusts "
                f"{self.settings.sign_in_issuer} for the subject {identity.subject[:200]}."
            )
        offered = {"state": content["state"], "text": text, "name": name}
        return Offer(name=name, roles=roles, token=self._seal(offered, _OFFERED), target=content["target"])

    async def enter(self, held: str, token: str, role: str, origin: Origin) -> signin.SignedIn:
        """The session of one of the roles of an offer. Raises AccessDenied."""
        content, offered = self._open(held, _HELD), self._open(token, _OFFERED)
        if not _same(content["state"], offered["state"]):
            raise AccessDenied("This sign-in was not begun in this browser. Begin again.")
        try:
            row = await self._authority.role(role)
            longest = self.settings.session_hours * 3600
            seconds = {} if row is None else {"DurationSeconds": min(row.max_session, longest)}
            input = {
                "RoleArn": role,
                "RoleSessionName": offered["name"],
                "WebIdentityToken": offered["text"],
                **seconds,
            }
            made = await self._app.invoke(
                ANONYMOUS,
                "sts",
                "AssumeRoleWithWebIdentity",
                input,
                region=self._app.settings.region,
                origin=origin,
            )
        except (ServiceError, MalformedBody) as refused:
            raise AccessDenied(f"The role does not let you in: {refused.message} Begin again.") from None
        keys = made["Credentials"]
        session = (await self._authority.credential(keys["AccessKeyId"], keys["SessionToken"])).session
        person = hashlib.sha256(f"{self._issuer}\0{made['SubjectFromWebIdentityToken']}".encode()).hexdigest()
        return signin.SignedIn(
            session=session,
            user_name=offered["name"],
            changed=0,
            person=person,
            keys=(keys["AccessKeyId"], keys["SessionToken"]),
        )

    @property
    def _redirect(self) -> str:
        return f"{self._app.public_url}{PATH}"

    async def _discover(self) -> dict[str, Any]:
        now = self._app.clock.now()
        if not self._discovered or now >= self._read + FRESH_MS:
            found = await self._ask(self._authority.issuers.discover(self._issuer, ()))
            for name in ("authorization_endpoint", "token_endpoint"):
                if not str(found.get(name, "")).startswith("https://"):
                    raise AccessDenied(f"{self.label} does not say where to sign in ({name} is missing).")
            self._discovered, self._read = found, now
        return self._discovered

    async def _redeem(self, code: str, verifier: str) -> str:
        """The ID token for a code."""
        discovered, settings = await self._discover(), self.settings
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "client_id": settings.sign_in_client,
            "code_verifier": verifier,
        }
        authorization = ""
        if settings.sign_in_client_secret:
            ways = discovered.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
            if "client_secret_basic" in ways:
                pair = f"{quote(settings.sign_in_client, safe='')}:{quote(settings.sign_in_client_secret, safe='')}"
                authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
            else:
                fields["client_secret"] = settings.sign_in_client_secret
        form = Form(urlencode(fields).encode(), authorization)
        answer = await self._ask(self._authority.issuers.fetch(discovered["token_endpoint"], (), form))
        try:
            text = orjson.loads(answer)["id_token"]
        except (ValueError, KeyError, TypeError):
            text = None
        if not isinstance(text, str) or len(text) > _MAX_TOKEN:
            raise AccessDenied(f"{self.label} has answered without an ID token. Begin again.")
        return text

    async def _verified(self, text: str, nonce: str) -> WebIdentity:
        """What an ID token says: of this issuer, for this client, in time, and for this very sign-in."""
        client = self.settings.sign_in_client
        try:
            token = read(text)
            if token.issuer != self._issuer:
                raise AccessDenied("The ID token is of another issuer than the one that was asked.")
            key = await self._authority.issuers.key(token, ())
            identity = verify(token, key, clients=(client,), now=self._app.clock.now())
        except ServiceError as refused:
            raise AccessDenied(f"The ID token of {self.label} is not taken: {refused.message}. Begin again.") from None
        audiences = identity.claims.get("aud")
        if client not in (audiences if isinstance(audiences, list) else [audiences]):
            raise AccessDenied("The ID token is for somebody else. Begin again.")
        if not _same(nonce, identity.claims.get("nonce")):
            raise AccessDenied("The ID token belongs to another sign-in. Begin again.")
        return identity

    def _name(self, identity: WebIdentity) -> str:
        """What records and pages call somebody: the chosen claim, in the characters of a session's name."""
        claim = self.settings.sign_in_claim
        said = identity.claims.get(claim)
        if claim == "email" and identity.claims.get("email_verified") is not True:
            said = None  # anybody can say to have an address
        name = _NO_NAME.sub("-", said)[:64] if isinstance(said, str) else ""
        if len(name) < 2:
            raise AccessDenied(
                f"{self.label} does not say the claim {claim} of you, by which this installation names people."
            )
        return name

    async def _roles(self, identity: WebIdentity, name: str, origin: Origin) -> list[str]:
        """The roles of all accounts that let somebody in, by their ARNs."""
        client = self.settings.sign_in_client

        def read_candidates(conn: sa.Connection) -> list[tuple[Any, Any]]:
            p, r = records.oidc_providers, records.roles
            providers = conn.execute(sa.select(p).where(p.c.url == self._issuer)).all()
            found: list[tuple[Any, Any]] = []
            for provider in providers:
                if client in provider.clients:
                    named = r.c.trust.contains(provider.arn, autoescape=True)
                    roles = sa.select(r).where(r.c.account == provider.account, named).order_by(r.c.arn)
                    found += [(provider, role) for role in conn.execute(roles.limit(_MAX_ROLES)).all()]
            return found

        app = self._app
        call = call_of(app, ANONYMOUS, "sts", "AssumeRoleWithWebIdentity", region=app.settings.region, origin=origin)
        found: list[str] = []
        try:
            for provider, role in await app.store.scan(read_candidates):
                tags = tags_of(identity.tags, identity.transitive, replace(ANONYMOUS, provider=provider.arn))
                input = {"RoleSessionName": name}
                if not first_refused(call, role, provider, identity=identity, tags=tags, input=input):
                    found.append(role.arn)
        except ServiceError as refused:
            raise AccessDenied(f"The ID token of {self.label} is not taken: {refused.message}") from None
        return sorted(found)[:_MAX_ROLES]

    async def _ask(self, asking: Any) -> Any:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await asking
        except (Unreachable, TimeoutError) as error:
            raise AccessDenied(
                f"{self.label} cannot be reached ({str(error)[:200] or f'no answer in {TIMEOUT_S:g} s'}). Try again later."
            ) from None
        except (Unusable, Untrusted, ValueError) as error:
            raise AccessDenied(
                f"{self.label} has not answered as it should ({str(error)[:200]}). Begin again."
            ) from None

    def _seal(self, content: Mapping[str, Any], purpose: str) -> str:
        return seal(self._app, content, purpose, until=self._app.clock.now() + _LASTS_MS)

    def _open(self, text: str, purpose: str) -> dict[str, Any]:
        """What was sealed for a purpose, while it is good."""
        content = unseal(self._app, text, purpose, most=_MAX_SEALED)
        if content is None:
            raise AccessDenied("This sign-in took too long, or was not begun in this browser. Begin again.")
        return content


def _same(ours: str, said: Any) -> bool:
    return isinstance(said, str) and hmac.compare_digest(ours.encode(), said.encode("utf-8", "replace"))
