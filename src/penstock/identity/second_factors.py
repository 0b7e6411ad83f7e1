"""Second factors of users: authenticator apps, passkeys, and codes for when both are lost.

A code counts once: its step, or the row of a recovery code, is taken in the transaction that accepts it. Guesses are counted by user,
wherever they come from: whoever makes them knows the password or a key already.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from penstock.identity import sign_in_records, totp
from penstock.identity.tries import Tries
from penstock.wire.errors import AccessDenied

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.identity.signin import SignedIn

_RECOVERY_CODES = 10
_RECOVERY_BYTES = 15  # 120 bits, so that a plain digest keeps them (NIST SP 800-63B, "Look-Up Secret Verifiers")
_d = sign_in_records.mfa_devices.c
_r = sign_in_records.recovery_codes.c


def devices(conn: sa.Connection, user_id: str) -> list[Any]:
    """A user's devices."""
    return list(
        conn.execute(sa.select(sign_in_records.mfa_devices).where(_d.user_id == user_id).order_by(_d.arn)).all()
    )


def kinds(conn: sa.Connection, user_id: str) -> tuple[str, ...]:
    """The kinds of second factors that a user has; with any of them a password alone signs nobody in."""
    return tuple(
        kind
        for kind, owner in (("totp", _d.user_id), ("passkey", sign_in_records.passkeys.c.user_id))
        if conn.execute(sa.select(owner).where(owner == user_id).limit(1)).first()
    )


def count(conn: sa.Connection, user_id: str) -> int:
    """How many a user has, of all kinds."""
    each = (
        conn.execute(sa.select(sa.func.count()).where(owner == user_id)).scalar_one()
        for owner in (_d.user_id, sign_in_records.passkeys.c.user_id)
    )
    return sum(each)


def holders() -> sa.CompoundSelect[Any]:
    """Ids of all users who have one."""
    return sa.union(sa.select(_d.user_id).where(_d.user_id.is_not(None)), sa.select(sign_in_records.passkeys.c.user_id))


async def show(app: App, user: SignedIn, code: str) -> SignedIn:
    """The user with the factor that was shown: a code of one of the devices, or a recovery code. Raises AccessDenied."""
    user_id, now = user.session.principal_id, app.clock.now()
    tries = Tries(app, user_id, "second factor")
    await tries.begin()
    given = "".join(code.split()).replace("-", "")

    def take(conn: sa.Connection) -> str | None:
        taken = next((one.arn for one in devices(conn, user_id) if take_code(conn, app, one, given, now)), None)
        if taken is None and _take_recovery_code(conn, user_id, given):
            taken = ""
        if taken is not None:
            tries.forgive(conn)
        return taken

    device = await app.store.write(take)
    if device is None:
        raise AccessDenied(
            f"That code is wrong, or was used already. Type the one that your app shows now. {tries.left}"
        )
    return replace(user, session=replace(user.session, mfa=now), device=device)


async def check_device(app: App, user_id: str, arn: str, code: str) -> bool:
    """Whether a code is one of this device of a user, for calls that show one. Raises AccessDenied during a pause."""
    tries = Tries(app, user_id, "second factor")
    await tries.begin()
    now = app.clock.now()

    def take(conn: sa.Connection) -> bool:
        taken = any(take_code(conn, app, one, code, now) for one in devices(conn, user_id) if one.arn == arn)
        if taken:
            tries.forgive(conn)
        return taken

    return await app.store.write(take)


def take_code(conn: sa.Connection, app: App, device: Any, code: str, now: int) -> bool:
    """Take a code of a device, once."""
    step = totp.step_of(seed_of(app, device), code, now=now, drift=device.drift, used=device.used)
    if step is None:
        return False
    later = (_d.arn == device.arn) & (_d.used < step)
    return bool(conn.execute(sign_in_records.mfa_devices.update().where(later).values(used=step)).rowcount)


def seed_of(app: App, device: Any) -> bytes:
    """The seed of a device's codes."""
    return app.sealer.open(device.seed, sign_in_records.seed_context(device.arn))


def new_recovery_codes(conn: sa.Connection, account: str, user_id: str) -> list[str]:
    """Codes that each sign a user in once in place of an app's; the older ones are void."""
    forget_recovery_codes(conn, user_id)
    codes = [totp.base32(secrets.token_bytes(_RECOVERY_BYTES)) for _ in range(_RECOVERY_CODES)]
    rows = [{"id": _digest(user_id, code), "account": account, "user_id": user_id} for code in codes]
    conn.execute(sign_in_records.recovery_codes.insert(), rows)
    return ["-".join(code[at : at + 4] for at in range(0, len(code), 4)) for code in codes]


def forget_recovery_codes(conn: sa.Connection, user_id: str) -> None:
    """Make the codes void."""
    conn.execute(sign_in_records.recovery_codes.delete().where(_r.user_id == user_id))


def _take_recovery_code(conn: sa.Connection, user_id: str, code: str) -> bool:
    own = (_r.id == _digest(user_id, code.upper())) & (_r.user_id == user_id)
    return bool(conn.execute(sign_in_records.recovery_codes.delete().where(own)).rowcount)


def _digest(user_id: str, code: str) -> str:
    return hashlib.sha256(f"{user_id}\0{code}".encode("utf-8", "replace")).hexdigest()
