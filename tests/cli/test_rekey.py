"""`penstock rekey` beside a server that works: nothing fails meanwhile, and nothing is lost wherever one of the two is killed."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import sqlite3
import threading
import time
from pathlib import Path

import boto3
import orjson
import pytest
import sqlalchemy as sa
from botocore.config import Config
from botocore.exceptions import ClientError
from penstock_starter import PENSTOCK, run, start

from penstock.cli.doctor import database_of
from penstock.cli.main import main
from penstock.identity import records as identity
from penstock.store import failpoints, migrate, resealing
from penstock.store.masterkeys import KeyFile, new_key, read_key_file, replace_key_file, write_key_file
from penstock.store.records import key_holders
from penstock.store.schema import metadata
from penstock.store.sealing import Sealer


class Installation:
    """A server that is started again and again on its data, and the commands beside it."""

    def __init__(self, folder: Path, database: str = "") -> None:
        self.folder = folder
        self.data, self.key = folder / "data", folder / "config" / "master.key"
        self.database = ("--database", database) if database else ()
        self.process = None

    def up(self, crash: str = "") -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        options = (
            "--data-dir",
            str(self.data),
            "--master-key-file",
            str(self.key),
            "--port",
            "0",
            "--builds",
            "0",
            *self.database,
        )
        (self.data / "server.json").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = start(
                PENSTOCK, "up", *options, env=environment | {"PENSTOCK_CRASH_POINT": crash}, stdout=log, stderr=log
            )
        until(lambda: self.process.poll() is not None or self.answers())

    def answers(self) -> bool:
        try:
            self.client("sts").get_caller_identity()
        except Exception:  # noqa: BLE001 - not yet
            return False
        return True

    def down(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(60) == 0

    def client(self, service: str):
        keys = dict(line.split(" = ") for line in (self.data / "credentials").read_text().splitlines() if " = " in line)
        return boto3.client(
            service,
            endpoint_url=orjson.loads((self.data / "server.json").read_bytes())["url"],
            region_name="us-east-1",
            aws_access_key_id=keys["aws_access_key_id"],
            aws_secret_access_key=keys["aws_secret_access_key"],
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    def rekey(self, *options: str, crash: str = ""):
        files = ("--data-dir", str(self.data), "--master-key-file", str(self.key), "--grace", "1.5", *self.database)
        return run(PENSTOCK, "rekey", *files, *options, env={**os.environ, "PENSTOCK_CRASH_POINT": crash}, timeout=120)

    def traces_of(self, key_id: bytes) -> list[str]:
        """Where the database has something that is sealed under a key, as bytes or in base64."""
        head, found = b"\x01" + key_id, []
        plain = (base64.b64encode(head + b"\0")[:6], base64.urlsafe_b64encode(head + b"\0")[:6])
        with sqlite3.connect(f"file:{self.data / 'penstock.db'}?mode=ro", uri=True) as conn:
            for (table,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                for row in conn.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - our own names
                    for value in row:
                        raw = value if isinstance(value, bytes) else str(value).encode()
                        if head in raw or any(one in raw for one in plain):
                            found.append(table)
        return found


def until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def installation(tmp_path):
    made = Installation(tmp_path)
    yield made
    made.down()


def fill(installation: Installation, name: str = "first") -> str:
    """An object and a ciphertext; the ciphertext in base64."""
    s3, kms = installation.client("s3"), installation.client("kms")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=b"body")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    return base64.b64encode(kms.encrypt(KeyId=key, Plaintext=b"plain")["CiphertextBlob"]).decode()


def check(installation: Installation, sealed: str, name: str = "first") -> None:
    assert installation.client("s3").get_object(Bucket=name, Key="k")["Body"].read() == b"body"
    opened = installation.client("kms").decrypt(CiphertextBlob=base64.b64decode(sealed))
    assert opened["Plaintext"] == b"plain"


def test_a_change_under_load_fails_nobody_and_leaves_nothing_under_the_old_key(installation):
    installation.up()
    (old,) = read_key_file(installation.key)
    sealed = fill(installation)
    failures, done, stop = [], [0], threading.Event()

    def work(number: int) -> None:
        s3, sts, iam = (installation.client(name) for name in ("s3", "sts", "iam"))
        s3.create_bucket(Bucket=f"load-{number}")
        while not stop.is_set():
            try:
                s3.put_object(Bucket=f"load-{number}", Key="k", Body=str(done[0]).encode())
                s3.get_object(Bucket=f"load-{number}", Key="k")["Body"].read()
                sts.get_session_token()
                listed = iam.list_users(MaxItems=1)
                if listed["IsTruncated"]:
                    iam.list_users(MaxItems=1, Marker=listed["Marker"])
                done[0] += 1
            except Exception as error:  # noqa: BLE001 - any failure is one too many
                failures.append(error)

    iam = installation.client("iam")
    for number in range(30):
        iam.create_user(UserName=f"u{number}")
        iam.create_access_key(UserName=f"u{number}")
    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: done[0] > 3)
    changed = installation.rekey()
    before = done[0]
    until(lambda: done[0] > before + 3)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert changed.returncode == 0, changed.stderr
    assert failures == []
    kept, new = read_key_file(installation.key)
    assert kept == old
    assert f"Everything is sealed under {new.id.hex()}" in changed.stdout
    assert base64.b64encode(new.key).decode() not in changed.stdout + changed.stderr
    until(lambda: installation.traces_of(old.id) == [])
    assert set(installation.traces_of(new.id)) >= {"iam_access_keys", "kms_materials", "s3_parts"}
    removed = installation.rekey("--remove-old")
    assert removed.returncode == 0, removed.stderr
    assert read_key_file(installation.key) == [new]
    assert read_key_file(installation.key.with_name("master.key.retired")) == [old]
    check(installation, sealed)
    installation.down()
    installation.up()
    check(installation, sealed)


def completed(installation: Installation, old, *sealed: str) -> None:
    """A change that was interrupted ends, and everything is there under the new key alone."""
    assert installation.rekey().returncode == 0
    assert installation.rekey("--remove-old").returncode == 0
    (new,) = read_key_file(installation.key)
    assert new != old
    assert installation.traces_of(old.id) == []
    assert read_key_file(installation.key.with_name("master.key.retired")) == [old]
    installation.down()
    installation.up()
    for name, one in zip(("first", "second"), sealed, strict=False):
        check(installation, one, name)


def test_it_goes_on_wherever_a_server_is_killed(installation):
    points = [name for name in failpoints.points() if name.startswith("sealing.")]
    assert len(points) == 2
    installation.up(points[0])
    (old,) = read_key_file(installation.key)
    sealed = fill(installation)
    assert installation.rekey("--timeout", "1").returncode == 4
    assert installation.process.wait(60) == -signal.SIGKILL
    for point in points[1:]:
        installation.up(point)
        assert installation.process.wait(60) == -signal.SIGKILL
    installation.up()
    completed(installation, old, sealed, fill(installation, "second"))


def test_it_goes_on_wherever_the_command_is_killed(installation):
    installation.up()
    (old,) = read_key_file(installation.key)
    sealed = fill(installation)
    points = [name for name in failpoints.points() if name.startswith("rekey.")]
    assert set(points) == {"rekey.prepared", "rekey.promoted", "rekey.retired"}
    for point in ("rekey.prepared", "rekey.promoted"):
        assert installation.rekey(crash=point).returncode == -signal.SIGKILL
        check(installation, sealed)
    again = fill(installation, "second")
    assert installation.rekey().returncode == 0
    assert installation.rekey("--remove-old", crash="rekey.retired").returncode == -signal.SIGKILL
    completed(installation, old, sealed, again)


@pytest.fixture
def machines(tmp_path, postgresql_url):
    """Two machines with copies of one key file, whose servers share a database."""
    made = [Installation(tmp_path / name, postgresql_url) for name in ("first", "second")]
    for one in made:
        one.key.parent.mkdir(parents=True)
    write_key_file(made[0].key, [new_key()])
    shutil.copy(made[0].key, made[1].key)
    for one in made:
        one.up()
    yield made
    for one in made:
        one.down()


def test_a_machine_with_an_old_key_file_loses_nothing_and_is_waited_for(machines):
    """Whatever it seals meanwhile, also after everything else was sealed again, and wherever the command is killed."""
    first, second = machines
    (old,) = read_key_file(first.key)
    key = first.client("kms").create_key()["KeyMetadata"]["KeyId"]
    blob = first.client("kms").encrypt(KeyId=key, Plaintext=b"plain")["CiphertextBlob"]

    def opened_by_both() -> None:
        made = [one.client("kms").create_key()["KeyMetadata"]["KeyId"] for one in machines]
        for one in machines:
            assert one.client("kms").decrypt(CiphertextBlob=blob)["Plaintext"] == b"plain"
            for each in made:
                one.client("kms").encrypt(KeyId=each, Plaintext=b"x")

    def waits(*options: str) -> str:
        done = first.rekey("--timeout", "1", *options)
        assert done.returncode == (2 if options else 4), done.stderr
        assert f"process {second.process.pid} on {socket.gethostname()}" in done.stderr
        opened_by_both()
        return done.stderr

    assert first.rekey(crash="rekey.prepared").returncode == -signal.SIGKILL
    assert "lacks the new key" in waits()
    assert read_key_file(first.key)[0].next
    shutil.copy(first.key, second.key)
    assert first.rekey(crash="rekey.promoted").returncode == -signal.SIGKILL
    assert "still seals with an older key" in waits()
    assert "still seals with an older key" in waits("--remove-old")
    shutil.copy(first.key, second.key)
    done = first.rekey()
    assert done.returncode == 0, done.stderr
    opened_by_both()
    assert first.rekey("--remove-old", crash="rekey.retired").returncode == -signal.SIGKILL
    done = first.rekey("--remove-old")
    assert done.returncode == 0, done.stderr
    shutil.copy(first.key, second.key)
    (new,) = read_key_file(second.key)
    assert new != old
    engine = database_of(second.data, second.database[1])
    with engine.connect() as conn:
        under = resealing.count(conn).values()
    engine.dispose()
    assert {key_id for one in under for key_id in one} == {new.id}
    opened_by_both()
    # A process is stopped while the key is changed once more, has said nothing for a minute by then, and goes on with an old key file.
    second.process.send_signal(signal.SIGSTOP)
    try:
        engine = database_of(first.data, first.database[1])
        with engine.begin() as conn:
            forgotten = key_holders.update().where(key_holders.c.pid == second.process.pid)
            conn.execute(forgotten.values(seen=0))
        engine.dispose()
        assert first.rekey().returncode == 0
        assert first.rekey("--remove-old").returncode == 0
    finally:
        second.process.send_signal(signal.SIGCONT)
    made = second.client("kms").create_key()["KeyMetadata"]["KeyId"]
    sealed = first.client("kms").encrypt(KeyId=made, Plaintext=b"late")["CiphertextBlob"]
    for name in ("master.key", "master.key.retired"):
        shutil.copy(first.key.with_name(name), second.key.with_name(name))

    def opened() -> bool:  # it reads its files again within a second
        try:
            return second.client("kms").decrypt(CiphertextBlob=sealed)["Plaintext"] == b"late"
        except ClientError:
            return False

    until(opened)
    opened_by_both()


def test_what_is_written_between_two_looks_keeps_the_old_key(installation, monkeypatch):
    """A value that was sealed before its process had the new key, and is committed while the old one is removed."""
    write_key_file(installation.key, [old := new_key(), newer := new_key()])
    installation.data.mkdir(parents=True)
    engine = sa.create_engine(f"sqlite:///{installation.data / 'penstock.db'}")
    migrate.import_records()
    metadata.create_all(engine, tables=list(dict.fromkeys(column.table for column in resealing.sealed_columns())))
    late = identity.access_keys.insert().values(
        id="AKIA1", account="1", user_id="u", status="Active", created=0, secret=Sealer([old]).seal(b"s", "late")
    )

    def commits(_seconds: float) -> None:
        with engine.begin() as conn:
            conn.execute(late)

    monkeypatch.setattr("penstock.cli.rekey.time.sleep", commits)
    options = ("--data-dir", str(installation.data), "--master-key-file", str(installation.key), "--remove-old")
    assert main(["rekey", *options]) == 2
    assert read_key_file(installation.key) == [old, newer]
    engine.dispose()


@pytest.fixture
def stopped(live_factory):
    """The folder of an installation whose server has run."""
    with live_factory(name="data") as live:
        folder = live.data_dir.parent
        settings = live.app.settings
    return folder, settings.master_key_file


def rekey(stopped, *options):
    folder, key = stopped
    return run(
        PENSTOCK, "rekey", "--data-dir", str(folder / "data"), "--master-key-file", str(key), "--grace", "0", *options
    )


def test_without_a_server_it_says_who_does_the_work(stopped):
    _, path = stopped
    (old,) = read_key_file(path)
    gave_up = rekey(stopped, "--timeout", "1")
    assert gave_up.returncode == 4
    assert "Servers do it while they run: start one with this key file" in gave_up.stderr
    refused = rekey(stopped, "--remove-old")
    assert refused.returncode == 2
    assert "older keys are needed still, for iam_access_keys.secret (1)" in refused.stderr
    assert read_key_file(path)[0] == old


def test_a_dry_run_changes_nothing(stopped):
    _, path = stopped
    before = path.read_bytes()
    shown = rekey(stopped, "--dry-run")
    assert shown.returncode == 0
    (key,) = read_key_file(path)
    assert f"{key.id.hex()}  seals" in shown.stdout
    assert f"1 of iam_access_keys.secret                   under {key.id.hex()} (seals)" in shown.stdout
    assert path.read_bytes() == before


def test_a_key_is_prepared_once_and_removed_never_before_it_seals(stopped):
    _, path = stopped
    (old,) = read_key_file(path)
    for _ in range(2):
        assert rekey(stopped, "--prepare").returncode == 0
    coming, sealing = read_key_file(path)
    assert (coming.next, sealing) == (True, old)
    refused = rekey(stopped, "--remove-old")
    assert refused.returncode == 1
    assert "does not seal yet" in refused.stderr


def test_a_key_is_not_prepared_while_the_change_before_is_not_complete(stopped):
    _, path = stopped
    replace_key_file(path, [old := new_key(), *read_key_file(path)])
    refused = rekey(stopped, "--prepare")
    assert refused.returncode == 1
    assert f"{old.id.hex()} still opens, from the change before. Complete that by `penstock rekey`" in refused.stderr
    assert len(read_key_file(path)) == 2
    KeyFile(path).retire([old])
    replace_key_file(path, read_key_file(path)[1:])
    assert f"{old.id.hex()}  retired" in rekey(stopped, "--dry-run").stdout
    assert rekey(stopped, "--prepare").returncode == 0
    assert [key.next for key in read_key_file(path)] == [True, False]


def test_keys_of_a_command_are_changed_by_the_command(stopped):
    _, path = stopped
    command = ("--master-key-command", f"cat {path}")
    refused = rekey(stopped, *command)
    assert refused.returncode == 1
    assert "Let it print one more line, marked `next`" in refused.stderr
    replace_key_file(path, [*read_key_file(path), new_key()])
    assert rekey(stopped, *command, "--timeout", "1").returncode == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--data-dir", "/nonexistent"), "no server has started on /nonexistent"),
        (("--master-key-file", "/nonexistent"), "there is no such master key file"),
        (("--database", "postgresql://127.0.0.1:1/none"), "the database cannot be read"),
        (("--prepare", "--remove-old"), "not allowed with argument"),
        (("--timeout", "0"), "--timeout"),
    ],
)
def test_what_it_cannot_work_with(stopped, options, said):
    done = rekey(stopped, *options)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_two_at_once(stopped):
    folder, path = stopped
    first = start(
        PENSTOCK, "rekey", "--data-dir", str(folder / "data"), "--master-key-file", str(path), "--grace", "60"
    )
    try:
        until(lambda: len(read_key_file(path)) == 2)
        assert "another `penstock rekey` is at work" in rekey(stopped).stderr
    finally:
        first.kill()
        first.wait(60)


def test_a_server_whose_key_comes_from_a_command(tmp_path):
    write_key_file(tmp_path / "keys", [new_key()])
    said = run(
        PENSTOCK,
        "up",
        "--data-dir",
        str(tmp_path / "data"),
        "--port",
        "0",
        "--master-key-command",
        "sh -c 'echo locked >&2; exit 3'",
    )
    assert said.returncode == 1
    assert "penstock: the master key command ended with 3: locked" in said.stderr
    assert Sealer.from_file(tmp_path / "keys", create=False).keys == tuple(read_key_file(tmp_path / "keys"))
