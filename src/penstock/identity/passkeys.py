"""Passkeys of users: a second factor, and a sign-in without a password, since the authenticator asks its user for a finger, a face or a PIN.

A challenge is sealed, for one purpose and for somebody: the session that adds a passkey, the second step, or the browser that signs in. Nothing
is kept of one until it is met; then it is noted in the transaction that takes the answer, so that it is met once.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from penstock.identity import ceremonies, naming, records, second_step, sign_in_records, signin
from penstock.identity.tries import prune
from penstock.store.upsert import upsert
from penstock.wire.errors import AccessDenied

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.identity.ceremonies import Challenge, Credential
    from penstock.wire.sign_in import Ceremony

_SIGN_IN, _FACTOR, _ADD = "identity/passkey", "identity/passkey-factor", "identity/passkey-new"
_c = sign_in_records.passkeys.c
_GONE = "No user here has this passkey any more. Sign in another way, and remove it from your device."
_COPIED = (
    "This passkey has signed more often than it says now, as the original of a copied one would. Sign in another way, and remove it "
    "under Security."
)
_SPENT = "This answer was given before. Begin again."


class Passkeys:
    """The ceremonies of this installation."""

    def __init__(self, app: App) -> None:
        self._app = app

    @property
    def party(self) -> ceremonies.Party:
        """For whom its passkeys are. Raises AccessDenied where there can be none."""
        return ceremonies.party_of(self._app.public_url)

    @property
    def address(self) -> str:
        """See `penstock.wire.sign_in.Passkeys`."""
        return self.party.origin

    async def begin(self, step: str = "") -> Ceremony:
        """See `penstock.wire.sign_in.Passkeys`."""
        party, allowed = self.party, ()
        if step:
            user = await second_step.user_of(self._app, step)
            allowed = named(await self._app.store.read(of_user, user.session.principal_id))
        asked = ceremonies.options_to_show(party, allowed)
        return ceremonies.begin(self._app, *_purpose(step), asked)

    async def show(self, token: str, answer: str, step: str = "") -> signin.SignedIn:
        """See `penstock.wire.sign_in.Passkeys`."""
        app, party = self._app, self.party
        challenge = ceremonies.resume(app, *_purpose(step), token)
        given = ceremonies.parse(answer)
        user = await second_step.user_of(app, step) if step else None
        row = await app.store.read(_by_id, digest(ceremonies.id_of(given)))
        if row is None or (user is not None and row.user_id != user.session.principal_id):
            raise AccessDenied(_GONE)
        try:
            _check_user(given, row, required=user is None)
            count = await ceremonies.verify_shown(party, challenge.value, given, row.public_key, synced=row.synced)
            return await self._take(challenge, row, count)
        except AccessDenied as refused:
            why = "The passkey may have been copied: its count went back." if refused.message is _COPIED else ""
            known = {"account": row.account, "device": serial(row.arn, row), "why": why}
            raise AccessDenied(refused.message, **known) from None

    async def _take(self, challenge: Challenge, row: Any, count: int) -> signin.SignedIn:
        """The user of a passkey that has signed for the `count`th time."""
        now = self._app.clock.now()

        def take(conn: sa.Connection) -> signin.SignedIn | str:
            """Whose it is, or why it is refused; what is noted of that stays."""
            spend(conn, challenge, now)
            # Section 7.2, step 22: a passkey that counts has counted on since it was last seen.
            on = _c["count"] < count if count else _c["count"] == 0
            same = sign_in_records.passkeys.update().where(_c.id == row.id)
            if not conn.execute(same.where(on).values(count=count, used=now)).rowcount:
                return _COPIED if conn.execute(same.values(suspected=now)).rowcount else _GONE
            found = conn.execute(signin.PROFILE.where(records.users.c.id == row.user_id)).first()
            if found is None:
                return "This user can no longer sign in to the console: there is no login profile. Ask an administrator of the account."
            user = signin.enter(conn, found, now)
            if user is None:
                return signin.EXPIRED
            return replace(user, session=replace(user.session, mfa=now), device=serial(row.arn, row))

        taken = await self._app.store.write(take)
        if isinstance(taken, str):
            raise AccessDenied(taken)
        return taken

    async def ask_for_new(self, user: Any, session: str) -> Ceremony:
        """Begin to make a passkey of a user (a row), in a session of the console. Raises AccessDenied."""
        party = self.party
        present = named(await self._app.store.read(of_user, user.id))
        name = f"{user.name}@{user.account}"
        asked = ceremonies.options_to_make(party, user_id=user.id, name=name, present=present)
        return ceremonies.begin(self._app, _ADD, session, asked)

    async def verify_new(self, session: str, token: str, answer: str) -> tuple[Challenge, Credential]:
        """What a browser has made in a session. Raises AccessDenied and Throttled."""
        challenge = ceremonies.resume(self._app, _ADD, session, token)
        return challenge, await ceremonies.verify_made(self.party, challenge.value, ceremonies.parse(answer))


def add(conn: sa.Connection, user: Any, credential: Credential, *, name: str, party: str, now: int) -> Any:
    """Make a credential a passkey of a user (a row); its row, or None when somebody has it already."""
    row = {
        "id": digest(credential.id),
        "credential": credential.id,
        "account": user.account,
        "user_id": user.id,
        "name": name,
        "public_key": credential.public_key,
        "party": party,
        "count": credential.count,
        "synced": credential.synced,
        "transports": list(credential.transports),
        "created": now,
    }
    return _by_id(conn, row["id"]) if upsert(conn, sign_in_records.passkeys, row) else None


def remove(conn: sa.Connection, row: Any) -> None:
    """Let it sign in nobody any more."""
    conn.execute(sign_in_records.passkeys.delete().where(_c.id == row.id))


def spend(conn: sa.Connection, challenge: Challenge, now: int) -> None:
    """Meet a challenge. Raises AccessDenied when it was met before."""
    prune(conn, sign_in_records.spent_challenges, now)
    if not upsert(conn, sign_in_records.spent_challenges, {"id": challenge.digest, "until": challenge.until}):
        raise AccessDenied(_SPENT)


def of_user(conn: sa.Connection, user_id: str) -> list[Any]:
    """A user's passkeys, in the order of their names."""
    return list(
        conn.execute(sa.select(sign_in_records.passkeys).where(_c.user_id == user_id).order_by(_c.name, _c.id)).all()
    )


def by_serial(conn: sa.Connection, account: str, number: str) -> tuple[Any, Any]:
    """The user and the row of the passkey with a serial number; (None, None) when there is none."""
    kind, _, rest = number.rpartition(":")[2].partition("/user/")
    user = records.user(conn, account, rest.partition("/")[0]) if kind == "u2f" else None
    found = () if user is None else (row for row in of_user(conn, user.id) if serial(user.arn, row) == number)
    return next(((user, row) for row in found), (None, None))


def named(rows: Sequence[Any]) -> list[tuple[bytes, Sequence[str]]]:
    """By what browsers find passkeys."""
    return [(row.credential, row.transports) for row in rows]


def serial(user_arn: str, row: Any) -> str:
    """The serial number of a passkey, which its user's name is in (IAM: "ListMFADevices", of FIDO security keys)."""
    parts = user_arn.split(":", 5)
    number = base64.b32encode(bytes.fromhex(row.id[:20])).decode()
    return naming.arn(parts[1], parts[4], "u2f", f"/user/{user_arn.rpartition('/')[2]}/", f"{row.name}-{number}")


def digest(credential: bytes) -> str:
    """The id of the row of a passkey."""
    return hashlib.sha256(credential).hexdigest()


def _by_id(conn: sa.Connection, id_: str) -> Any:
    """A passkey with the ARN of its user, or None."""
    found = sa.select(sign_in_records.passkeys, records.users.c.arn).join(
        records.users, records.users.c.id == _c.user_id
    )
    return conn.execute(found.where(_c.id == id_)).first()


def _purpose(step: str) -> tuple[str, str]:
    """What a challenge is for, and whose: that of this very second step, or of whoever has the cookie."""
    return (_FACTOR, hashlib.sha256(step.encode("utf-8", "replace")).hexdigest()) if step else (_SIGN_IN, "")


def _check_user(answer: dict[str, Any], row: Any, *, required: bool) -> None:
    """Section 7.2, step 6: whom the authenticator names is whose passkey it is. Raises AccessDenied."""
    said = answer["response"].get("userHandle")
    if (said is not None or required) and said != ceremonies.text_of(row.user_id.encode()):
        raise AccessDenied(_GONE)
