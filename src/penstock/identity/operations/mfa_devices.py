"""MFA devices of users: authenticator apps, which are IAM's virtual devices, and passkeys, which are its FIDO security keys."""

from __future__ import annotations

import io
import secrets
from typing import Any, NamedTuple

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import naming, passkeys, records, second_factors, sign_in_records, totp
from penstock.identity.authority import Authority
from penstock.identity.console_sessions import end_others
from penstock.identity.errors import (
    DeleteConflictException,
    EntityAlreadyExistsException,
    InvalidAuthenticationCodeException,
    LimitExceededException,
    NoSuchEntityException,
    ValidationErrorException,
)
from penstock.identity.operations import iam, ours
from penstock.identity.operations.entities import (
    change_row,
    find_user,
    may_tag,
    merged_tags,
    new_arn,
    page,
    tags,
    tags_page,
    user_arn,
    user_name,
    user_output,
    without_tags,
)
from penstock.identity.operations.sign_in_links import named_user_arn
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output
from penstock.wire.errors import AccessDenied

MAX_DEVICES = 8  # per user
_LONGEST = 256  # characters of a serial number
_SEED_BYTES = 40  # 320 bits, as AWS's
_MAX_PICTURE = 200  # characters of a name in the picture for an app; more makes it too dense to be read
_table, _d = sign_in_records.mfa_devices, sign_in_records.mfa_devices.c
_new_device = new_arn("mfa", "VirtualMFADeviceName")


def _serial(_call: Call, input: Input) -> str:
    return input["SerialNumber"]


@iam("CreateVirtualMFADevice", resource=_new_device)
async def create_virtual_mfa_device(authority: Authority, call: Call, input: Input) -> Output:
    """A new device, which is nobody's yet; the only answer that ever shows its seed."""
    arn, name = _new_device(call, input), input["VirtualMFADeviceName"]
    if len(arn) > _LONGEST:
        raise ValidationErrorException(
            f"The path and name of a device are too long: its serial number {arn[:40]}… may have {_LONGEST} characters."
        )
    await may_tag(call, input, "MFADevice", "VirtualMFADeviceName", path_kind="mfa")
    seed, tagged = secrets.token_bytes(_SEED_BYTES), tags(input.get("Tags"))

    def tx(conn: sa.Connection) -> None:
        if _device(conn, call, arn) is not None:
            raise EntityAlreadyExistsException("MFA device already exists.")
        conn.execute(
            _table.insert().values(
                arn=arn,
                account=call.account,
                name=name,
                seed=call.app.sealer.seal(seed, sign_in_records.seed_context(arn)),
                tags=tagged,
                created=call.now,
                drift=0,
                used=0,
            )
        )

    await authority.change(tx)
    device = {
        "SerialNumber": arn,
        "Base32StringSeed": totp.base32(seed).encode(),
        "QRCodePNG": _picture(totp.address(seed, f"{name}@{call.account}"[:_MAX_PICTURE])),
    }
    return {"VirtualMFADevice": device | ({"Tags": tagged} if tagged else {})}


@iam("EnableMFADevice", resource=user_arn)
async def enable_mfa_device(authority: Authority, call: Call, input: Input) -> None:
    """Make a device a second factor of a user, who shows two codes in a row. The user's sessions end, but for the one that calls."""

    def tx(conn: sa.Connection) -> None:
        user = find_user(conn, call.account, input["UserName"])
        device = _existing(conn, call, input)
        if device.user_id is not None:
            raise EntityAlreadyExistsException("MFA Device is already in use.")
        if second_factors.count(conn, user.id) >= MAX_DEVICES:
            raise LimitExceededException(quota="MFADevicesPerUser", limit=MAX_DEVICES)
        _set(conn, device, user_id=user.id, enabled=call.now, **_codes(call, device, input))
        end_others(conn, call, user.id, mfa=call.now)

    await authority.change(tx)


@iam("ResyncMFADevice", resource=user_arn)
async def resync_mfa_device(authority: Authority, call: Call, input: Input) -> None:
    """Learn anew how wrong the clock of a device is, by two codes in a row."""

    def tx(conn: sa.Connection) -> None:
        device = _of_user(conn, call, input)
        _set(conn, device, **_codes(call, device, input))

    await authority.change(tx)


@iam("DeactivateMFADevice", resource=user_arn)
async def deactivate_mfa_device(authority: Authority, call: Call, input: Input) -> None:
    """Let a device be no factor any more, and forget a passkey.

    The user's sessions end, but for the one that calls; with the last device go the recovery codes.
    """

    def tx(conn: sa.Connection) -> None:
        user = find_user(conn, call.account, user_name(call, conn, input))
        owner, passkey = passkeys.by_serial(conn, call.account, input["SerialNumber"])
        if passkey is not None and owner.id == user.id:
            passkeys.remove(conn, passkey)
        else:
            _set(conn, _of_user(conn, call, input), user_id=None, enabled=None)
        if not second_factors.kinds(conn, user.id):
            second_factors.forget_recovery_codes(conn, user.id)
        end_others(conn, call, user.id)

    await authority.change(tx)


@iam("DeleteVirtualMFADevice", resource=_serial)
async def delete_virtual_mfa_device(authority: Authority, call: Call, input: Input) -> None:
    """Forget a device that is no factor of anybody."""

    def tx(conn: sa.Connection) -> None:
        device = _existing(conn, call, input)
        if device.user_id is not None:
            raise DeleteConflictException("MFA VirtualDevice in use. Must deactivate first.")
        conn.execute(_table.delete().where(_d.arn == device.arn))

    await authority.change(tx)


@iam("GetMFADevice", resource=user_arn)
async def get_mfa_device(authority: Authority, call: Call, input: Input) -> Output:
    """A device, and whose it is; with a user's name, of that user."""

    def read(conn: sa.Connection) -> Output:
        owner, passkey = passkeys.by_serial(conn, call.account, input["SerialNumber"])
        if passkey is not None and owner.key == input.get("UserName", owner.key).lower():
            return _held(owner, input["SerialNumber"], passkey.created)
        device = _of_user(conn, call, input) if "UserName" in input else _existing(conn, call, input)
        user = None if device.user_id is None else records.user_by_id(conn, device.user_id)
        return {"SerialNumber": device.arn} if user is None else _held(user, device.arn, device.enabled)

    return await call.app.store.read(read)


@iam("ListMFADevices", resource=user_arn)
async def list_mfa_devices(authority: Authority, call: Call, input: Input) -> Output:
    """The devices of a user, or of the caller."""

    def read(conn: sa.Connection) -> Output:
        user = find_user(conn, call.account, user_name(call, conn, input))
        apps = [_Held(one.arn, one.enabled) for one in second_factors.devices(conn, user.id)]
        keys = [_Held(passkeys.serial(user.arn, one), one.created) for one in passkeys.of_user(conn, user.id)]
        held = sorted(apps + keys)  # MAX_DEVICES at most

        def after(keyset: list[Any] | None, limit: int) -> list[_Held]:
            return [one for one in held if keyset is None or one.arn > keyset[0]][:limit]

        found, more = page(call, input, after, "arn")
        return {"MFADevices": [_held(user, one.arn, one.enabled) for one in found], **more}

    return await call.app.store.read(read)


_ASSIGNED = {"Assigned": _d.user_id.is_not(None), "Unassigned": _d.user_id.is_(None), "Any": sa.true()}


@iam("ListVirtualMFADevices", resource=lambda call, _input: naming.arn(call.partition, call.account, "mfa", "/", "*"))
async def list_virtual_mfa_devices(authority: Authority, call: Call, input: Input) -> Output:
    """The devices of the account, and whose they are."""
    chosen = _ASSIGNED[input.get("AssignmentStatus", "Any")]

    def read(conn: sa.Connection) -> tuple[list[tuple[Any, Any]], Output]:
        def after(keyset: list[Any] | None, limit: int) -> list[Any]:
            own = sa.select(_table).where(_d.account == call.account, chosen)
            return list(conn.execute(rows_behind(own, [_d.arn], keyset, limit=limit)).all())

        found, more = page(call, input, after, "arn")
        return [(row, row.user_id and records.user_by_id(conn, row.user_id)) for row in found], more

    found, more = await call.app.store.scan(read)
    return {"VirtualMFADevices": [_to_api(device, user) for device, user in found], **more}


@iam("TagMFADevice", resource=_serial)
async def tag_mfa_device(authority: Authority, call: Call, input: Input) -> None:
    """Add or replace tags."""
    await _retag(authority, call, input, lambda old: merged_tags(old, input["Tags"]))


@iam("UntagMFADevice", resource=_serial)
async def untag_mfa_device(authority: Authority, call: Call, input: Input) -> None:
    """Remove tags by key."""
    await _retag(authority, call, input, lambda old: without_tags(old, input["TagKeys"]))


@iam("ListMFADeviceTags", resource=_serial)
async def list_mfa_device_tags(authority: Authority, call: Call, input: Input) -> Output:
    """A device's tags, a page at a time."""
    device = await call.app.store.read(_existing, call, input)
    return tags_page(call, input, device.tags)


@ours("CreateRecoveryCodes", resource=named_user_arn)
async def create_recovery_codes(authority: Authority, call: Call, input: Input) -> Output:
    """Codes that sign the calling user in when the device is lost, each once; older ones are void. Nobody makes them for others."""

    def tx(conn: sa.Connection) -> list[str]:
        user = records.user(conn, call.account, input["userName"])
        if user is None or user.id != call.session.principal_id:
            raise AccessDenied(
                "Recovery codes are made by their own user only. For others, deactivate the device that they lost."
            )
        if not second_factors.kinds(conn, user.id):
            raise AccessDenied("Recovery codes stand in for a second factor, and this user has none.")
        return second_factors.new_recovery_codes(conn, call.account, user.id)

    return {"recoveryCodes": await authority.change(tx)}


def _codes(call: Call, device: Any, input: Input) -> dict[str, int]:
    """What two codes say of a device's clock. Raises InvalidAuthenticationCode."""
    seed = second_factors.seed_of(call.app, device)
    first, second = input["AuthenticationCode1"], input["AuthenticationCode2"]
    step = totp.second_of_two(seed, first, second, now=call.now, used=device.used)
    if step is None:
        raise InvalidAuthenticationCodeException
    return {"drift": step - call.now // totp.STEP_MS, "used": step}


def _device(conn: sa.Connection, call: Call, arn: str) -> Any:
    return conn.execute(sa.select(_table).where(_d.arn == arn, _d.account == call.account)).first()


def _existing(conn: sa.Connection, call: Call, input: Input) -> Any:
    device = _device(conn, call, input["SerialNumber"])
    if device is None:
        raise NoSuchEntityException(f"MFA Device with serial number {input['SerialNumber']} does not exist.")
    return device


def _of_user(conn: sa.Connection, call: Call, input: Input) -> Any:
    """The device, which must be one of the user's, or of the caller's."""
    user = find_user(conn, call.account, user_name(call, conn, input))
    device = _existing(conn, call, input)
    if device.user_id != user.id:
        raise NoSuchEntityException(f"MFA Device with serial number {device.arn} does not exist.")
    return device


def _set(conn: sa.Connection, device: Any, **values: Any) -> None:
    conn.execute(_table.update().where(_d.arn == device.arn).values(**values))


class _Held(NamedTuple):
    """A device that is somebody's."""

    arn: str
    enabled: int  # ms


def _held(user: Any, arn: str, enabled: int) -> Output:
    return {"UserName": user.name, "SerialNumber": arn, "EnableDate": enabled}


def _to_api(device: Any, user: Any) -> Output:
    shown: Output = {"SerialNumber": device.arn}
    if user is not None:
        shown |= {"User": user_output(user, full=False), "EnableDate": device.enabled}
    return shown


async def _retag(authority: Authority, call: Call, input: Input, tagged: Any) -> None:
    await change_row(
        authority,
        _table,
        lambda conn: _existing(conn, call, input),
        lambda row: {"tags": tagged(row.tags)},
    )


def _picture(address: str) -> bytes:
    """A QR code as PNG."""
    picture = io.BytesIO()
    totp.qr_code(address).save(picture, kind="png", scale=6, border=4)
    return picture.getvalue()
