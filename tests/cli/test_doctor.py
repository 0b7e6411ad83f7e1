"""Checks of `penstock doctor`, each on an installation that has just this fault."""

from __future__ import annotations

import datetime as dt
import ssl
import time

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from penstock_commands import insert
from penstock_live import live, live_tls  # noqa: F401 - the fixtures

from penstock.certificates.records import anchors, authorities, hosts
from penstock.cli.checks import activity, ends, machine, people, server, stores
from penstock.cli.checks.findings import Check, Finding, Installation, Verdict
from penstock.deployments.records import instances
from penstock.identity.records import users
from penstock.identity.sign_in_records import login_profiles, mfa_devices
from penstock.keys.records import keys
from penstock.monitoring.source_records import sources
from penstock.secrets import records
from penstock.secrets.rotation import Rotation
from penstock.store.records import jobs, journal

MINUTE = 60_000
WHERE = {"account": "111111111111", "region": "us-east-1"}


def found(check: Check, installation: Installation) -> list[Finding]:
    return [finding for finding in check(installation) if finding.verdict is not Verdict.OK]


def test_a_healthy_folder_gives_no_finding(installation: Installation):
    for check in (machine.file_modes, machine.secrets, activity.work, activity.hosts, activity.stuck_deployments):
        assert found(check, installation) == []


def test_files_that_others_may_read(installation: Installation):
    (installation.data_dir / "logs").mkdir()
    (installation.data_dir / "logs" / "requests.jsonl").touch(0o644)
    [finding] = found(machine.file_modes, installation)
    assert "requests.jsonl" in finding.message
    assert "chmod -R go-rwx" in finding.mend


@pytest.mark.parametrize("clear", ["credentials", "tls/ca.key", "key"])
def test_keys_in_the_clear(installation: Installation, clear: str):
    path = installation.data_dir / clear
    path.parent.mkdir(exist_ok=True)
    path.write_text("-----BEGIN PRIVATE KEY-----\n")
    if clear == "key":
        installation.master_key_file = path
    [finding] = found(machine.secrets, installation)
    assert (finding.verdict, str(path) in finding.message) == (Verdict.FAIL, True)


@pytest.mark.parametrize(
    ("minutes", "verdict"),
    [(5, None), (5.001, Verdict.WARN), (6, Verdict.WARN), (15, Verdict.WARN), (20, Verdict.FAIL)],
)
def test_jobs_that_nobody_takes(
    installation: Installation, minutes: float, verdict: Verdict | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    then = int(1_800_000_000_000 - minutes * MINUTE)
    insert(installation, jobs, id="late", state="ready", topic="", due=then, kind="builds.run", **WHERE)
    insert(installation, jobs, id="topic", state="ready", topic="t", due=1, kind="builds.run", **WHERE)
    insert(installation, jobs, id="leased", state="leased", topic="", due=1, kind="builds.run", **WHERE)
    late = found(activity.work, installation)
    assert [finding.verdict for finding in late] == ([] if verdict is None else [verdict])
    assert all(f"1 jobs of kind builds.run wait, the first for {int(minutes)} min" in one.message for one in late)


def test_jobs_that_were_given_up(installation: Installation):
    insert(installation, jobs, state="dead", topic="", due=1, kind="builds.run", **WHERE)
    [dead] = found(activity.work, installation)
    assert (dead.verdict, dead.message) == (Verdict.FAIL, "1 jobs of kind builds.run were given up")


def test_three_silent_hosts_are_named(installation: Installation, monkeypatch: pytest.MonkeyPatch):
    now = 1_800_000_000_000
    monkeypatch.setattr(time, "time", lambda: now / 1000)
    named = {"iam_arn": "x", "deregistered": None, "registered": 1}
    for number in range(3):
        seen = now - 5 * MINUTE - number
        insert(
            installation,
            instances,
            **{**named, "name": f"web-{number}", "iam_arn": f"a{number}", "seen": seen},
            **WHERE,
        )
    [silent] = found(activity.hosts, installation)
    assert silent.message == "silent: web-1 (5 min), web-2 (5 min)"
    for number in (3, 4):
        at = {"seen": None, "registered": now - 3_600_000 - number}
        insert(installation, instances, **{**named, "name": f"web-{number}", "iam_arn": f"a{number}", **at}, **WHERE)
    [silent] = found(activity.hosts, installation)
    assert silent.message == "silent: web-1 (5 min), web-2 (5 min), web-3 (60 min) and more"


def test_entries_that_are_missing(installation: Installation):
    for sequence in (1, 2, 4):
        insert(installation, journal, aggregate="a", sequence=sequence, at=sequence, **WHERE)
    [gap] = found(stores.journal_order, installation)
    assert (gap.verdict, gap.message) == (Verdict.FAIL, "entries are missing in a")


def test_hosts_that_are_silent(installation: Installation):
    now = int(time.time() * 1000)
    insert(installation, instances, name="web-1", seen=now - 90 * MINUTE, registered=1, deregistered=None, **WHERE)
    insert(installation, instances, name="web-2", iam_arn="y", seen=now, registered=1, deregistered=None, **WHERE)
    [silent] = found(activity.hosts, installation)
    assert "web-1 (90 min)" in silent.message
    assert "web-2" not in silent.message


def test_the_clocks_of_two_machines_may_differ_a_little(installation: Installation):
    for sequence, at in ((1, 10_000), (2, 9_500), (3, 12_000)):
        insert(installation, journal, aggregate="a", sequence=sequence, at=at, **WHERE)
    assert found(stores.journal_order, installation) == []
    insert(installation, journal, aggregate="a", sequence=4, at=5_000, **WHERE)
    [finding] = found(stores.journal_order, installation)
    assert "run backwards" in finding.message


def test_what_is_beside_an_aggregate_is_not_of_its_journal(installation: Installation):
    """Entries of the same name in another account or region, those of another name, and ones that are no neighbours, are not compared."""
    elsewhere = ({"account": "222222222222"}, {"region": "eu-west-1"}, {"aggregate": "b"})
    for change in ({}, *elsewhere):
        for sequence in (1, 2) if not change else (2, 3):
            at = 1_000 * sequence if change else 90_000
            insert(installation, journal, **{"aggregate": "a", "sequence": sequence, "at": at} | WHERE | change)
    [whole] = stores.journal_order(installation)
    assert (whole.verdict, whole.message) == (Verdict.OK, "4 aggregates count without gaps")
    for name in "cdefgh":
        for sequence, at in ((1, 5_000), (2, 4_000 if name == "c" else 3_999)):
            insert(installation, journal, aggregate=name, sequence=sequence, at=at, **WHERE)
    [late] = found(stores.journal_order, installation)
    assert (late.verdict, late.message) == (Verdict.WARN, "times run backwards in d, e, f, g, h")
    for name in "defghc":
        insert(installation, journal, aggregate=name, sequence=4, at=9_000, **WHERE)
    gaps, _ = found(stores.journal_order, installation)
    assert gaps.verdict is Verdict.FAIL
    assert len(gaps.message.split(", ")) == 5


def test_a_server_whose_loop_fails(installation: Installation, live):  # noqa: F811 - the fixture
    async def fail() -> None:
        raise RuntimeError("never thought of")

    async def start():
        return live.app.store.loops.start("test.broken", fail, fail)

    loop = live.run(start())
    try:
        installation.data_dir = live.data_dir
        [finding] = found(server.server, installation)
        assert finding.verdict is Verdict.FAIL
        assert "test.broken" in finding.message
    finally:
        live.run(live.app.store.loops.stop(loop))


def test_a_database_server_that_forgets(postgresql_url: str, installation: Installation):
    url = sa.make_url(postgresql_url).set(
        drivername="postgresql+psycopg", query={"options": "-c synchronous_commit=off"}
    )
    installation.engine = sa.create_engine(url)
    try:
        [finding] = found(stores.postgresql, installation)
        assert finding.message == "synchronous_commit is off: a crash can undo what was answered"
    finally:
        installation.engine.dispose()


def test_a_key_that_will_be_deleted_is_named_with_its_day(installation: Installation):
    assert found(ends.keys_pending, installation) == []
    arn = "arn:aws:kms:us-east-1:111111111111:key/k"
    insert(installation, keys, id="k", arn=arn, deletion=1_893_456_000_000, **WHERE)
    insert(installation, keys, id="stays", deletion=None, **WHERE)
    [finding] = found(ends.keys_pending, installation)
    assert finding.message == f"keys that will be deleted: {arn} on 2030-01-01"


def test_secrets_that_were_not_rotated_are_named_with_the_reason(installation: Installation):
    state = records.ROTATIONS.dump(Rotation(function="f", reason="setSecret ended with exit code 3"))
    insert(installation, records.secrets, name="fine", rotation=state, **WHERE)
    assert found(ends.rotations, installation) == []
    for number in range(5):
        insert(
            installation,
            records.secrets,
            name=f"db{number}",
            rotation=state,
            rotation_failed=1_893_456_000_000,
            **WHERE,
        )
    first, *_, last = found(ends.rotations, installation)
    assert first.message.endswith(" was not rotated on 2030-01-01: setSecret ended with exit code 3")
    assert last.message == "2 more secrets were not rotated"


def test_a_program_that_rotates_secrets_and_is_not_there(installation: Installation):
    installation.rotation_commands = ("renew=/nowhere/renew x", "there=sh")
    (finding,) = found(machine.rotation_commands, installation)
    assert finding.verdict is Verdict.FAIL
    assert finding.message.startswith("the program /nowhere/renew of --rotation-command renew is not there")


def test_hosts_that_do_not_renew_their_certificates(installation: Installation):
    day, now = 24 * 3600_000, int(time.time() * 1000)
    insert(installation, hosts, **WHERE, name="fine", joining="j", issued=now - 7 * day, expires=now + 7 * day)
    insert(installation, hosts, **WHERE, name="gone", joining="", issued=now - 20 * day, expires=now - 6 * day)
    assert found(ends.hosts_that_renew, installation) == []
    insert(installation, hosts, **WHERE, name="slow", joining="j", issued=now - 11 * day, expires=now + 3 * day)
    for number in range(5):
        insert(
            installation, hosts, **WHERE, name=f"off-{number}", joining="j", issued=now - 15 * day, expires=now - day
        )
    ended, slow = found(ends.hosts_that_renew, installation)
    assert (ended.verdict, slow.verdict) == (Verdict.WARN, Verdict.WARN)
    assert ended.message.startswith("hosts whose certificates have ended: off-0 on 20")
    assert ended.message.endswith(" and 2 more")
    assert "penstock hosts join" in ended.mend
    assert slow.message.startswith("hosts that do not renew their certificates, which end: slow on 20")


@pytest.mark.parametrize(("days", "verdict"), [(400, None), (30, Verdict.WARN), (-1, Verdict.FAIL)])
def test_the_authority_of_hosts_ends(installation: Installation, days: int, verdict: Verdict | None):
    pem = certificate(dt.timedelta(days=days, hours=1))
    insert(installation, anchors, **WHERE, id="a", bundle=pem, enabled=True, name="hosts", arn="arn")
    insert(installation, authorities, **WHERE, anchor="a", certificate=pem, key=b"x")
    findings = found(ends.trust_anchors, installation)
    assert [finding.verdict for finding in findings] == ([] if verdict is None else [verdict])
    assert all("penstock hosts rotate" in finding.mend for finding in findings)


@pytest.mark.parametrize(
    ("days", "verdict", "said"),
    [(400, None, ""), (10, Verdict.WARN, "lasts 10 more days"), (-3, Verdict.FAIL, "has ended on ")],
)
def test_a_trust_anchor_whose_certificate_ends(
    installation: Installation, days: int, verdict: Verdict | None, said: str
):
    pem = certificate(dt.timedelta(days=days, hours=1))
    insert(installation, anchors, id="a", arn="arn:a", bundle=pem, enabled=True, **WHERE)
    insert(installation, anchors, id="b", arn="arn:b", bundle="no certificate", enabled=False, **WHERE)
    findings = found(ends.trust_anchors, installation)
    assert [finding.verdict for finding in findings] == ([] if verdict is None else [verdict])
    assert all(said in finding.message for finding in findings)


def certificate(lasts: dt.timedelta) -> str:
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(tz=dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - dt.timedelta(days=9)).not_valid_after(now + lasts)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://penstock.example.com:8470", "plain http"),
        ("http://127.0.0.1:8470", ""),
        ("https://127.0.0.1:1", "cannot be read"),
    ],
)
def test_what_is_said_of_the_way_to_the_server(url: str, said: str):
    findings = list(server._transport({"url": url, "ca_file": ""}))
    assert [said in finding.message for finding in findings] == ([True] if said else [])


def test_the_certificate_that_a_server_was_given_is_looked_at(monkeypatch: pytest.MonkeyPatch, live_tls):  # noqa: F811
    trusted = ssl.create_default_context(cafile=str(live_tls.running_app.ca_file))
    monkeypatch.setattr(server.ssl, "create_default_context", lambda **_: trusted)
    [finding] = server._transport({"url": live_tls.url, "ca_file": ""})
    assert (finding.verdict, "lasts 39" in finding.message) == (Verdict.OK, True)


def test_who_signs_in_by_a_password_alone_is_named(installation: Installation):
    assert found(people.second_factors, installation) == []
    for name in ("ann", "bob", "cas"):
        arn = f"arn:aws:iam::111111111111:user/{name}"
        insert(installation, users, id=name, arn=arn, key=name, name=name, account="111111111111", boundary=None)
    for name, password in (("ann", b"x"), ("bob", b"x"), ("cas", b"")):
        insert(installation, login_profiles, user_id=name, account="111111111111", password=password)
    insert(installation, mfa_devices, arn="arn:ann", user_id="ann", enabled=1, seed=b"")
    insert(installation, mfa_devices, arn="arn:bob", user_id=None, enabled=None, seed=b"")
    [finding] = found(people.second_factors, installation)
    assert finding.message == "a password alone signs in arn:aws:iam::111111111111:user/bob"


def test_metric_sources_that_fail_are_named(installation: Installation):
    row = {
        "kind": "http",
        "settings": {},
        "credentials": b"",
        "created": 1,
        "updated": 1,
        "progress": {},
        "read_at": 2,
        "good_at": None,
    }
    for number in range(5):
        error = "The status is 503." if number else ""
        insert(installation, sources, **row, name=f"s{number}", failures=number, error=error, **WHERE)
    said = [one.message for one in found(activity.metric_sources, installation)]
    assert said[0].endswith("fails: The status is 503.")
    assert [one.split()[3] for one in said[:3]] == ["s4", "s3", "s2"]
    assert said[3:] == ["1 more metric sources fail"]
