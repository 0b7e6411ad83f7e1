"""A change of the master key, in process and on either database: everything that is sealed is listed, found, and sealed again."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest
import sqlalchemy as sa

import penstock
from penstock.identity import records as identity
from penstock.keys import records as keys
from penstock.store import keyholders, migrate, resealing, sealed_tokens
from penstock.store.masterkeys import (
    KeyCommand,
    KeyFile,
    MasterKey,
    MasterKeyError,
    lines_of,
    new_key,
    parsed,
    replace_key_file,
    write_key_file,
)
from penstock.store.records import key_holders
from penstock.store.resealing import Resealer, SealedFile
from penstock.store.schema import metadata
from penstock.store.sealing import Sealer, SealError

# Columns with bytes that are not sealed.
IN_THE_CLEAR = {
    "audit_blocks.content",
    "audit_blocks.marks",
    "event_archived.content",  # events, as they lie in the outbox
    "iam_credential_reports.content",  # names and dates, no secrets
    "iam_login_profiles.password",  # a slow hash
    "log_data_keys.ciphertext",  # of a key of KMS
    "iam_passkeys.credential",  # which browsers are told before anybody has signed in
    "iam_passkeys.public_key",
    "s3_uploads.key",  # names
    "secret_versions.value",  # encrypted with a key of KMS (penstock.envelopes), whose material is sealed
    "s3_versions.key",
    "x509_revocation_lists.pem",
}
# What is sealed and lies in no table, by the module that seals: it is over within days, or a file that a process renews.
ELSEWHERE = {
    "app.py",
    "events/operations/schedules.py",  # digests of requests, which a change of the master key voids
    "identity/denials.py",  # messages in records, which say nothing any more when the master key of their time is gone
    "store/sealed_tokens.py",  # cookies, session tokens and invitations, which are over within days
    "wire/tls.py",
}
# What is sealed into a column.
INTO_COLUMNS = {
    "pipelines/operations/webhooks.py",
    "certificates/operations/authorities.py",
    "audit/records.py",
    "deployments/hostcommands/signer.py",
    "events/authorizing.py",
    "events/operations/schedules.py",
    "events/scheduling.py",
    "identity/accounts.py",
    "identity/operations/mfa_devices.py",
    "keys/material.py",
    "monitoring/operations/sources.py",
    "blobs/blob_keys.py",
    "store/sealing.py",
    "topics/contents.py",
    "topics/webhook_secrets.py",
    "topics/signing.py",
    "pipelines/operations/partner_types.py",
    "pipelines/secrets.py",
}


migrate.import_records()


def test_every_sealed_column_says_so():
    of_bytes = {
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if type(column.type) is sa.LargeBinary and "sealed" not in column.info
    }
    assert of_bytes == IN_THE_CLEAR
    listed = {f"{column.table.name}.{column.name}" for column in resealing.sealed_columns()}
    assert listed == {
        "audit_chains.key",
        "deployments_signers.sealed_key",
        "event_connections.secret",
        "event_connections.token",
        "iam_access_keys.secret",
        "iam_mfa_devices.seed",
        "kms_materials.sealed",
        "metric_sources.credentials",
        "log_query_results.content",
        "log_segments.key",
        "pipeline_action_clients.token",
        "pipeline_secrets.value",
        "pipeline_webhooks.address",
        "pipeline_webhooks.secret",
        "s3_parts.key",
        "scheduler_invocations.input",
        "scheduler_schedules.input",
        "sns_dead_letters.content",
        "sns_messages.content",
        "sns_signers.key",
        "sns_webhook_secrets.secret",
        "x509_host_authorities.key",
    }


def test_whatever_seals_is_known():
    """A module that begins to seal something says here where that is kept, and its column says `sealed`."""
    source = Path(penstock.__file__).parent
    sealing = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if re.search(r"sealer\.(seal|derived?)\(|self\.seal\(", path.read_text())
    }
    assert sealing == ELSEWHERE | INTO_COLUMNS


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(resealing, "_BATCH", 20)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config" / "master.key"
    write_key_file(path, [new_key()])
    return path


def sealed_under(sealer: Sealer, count: int):
    """Rows of two tables: a key of one column and of two."""
    secrets = [
        {
            "id": f"AKIA{number:04}",
            "account": "1" * 12,
            "user_id": "u",
            "status": "Active",
            "created": 0,
            "secret": sealer.seal(f"secret {number}".encode(), identity.secret_context(f"AKIA{number:04}")),
        }
        for number in range(count)
    ]
    materials = [
        {
            "key": f"key-{number // 3:04}",
            "number": number % 3,
            "id": "i",
            "account": "1" * 12,
            "created": 0,
            "sealed": sealer.seal(f"material {number}".encode(), keys.context_of(f"key-{number // 3:04}", number % 3)),
        }
        for number in range(count)
    ]

    def write(conn: sa.Connection) -> None:
        conn.execute(identity.access_keys.insert(), secrets)
        conn.execute(keys.materials.insert(), materials)

    return write


def opened(conn: sa.Connection, sealer: Sealer) -> set[bytes]:
    secrets = conn.execute(sa.select(identity.access_keys)).all()
    materials = conn.execute(sa.select(keys.materials)).all()
    return {sealer.open(row.secret, identity.secret_context(row.id)) for row in secrets} | {
        sealer.open(row.sealed, keys.context_of(row.key, row.number)) for row in materials
    }


def everything(count: int) -> set[bytes]:
    return {f"{what} {number}".encode() for what in ("secret", "material") for number in range(count)}


async def test_everything_is_sealed_again_under_the_newest_key(any_store, file):
    sealer = Sealer.from_source(KeyFile(file))
    (old,) = sealer.keys
    await any_store.write(sealed_under(sealer, 45))
    resealer = Resealer(any_store, sealer, works=True)
    await resealer.turn()
    assert (await any_store.read(resealing.count))["iam_access_keys.secret"] == {old.id: 45}
    new = new_key()
    replace_key_file(file, [new._replace(next=True), old])
    await resealer.turn()
    assert sealer.newest == old.id
    assert (await any_store.read(resealing.count))["iam_access_keys.secret"] == {old.id: 45}
    replace_key_file(file, [old, new])
    await resealer.turn()
    counted = await any_store.read(resealing.count)
    assert counted["iam_access_keys.secret"] == counted["kms_materials.sealed"] == {new.id: 45}
    assert await any_store.read(opened, Sealer([new])) == everything(45)


@pytest.mark.parametrize("point", ["sealing.batch", "sealing.batch_committed"])
async def test_what_was_killed_goes_on_where_it_was(any_store, file, monkeypatch, point):
    old = Sealer.from_source(KeyFile(file)).keys[0]
    await any_store.write(sealed_under(Sealer([old]), 45))
    new, passed = new_key(), []
    sealer = Sealer([old, new])

    def killed(name: str) -> None:
        passed.append(name)
        if passed.count(point) == 2:
            raise SystemError(point)

    monkeypatch.setattr(resealing, "failpoint", killed)
    with pytest.raises(SystemError):
        await Resealer(any_store, sealer, works=True).renew_all()
    monkeypatch.undo()
    counted = (await any_store.read(resealing.count))["iam_access_keys.secret"]
    assert counted == ({new.id: 20, old.id: 25} if point == "sealing.batch" else {new.id: 40, old.id: 5})
    assert await any_store.read(opened, sealer) == everything(45)
    await Resealer(any_store, sealer, works=True).renew_all()
    assert await any_store.read(opened, Sealer([new])) == everything(45)


async def test_what_another_process_sealed_late_is_found_later(any_store, file, clock):
    sealer = Sealer.from_source(KeyFile(file))
    (old,) = sealer.keys
    resealer = Resealer(any_store, sealer, works=True)
    new = new_key()
    replace_key_file(file, [old, new])
    await resealer.turn()
    await any_store.write(sealed_under(Sealer([old]), 3))
    await resealer.turn()
    assert (await any_store.read(resealing.count))["iam_access_keys.secret"] == {old.id: 3}
    clock.advance(30_000)
    await resealer.turn()
    assert await any_store.read(opened, Sealer([new])) == everything(3)


async def test_what_is_under_a_retired_key_is_read_and_sealed_again(any_store, file, clock):
    """Of another installation with the same key file, of a process that was stopped while the key was removed, of a backup."""
    await any_store.write(sealed_under(Sealer(KeyFile(file).read()), 45))
    (old,), new = KeyFile(file).read(), new_key()
    KeyFile(file).retire([old])
    replace_key_file(file, [new])
    sealer = Sealer.from_source(KeyFile(file))
    assert await any_store.read(opened, sealer) == everything(45)
    resealer = Resealer(any_store, sealer, works=True)
    await resealer.turn()
    assert await any_store.read(opened, Sealer([new])) == everything(45)

    def late(conn: sa.Connection) -> None:
        conn.execute(identity.access_keys.delete())
        conn.execute(keys.materials.delete())
        sealed_under(Sealer([old]), 3)(conn)

    await any_store.write(late)
    clock.advance(3_599_000)
    await resealer.turn()
    assert (await any_store.read(resealing.count))["iam_access_keys.secret"] == {old.id: 3}
    clock.advance(1_000)
    await resealer.turn()
    assert await any_store.read(opened, Sealer([new])) == everything(3)


async def test_who_only_looks_takes_no_transaction_that_writes(any_store, file, monkeypatch):
    old, new = new_key(), new_key()
    await any_store.write(sealed_under(Sealer([new]), 3))
    sealer = Sealer([old._replace(retired=True), new])
    monkeypatch.setattr(Resealer, "_renew", None)
    await Resealer(any_store, sealer, works=True).renew_all()


async def test_a_process_says_which_keys_it_has(any_store, file, clock):
    sealer = Sealer.from_source(KeyFile(file))
    (old,), new = sealer.keys, new_key()
    resealer = Resealer(any_store, sealer, works=False)

    async def said() -> list[tuple[str, list[str]]]:
        found = await any_store.read(keyholders.holders)
        assert all((one.pid, one.host) == (os.getpid(), socket.gethostname()) for one in found)
        return [(one.seals, one.opens) for one in found]

    await resealer.turn()
    alone = any_store.dialect == "sqlite"  # where there is one process, it has nobody to tell
    assert await said() == ([] if alone else [(old.id.hex(), [old.id.hex()])])
    replace_key_file(file, [new._replace(next=True), old])
    await resealer.turn()
    assert await said() == ([] if alone else [(old.id.hex(), [new.id.hex(), old.id.hex()])])
    # How long ago that is the database's clock says: that of this process is months ahead, as one of a machine may be minutes.
    later = key_holders.update().values(seen=key_holders.c.seen - 61_000)
    await any_store.write(lambda conn: conn.execute(later) and None)
    clock.advance(19_000)
    await resealer.turn()
    assert await said() == []
    clock.advance(2_000)
    await resealer.turn()  # it is there for as long as it says so
    assert len(await said()) == (not alone)
    await any_store.write(lambda conn: conn.execute(later) and None)
    other = Resealer(any_store, sealer, works=False)
    await other.turn()
    rows = await any_store.read(lambda conn: conn.execute(sa.select(key_holders)).all())
    assert len(rows) == (not alone)  # that of the first is gone
    await other.stop()
    assert await said() == []


async def test_a_damaged_value_keeps_nothing_else_from_its_key(any_store, file, caplog):
    old, new = new_key(), new_key()
    await any_store.write(sealed_under(Sealer([old]), 5))
    damaged = identity.access_keys.update().where(identity.access_keys.c.id == "AKIA0002")
    await any_store.write(lambda conn: conn.execute(damaged.values(secret=b"\x01" + old.id + b"x" * 40)) and None)
    await Resealer(any_store, Sealer([old, new]), works=True).renew_all()
    counted = await any_store.read(resealing.count)
    assert counted["iam_access_keys.secret"] == {new.id: 4, old.id: 1}
    assert counted["kms_materials.sealed"] == {new.id: 5}
    assert "sealing.values_that_do_not_open" in caplog.text


async def test_a_process_that_does_not_work_leaves_the_database_alone(any_store, file):
    old, new = new_key(), new_key()
    await any_store.write(sealed_under(Sealer([old]), 3))
    await Resealer(any_store, Sealer([old, new]), works=False).turn()
    assert (await any_store.read(resealing.count))["iam_access_keys.secret"] == {old.id: 3}


async def test_files_are_sealed_again(store, tmp_path):
    old, new = new_key(), new_key()
    path = tmp_path / "ca.key"
    path.write_bytes(Sealer([old]).seal(b"pem", "c"))
    files = (SealedFile(path, "c"), SealedFile(tmp_path / "none", "c"))
    await Resealer(store, Sealer([old, new]), works=False, files=files).turn()
    assert Sealer([new]).open(path.read_bytes(), "c") == b"pem"
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_key_file_that_is_gone_takes_no_key_away(store, file, caplog):
    sealer = Sealer.from_source(KeyFile(file))
    sealed = sealer.seal(b"s", "c")
    resealer = Resealer(store, sealer, works=True)
    file.unlink()
    for _ in range(2):
        await resealer.turn()
    assert caplog.text.count("sealing.key_file_unreadable") == 1
    assert sealer.open(sealed, "c") == b"s"


def test_what_another_process_sealed_under_a_key_of_a_moment_ago_opens(file, monkeypatch):
    sealer = Sealer.from_source(KeyFile(file))
    old, new = *sealer.keys, new_key()
    late = Sealer([old, new]).seal(b"s", "c")
    now = [sealer._looked]
    monkeypatch.setattr("penstock.store.sealing.time.monotonic", lambda: now[0])
    with pytest.raises(SealError):
        sealer.open(late, "c")  # it has just looked
    replace_key_file(file, [old, new])
    now[0] += 1
    assert sealer.open(late, "c") == b"s"
    reads = []
    monkeypatch.setattr(KeyFile, "read", lambda self: reads.append(self) or [old, new])
    for _ in range(5):  # whoever makes values up causes one look in a second
        with pytest.raises(SealError):
            sealer.open(b"\x01none" + b"x" * 40, "c")
    assert reads == []


def test_keys_for_one_purpose_come_from_every_key(file):
    old, new, coming = new_key(), new_key(), new_key()._replace(next=True)
    sealer = Sealer([coming, old, new])
    assert sealer.derived("a") == tuple(Sealer([one[:2]]).derive("a") for one in (new, old, coming))


def test_a_key_that_comes_next_opens_and_does_not_seal():
    old, coming = new_key(), new_key()
    sealer = Sealer([coming._replace(next=True), old])
    assert sealer.newest == old.id
    assert sealer.open(Sealer([coming]).seal(b"s", "c"), "c") == b"s"
    with pytest.raises(MasterKeyError):
        Sealer([coming._replace(next=True)])


def test_a_retired_key_opens_what_is_kept_and_nothing_that_anybody_brings(file):
    (old,), new = KeyFile(file).read(), new_key()
    before = Sealer([old])
    KeyFile(file).retire([old])
    assert Sealer.from_source(KeyFile(file)).keys == (old,)  # the command was killed before it removed it
    replace_key_file(file, [new])
    sealer = Sealer.from_source(KeyFile(file))
    assert sealer.keys == (old._replace(retired=True), new)
    assert (sealer.newest, sealer.changing) == (new.id, False)
    kept = before.seal(b"s", "c")
    assert sealer.open(kept, "c") == b"s"
    with pytest.raises(SealError, match="retired"):
        sealer.open_given(kept, "c")
    assert sealer.open_given(sealer.seal(b"s", "c"), "c") == b"s"
    assert sealer.derived("a") == (Sealer([new]).derive("a"),)
    assert Sealer([old, new]).changing
    with pytest.raises(MasterKeyError):
        Sealer([old._replace(retired=True)])


def test_keys_are_retired_once_and_their_file_is_as_private_as_the_key(file):
    (sealing,), one, two = KeyFile(file).read(), new_key(), new_key()
    named = file.with_name("link")
    named.symlink_to(file)
    for keys_ in ([one], [one, two._replace(retired=True)]):
        KeyFile(named).retire(keys_)
    retired = KeyFile(file).retired
    assert retired == file.with_name("master.key.retired")
    assert parsed(retired.read_text()) == [one, two]
    # Whoever deletes one with the backups that needed it leaves the rest as an editor does.
    head, first, _ = retired.read_text().splitlines()
    retired.write_text(f"{head}\n{first}")
    KeyFile(named).retire([two])
    assert parsed(retired.read_text()) == [one, two]
    assert retired.stat().st_mode & 0o777 == 0o600
    retired.write_text(f"{head}\n")
    assert KeyFile(file).read() == [sealing]
    retired.chmod(0o644)
    with pytest.raises(MasterKeyError, match=f"run: chmod 600 {retired}"):
        Sealer.from_source(KeyFile(file))


def test_a_token_is_over_when_the_key_that_has_sealed_it_is_retired():
    old, new = new_key(), new_key()
    token = sealed_tokens.seal_token(Sealer([old]), {"a": 1}, "p")
    assert sealed_tokens.open_token(Sealer([old, new]), token, "p", most=500) == {"a": 1}
    with pytest.raises(SealError, match="retired"):
        sealed_tokens.open_token(Sealer([old._replace(retired=True), new]), token, "p", most=500)


@pytest.mark.parametrize(
    "lines",
    [
        lambda key: lines_of([key._replace(next=True)]),
        lambda key: lines_of([key, key]),
        lambda key: lines_of([key]).replace("\n", " last\n"),
        lambda key: lines_of([key]) + "# " + "x" * (64 << 10),
    ],
)
def test_lines_that_are_not_keys(lines):
    with pytest.raises(ValueError, match=r"."):
        parsed(lines(new_key()))


class TestCommand:
    def test_it_prints_keys(self, tmp_path):
        keys = [new_key()._replace(next=True), new_key()]
        (tmp_path / "keys").write_text(lines_of(keys))
        assert KeyCommand(f"cat '{tmp_path / 'keys'}'").read() == keys
        assert Sealer.from_source(KeyCommand(f"cat '{tmp_path / 'keys'}'")).look() is False

    def test_it_may_take_them_from_the_environment(self, monkeypatch):
        key = new_key()
        monkeypatch.setenv("PENSTOCK_MASTER_KEYS", lines_of([key]))
        assert KeyCommand("printenv PENSTOCK_MASTER_KEYS").read() == [key]

    @pytest.mark.parametrize(
        ("command", "said"),
        [
            ("/nonexistent/unwrap", "cannot be run: No such file or directory. Name the program with its path"),
            ("sh -c 'echo the token is locked >&2; exit 3'", "ended with 3: the token is locked"),
            ("false", "ended with 1: it said nothing"),
            ("echo nonsense", "did not print master keys"),
            ("printf '\\377'", "did not print master keys"),
            ("true", "did not print master keys"),
            ("'unclosed", "cannot be run: No closing quotation"),
        ],
    )
    def test_it_fails_with_a_sentence(self, command, said):
        with pytest.raises(MasterKeyError, match=re.escape(said)):
            KeyCommand(command).read()

    def test_it_does_not_wait_for_ever(self, monkeypatch):
        monkeypatch.setattr("penstock.store.masterkeys._COMMAND_SECONDS", 0.05)
        with pytest.raises(MasterKeyError, match="has not ended within"):
            KeyCommand("sleep 60").read()


def test_a_key_is_shown_by_its_id_only():
    key = MasterKey(b"1234", b"k" * 32)
    assert lines_of([key]) == "31323334 a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=\n"
