"""Migrations: bring a database to the schema of this release, or refuse to work with another.

python -m penstock.store.migrate regenerate    write the first revision anew from what the rooms declare
python -m penstock.store.migrate check         fail when the revisions and what the rooms declare differ
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from penstock.store.database import SchemaMismatch, Store
from penstock.store.packing import Packed
from penstock.store.schema import Json, State, create_all, metadata

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.operations import ops
    from alembic.runtime.migration import MigrationContext

# Alembic is imported where a revision runs: most starts have none to run, and a new database gets its tables at once.

_FOLDER = Path(__file__).resolve().parent / "migrations"
_PACKAGE = Path(__file__).resolve().parent.parent
_INITIAL = "0001_initial"
# Alembic's own table, as it makes it.
_VERSION = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
_LOCK = 0x50454E02  # of pg_advisory_xact_lock: one process migrates at a time
_TEMPLATE = '''\
"""The first schema.

Generated from what the rooms declare by `make migration`; not edited by hand.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    {upgrade}


def downgrade() -> None:
    """Remove every table."""
    {downgrade}
'''


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

        command.upgrade(_config(conn), revision)


def create(conn: sa.Connection) -> None:
    """Make every table of a new database at once. The outcome is that of running all revisions; a test compares them."""
    import_records()
    create_all(conn)
    _VERSION.create(conn, checkfirst=True)  # left, empty, by a downgrade
    conn.execute(_VERSION.insert().values(version_num=head()))


def downgrade(conn: sa.Connection, revision: str = "base") -> None:
    """Undo the revisions down to `revision` in this transaction."""
    from alembic import command  # noqa: PLC0415

    installed(conn)  # begins SQLAlchemy's transaction, so that Alembic leaves ours alone
    command.downgrade(_config(conn), revision)


def differences(conn: sa.Connection) -> list[Any]:
    """What the declared tables have and the database has not, or the other way round; Alembic's tuples."""
    from alembic import autogenerate  # noqa: PLC0415
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415

    context = MigrationContext.configure(
        conn, opts={"compare_type": True, "target_metadata": metadata, "render_as_batch": True}
    )
    return autogenerate.compare_metadata(context, metadata)


def import_records() -> list[str]:
    """Import every room's `records` module, so that all tables are declared; their names."""
    found = {path.relative_to(_PACKAGE.parent).with_suffix("") for path in _PACKAGE.rglob("records.py")}
    found |= {path.parent.relative_to(_PACKAGE.parent) for path in _PACKAGE.rglob("records/__init__.py")}
    names = sorted(".".join(path.parts) for path in found)
    for name in names:
        importlib.import_module(name)
    return names


def regenerate() -> str:
    """The source of the first revision, from every declared table; the same for the same tables."""
    from alembic import autogenerate  # noqa: PLC0415
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415

    import_records()
    engine = sa.create_engine("sqlite://")
    with engine.connect() as conn:
        context = MigrationContext.configure(
            conn, opts={"target_metadata": metadata, "render_item": _render, "alembic_module_prefix": "op.",
                        "sqlalchemy_module_prefix": "sa.", "render_as_batch": False}
        )  # fmt: skip
        script = autogenerate.produce_migrations(context, metadata)
        assert script.upgrade_ops is not None
        assert script.downgrade_ops is not None
        _sort(script.upgrade_ops)
        source = _TEMPLATE.format(
            revision=_INITIAL,
            upgrade=_indented(script.upgrade_ops, context),
            downgrade=_indented(script.upgrade_ops.reverse(), context),
        )
    engine.dispose()
    return _formatted(source)


def _formatted(source: str) -> str:
    """As the repository's formatter has it. Regenerating is a developer's work, so that tool is at hand."""
    ruff = Path(sys.executable).with_name("ruff")
    command_line = [str(ruff), "format", "--stdin-filename", str(_FOLDER / "versions" / f"{_INITIAL}.py"), "-"]
    return subprocess.run(command_line, input=source, capture_output=True, text=True, check=True).stdout


def _sort(upgrades: ops.UpgradeOps) -> None:
    """Put the indexes of each table in the order of their names; tables stand in order of their references already."""
    from alembic.operations import ops  # noqa: PLC0415

    for index, operation in enumerate(upgrades.ops):
        if isinstance(operation, ops.ModifyTableOps):
            operation.ops.sort(key=lambda inner: getattr(inner, "index_name", "") or "")
            upgrades.ops[index] = operation
    # Autogenerate walks a set of (schema, table); the metadata's own order is by reference, then by name.
    order = {table.name: place for place, table in enumerate(metadata.sorted_tables)}
    upgrades.ops.sort(key=lambda operation: order[operation.table_name])  # type: ignore[attr-defined]


def _indented(operations: ops.UpgradeOps | ops.DowngradeOps, context: MigrationContext) -> str:
    from alembic import autogenerate  # noqa: PLC0415

    rendered = autogenerate.render_python_code(
        operations, render_as_batch=False, migration_context=context, render_item=_render
    )
    return "\n".join(line for line in rendered.splitlines() if not line.lstrip().startswith("# ###")).strip()


def _render(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    if kind == "type" and isinstance(item, Json | Packed | State):
        return f"sa.{item.impl!r}"  # a revision stays as it was whatever becomes of our own types
    return False


def _config(conn: sa.Connection | None = None) -> Config:
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = conn
    return config


def head() -> str:
    """The schema revision of this release."""
    return _revisions()[-1]


def _revisions() -> list[str]:
    """The revisions of this release, oldest first: their files are numbered."""
    return sorted(path.stem for path in (_FOLDER / "versions").glob("[0-9]*.py"))


def installed(conn: sa.Connection) -> str | None:
    """The schema revision that a database has; None for an empty one."""
    if not sa.inspect(conn).has_table(_VERSION.name):
        return None
    return conn.execute(sa.select(_VERSION.c.version_num)).scalar()


def _refuse_unknown(have: str) -> None:
    if have not in _revisions():
        raise SchemaMismatch(
            f"The database has the schema {have}, which this release does not know: a newer release has migrated it."
        )


def main(arguments: list[str]) -> int:
    """What `make migration` and `make lint` run."""
    path = _FOLDER / "versions" / f"{_INITIAL}.py"
    source = regenerate()
    match arguments:
        case ["regenerate"]:
            path.write_text(source, encoding="utf-8")
            return 0
        case ["check"]:
            same = path.exists() and path.read_text(encoding="utf-8") == source
            if not same:
                sys.stderr.write("The first revision differs from what the rooms declare; run: make migration\n")
            return 0 if same else 2
        case _:
            sys.stderr.write(str(__doc__))
            return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
