"""What ends: certificates that are trusted, keys that are to be deleted, secrets that should have been rotated."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator

import sqlalchemy as sa
from cryptography import x509

from penstock.certificates.records import anchors, authorities, hosts
from penstock.cli.checks.findings import Finding, Installation, Verdict
from penstock.keys.records import keys
from penstock.secrets.records import ROTATIONS, secrets

CERTIFICATE_DAYS = 14
AUTHORITY_DAYS = 60  # of hosts: no certificate of theirs outlives it
_NAMED = 3


def keys_pending(examined: Installation) -> Iterator[Finding]:
    """Which keys of KMS will be gone, and with them what they have encrypted?"""
    wanted = sa.select(keys.c.arn, keys.c.deletion).where(keys.c.deletion.is_not(None)).order_by(keys.c.deletion)
    with examined.engine.connect() as conn:
        found = conn.execute(wanted).all()
    if found:
        named = ", ".join(f"{row.arn} on {_day(row.deletion)}" for row in found[:_NAMED])
        yield Finding(
            Verdict.WARN,
            "KMS",
            f"keys that will be deleted: {named}{f' and {len(found) - _NAMED} more' if len(found) > _NAMED else ''}",
            "see that nothing needs them, or keep one: aws kms cancel-key-deletion --key-id ARN; aws kms enable-key --key-id ARN",
        )


def rotations(examined: Installation) -> Iterator[Finding]:
    """Which secrets were not rotated when they should have been?"""
    c = secrets.c
    wanted = sa.select(c.name, c.account, c.rotation, c.rotation_failed).where(c.rotation_failed.is_not(None))
    with examined.engine.connect() as conn:
        count = conn.execute(sa.select(sa.func.count()).select_from(wanted.subquery())).scalar_one()
        found = conn.execute(wanted.order_by(c.rotation_failed.desc()).limit(_NAMED)).all()
    for row in found:
        why = ROTATIONS.load(row.rotation).reason
        yield Finding(
            Verdict.WARN,
            "secrets",
            f"{row.name} of account {row.account} was not rotated on {_day(row.rotation_failed)}: {why}",
            "mend the command, and rotate it with the id of its version AWSPENDING, if it has one, as --client-request-token",
        )
    if count > _NAMED:
        yield Finding(Verdict.WARN, "secrets", f"{count - _NAMED} more secrets were not rotated")


def trust_anchors(examined: Installation) -> Iterator[Finding]:
    """Do the authorities that hosts get credentials by last?"""
    foreign = anchors.c.id.not_in(sa.select(authorities.c.anchor))
    with examined.engine.connect() as conn:
        found = conn.execute(sa.select(anchors.c.arn, anchors.c.bundle).where(anchors.c.enabled, foreign)).all()
        own = conn.execute(sa.select(authorities)).all()
    for row in own:
        ends = x509.load_pem_x509_certificate(row.certificate.encode()).not_valid_after_utc
        subject = f"the authority of the hosts of account {row.account} in {row.region}"
        yield from lasts(
            "hosts",
            subject,
            ends,
            "give it another key, which its hosts take over by themselves: penstock hosts rotate",
            AUTHORITY_DAYS,
        )
    for row in found:
        ends = min(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(row.bundle.encode()))
        yield from lasts("hosts", f"a certificate of the trust anchor {row.arn}", ends, "give it the next one as well")


def hosts_that_renew(examined: Installation) -> Iterator[Finding]:
    """Do hosts renew their certificates, as agents do after half of their time?"""
    now, c = int(time.time() * 1000), hosts.c
    joined = sa.select(c.name, c.expires).where(c.joining != "").order_by(c.expires, c.name)
    late = (c.expires > now, (now - c.issued) * 4 > (c.expires - c.issued) * 3)
    with examined.engine.connect() as conn:
        ended = conn.execute(joined.where(c.expires <= now)).all()
        slow = conn.execute(joined.where(*late)).all()
    for found, what, mend in (
        (
            ended,
            "hosts whose certificates have ended",
            "invite those that are needed again (penstock hosts join NAME), and revoke the others",
        ),
        (
            slow,
            "hosts that do not renew their certificates, which end",
            "see that their agents run and reach the server: penstock-agent status",
        ),
    ):
        if found:
            named = ", ".join(f"{row.name} on {_day(row.expires)}" for row in found[:_NAMED])
            more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
            yield Finding(Verdict.WARN, "hosts", f"{what}: {named}{more}", mend)


def lasts(what: str, subject: str, ends: dt.datetime, mend: str, least: int = CERTIFICATE_DAYS) -> Iterator[Finding]:
    """Does a certificate last?"""
    days = (ends - dt.datetime.now(tz=dt.UTC)).days
    verdict = Verdict.OK if days > least else Verdict.FAIL if days < 0 else Verdict.WARN
    message = f"{subject} lasts {days} more days" if days >= 0 else f"{subject} has ended on {ends:%Y-%m-%d}"
    yield Finding(verdict, what, message, "" if verdict is Verdict.OK else mend)


def _day(at: int) -> str:
    return f"{dt.datetime.fromtimestamp(at / 1000, tz=dt.UTC):%Y-%m-%d}"
