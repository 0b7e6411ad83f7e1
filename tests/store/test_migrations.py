"""Migrations up and down, on both databases."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from penstock.store import events, migrate, revise
from penstock.store.clock import SystemClock
from penstock.store.database import SchemaMismatch, Store
from penstock.store.events import Event
from penstock.store.packing import pack
from penstock.store.schema import metadata


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A store without any table."""
    if request.param == "sqlite":
        store = await Store.open(f"sqlite:///{tmp_path}/empty.db", clock=SystemClock())
        yield store
        await store.close()
        return
    server = request.getfixturevalue("postgresql")
    name = server.create()
    store = await Store.open(server.url(name), clock=SystemClock())
    yield store
    await store.close()
    server.drop(name)


def tables(conn: sa.Connection) -> set[str]:
    return set(sa.inspect(conn).get_table_names()) - {"alembic_version"}


async def test_up_and_down_and_up_again(empty: Store):
    migrate.import_records()
    with pytest.raises(SchemaMismatch, match="no Penstock schema yet"):
        await migrate.check_schema(empty)
    for _ in range(2):
        await asyncio.gather(*(migrate.migrate(empty) for _ in range(3)))
        await migrate.check_schema(empty)
        assert await empty.write(tables) == set(metadata.tables)
        assert await empty.write(migrate.differences) == []
        await empty.write(migrate.downgrade)
        assert await empty.write(tables) == set()


async def test_a_newer_schema_refused_with_a_reason(empty: Store):
    await migrate.migrate(empty)
    await empty.write(lambda conn: conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999_future'"))
    with pytest.raises(SchemaMismatch, match="newer release"):
        await migrate.check_schema(empty)
    with pytest.raises(SchemaMismatch, match="newer release"):
        await migrate.migrate(empty)


def test_the_revisions_make_what_the_components_declare():
    assert revise.main(["check"]) == 0, "run: make migration NAME=…"


def test_the_statements_of_a_new_database_are_those_of_what_is_declared(monkeypatch, tmp_path, capsys):
    stale = tmp_path / "sqlite.sql"
    stale.write_text(migrate.SCHEMA.read_text().replace("VARCHAR(32)", "VARCHAR(33)", 1))
    monkeypatch.setattr(migrate, "SCHEMA", stale)
    assert revise.main(["check"]) == 2
    assert "make migration" in capsys.readouterr().err


async def made_anew(folder: Path) -> list[Any]:
    """What a new SQLite database lacks of the declared tables, or has beside them."""
    store = await Store.open(f"sqlite:///{folder}/new.db", clock=SystemClock())
    try:
        await migrate.migrate(store)
        return await store.write(migrate.differences)
    finally:
        await store.close()


async def test_statements_of_another_revision_are_not_run(tmp_path: Path, monkeypatch):
    """They may make too little: a branch that brings a revision of its own was merged meanwhile."""
    script = tmp_path / "sqlite.sql"
    script.write_text(migrate.SCHEMA.read_text().replace(migrate.head(), migrate.revisions()[0], 1).replace("Y", "?"))
    monkeypatch.setattr(migrate, "SCHEMA", script)
    assert await made_anew(tmp_path) == []


async def test_a_new_database_has_the_tables_of_other_components_too(tmp_path: Path, monkeypatch):
    """A component that is not the product's has no place in the statements that are written down."""
    script = tmp_path / "sqlite.sql"
    made = migrate.SCHEMA.read_text()
    begins = made.index("CREATE TABLE events (")
    script.write_text(made[:begins] + made[made.index("CREATE TABLE", begins + 1) :])
    monkeypatch.setattr(migrate, "SCHEMA", script)
    assert await made_anew(tmp_path) == []


# SHA-256 of each released revision. Databases have run them: a line is added, and never changed.
FROZEN = {
    "0001_initial": "d5de70a92cbe63d83744bd4a083874303541f9b9d100596ddea90eb26ab6ab25",
    "0002_boundaries": "d8e654430ec7d0b0eaa5683b9d6ab22e6fa348b59740c511f6cd91fc891ef9e3",
    "0003_keys": "309addb6487b0dbdd45a9c406d3ff90feeda46024d1d0c618548472f67577f5c",
    "0004_former_aggregates": "9d8e0c87d7a6a16c494e8cac1262b8203e553118f93f3c37e89707619c5cef12",
    "0005_groups_and_providers": "bca25bbc20fc590ea68fc1c2372f7c461c6e929692bd30ba06c6968231f601ca",
    "0006_small_events": "003b51b9d5e2be9758118c6ceb7dbe788d522f5d2fbe5d4edfc1e4827efe37b5",
    "0007_parameters": "162ba6885a5f94bab49e00a9fd1d74856a4210510c5174e1620ccc6920836fd1",
    "0008_instance_profiles": "454d7c8c32c7a2809b575111158e7f32ed29fb8d740321dafa7f5d75fa1d96b6",
    "0009_grants": "7ab8ba590a47481e8832a3c85f129e986af0308edeaa8b7ba74ce8d12f0825bc",
    "0010_keys_of_parts": "794fa31e9e2444e973f14668f68460fa180bbfa17022324861f7d239f4aca873",
    "0011_audit": "ffe68282c1947975857b6f9a80b2be8b222da7c992fdd62b6ed673ec3a28954f",
    "0012_console_sessions": "daecba83fcf6f1556ab3aaa2b764c4faabffcf18ae3728da97823446da310377",
    "0013_certificates": "300ae534c2c188db2fc8ceb4b01fa3a2f1a78856a08b0dd1946a02b73febc9ba",
    "0014_names_of_accounts": "ac174df9a25994b3a491d35a5d48b1747a3789511cba8640f2d73916ad2d2145",
    "0015_second_factors": "f821cddef57963afc9db9f1ed8445ef00a8cac5399e3a7e4a7312545b82620a6",
    "0016_secrets": "979a0b0e29663fdea962f8df79f144e815e47caddab5bef27f5cc814a4d7aeda",
    "0017_single_sign_on": "a5ec6832ce8c0717c8aa133aef7d7031995a4a8065dca2b5a6408cd98f1ae638",
    "0018_password_policies": "944ca794ed374542b9f68e4e90e72fb3f533d856e38ce2fb7f8d99d0578dc32a",
    "0019_uses_of_credentials": "ea7220bfcd8b545c04580751f842f6a0d98d62306812406a30bb3dda668ecd8b",
    "0020_trails": "383d55068614b6b666ce61c71fe42d06d237ecce4130e6eae13dd598a9c5f2d3",
    "0021_service_credentials": "79d8af49619844ce742a6a5e8084138062f33ecd7d4314925912c5da19ff17fb",
    "0022_reserved_sessions": "0c905a4dea9e7dc114067b4c45e9f916f44a68231525b9fcd8b77c5664704827",
    "0023_log_keys": "4927831a5c5cc61f80d528206609d7cc157778187dda2b42bd15945c6a33f649",
    "0024_key_holders": "ff5f3c202284d4a5e3c63caa8936c3a6e3e841f1323371ea3f9d83f6702a21d5",
    "0025_uses_of_roles": "d88a2ce2e8d09cba5dcdc6a7bd57425f8aa35dd4f0d0449e7fd568da4036e889",
    "0026_secret_rotation": "e8dedbb0a93d30a508552eabb35cf58747bd92f1b09e25aa08747325f6077760",
    "0027_passkeys": "160613c091f90b413a4bc54349db5436298ba0e92fbe93f401f26b2d2ed2b510",
    "0028_authorities_rotate": "7b563651cfa60a5681649346a9b1c915658d659b83348246143ee1525d143faa",
    "0029_sealed_digests": "b0795317dcb3b04bf208f937824a6a5f10d1d959baefdaeacaf9aa73ac6c7313",
    "0030_subjects": "10fe635b191c3245d320301c88e0779b4d4521566862745b1bb52beb2436ed69",
    "0031_names_of_hosts": "7db65c67847e5d5e1f984acc26829420a2d9b3a120ee4fdac4eea3a34e109629",
    "0032_topics": "85e08a28dfc8cba2f222f49616f6ff9985874fa75b9b7d263f4066d6031c4431",
    "0033_metrics_and_alarms": "a7ab8f93299308516a4dc4a60d464295a4b49ca63489422fb228a5928fea590d",
    "0034_event_rules": "5f3fa1c7e452b1be1351b6fab17412c44e88cf3c54e92e8d173e8d6191e9c736",
    "0035_metric_filters": "b9c8517e9e644161c26df3b61cd7367cc563d24742c96ffca4c6d147a764fdc6",
    "0036_notification_rules": "66e91fa3c734a58782c09451c255ee64e52f97f7c37c856f49a1d85cedefe534",
    "0037_message_dead_letters": "7e39bfa5961b9826848a5841a4a532a0c5ed88118383d38597af9cbe78408db4",
    "0038_event_targets_and_archives": "98763f7256f14b8fdcdc40e3ea7a107d1021f8c9d95c1c1fc95df2b48f5be22e",
    "0039_log_subscriptions": "91c4a4910c8cb19f49787086672e140a723e5f3f364b9f8d504443f1eae2a93d",
    "0040_schedules": "2d95c6f6d75fe41e73e1f1fa66f9b25eac7c2f1eb0bb346e08b66cb8d00b154f",
    "0041_metric_sources": "d3037325c601ddebaf54c16520ee584273eb6881d6f878a8b64f8a59606bd3cd",
    "0042_job_workers": "e478832d2340c00b927005609cbef6c155510f8bc429568c7b5634488013111f",
    "0043_webhooks": "b208a7ae9a69ad0e87bd7c3968bc923fb9c1f2f5817fba27de542f17baa7c35c",
    "0044_rule_executions": "ecb5891b6b0f5e76bc1a6c9473e304acaf9d1d447719c5c3ef96fe9b9392e8ea",
    "0045_log_segments": "643a0d0461451cbe0ce74b25a9452b1e81660e292ef8d72a95a3e13f10d23410",
}


def test_no_revision_is_edited():
    found = {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (migrate.FOLDER / "versions").glob("[0-9]*.py")
    }
    assert found == FROZEN


def sample(column: sa.Column[Any], row: int) -> Any:
    """A value of a column's type, another one for each row. What a revision reads is as a release wrote it."""
    if isinstance(column.type, sa.Uuid):
        return uuid.UUID(int=row)
    match column.table.name, column.name:
        case ("events", "id") | ("deliveries", "event") if isinstance(column.type, sa.String):
            return str(uuid.UUID(int=row))
        case "events", "content":
            return pack([{"n": row}, f"thing/{row}", "", "", "", 1], version=1)
    if isinstance(column.type, sa.LargeBinary):
        return b"\x01" + bytes([row])
    if isinstance(column.type, sa.Boolean):
        return bool(row % 2)
    if isinstance(column.type, sa.Integer | sa.Float):
        return row
    return str(row) * 4


def fill(conn: sa.Connection) -> dict[str, list[dict[str, Any]]]:
    """Two rows for each table of the database as it is; all rows, by table."""
    found = sa.MetaData()
    found.reflect(conn)
    rows: dict[str, list[dict[str, Any]]] = {}
    for table in found.sorted_tables:
        if table.name == "alembic_version":
            continue
        made = [{column.name: sample(column, row) for column in table.columns} for row in (1, 2)]
        conn.execute(table.insert(), made)
        rows[table.name] = made
    return rows


def kept(conn: sa.Connection, rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """What is in the columns of those rows now."""
    found = sa.MetaData()
    found.reflect(conn)
    answers: dict[str, list[dict[str, Any]]] = {}
    for name, made in rows.items():
        table = found.tables[name]
        columns = [table.c[column] for column in made[0]]
        answers[name] = sorted(
            (
                {key: bytes(value) if isinstance(value, memoryview) else value for key, value in row.items()}
                for row in conn.execute(sa.select(*columns)).mappings()
            ),
            key=str,
        )
    return answers


async def test_rows_of_the_first_release_survive_every_revision_up_and_down(empty: Store):
    await empty.write(migrate.upgrade, "0001_initial")
    rows = await empty.write(fill)
    await empty.write(migrate.upgrade)
    await empty.write(migrate.downgrade, "0001_initial")
    for row in rows["s3_blobs"]:
        row["sha256"] = ""  # is forgotten, and computed anew where it is asked for
    assert await empty.write(kept, rows) == {name: sorted(made, key=str) for name, made in rows.items()}


async def test_there_is_no_way_back_once_objects_share_bytes_under_different_keys(empty: Store):
    part = {
        "number": 1, "account": "1", "region": "r", "blob": "b", "start": 0, "size": 1, "etag": "", "modified": 1, "checksum": "",
    }  # fmt: skip

    def write(conn: sa.Connection) -> None:
        found = sa.MetaData()
        found.reflect(conn)
        parts = found.tables["s3_parts"]
        conn.execute(parts.insert(), [part | {"content": name, "key": name.encode()} for name in ("one", "two")])

    await empty.write(migrate.upgrade, "0010_keys_of_parts")
    await empty.write(write)
    with pytest.raises(RuntimeError, match="delete the copies, or restore a backup"):
        await empty.write(migrate.downgrade, "0009_grants")


async def test_what_stood_in_clear_of_bytes_under_a_key_is_forgotten(empty: Store):
    """Seals nobody but KMS: what is known of an object's bytes goes, and an upload that is under way begins anew."""
    checksum = ["CRC64NVME", "FULL_OBJECT", "clear"]
    said = {"sha256": "clear", "checksum": "x", "data_key": "a user's", "data-key": "another"}
    plain = {"v": 1, "metadata": said, "checksum": checksum, "sha256": "clear"}
    under = plain | {"data_key": "of KMS"}

    def write(conn: sa.Connection) -> None:
        found = sa.MetaData()
        found.reflect(conn)
        where = {"account": "1", "region": "r"}
        conn.execute(
            found.tables["s3_versions"].insert(),
            [
                where | {
                    "bucket": "b", "key": b"%04d" % number, "rank": -number, "version": str(number), "latest": True, "live": True,
                    "marker": False, "modified": 1, "etag": "e", "size": 1, "content": f"c{number}",
                    "about": json.dumps(about, separators=(",", ":")),
                }
                for number, about in enumerate([plain, under] + [under] * 600)
            ],
        )  # fmt: skip
        for id, about in (("u1", plain), ("u2", {"v": 1, "data_key": "of KMS"})):
            conn.execute(
                found.tables["s3_uploads"].insert(),
                where | {
                    "id": id, "bucket": "b", "key": b"k", "initiated": 1, "initiator": "", "open": True,
                    "about": json.dumps(about, separators=(",", ":")),
                },
            )  # fmt: skip
        for content, blob in (("c0", "b0"), ("c1", "b1"), ("u1", "b2"), ("u2", "b3"), ("u2", "b0")):
            conn.execute(
                found.tables["s3_parts"].insert(),
                where | {
                    "content": content, "number": int(blob[1]) + 1, "blob": blob, "start": 0, "size": 1, "etag": "", "modified": 1,
                    "checksum": "clear", "key": b"",
                },
            )  # fmt: skip
        for number in range(4):
            blob = {"id": f"b{number}", "size": 1, "sha256": "clear", "created": 7}
            conn.execute(found.tables["s3_blobs"].insert(), where | blob)

    def read(conn: sa.Connection) -> dict[str, list[sa.Row[Any]]]:
        names = {
            "s3_versions": "key, about", "s3_uploads": "id", "s3_parts": "content, blob, checksum", "s3_blobs": "id, unreferenced",
        }  # fmt: skip
        return {
            table: sorted(conn.execute(sa.text(f"SELECT {columns} FROM {table}")), key=str)  # noqa: S608 - our own names
            for table, columns in names.items()
        }

    await empty.write(migrate.upgrade, "0028_authorities_rotate")
    await empty.write(write)
    await empty.write(migrate.upgrade, "0029_sealed_digests")
    found = await empty.read(read)
    abouts = [json.loads(row.about) for row in found["s3_versions"]]
    assert abouts[0] == plain
    assert abouts[1:] == [{"v": 1, "metadata": said, "data_key": "of KMS"}] * 601
    assert [row.id for row in found["s3_uploads"]] == ["u1"]
    assert [tuple(row) for row in found["s3_parts"]] == [("c0", "b0", "clear"), ("c1", "b1", ""), ("u1", "b2", "clear")]
    assert [tuple(row) for row in found["s3_blobs"]] == [("b0", None), ("b1", None), ("b2", None), ("b3", 7)]
    with pytest.raises(RuntimeError, match="delete these objects, or restore a backup"):
        await empty.write(migrate.downgrade, "0028_authorities_rotate")


async def test_events_of_an_earlier_release_are_read_and_still_delivered(empty: Store):
    ids = [str(uuid.UUID(int=n)) for n in (1, 2, 3)]

    def write(conn: sa.Connection) -> None:
        found = sa.MetaData()
        found.reflect(conn)
        where = {"account": "111111111111", "region": "eu-west-1"}
        conn.execute(
            found.tables["events"].insert(),
            [
                {
                    "position": 4 * n, "id": id, "type": "thing.changed", **where, "sequence": n, "at": 5,
                    "content": pack([{"n": n}, "thing/1", "actor", "cause", "run", 2], version=1),
                }
                for n, id in enumerate(ids, 1)
            ],
        )  # fmt: skip
        conn.execute(
            found.tables["deliveries"].insert(),
            [
                {
                    "subscription": "s", "aggregate": "thing/1", **where, "sequence": n, "event": id,
                    "state": "pending", "failures": 3,
                }
                for n, id in ((2, ids[1]), (9, "of no event"))
            ],
        )  # fmt: skip

    await empty.write(migrate.upgrade, "0005_groups_and_providers")
    await empty.write(write)
    await empty.write(migrate.upgrade)
    expected = [
        Event(
            type="thing.changed", account="111111111111", region="eu-west-1", aggregate="thing/1", payload={"n": n},
            actor="actor", cause="cause", correlation="run", version=2, id=id, sequence=n, at=5, position=4 * n,
        )
        for n, id in enumerate(ids, 1)
    ]  # fmt: skip
    assert await empty.read(events.after, 0) == expected
    key = {"subscription": "s", "aggregate": "thing/1", "account": "111111111111", "region": "eu-west-1"}
    assert await empty.read(events._head, key) == (expected[1], 3)


async def test_hosts_of_an_earlier_release_have_their_names_for_themselves(empty: Store):
    where, arn = (
        {"account": "111111111111", "region": "eu-west-1"},
        "arn:aws:rolesanywhere:eu-west-1:111111111111:trust-anchor/a",
    )
    role = "arn:aws:iam::222222222222:role/fleet/hosts"
    times = {"created": 7, "joined": 7, "updated": 7}

    def host(name: str, **more: str) -> dict[str, Any]:
        return (
            {
                **where,
                "name": name,
                "role": role,
                "invitation": "",
                "key": "",
                "joining": "",
                "serial": "",
                "expires": 9,
            }
            | times
            | more
        )

    def write(conn: sa.Connection) -> None:
        found = sa.MetaData()
        found.reflect(conn)
        rows = {
            "x509_trust_anchors": [
                {**where, "id": "a", "arn": arn, "name": "n", "bundle": "", "enabled": True, "tags": "{}"} | times
            ],
            "x509_host_authorities": [{**where, "anchor": "a", "profile": "p", "certificate": "", "key": b"k"} | times],
            "x509_hosts": [
                host("known", joining="j"),
                host("joined", joining="j"),
                host("invited", invitation="i"),
                host("revoked"),
            ],
            "iam_reserved_sessions": [
                {"account": "222222222222", "role": "hosts", "name": "known", "by": "b", "since": 1}
            ],
        }
        for table, made in rows.items():
            columns = found.tables[table].c.keys()
            conn.execute(found.tables[table].insert(), [{k: v for k, v in row.items() if k in columns} for row in made])

    def reserved(conn: sa.Connection) -> list[tuple[Any, ...]]:
        query = "SELECT name, account, role, by, since FROM iam_reserved_sessions ORDER BY name"
        return [tuple(row) for row in conn.execute(sa.text(query))]

    await empty.write(migrate.upgrade, "0030_subjects")
    await empty.write(write)
    await empty.write(migrate.upgrade)
    of_role = ("222222222222", "hosts")
    assert await empty.read(reserved) == [
        ("invited", *of_role, arn, 7), ("joined", *of_role, arn, 7), ("known", *of_role, "b", 1), ("revoked", *of_role, "nobody", 7),
    ]  # fmt: skip


async def test_the_next_revision_is_written_from_the_difference(empty: Store, tmp_path: Path, monkeypatch):
    folder = tmp_path / "migrations"
    shutil.copytree(migrate.FOLDER, folder)
    monkeypatch.setattr(migrate, "FOLDER", folder)
    monkeypatch.setattr(migrate, "SCHEMA", folder / migrate.SCHEMA.name)
    declared = sa.MetaData(naming_convention=metadata.naming_convention)
    migrate.import_records()
    for table in metadata.sorted_tables:
        table.to_metadata(declared)
    declared.tables["jobs"].append_column(sa.Column("colour", sa.String(8), nullable=False, server_default="red"))
    sa.Index("ix_jobs_colour", declared.tables["jobs"].c.colour)
    sa.Table("shades", declared, sa.Column("id", sa.String(8), primary_key=True))
    monkeypatch.setattr(revise, "metadata", declared)
    assert revise.main(["check"]) == 2
    with pytest.raises(ValueError, match="is not a name of a migration"):
        revise.new("../x")
    assert await empty.write(migrate.upgrade, migrate.head()) is None
    rows = await empty.write(fill)
    number = int(migrate.head()[:4]) + 1
    assert revise.main(["new", "jobs_add_colour"]) == 0
    assert migrate.head() == f"{number:04d}_jobs_add_colour"
    assert (folder / "versions" / f"{migrate.head()}.py").is_file()
    assert revise.main(["check"]) == 0
    assert revise.new("nothing_more") is None
    await empty.write(migrate.upgrade)
    assert await empty.write(lambda conn: set(conn.execute(sa.text("SELECT colour FROM jobs")).scalars())) == {"red"}
    assert "shades" in await empty.write(tables)
    assert await empty.write(kept, rows) == {name: sorted(made, key=str) for name, made in rows.items()}
    await empty.write(migrate.downgrade, migrate.revisions()[-2])
    assert "shades" not in await empty.write(tables)
    assert await empty.write(kept, rows) == {name: sorted(made, key=str) for name, made in rows.items()}


def described(conn: sa.Connection) -> dict[str, object]:
    """Everything that the database says of its tables."""
    inspector = sa.inspect(conn)
    return {
        table: {
            "columns": [{**column, "type": str(column["type"])} for column in inspector.get_columns(table)],
            "key": inspector.get_pk_constraint(table),
            "foreign": inspector.get_foreign_keys(table),
            "unique": sorted(map(str, inspector.get_unique_constraints(table))),
            "indexes": sorted(
                (
                    str(index["name"]),
                    str(index["column_names"]),
                    bool(index["unique"]),
                    str(index.get("dialect_options", {}).get(f"{conn.dialect.name}_where", "")),
                )
                for index in inspector.get_indexes(table)
            ),
        }
        for table in inspector.get_table_names()
    }


async def test_a_new_database_is_made_as_the_revisions_would_make_it(empty: Store):
    def by_revisions(conn: sa.Connection) -> None:
        assert migrate.installed(conn) is None
        command.upgrade(migrate.config(conn), "head")

    await empty.write(migrate.upgrade)
    at_once = await empty.write(described)
    await empty.write(migrate.downgrade)
    await empty.write(by_revisions)
    assert await empty.write(described) == at_once
    assert at_once.keys() >= {"jobs", "alembic_version"}


def test_the_newest_file_is_the_newest_revision():
    script = ScriptDirectory.from_config(migrate.config())
    assert script.get_current_head() == migrate.head()
    assert {one.revision for one in script.walk_revisions()} == set(migrate.revisions())
