"""Who are you: the secret and the session behind an access key, a session token or a service-specific credential.

A request costs dictionary look-ups here; what was read is kept until identity changes (`penstock.identity.cache`).
"""

from __future__ import annotations

import hmac
from dataclasses import replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from penstock.identity import records, sessions
from penstock.identity.cache import Cache, Memories
from penstock.identity.principals import Principals
from penstock.identity.reserved import Reservations
from penstock.identity.service_credentials import BY_NAME, ServiceCredential, credential_of, may_be_name
from penstock.store.statement import Statement
from penstock.wire.call import Credential, PrincipalKind, Session
from penstock.wire.errors import ExpiredSession, InvalidSessionToken, UnknownAccessKey

if TYPE_CHECKING:
    from penstock.application import App

# Bytes that each kind of memory may take; beyond them it starts anew.
_KEY_BYTES = 32 << 20  # of credentials: those of 20,000 hosts, each of which asks again and again
_SESSION_BYTES = 8 << 20  # of sessions
_SERVICE_BYTES = 8 << 20  # of service-specific credentials
_CREDENTIAL_BYTES = 1500  # of one with its Session

_k, _u = records.access_keys.c, records.users.c
_KEY_AND_USER = Statement(
    sa.select(_k.id.label("key_id"), _k.account, _k.status, _k.secret, _k.user_id, _u.arn, _u.tags)
    .select_from(records.access_keys.join(records.users, _u.id == _k.user_id))
    .where(_k.id == sa.bindparam("key"))
)


class Credentials:
    """The credentials that this installation knows."""

    def __init__(self, app: App, memories: Memories, principals: Principals, reservations: Reservations) -> None:
        self._app = app
        self._memories = memories
        self._principals = principals
        self._reservations = reservations
        self._keys: Cache[str, Credential] = memories.cache(_KEY_BYTES)  # by access key id
        self._grants: Cache[str, Credential] = memories.cache(_SESSION_BYTES)  # by session token
        self._of_services: Cache[str, ServiceCredential] = memories.cache(_SERVICE_BYTES)  # by user name

    async def find(self, access_key_id: str, session_token: str) -> Credential:
        """The secret and session behind a key.

        Raises UnknownAccessKey, InvalidSessionToken or ExpiredSession.
        """
        if session_token:
            return await self._temporary(access_key_id, session_token)
        found = self._keys.get(access_key_id)
        if found is not None:
            return found
        epoch = self._memories.epoch
        looked_for = 16 <= len(access_key_id) <= 32 and access_key_id.isalnum()
        row = await self._app.store.lookup(_KEY_AND_USER, key=access_key_id) if looked_for else None
        if row is None or row.status != "Active":
            raise UnknownAccessKey
        found = Credential(
            secret=self._app.sealer.open(row.secret, records.secret_context(row.key_id)).decode(),
            session=sessions.of_user(row, row.user_id, row.key_id),
        )
        self._memories.keep(self._keys, access_key_id, found, epoch, _CREDENTIAL_BYTES)
        return found

    async def service_session(self, service: str, user_name: str, password: str) -> Session:
        """The session of a user who shows a service-specific credential. Raises UnknownAccessKey."""
        found = self._of_services.get(user_name)
        if found is None and may_be_name(user_name):
            epoch = self._memories.epoch
            row = await self._app.store.lookup(BY_NAME, name=user_name)
            if row is not None and row.status == "Active":
                found = credential_of(row)
                self._memories.keep(self._of_services, user_name, found, epoch, _CREDENTIAL_BYTES)
        if found is None or found.service != service or not found.fits(password):
            raise UnknownAccessKey("The user name and password are not those of an active credential for this service.")
        return found.session

    async def _temporary(self, access_key_id: str, token: str) -> Credential:
        found = self._grants.get(token)
        if found is None:
            epoch = self._memories.epoch
            grant = sessions.unseal(self._app.sealer, token)
            if grant is None:
                raise InvalidSessionToken
            principal = await self._principals.find(grant.principal)
            if principal is None:
                raise InvalidSessionToken
            if grant.kind is PrincipalKind.ROLE:
                reserved = await self._reservations.of(grant.arn, grant.session_name)
                if reserved != (grant.by, grant.since):
                    raise ExpiredSession
            found = grant.credential()
            if principal.tags:
                session = replace(found.session, tags=records.over(principal.tags, found.session.tags))
                found = replace(found, session=session)
            self._memories.keep(self._grants, token, found, epoch, _CREDENTIAL_BYTES + 2 * len(token))
        if not hmac.compare_digest(found.session.access_key_id.encode(), access_key_id.encode()):
            raise InvalidSessionToken
        if found.session.expires is not None and found.session.expires <= self._app.clock.now():
            raise ExpiredSession
        return found
