"""Migrations: bring a database to the schema of this release, or refuse to work with another.

A revision that was released is never edited: databases have run it. `penstock.store.revise` writes the next one.
"""

from __future__ import annotations

import importlib
import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from penstock.store.database import SchemaMismatch, Store
from penstock.store.schema import create_all, metadata
from penstock.store.statement import wrapping

if TYPE_CHECKING:
    from alembic.config import Config

# Alembic is imported where a revision runs: most starts have none to run, and a new database gets its tables at once.

FOLDER = Path(__file__).resolve().parent / "migrations"
SCHEMA = FOLDER / "sqlite.sql"
"""What makes the tables of a new SQLite database. `penstock.store.revise` writes it: to make its statements at each first start takes longer than to run them."""

_PACKAGE = Path(__file__).resolve().parent.parent
# Alembic's own table, as it makes it.
_VERSION = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
_LOCK = 0x50454E02  # of pg_advisory_xact_lock: one process migrates at a time


async def migrate(store: Store) -> None:
    """Bring the database to the newest revision, in one transaction, under a lock. Raises SchemaMismatch for a newer one."""
    await store.write(upgrade)


async def check_schema(store: Store) -> None:
    """Raises SchemaMismatch, saying what to do, unless the database has exactly the schema of this release."""
    have, want = await store.scan(installed), head()
    if have == want:
        return
    if have is None:
        raise SchemaMismatch("The database has no Penstock schema yet. Run `penstock up` against it, which creates it.")
    _refuse_unknown(have)
    raise SchemaMismatch(
        f"The database has the older schema {have}; this release works with {want}. Run `penstock up` of this release "
        "against it once, which migrates it, then start this process again."
    )


def upgrade(conn: sa.Connection, revision: str = "head") -> None:
    """Run the revisions up to `revision` in this transaction."""
    if conn.dialect.name == "postgresql":
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    have = installed(conn)
    if have is not None:
        _refuse_unknown(have)
    if have is None and revision == "head":
        create(conn)
    elif have != head() or revision != "head":
        from alembic import command  # noqa: PLC0415

        command.upgrade(config(conn), revision)


def create(conn: sa.Connection) -> None:
    """Make every table of a new database at once. The outcome is that of running all revisions; a test compares them."""
    # Transactions of SQLite have a thread of their own, which may wait for a file.
    if conn.dialect.name == "sqlite" and (script := _written_down()):
        _run(conn, script)
    else:
        import_records()
        create_all(conn)
    _VERSION.create(conn, checkfirst=True)  # left, empty, by a downgrade
    conn.execute(_VERSION.insert().values(version_num=head()))


def _written_down() -> str:
    """The statements of `SCHEMA`; "" for those of another revision."""
    script = SCHEMA.read_text(encoding="utf-8")
    return script if f" {head()}." in script.partition("\n")[0] else ""


def _run(conn: sa.Connection, script: str) -> None:
    raw = conn.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    with wrapping(conn):
        for statement in script.split(";\n"):
            raw.execute(statement)
    # Those of a component that is not the product's.
    made = set(re.findall(r"^CREATE TABLE (\w+)", script, re.MULTILINE))
    if more := [table for name, table in metadata.tables.items() if name not in made]:
        metadata.create_all(conn, tables=more)


def downgrade(conn: sa.Connection, revision: str = "base") -> None:
    """Undo the revisions down to `revision` in this transaction."""
    from alembic import command  # noqa: PLC0415

    installed(conn)  # begins SQLAlchemy's transaction, so that Alembic leaves ours alone
    command.downgrade(config(conn), revision)


def differences(conn: sa.Connection) -> list[Any]:
    """What the declared tables have and the database has not, or the other way round; Alembic's tuples."""
    from alembic import autogenerate  # noqa: PLC0415
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415

    context = MigrationContext.configure(
        conn, opts={"compare_type": True, "target_metadata": metadata, "render_as_batch": True}
    )
    return autogenerate.compare_metadata(context, metadata)


def import_records() -> list[str]:
    """Import every module of tables, so that all are declared; their names. They end in `records`, and lie in the components."""
    found = {path.relative_to(_PACKAGE.parent).with_suffix("") for path in _PACKAGE.rglob("*records.py")}
    names = sorted(".".join(path.parts) for path in found)
    for name in names:
        importlib.import_module(name)
    return names


def config(conn: sa.Connection | None = None) -> Config:
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = conn
    return config


def head() -> str:
    """The schema revision of this release."""
    return revisions()[-1]


def revisions() -> list[str]:
    """The revisions of this release, oldest first: their files are numbered."""
    return sorted(path.stem for path in (FOLDER / "versions").glob("[0-9]*.py"))


def installed(conn: sa.Connection) -> str | None:
    """The schema revision that a database has; None for an empty one."""
    if not sa.inspect(conn).has_table(_VERSION.name):
        return None
    return conn.execute(sa.select(_VERSION.c.version_num)).scalar()


def _refuse_unknown(have: str) -> None:
    if have not in revisions():
        raise SchemaMismatch(
            f"The database has the schema {have}, which this release does not know: a newer release has migrated it."
        )
