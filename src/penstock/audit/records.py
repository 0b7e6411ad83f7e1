"""Tables of the audit trail, and what of a chain stands under a seal.

The lines of a chain (`penstock.trail`) are kept in blocks. Its row says how many there are and with which hash they end, sealed under a key of
the chain that only the installation's master key opens: whoever writes in the database alone can forge neither.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace

import orjson
import sqlalchemy as sa

from penstock.store.rows import Rows
from penstock.store.schema import Json, metadata, sealed
from penstock.store.sealing import Sealer
from penstock.trail import first_hash


def context_of(chain: str) -> str:
    """For what the key of a chain's seal is sealed."""
    return f"audit/{chain}"


chains = sa.Table(
    "audit_chains",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),  # 1, 2, …: no chain can be missing
    sa.Column("writer", sa.String(512), nullable=False),  # host and folder where it was written
    sa.Column("began", sa.BigInteger, nullable=False),  # ms
    sa.Column("lines", sa.BigInteger, nullable=False),  # in blocks, those removed included
    sa.Column("head", sa.String(64), nullable=False),  # hash of the last one
    sa.Column("removed", sa.BigInteger, nullable=False),  # lines whose time was over
    sa.Column("removed_head", sa.String(64), nullable=False),
    sa.Column("state", sa.String(8), nullable=False),  # open; closed by its process; broken off
    sa.Column("key", sa.LargeBinary, nullable=False, info=sealed(lambda row: context_of(row.id))),
    sa.Column("seal", sa.String(64), nullable=False),
)
blocks = sa.Table(
    "audit_blocks",
    metadata,
    sa.Column("chain", sa.String(32), primary_key=True),
    sa.Column("first", sa.BigInteger, primary_key=True, autoincrement=False),  # its first line, counted from 0
    sa.Column("lines", sa.Integer, nullable=False),
    sa.Column("first_at", sa.BigInteger, nullable=False),  # ms: the earliest record
    sa.Column("last_at", sa.BigInteger, nullable=False, index=True),  # ms: the latest
    sa.Column("head", sa.String(64), nullable=False),  # hash of its last line
    sa.Column("marks", sa.LargeBinary, nullable=False),  # what lookups find in it: see `penstock.audit.attributes`
    sa.Column("content", sa.LargeBinary, nullable=False),  # its lines: see `penstock.audit.packing`
)
trails = sa.Table(
    "audit_trails",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("arn", sa.String(256), nullable=False),
    sa.Column("bucket", sa.String(64), nullable=False),
    sa.Column("prefix", sa.String(200), nullable=False),
    sa.Column("key", sa.String(256), nullable=False),  # ARN of the key of KMS that its files are under, or ""
    sa.Column("everywhere", sa.Boolean, nullable=False),  # takes records of all regions
    sa.Column("nowhere", sa.Boolean, nullable=False),  # takes records of services of no region
    sa.Column("selectors", Json, nullable=False),  # as PutEventSelectors takes them
    sa.Column("chosen", sa.Boolean, nullable=False),  # whether somebody has put selectors
    sa.Column("periods", Json, nullable=False),  # [[from, until or null]] in ms: when it takes what is recorded
    sa.Column("tags", Json, nullable=False),  # {key: value}
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("delivered", sa.BigInteger),  # ms, of its newest file
    sa.Column("attempted", sa.BigInteger),  # ms, of the newest try to write one
    sa.Column("error", sa.Text, nullable=False),  # of that try, or ""
    sa.UniqueConstraint("account", "name", "region"),
)
positions = sa.Table(
    "audit_positions",  # how far a trail has come in a chain
    metadata,
    sa.Column("trail", sa.String(36), primary_key=True),
    sa.Column("chain", sa.String(32), primary_key=True),
    sa.Column("lines", sa.BigInteger, nullable=False),  # that are delivered
    sa.Column("until", sa.BigInteger),  # end of those that are being delivered: what is written twice has the same name
)

_ADDED = Rows(blocks, *blocks.columns.keys())
OPEN, CLOSED, BROKEN = "open", "closed", "broken"
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What is said of a chain under its seal. The fields are those of the table."""

    id: str
    number: int
    writer: str
    began: int
    lines: int
    head: str
    removed: int
    removed_head: str
    state: str

    def seal(self, key: bytes) -> str:
        """The seal under a chain's key."""
        return hmac.new(key, orjson.dumps(astuple(self)), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Kept:
    """A chain's row."""

    chain: Chain
    key: bytes  # sealed
    seal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A row of `blocks`."""

    first: int
    lines: int
    first_at: int
    last_at: int
    head: str
    marks: bytes
    content: bytes


def _kept(row: sa.Row[tuple[object, ...]]) -> Kept:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented name
    key, seal = values.pop("key"), values.pop("seal")
    return Kept(Chain(**values), key, seal)


def key_of(sealer: Sealer, kept: Kept) -> bytes:
    """The key of a chain's seal. Raises SealError."""
    return sealer.open(kept.key, context_of(kept.chain.id))


def find(conn: sa.Connection, chain: str) -> Kept | None:
    """A chain, locked."""
    row = conn.execute(sa.select(chains).where(chains.c.id == chain).with_for_update()).first()
    return None if row is None else _kept(row)


def every(conn: sa.Connection) -> Iterator[Kept]:
    """Every chain in the order of their numbers."""
    for row in conn.execute(sa.select(chains).order_by(chains.c.number)):
        yield _kept(row)


def begin(conn: sa.Connection, sealer: Sealer, chain: str, *, writer: str, now: int) -> Kept:
    """The row of a chain, made when it is missing."""
    known = find(conn, chain)
    if known is not None:
        return known
    number = (conn.execute(sa.select(sa.func.max(chains.c.number))).scalar() or 0) + 1
    key, head = os.urandom(_KEY_BYTES), first_hash(chain)
    made = Chain(
        id=chain,
        number=number,
        writer=writer[:512],
        began=now,
        lines=0,
        head=head,
        removed=0,
        removed_head=head,
        state=OPEN,
    )
    kept = Kept(made, sealer.seal(key, context_of(chain)), made.seal(key))
    row = {**_values(made), "key": kept.key, "seal": kept.seal}
    conn.execute(chains.insert().values(row))
    return kept


def add(conn: sa.Connection, sealer: Sealer, kept: Kept, added: list[Block], *, state: str) -> Kept:
    """Add the next blocks of a chain."""
    chain = kept.chain
    _ADDED.write(
        conn, [{"chain": chain.id, **{name: getattr(block, name) for name in Block.__slots__}} for block in added]
    )
    lines = chain.lines + sum(block.lines for block in added)
    head = added[-1].head if added else chain.head
    return _change(conn, sealer, kept, replace(chain, lines=lines, head=head, state=state))


def _change(conn: sa.Connection, sealer: Sealer, kept: Kept, chain: Chain) -> Kept:
    seal = chain.seal(key_of(sealer, kept))
    conn.execute(chains.update().where(chains.c.id == chain.id).values(**_values(chain), seal=seal))
    return Kept(chain, kept.key, seal)


def remove(conn: sa.Connection, sealer: Sealer, before: int, *, limit: int) -> int:
    """Remove the first blocks of chains whose records are all older than `before` (ms), up to `limit`; how many."""
    table = blocks
    old = sa.select(table.c.chain, table.c.first, table.c.lines, table.c.head).where(table.c.last_at < before)
    found = conn.execute(old.order_by(table.c.chain, table.c.first).limit(limit)).all()
    removed = 0
    for name in dict.fromkeys(row.chain for row in found):
        kept = find(conn, name)
        if kept is None:
            continue
        chain = kept.chain
        for row in found:
            # In order only: what follows must continue from what the chain's row says.
            if row.chain == name and row.first == chain.removed:
                conn.execute(table.delete().where(table.c.chain == name, table.c.first == row.first))
                chain = replace(chain, removed=row.first + row.lines, removed_head=row.head)
                removed += 1
        if chain is not kept.chain:
            _change(conn, sealer, kept, chain)
    return removed


def _values(chain: Chain) -> dict[str, str | int]:
    return {name: getattr(chain, name) for name in Chain.__slots__}
