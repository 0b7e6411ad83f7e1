"""Subjects: whose certificates have asked for sessions, with which certificates, and when last."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from penstock.application import App, Call
from penstock.certificates import chains, records
from penstock.certificates.operations import Kind, anywhere
from penstock.certificates.subjects import serial_of
from penstock.wire.call import Certified, Input, Output

MAX_SUBJECTS = 10_000  # of an account and region; beyond, those are forgotten that have not been seen for longest
_KEPT = 10  # certificates and descriptions of machines of one subject
_YEAR_MS = 365 * 86400_000
_IDS = uuid.UUID("6f0d3a52-9a3c-5d0e-8f3e-2b1c5a7d4e90")


def _summary(call: Call, row: Any) -> Output:
    return {
        "subjectArn": SUBJECTS.arn(call, row.id),
        "subjectId": row.id,
        "enabled": True,
        "x509Subject": row.name,
        "lastSeenAt": row.seen,
        "createdAt": row.created,
        "updatedAt": row.updated,
    }


def _to_api(call: Call, row: Any) -> Output:
    return {
        **_summary(call, row),
        "credentials": [_credential(one) for one in row.certificates],
        "instanceProperties": [
            {"seenAt": seen, "properties": properties, "failed": failed} for seen, failed, properties in row.properties
        ],
    }


def _credential(shown: list[Any]) -> Output:
    seen, failed, pem = shown
    certificate = x509.load_pem_x509_certificate(pem.encode())
    return {
        "seenAt": seen,
        "serialNumber": serial_of(certificate),
        "issuer": chains.name_of(certificate.issuer),
        "enabled": True,
        "x509CertificateData": pem,
        "failed": failed,
    }


SUBJECTS = Kind("subject", "subject", records.subjects, "subjectId", "subject", _to_api)


@anywhere("ListSubjects")
async def list_subjects(app: App, call: Call, input: Input) -> Output:
    """The subjects of a region, without their certificates."""
    return await SUBJECTS.listed(call, input, "subjects", _summary)


@anywhere("GetSubject", resource=SUBJECTS.resource)
async def get_subject(app: App, call: Call, input: Input) -> Output:
    """A subject with the certificates that it has shown last."""
    return await SUBJECTS.get(call, input)


def over(now: int) -> sa.ColumnElement[bool]:
    """Subjects that have not been seen for a year."""
    return records.subjects.c.seen < now - _YEAR_MS


async def note(app: App, call: Call, input: Input, *, failed: bool) -> str:
    """Note that the holder of a certificate has asked for a session; the ARN of its subject. Nothing of strangers: "" for them."""
    who = call.memo.get("who")
    if not isinstance(who, Certified):
        return ""
    certificate, place = x509.load_der_x509_certificate(call.certificate), (who.account, call.region)
    name = chains.name_of(certificate.subject)
    id = str(uuid.uuid5(_IDS, f"{who.account}/{call.region}/{name}"))
    shown = [call.now, failed, certificate.public_bytes(serialization.Encoding.PEM).decode()]
    said = input.get("instanceProperties")

    def tx(conn: sa.Connection) -> None:
        row = records.find(conn, records.subjects, place, id, locked=True)
        if row is None:
            fresh = {"id": id, "account": place[0], "region": place[1], "name": name, "tags": {}, "created": call.now}
            fresh |= {"updated": call.now, "seen": call.now, "certificates": [], "properties": []}
            if records.insert_subject(conn, **fresh):
                records.forget_subjects(conn, place, keep=MAX_SUBJECTS)
            row = records.find(conn, records.subjects, place, id, locked=True)
        if row is None:  # forgotten this moment
            return
        properties = row.properties if said is None else _newest(row.properties, [call.now, failed, said])
        certificates = _newest(row.certificates, shown)
        changed = {"certificates": certificates, "properties": properties, "seen": call.now, "updated": call.now}
        records.change(conn, records.subjects, id, **changed)

    await app.store.write(tx)
    return f"arn:{call.partition}:rolesanywhere:{call.region}:{who.account}:subject/{id}"


def _newest(known: list[Any], shown: list[Any]) -> list[Any]:
    """`shown` before those that were shown earlier, once each."""
    return [shown, *(one for one in known if one[2] != shown[2])][:_KEPT]
