"""What the checks of doctor say: of none, one and many, on either side of each boundary, and what mends it."""

from __future__ import annotations

import datetime as dt
import subprocess
import time
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from penstock_commands import insert

from penstock.certificates.records import anchors, authorities, hosts
from penstock.cli import doctor
from penstock.cli.checks import activity, ends, machine, people, server, stores
from penstock.cli.checks.findings import Check, Finding, Installation, Verdict
from penstock.deployments import stuck
from penstock.deployments.records import instances
from penstock.identity.records import access_keys, secret_context, users
from penstock.identity.second_factors import holders
from penstock.identity.sign_in_records import login_profiles
from penstock.keys.records import keys
from penstock.secrets import records
from penstock.secrets.rotation import Rotation
from penstock.store import migrate
from penstock.store.masterkeys import KeyFile, MasterKey, lines_of, new_key
from penstock.store.records import jobs, journal
from penstock.store.sealing import Sealer

NOW = 1_893_456_000_000  # 2030-01-01
DAY, MINUTE = 86_400_000, 60_000
WHERE = {"account": "111111111111", "region": "us-east-1"}


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW / 1000)


def said(check: Check, installation: Installation) -> list[tuple[str, str, str, str]]:
    return [(one.verdict.name, one.what, one.message, one.mend) for one in check(installation)]


def test_what_is_said_when_nothing_is_wrong(installation: Installation):
    assert said(activity.work, installation) == [("OK", "work", "nothing is stuck", "")]
    assert said(activity.stuck_deployments, installation) == [("OK", "deployments", "none waits for a host or holds up a queue", "")]  # fmt: skip
    assert said(stores.journal_order, installation) == [("OK", "journal", "0 aggregates count without gaps", "")]
    for check in (activity.hosts, ends.keys_pending, ends.rotations, ends.hosts_that_renew, ends.trust_anchors, people.second_factors, machine.secrets):  # fmt: skip
        assert said(check, installation) == []


@pytest.mark.parametrize(
    ("late", "verdict", "minutes"),
    [(5 * MINUTE, None, 0), (5 * MINUTE + 1, "WARN", 5), (15 * MINUTE, "WARN", 15), (15 * MINUTE + 1, "FAIL", 15), (16 * MINUTE, "FAIL", 16)],
)  # fmt: skip
def test_jobs_that_wait(installation: Installation, late: int, verdict: str | None, minutes: int):
    for id, due in (("1", NOW - late), ("2", NOW - late), ("3", NOW), ("4", NOW + DAY)):
        insert(installation, jobs, id=id, state="ready", topic="", due=due, kind="k", **WHERE)
    waits = (verdict, "work", f"2 jobs of kind k wait, the first for {minutes} min", "is a worker running? its /readyz names a loop that fails")  # fmt: skip
    assert said(activity.work, installation) == ([waits] if verdict else [("OK", "work", "nothing is stuck", "")])


def test_jobs_that_were_given_up_and_builds_that_wait_for_a_disk(installation: Installation):
    for id, kind in (("1", "a"), ("2", "b"), ("3", "b")):
        insert(installation, jobs, id=id, state="dead", topic="", due=1, kind=kind, **WHERE)
    why = "`penstock jobs` says why, and lets them run again"
    dead = [("FAIL", "work", f"{count} jobs of kind {kind} were given up", why) for count, kind in ((1, "a"), (2, "b"))]
    assert sorted(said(activity.work, installation)) == dead
    for id, state, error in (("4", "ready", "its run is on another worker's disk"), ("5", "leased", "its run is on another worker's disk"), ("6", "ready", "x"), ("7", "ready", "its run is on another worker's disk")):  # fmt: skip
        insert(installation, jobs, id=id, state=state, error=error, topic="", due=NOW, kind="builds.run", **WHERE)
    first, *others = said(activity.work, installation)
    assert first == ("WARN", "work", "2 builds wait: the run is on another worker's disk", "start that worker again; without it they end as FAULT when their time is up")  # fmt: skip
    assert sorted(others) == dead


def test_hosts_that_are_silent_are_named_latest_first(installation: Installation):
    mend = "is the agent running there? `penstock-agent status` says. Deregister hosts that are gone"
    names = []
    for number, name in enumerate("abcd"):
        seen = NOW - (10 + number) * MINUTE
        insert(installation, instances, name=name, iam_arn=name, registered=1, seen=seen, deregistered=None, **WHERE)
        names.append(f"{name} ({10 + number} min)")
        more = " and more" if name == "d" else ""
        assert said(activity.hosts, installation) == [("WARN", "hosts", f"silent: {', '.join(names[:3])}{more}", mend)]
    with installation.engine.begin() as conn:
        conn.execute(instances.update().values(deregistered=NOW))
    assert said(activity.hosts, installation) == []


def test_deployments_that_are_stuck(installation: Installation, monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []
    one, other = stuck.Stuck("r", "m", for_good=True), stuck.Stuck("s", "n")
    monkeypatch.setattr(stuck, "stuck", lambda _conn, now: asked.append(now) or [one, other])
    assert said(activity.stuck_deployments, installation) == [("FAIL", "deployments", "r", "m"), ("WARN", "deployments", "s", "n")]  # fmt: skip
    assert asked == [NOW]


def test_keys_that_will_be_deleted_are_named_by_their_day(installation: Installation):
    mend = "see that nothing needs them, or keep one: aws kms cancel-key-deletion --key-id ARN; aws kms enable-key --key-id ARN"
    names: list[str] = []
    for number in range(5):
        insert(installation, keys, id=f"k{number}", arn=f"arn:{number}", deletion=NOW + (9 - number) * DAY, **WHERE)
        names.insert(0, f"arn:{number} on 2030-01-{10 - number:02}")
        more = f" and {number - 2} more" if number > 2 else ""
        message = f"keys that will be deleted: {', '.join(names[:3])}{more}"
        assert said(ends.keys_pending, installation) == [("WARN", "KMS", message, mend)]


def test_secrets_that_were_not_rotated_latest_first(installation: Installation):
    state = records.ROTATIONS.dump(Rotation(function="f", reason="bad"))
    mend = "mend the command, and rotate it with the id of its version AWSPENDING, if it has one, as --client-request-token"
    names: list[tuple[str, str, str, str]] = []
    for number in range(5):
        at = NOW + number * DAY
        insert(installation, records.secrets, name=f"db{number}", suffix=str(number), rotation=state, rotation_failed=at, **WHERE)  # fmt: skip
        names.insert(0, ("WARN", "secrets", f"db{number} of account 111111111111 was not rotated on 2030-01-0{number + 1}: bad", mend))  # fmt: skip
        more = [("WARN", "secrets", f"{number - 2} more secrets were not rotated", "")] if number > 2 else []
        assert said(ends.rotations, installation) == names[:3] + more


@pytest.mark.parametrize(
    ("issued", "expires", "state"),
    [(-4, 4, ""), (-6, 2, ""), (-6.001, 1.999, "slow"), (-7.9, 0.1, "slow"), (-8, 0, "ended"), (-9, -1, "ended"), (-20, 4, "slow")],
)  # fmt: skip
def test_when_a_host_is_late_to_renew(installation: Installation, issued: float, expires: float, state: str):
    """After three quarters of its certificate's time."""
    times = {"issued": int(NOW + issued * DAY), "expires": int(NOW + expires * DAY)}
    insert(installation, hosts, **WHERE, name="h", joining="j", **times)
    insert(installation, hosts, **WHERE, name="no agent", joining="", **times)
    day = f"{dt.datetime.fromtimestamp(times['expires'] / 1000, tz=dt.UTC):%Y-%m-%d}"
    sentences = {
        "ended": (f"hosts whose certificates have ended: h on {day}", "invite those that are needed again (penstock hosts join NAME), and revoke the others"),
        "slow": (
            f"hosts that do not renew their certificates, which end: h on {day}", "see that their agents run and reach the server: penstock-agent status",
        ),
    }  # fmt: skip
    assert said(ends.hosts_that_renew, installation) == ([("WARN", "hosts", *sentences[state])] if state else [])


def test_three_late_hosts_are_named_the_first_to_end_first(installation: Installation):
    for number, name in enumerate("dcba"):
        insert(installation, hosts, **WHERE, name=name, joining="j", issued=NOW - 90 * DAY, expires=NOW + number // 2 * DAY + 1)  # fmt: skip
        [(_, _, message, _)] = said(ends.hosts_that_renew, installation)
        assert message.endswith(
            (
                ": d on 2030-01-01",
                ": c on 2030-01-01, d on 2030-01-01",
                ", d on 2030-01-01, b on 2030-01-02",
                ", d on 2030-01-01, a on 2030-01-02 and 1 more",
            )[number]  # fmt: skip
        )


@pytest.mark.parametrize(
    ("days", "least", "verdict", "message"),
    [
        (61, 60, "OK", "it lasts 61 more days"), (60, 60, "WARN", "it lasts 60 more days"), (15, 14, "OK", "it lasts 15 more days"),
        (14, 14, "WARN", "it lasts 14 more days"), (0, 14, "WARN", "it lasts 0 more days"), (-1, 14, "FAIL", "it has ended on 20"),
    ],
)  # fmt: skip
def test_how_long_something_lasts(days: int, least: int, verdict: str, message: str):
    at = dt.datetime.now(tz=dt.UTC) + dt.timedelta(days=days, hours=1)
    [finding] = ends.lasts("w", "it", at, "mend", *([] if least == ends.CERTIFICATE_DAYS else [least]))
    assert (finding.verdict.name, finding.what, finding.mend) == (verdict, "w", "" if verdict == "OK" else "mend")
    assert finding.message == (message if days >= 0 else f"it has ended on {at:%Y-%m-%d}")


def test_of_an_authority_the_certificate_that_ends_first_counts_and_ours_longer(installation: Installation, monkeypatch: pytest.MonkeyPatch):  # fmt: skip
    assert (ends.CERTIFICATE_DAYS, ends.AUTHORITY_DAYS) == (14, 60)

    def certificate(days: str) -> Any:
        return SimpleNamespace(not_valid_after_utc=dt.datetime.now(tz=dt.UTC) + dt.timedelta(days=int(days), hours=1))

    monkeypatch.setattr(x509, "load_pem_x509_certificate", lambda pem: certificate(pem.decode()))
    monkeypatch.setattr(x509, "load_pem_x509_certificates", lambda pem: [certificate(one) for one in pem.decode().split()])  # fmt: skip
    for id, bundle, enabled in (("a", "30 20 40", True), ("b", "10", True), ("off", "1", False), ("own", "1", True)):
        insert(installation, anchors, **WHERE, id=id, name=id, arn=f"arn:{id}", bundle=bundle, enabled=enabled)
    insert(installation, authorities, **WHERE, anchor="own", certificate="60", key=b"x")
    assert sorted(said(ends.trust_anchors, installation)) == [
        ("OK", "hosts", "a certificate of the trust anchor arn:a lasts 20 more days", ""),
        ("WARN", "hosts", "a certificate of the trust anchor arn:b lasts 10 more days", "give it the next one as well"),
        (
            "WARN", "hosts", "the authority of the hosts of account 111111111111 in us-east-1 lasts 60 more days",
            "give it another key, which its hosts take over by themselves: penstock hosts rotate",
        ),
    ]  # fmt: skip


def test_who_gets_in_by_a_password_alone(installation: Installation):
    assert str(holders())  # whom this leaves out is another test's
    names: list[str] = []
    for name in "dbac":
        insert(installation, users, id=name, arn=name, key=name, name=name, account="1" * 12, boundary=None)
        insert(installation, login_profiles, user_id=name, account="1" * 12, password=b"x")
        names = sorted([*names, name])
        more = " and 1 more" if len(names) > 3 else ""
        mend = "each adds an authenticator app or a passkey under Security in the menu of the console"
        assert said(people.second_factors, installation) == [("WARN", "people", f"a password alone signs in {', '.join(names[:3])}{more}", mend)]  # fmt: skip


def write_keys(installation: Installation, *made: MasterKey) -> None:
    path = installation.master_key_file
    path.parent.mkdir(exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_text(lines_of(made))


def test_whether_the_master_key_opens_what_there_is(installation: Installation, tmp_path):
    installation.master_key_file = path = tmp_path.parent / f"{tmp_path.name}-keys" / "master.key"
    [(verdict, what, message, mend)] = said(stores.keys, installation)
    assert (verdict, what, mend) == ("FAIL", "keys", "")
    assert message.startswith(f"{path}: there is no such master key file")
    former, key, other = new_key(), new_key(), new_key()
    write_keys(installation, key)
    for count, opened in ((0, "0 access keys"), (1, "1 access key"), (2, "2 access keys")):
        assert said(stores.keys, installation) == [("OK", "keys", f"the master key opens {opened}", "")]
        id = f"AKIA{count}"
        insert(installation, access_keys, id=id, account="1" * 12, secret=Sealer([key]).seal(b"s", secret_context(id)))
    insert(installation, access_keys, id="moved", account="1" * 12, secret=Sealer([key]).seal(b"s", secret_context("AKIA0")))  # fmt: skip
    closed = ("FAIL", "keys", f"1 of 4 access keys cannot be opened with {path}", "give --master-key-file the key of this installation")  # fmt: skip
    assert said(stores.keys, installation) == [closed]
    write_keys(installation, former, key)
    change = "a change of the key has begun and is not completed"
    mend = "`penstock rekey` completes it, and `penstock rekey --remove-old` removes the old one"
    assert said(stores.keys, installation) == [closed, ("WARN", "keys", f"there are 2 master keys: {change}", mend)]
    write_keys(installation, other)
    assert said(stores.keys, installation)[0][2].startswith("4 of 4 access keys")
    path.chmod(0o604)
    assert said(stores.keys, installation) == [("FAIL", "keys", f"{path} may be read by others than its owner; run: chmod 600 {path}", "")]  # fmt: skip
    assert KeyFile.of(path, create=False)


def test_a_database_that_is_damaged_or_of_another_release(installation: Installation):
    wanted = f"this release works with {migrate.head()}"
    mend = "start `penstock up` of this release once"
    assert said(stores.database, installation) == [("FAIL", "store", f"the schema is None, {wanted}", mend)]
    with installation.engine.begin() as conn:
        conn.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR)"))
        conn.execute(sa.text("INSERT INTO alembic_version VALUES (:is)"), {"is": migrate.head()})
    assert said(stores.database, installation) == [("OK", "store", f"sqlite, schema {migrate.head()}", "")]
    with installation.engine.begin() as conn:
        conn.execute(sa.text("UPDATE alembic_version SET version_num = '0001_initial'"))
    assert said(stores.database, installation) == [("FAIL", "store", f"the schema is 0001_initial, {wanted}", mend)]

    class Damaged:
        dialect = SimpleNamespace(name="sqlite")

        def connect(self) -> Any:
            return self

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None: ...

        def execute(self, _statement: Any) -> Any:
            return SimpleNamespace(scalars=lambda: SimpleNamespace(all=lambda: ["page 1", "page 2"]))

    installation.engine = Damaged()  # type: ignore[assignment]
    assert said(stores.database, installation) == [("FAIL", "store", "SQLite finds damage: page 1; page 2", "stop the server and restore the last backup")]  # fmt: skip


def test_journals_with_gaps_and_times_that_run_backwards(installation: Installation):
    for name, entries in (("gap", ((3, 1), (5, 1))), ("late", ((1, 5_000), (2, 3_999))), ("fine", ((7, 5_000), (8, 4_000)))):  # fmt: skip
        for sequence, at in entries:
            insert(installation, journal, aggregate=name, sequence=sequence, at=at, **WHERE)
    assert said(stores.journal_order, installation) == [
        ("FAIL", "journal", "entries are missing in gap", "report it with `penstock doctor --json`: decisions were lost or changed by hand"),
        ("WARN", "journal", "times run backwards in late", "check this machine's clock and its time service"),
    ]  # fmt: skip
    with installation.engine.begin() as conn:
        conn.execute(journal.delete().where(journal.c.aggregate == "gap"))
    assert [verdict for verdict, *_ in said(stores.journal_order, installation)] == ["WARN"]


def test_what_lies_in_the_clear(installation: Installation):
    folder = installation.data_dir
    (folder / "tls").mkdir()
    (folder / "tls" / "sealed.key").write_bytes(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    (folder / "tls" / "other.key").write_bytes(b"sealed")
    (folder / "elsewhere").touch()
    (folder / "credentials").symlink_to(folder / "elsewhere")
    assert said(machine.secrets, installation) == []
    (folder / "credentials").unlink()
    (folder / "credentials").touch()
    (folder / "tls" / "a.key").write_bytes(b"-----BEGIN PRIVATE KEY-----\n")
    installation.master_key_file = folder / "tls" / ".." / "master.key"
    mend = "keep the master key outside the data dir and start the server of this release once; then change what was in old backups"
    assert said(machine.secrets, installation) == [
        ("FAIL", "secrets", f"{path} lies in the clear in the data dir: every backup holds it", mend)
        for path in (folder / "credentials", folder / "tls" / "a.key", (folder / "master.key").resolve())
    ]


def test_programs_that_the_server_calls(installation: Installation, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/x/{name}")
    asked: list[Any] = []
    monkeypatch.setattr(machine.subprocess, "run", lambda command, **_: asked.append(command) or subprocess.CompletedProcess(command, 0, "git version 9\n"))  # fmt: skip
    assert said(machine.programs, installation) == [("OK", "programs", "git version 9", "")]
    assert asked == [["/x/git", "--version"]]
    monkeypatch.setattr(machine.shutil, "which", lambda _name: None)
    assert said(machine.programs, installation) == [("FAIL", "programs", "git is not installed", "install it: repositories cannot be served without it")]  # fmt: skip


def test_programs_that_rotate_secrets(installation: Installation, monkeypatch: pytest.MonkeyPatch):
    installation.rotation_commands = ("a", "b", "c")
    monkeypatch.setattr(machine, "program_missing", lambda text: "" if text == "b" else f"no {text}")
    assert said(machine.rotation_commands, installation) == [("FAIL", "secrets", f"no {name}", "a server does not start like this") for name in "ac"]  # fmt: skip


@pytest.mark.parametrize(
    ("url", "findings"),
    [
        ("http://127.0.0.1:1", []), ("http://localhost", []),
        (
            "http://penstock.example.com",
            [(
                "WARN", "TLS", "http://penstock.example.com is plain http: passwords and keys cross the network readably",
                "serve https: --tls, or --tls-cert and --tls-key; name a proxy's address with --public-url https://…",
            )],
        ),
    ],
)  # fmt: skip
def test_the_way_to_the_server(url: str, findings: list[Any]):
    found = server._transport({"url": url, "ca_file": ""})
    assert [(one.verdict.name, one.what, one.message, one.mend) for one in found] == findings
    assert list(server._transport({"url": "https://127.0.0.1:1", "ca_file": "ca.pem"})) == []


def test_which_database_is_looked_at(tmp_path):
    made = doctor.database_of(tmp_path / "a b", "").url
    assert (made.drivername, made.database) == ("sqlite", f"file:{tmp_path / 'a b' / 'penstock.db'}")
    assert dict(made.query) == {"mode": "ro", "uri": "true"}
    for url in ("postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"):
        made = doctor.database_of(tmp_path, url).url
        assert made.render_as_string(hide_password=False) == "postgresql+psycopg://u:p@h/d"
    assert doctor.database_of(tmp_path, "sqlite:///x").url.drivername == "sqlite"


def test_why_there_is_nothing_to_look_at(tmp_path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "file"
    file.touch()
    for folder in (tmp_path, tmp_path / "none", file):
        assert doctor.missing(folder) == (
            f"no server has started on {folder}. Name the data dir of one that runs with --data-dir, or start one: penstock up --data-dir {folder}"
        )
    (tmp_path / "penstock.db").touch()
    assert doctor.missing(tmp_path) == ""
    assert doctor.missing(tmp_path / ("x" * 300)) == f"cannot look into {tmp_path / ('x' * 300)}: File name too long"


def test_findings_have_colours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(doctor, "paint", lambda text, colour: f"<{colour}>{text}")
    for verdict, mend in ((Verdict.OK, ""), (Verdict.WARN, "m"), (Verdict.FAIL, "")):
        doctor._print(Finding(verdict, "what", "message", mend))
    assert capsys.readouterr().out.splitlines() == [
        "<green>ok    what      message", "<amber>warn  what      message", "                <dim>→ m", "<red>FAIL  what      message",
    ]  # fmt: skip
