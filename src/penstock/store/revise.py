"""Writing migrations, for developers.

python -m penstock.store.revise new NAME    write the next revision, from what the components declare and the revisions do not make,
                                            and the statements that make all tables at once
python -m penstock.store.revise check       fail when either does not make what the components declare
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from alembic import autogenerate, command
from alembic.runtime.migration import MigrationContext
from sqlalchemy.schema import CreateIndex, CreateTable

from penstock.store import migrate
from penstock.store.packing import Packed
from penstock.store.schema import Json, State, Uuid, metadata, narrow_for_postgresql
from penstock.store.statement import dialect_named

if TYPE_CHECKING:
    from alembic.operations.ops import DowngradeOps, MigrationScript, UpgradeOps

_NAME = re.compile(r"[a-z][a-z0-9_]{2,40}\Z")
_TEMPLATE = '''\
"""{title}."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead to this revision."""
    {upgrade}


def downgrade() -> None:
    """Lead back to the one before."""
    {downgrade}
'''


def new(name: str) -> Path | None:
    """Write the next revision; its file, or None when there is nothing to do. Raises ValueError for a name that is not one."""
    if not _NAME.match(name):
        raise ValueError(
            f"{name!r} is not a name of a migration: lower-case letters, digits and _, such as builds_add_fleet"
        )
    with _compared() as (context, script):
        assert script.upgrade_ops is not None
        if script.upgrade_ops.is_empty():
            return None
        before = migrate.head()
        revision = f"{int(before[:4]) + 1:04d}_{name}"
        source = _TEMPLATE.format(
            title=name.replace("_", " ").capitalize(),
            revision=revision,
            before=before,
            upgrade=_indented(script.upgrade_ops, context),
            downgrade=_indented(script.upgrade_ops.reverse(), context),
        )
    path = migrate.FOLDER / "versions" / f"{revision}.py"
    path.write_text(_formatted(source, path), encoding="utf-8")
    return path


def schema() -> str:
    """The statements that make every table of the product on SQLite: the content of `migrate.SCHEMA`."""
    migrate.import_records()
    made: list[CreateTable | CreateIndex] = []
    for table in metadata.sorted_tables:
        made += [CreateTable(table), *map(CreateIndex, sorted(table.indexes, key=lambda index: str(index.name)))]
    texts = (str(each.compile(dialect=dialect_named("sqlite"))).strip() for each in made)
    script = "".join(f"{text};\n" for text in texts).replace(", \n", ",\n")
    return f"-- Written by penstock.store.revise, of {migrate.head()}.\n{script}"


def missing() -> list[Any]:
    """What the components declare and the revisions do not make, or the other way round; Alembic's operations."""
    with _compared() as (_, script):
        assert script.upgrade_ops is not None
        return script.upgrade_ops.as_diffs()


@contextmanager
def _compared() -> Iterator[tuple[MigrationContext, MigrationScript]]:
    """Every revision, run on an empty database, beside the declared tables."""
    migrate.import_records()
    narrow_for_postgresql()
    engine = sa.create_engine("sqlite://")
    with engine.connect() as conn:
        conn.begin()
        command.upgrade(migrate.config(conn), "head")
        context = MigrationContext.configure(
            conn,
            opts={
                "target_metadata": metadata,
                "render_item": _render,
                "alembic_module_prefix": "op.",
                "sqlalchemy_module_prefix": "sa.",
                "render_as_batch": True,
                "compare_type": True,
            },
        )
        yield context, autogenerate.produce_migrations(context, metadata)
    engine.dispose()


def _indented(operations: UpgradeOps | DowngradeOps, context: MigrationContext) -> str:
    rendered = autogenerate.render_python_code(
        operations, render_as_batch=True, migration_context=context, render_item=_render
    )
    return "\n".join(line for line in rendered.splitlines() if not line.lstrip().startswith("# ###")).strip()


def _render(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    if kind == "type" and isinstance(item, Json | Packed | State):
        return f"sa.{item.impl!r}"  # a revision stays as it was whatever becomes of our own types
    if kind == "type" and isinstance(item, Uuid):
        return 'sa.Uuid(as_uuid=False).with_variant(sa.LargeBinary(16), "sqlite")'
    return False


def _formatted(source: str, path: Path) -> str:
    """As the repository's formatter has it. Writing a revision is a developer's work, so that tool is at hand."""
    ruff = str(Path(sys.executable).with_name("ruff"))
    command_line = [ruff, "format", "--stdin-filename", str(path), "-"]
    return subprocess.run(command_line, input=source, capture_output=True, text=True, check=True).stdout


def main(arguments: list[str]) -> int:
    """What `make migration` and `make lint` run."""
    match arguments:
        case ["new", name]:
            try:
                path = new(name)
            except ValueError as error:
                sys.stderr.write(f"{error}\n")
                return 1
            migrate.SCHEMA.write_text(schema(), encoding="utf-8")
            sys.stdout.write(f"wrote {path}: read it before you commit it\n" if path else "nothing to migrate\n")
            return 0
        case ["check"]:
            found = missing()
            if found:
                sys.stderr.write("The revisions do not make what the components declare; run: make migration NAME=…\n")
                sys.stderr.writelines(f"  {difference}\n" for difference in found)
            elif migrate.SCHEMA.read_text(encoding="utf-8") != schema():
                found = [migrate.SCHEMA]
                sys.stderr.write(
                    f"{migrate.SCHEMA.name} does not make what the components declare; run: make migration NAME=…\n"
                )
            return 2 if found else 0
        case _:
            sys.stderr.write(str(__doc__))
            return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
