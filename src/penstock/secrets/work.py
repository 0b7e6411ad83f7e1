"""What runs rotations: the jobs of their steps and of their windows."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from penstock.application import App
from penstock.pools import FILES
from penstock.secrets import command, records, rotation, rotations
from penstock.secrets.engine import CURRENT, PENDING, PREVIOUS, detached
from penstock.secrets.events import FAILED, SOURCE, SUCCEEDED
from penstock.secrets.functions import SERVICE, Function, command_of, function_of
from penstock.secrets.rotation import Rotation
from penstock.store.events import Event
from penstock.store.failpoints import failpoint
from penstock.store.jobs import Job
from penstock.store.work import Retry
from penstock.wire.call import Input, Output, Session
from penstock.wire.errors import Refused, ServiceError

_log = logging.getLogger("penstock.secrets")

CREDENTIALS_SECONDS = 900  # the shortest that a role's session lasts, and longer than a step
_LAST_LINE = 300  # characters of an output that go with the reason


# --- steps ------------------------------------------------------------------------------------------------------------


async def rotate(app: App, job: Job) -> None:
    """The job of a rotation: its steps in order, each at least once. After a failure all are tried again, after a pause."""
    while True:
        row, state = await app.store.read(_under_way, job)
        if state is None:
            return
        step = state.steps[state.step]
        why = await _step(app, row, state, step)
        if why:
            _log.warning("secrets.step_failed", extra={"arn": rotations.arn(row), "step": step, "error": why})
        failpoint("secrets.step_ran")
        pause = await app.store.write(_note, app, job, state, f"{step} {why}" if why else "")
        failpoint("secrets.step_noted")
        if pause is not None:
            raise Retry(pause, f"{step} {why}", counts=False)


async def give_up(app: App, job: Job, error: str) -> None:
    """What becomes of a rotation whose job has died: its workers were killed each time."""

    def tx(conn: sa.Connection) -> None:
        row, state = _under_way(conn, job, lock=True)
        if state is not None:
            _note_failure(conn, app, row, state, f"was given up: {error}", last=True)

    await app.store.write(tx)


def _under_way(conn: sa.Connection, job: Job, *, lock: bool = False) -> tuple[Any, Rotation | None]:
    """The secret of a job, and the rotation that the job is for; None when that is over."""
    row = _secret(conn, job.payload, lock=lock)
    state = None if row is None else records.rotation(row)
    if state is None or not state.token or state.run != job.payload["run"]:
        return row, None
    return row, state


def _secret(conn: sa.Connection, payload: Mapping[str, Any], *, lock: bool) -> Any:
    row = records.secret(conn, (payload["account"], payload["region"]), payload["name"])
    if row is None or row.suffix != payload["suffix"]:
        return None
    return records.locked(conn, row) if lock else row


def _note(conn: sa.Connection, app: App, job: Job, ran: Rotation, why: str) -> int | None:
    """Note how a step went; after how many ms the rotation is tried again, or None."""
    row, state = _under_way(conn, job, lock=True)
    if state is None or state.step != ran.step:
        return None
    done = state.step + 1 == len(state.steps)
    stages = {one.id: one.stages for one in records.kept(conn, row)}
    lost = rotation.why_lost(state, stages, done=done and not why)
    if why or lost:
        return _note_failure(conn, app, row, state, why or lost)
    if not done:
        rotations.keep(conn, row, state, replace(state, step=state.step + 1))
        return None
    now = app.clock.now()
    rotations.end_test(conn, row, state)
    if not state.test:  # left where it is, it would look like a rotation under way once another value is put by hand
        records.change_stages(conn, row, stages, detached(stages, (PENDING,)))
    rotations.keep(conn, row, state, rotation.succeeded(state, now), changed=now, rotation_failed=None)
    rotations.announce(conn, app, row, SUCCEEDED, state)
    return None


def _note_failure(
    conn: sa.Connection, app: App, row: Any, state: Rotation, why: str, *, last: bool = False
) -> int | None:
    """Note a failure; after how many ms the rotation is tried again, or None when it is given up."""
    after, pause = rotation.failed(state, why, last=last)
    if pause is not None:
        rotations.keep(conn, row, state, after)
        return pause
    rotations.end_test(conn, row, state)
    rotations.keep(conn, row, state, after, rotation_failed=app.clock.now())
    rotations.announce(conn, app, row, FAILED, state, reason=after.reason)
    return None


# --- one step ---------------------------------------------------------------------------------------------------------


async def _step(app: App, row: Any, state: Rotation, step: str) -> str:
    """Run a step under the role of the function; why it failed, or ""."""
    if row.deletion is not None:
        return "was not run: the secret is marked for deletion"
    function = function_of(row, state.function)
    words = command_of(app, function)
    if words is None:
        return f"was not run: this process was started without --rotation-command {function.name}=COMMAND"
    try:
        session, credentials = await app.identity.assume(
            role_arn=function.role,
            service=SERVICE,
            session_name=function.name,
            region=row.region,
            account=row.account,
            source_arn=function.arn,
            duration=CREDENTIALS_SECONDS,
        )
        caller = _Caller(app, session, row)
        if state.test:
            await caller.copy_current(state.token)
        event = {"Step": step, "SecretId": caller.arn, "ClientRequestToken": state.token}
        ended = await command.run(words, event, _variables(app, row, function, credentials))
        known = [credentials["SecretAccessKey"], credentials["SessionToken"]]
        output = await caller.hide(ended.output, known) if ended.output else ""
    except (ServiceError, Refused) as refused:
        return f"was not run: {_said(refused)}"
    if output or ended.why:
        head = f"{step} of {caller.arn} {ended.why}".rstrip()
        await caller.log(function, state.token, f"{head}\n{output}")
    last = (output.rstrip().splitlines() or [""])[-1][:_LAST_LINE]
    return f"{ended.why}: {last}" if ended.why and last else ended.why


def _said(refused: ServiceError | Refused) -> str:
    return refused.reason if isinstance(refused, ServiceError) else str(refused)


def _variables(app: App, row: Any, function: Function, credentials: Mapping[str, Any]) -> dict[str, str]:
    """What AWS's clients find this server and the role's credentials by, and what AWS's own rotation functions ask for."""
    found = {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["SessionToken"],
        "AWS_REGION": row.region,
        "AWS_DEFAULT_REGION": row.region,
        "AWS_ENDPOINT_URL": app.public_url,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "SECRETS_MANAGER_ENDPOINT": app.public_url,
    }
    authority = app.settings.data_dir / "tls" / "ca.pem"
    if app.settings.tls and authority.exists():
        found["AWS_CA_BUNDLE"] = str(authority.absolute())
    return found


@dataclass(frozen=True, slots=True)
class _Caller:
    """What is done under the role of a function, as the function would do it itself."""

    app: App
    session: Session
    row: Any

    @property
    def arn(self) -> str:
        return rotations.arn(self.row)

    async def copy_current(self, token: str) -> None:
        """Give a version the current value, so that the function has one to test. Raises ServiceError or Refused."""
        value = await self._value(VersionStage=CURRENT)
        if value is not None:
            given = {member: value[member] for member in ("SecretString", "SecretBinary") if member in value}
            await self._invoke(
                "secretsmanager",
                "PutSecretValue",
                {"SecretId": self.arn, "ClientRequestToken": token, "VersionStages": [PENDING], **given},
            )

    async def hide(self, output: str, known: list[str]) -> str:
        """An output without the values of the secret, as far as the role can read them; without them nothing is kept."""
        values = list(known)
        try:
            for stage in (CURRENT, PENDING, PREVIOUS):
                found = await self._value(VersionStage=stage)
                if found is not None:
                    binary = found.get("SecretBinary", b"")
                    shown = found.get("SecretString") or binary.decode("utf-8", "replace")
                    values += [shown, b64encode(binary).decode(), repr(binary)[2:-1]]
        except (ServiceError, Refused):
            return "The output is not kept, because the role may not read the values of the secret, which are hidden in it."
        return await FILES.run(command.hidden, output, values)

    async def log(self, function: Function, token: str, message: str) -> None:
        """Append to the function's log group, if the role may, as a function does."""
        now = self.app.clock.now()
        day = dt.datetime.fromtimestamp(now / 1000, tz=dt.UTC)
        group = {"logGroupName": f"/aws/lambda/{function.name}"}
        stream = {**group, "logStreamName": f"{day:%Y/%m/%d}/[$LATEST]{token.replace('-', '')}"}
        put = {**stream, "logEvents": [{"timestamp": now, "message": message}]}
        try:
            await self._invoke("logs", "PutLogEvents", put)
        except (ServiceError, Refused):
            for operation, input in (("CreateLogGroup", group), ("CreateLogStream", stream), ("PutLogEvents", put)):
                with contextlib.suppress(ServiceError, Refused):
                    await self._invoke("logs", operation, input)

    async def _value(self, **which: str) -> Output | None:
        try:
            return await self._invoke("secretsmanager", "GetSecretValue", {"SecretId": self.arn, **which})
        except ServiceError as error:
            if error.wire_code != "ResourceNotFoundException":
                raise
            return None

    async def _invoke(self, service: str, operation: str, input: Input) -> Output:
        return await self.app.invoke(self.session, service, operation, input, region=self.row.region)


# --- windows ----------------------------------------------------------------------------------------------------------


async def open_window(app: App, job: Job) -> None:
    """The job of a window that opens: a rotation begins, unless one is under way."""

    def tx(conn: sa.Connection) -> None:
        row, now = _secret(conn, job.payload, lock=True), app.clock.now()
        if row is None or (state := records.rotation(row)) is None:
            return
        # A secret that is restored gets another window.
        if state.opens != job.payload["opens"] or row.deletion is not None:
            return
        if now >= state.closes and not state.token:
            missed = replace(state, reason="no worker was there to run it while its window was open")
            after = rotation.planned(missed, since=state.rotated, now=now)
            rotations.keep(conn, row, state, after, rotation_failed=now)
            return
        after = rotation.planned(state, since=now, now=now)
        if state.token:
            rotations.keep(conn, row, state, after)
            return
        stages = {one.id: one.stages for one in records.kept(conn, row)}
        rotations.begin(conn, app, row, state, after, token=rotations.next_token(row, state, stages))

    await app.store.write(tx)


# --- the record -------------------------------------------------------------------------------------------------------


async def record(app: App, event: Event) -> None:
    """Put how a rotation went on record, as CloudTrail does (AWS: "CloudTrail entries for Secrets Manager")."""
    made = {
        **event.payload,
        "userIdentity": {"accountId": event.account, "invokedBy": SOURCE},
        "sourceIPAddress": SOURCE,
        "userAgent": SOURCE,
        "resources": [{"ARN": event.payload["additionalEventData"]["SecretId"]}],
    }
    app.records.event(event.at, made, account=event.account, region=event.region)
