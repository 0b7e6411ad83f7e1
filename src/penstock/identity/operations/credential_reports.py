"""When credentials were last used, and the report on all of an account's."""

from __future__ import annotations

import csv
import io
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import naming, records, second_factors, sign_in_records
from penstock.identity.authority import Authority
from penstock.identity.errors import AccessDeniedException, CredentialReportNotPresentException
from penstock.identity.operations import iam
from penstock.identity.password_policy import PasswordPolicy, of_account
from penstock.wire.call import Input, Output
from penstock.wire.scalars import format_timestamp

_FRESH_MS = (
    4 * 3_600_000
)  # for which a report is not made anew (AWS: "Generate credential reports for your AWS account")
_DAY = 86_400_000  # ms
_NONE = "N/A"
_KEY = ("active", "last_rotated", "last_used_date", "last_used_region", "last_used_service")
_COLUMNS = (
    "user", "arn", "user_creation_time", "password_enabled", "password_last_used", "password_last_changed",
    "password_next_rotation", "mfa_active", *(f"access_key_{n}_{name}" for n in (1, 2) for name in _KEY),
    *(f"cert_{n}_{name}" for n in (1, 2) for name in _KEY[:2]),
)  # fmt: skip


async def _user_of_key(call: Call, input: Input) -> str:
    def read(conn: sa.Connection) -> str | None:
        key = records.access_key(conn, input["AccessKeyId"])
        user = None if key is None or key.account != call.account else records.user_by_id(conn, key.user_id)
        return None if user is None else user.arn

    return await call.app.store.read(read) or "*"


@iam("GetAccessKeyLastUsed", resource=_user_of_key)
async def get_access_key_last_used(authority: Authority, call: Call, input: Input) -> Output:
    """When a key of the account was last used, and for what."""

    def read(conn: sa.Connection) -> tuple[Any, str] | None:
        key = records.access_key(conn, input["AccessKeyId"])
        user = None if key is None or key.account != call.account else records.user_by_id(conn, key.user_id)
        return None if key is None or user is None else (key, user.name)

    found = await call.app.store.read(read)
    if found is None:
        raise AccessDeniedException(
            f"User: {call.session.arn} is not authorized to perform iam:GetAccessKeyLastUsed on resource: access key "
            f"{input['AccessKeyId']}"
        )
    key, name = found
    use = authority.uses.latest(key)
    if use is None:
        return {"UserName": name, "AccessKeyLastUsed": {"ServiceName": _NONE, "Region": _NONE}}
    shown = {"LastUsedDate": use.at, "ServiceName": use.service, "Region": use.region}
    return {"UserName": name, "AccessKeyLastUsed": shown}


@iam("GenerateCredentialReport")
async def generate_credential_report(authority: Authority, call: Call, input: Input) -> Output:
    """Make the report, unless there is one of the last four hours."""
    table = records.credential_reports
    present = await call.app.store.read(_report, call.account)
    if present is None or call.now - present.at >= _FRESH_MS:
        rows = await call.app.store.scan(lambda conn: _rows(authority, conn, call))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([_COLUMNS, *rows])
        values = {"at": call.now, "content": text.getvalue().encode()}

        def tx(conn: sa.Connection) -> None:
            if not conn.execute(table.update().where(table.c.account == call.account).values(values)).rowcount:
                conn.execute(table.insert().values(account=call.account, **values))

        await authority.change(tx)
    return {"State": "COMPLETE"}


@iam("GetCredentialReport")
async def get_credential_report(authority: Authority, call: Call, input: Input) -> Output:
    """The report that was made last."""
    found = await call.app.store.read(_report, call.account)
    if found is None:
        raise CredentialReportNotPresentException
    return {"Content": found.content, "ReportFormat": "text/csv", "GeneratedTime": found.at}


def _report(conn: sa.Connection, account: str) -> sa.Row[Any] | None:
    table = records.credential_reports
    return conn.execute(sa.select(table).where(table.c.account == account)).first()


def _rows(authority: Authority, conn: sa.Connection, call: Call) -> list[list[str]]:
    u, p, k = (t.c for t in (records.users, sign_in_records.login_profiles, records.access_keys))
    profiles = {
        row.user_id: row
        for row in conn.execute(
            sa.select(p.user_id, p.changed, p.used, sa.func.length(p.password).label("length")).where(
                p.account == call.account
            )
        )
    }
    holders = set(conn.execute(second_factors.holders()).scalars())
    keys: dict[str, list[Any]] = {}
    own = sa.select(k.id, k.user_id, k.status, k.created, k.used, k.used_service, k.used_region)
    for key in conn.execute(own.where(k.account == call.account).order_by(k.created, k.id)):
        keys.setdefault(key.user_id, []).append(key)
    policy = of_account(conn, call.account)
    root = naming.arn(call.partition, call.account, "root", "", "")
    created = conn.execute(
        sa.select(records.accounts.c.created).where(records.accounts.c.account == call.account)
    ).scalar()
    # Nobody signs in as an account itself.
    rows = [
        [
            "<root_account>",
            root,
            _time(created),
            "not_supported",
            "not_supported",
            "not_supported",
            "not_supported",
            "false",
        ]
    ]
    rows[0] += [cell for _ in (1, 2) for cell in ("false", _NONE, _NONE, _NONE, _NONE)]
    users = sa.select(u.id, u.name, u.arn, u.created).where(u.account == call.account).order_by(u.key)
    for user in conn.execute(users):
        profile = profiles.get(user.id)
        cells = [user.name, user.arn, _time(user.created), *_password(profile, policy)]
        cells.append(str(user.id in holders).lower())
        for key in (*keys.get(user.id, ()), None, None)[:2]:
            cells += _key(authority, key)
        rows.append(cells)
    return [[*row, "false", _NONE, "false", _NONE] for row in rows]


def _password(profile: Any, policy: PasswordPolicy) -> list[str]:
    if profile is None or not profile.length:
        return ["false", _NONE, _NONE, _NONE]
    used = "no_information" if profile.used is None else _time(profile.used)
    rotation = _time(profile.changed + policy.days * _DAY) if policy.days else _NONE
    return ["true", used, _time(profile.changed), rotation]


def _key(authority: Authority, key: Any) -> list[str]:
    if key is None:
        return ["false", _NONE, _NONE, _NONE, _NONE]
    use = authority.uses.latest(key)
    used = (_NONE, _NONE, _NONE) if use is None else (_time(use.at), use.region, use.service)
    return [str(key.status == "Active").lower(), _time(key.created), *used]


def _time(ms: int | None) -> str:
    return _NONE if ms is None else format_timestamp(ms - ms % 1000, "iso8601").replace("Z", "+00:00")
