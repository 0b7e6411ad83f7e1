"""Tables of buckets, versions, parts and blobs, and the statements on buckets and versions.

Keys are stored as their UTF-8 bytes, so that both databases order them as S3 does. A key's versions are ordered by `rank`,
the newest first. The bytes of a version are its parts (a plain object has one), each a range of a blob; a blob that no part
refers to any more waits for the collector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from penstock.blobs.blob_keys import context_of
from penstock.objects.model import About, Bucket, Version, Versioning
from penstock.store.deciding import decide_alone, deciding
from penstock.store.keysets import rows_behind
from penstock.store.schema import Json, metadata, sealed
from penstock.store.statement import Question, Statement, ask

buckets = sa.Table(
    "s3_buckets",
    metadata,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("versioning", sa.String(16), nullable=False),
    sa.Column("settings", Json, nullable=False),
    sa.Index("ix_s3_buckets_account_name", "account", "name"),
)

versions = sa.Table(
    "s3_versions",
    metadata,
    sa.Column("bucket", sa.String(63), primary_key=True),
    sa.Column("key", sa.LargeBinary, primary_key=True),
    sa.Column("rank", sa.BigInteger, primary_key=True),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("latest", sa.Boolean, nullable=False),
    sa.Column("live", sa.Boolean, nullable=False),  # the latest, and no marker: what the plain lists show
    sa.Column("marker", sa.Boolean, nullable=False),
    sa.Column("modified", sa.BigInteger, nullable=False),
    sa.Column("etag", sa.String(64), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("content", sa.String(64), nullable=False),
    sa.Column("part_count", sa.Integer),
    sa.Column("about", Json, nullable=False),
    sa.UniqueConstraint("bucket", "key", "version"),
    sa.Index("ix_s3_versions_bucket_live_key", "bucket", "live", "key"),
)

uploads = sa.Table(
    "s3_uploads",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),  # also the content that its parts belong to
    sa.Column("bucket", sa.String(63), nullable=False),
    sa.Column("key", sa.LargeBinary, nullable=False),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("initiated", sa.BigInteger, nullable=False),
    sa.Column("initiator", sa.String(2048), nullable=False),
    sa.Column("about", Json, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    sa.Column("completed", sa.BigInteger),
    sa.Column("outcome", Json),  # {parts, output}: what a repeated CompleteMultipartUpload is answered with
    sa.Index("ix_s3_uploads_bucket_open_key_id", "bucket", "open", "key", "id"),
    sa.Index("ix_s3_uploads_completed", "completed"),
)

parts = sa.Table(
    "s3_parts",
    metadata,
    sa.Column("content", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("blob", sa.String(32), nullable=False),
    sa.Column("start", sa.BigInteger, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("etag", sa.String(64), nullable=False),
    sa.Column("modified", sa.BigInteger, nullable=False),
    sa.Column("checksum", sa.String(128), nullable=False),  # sealed under the content's data key if it has one
    # Of the blob, wrapped under the content's data key if it has one.
    sa.Column("key", sa.LargeBinary, nullable=False, info=sealed(lambda row: context_of(row.blob))),
    sa.Index("ix_s3_parts_blob", "blob"),
)

blobs = sa.Table(
    "s3_blobs",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("unreferenced", sa.BigInteger),  # ms since when no part refers to it
    sa.Column("removed", sa.BigInteger),  # ms when the collector gave it up: no part may refer to it again
    sa.Index("ix_s3_blobs_unreferenced", "unreferenced"),
)


_BUCKET = sa.select(buckets).where(buckets.c.name == sa.bindparam("n"))
_FIND_BUCKET = {
    "": Statement(_BUCKET),
    "share": Statement(_BUCKET.with_for_update(read=True)),
    "update": Statement(_BUCKET.with_for_update()),
}
_OF_KEY = sa.select(versions).where(versions.c.bucket == sa.bindparam("b"), versions.c.key == sa.bindparam("k"))
LATEST = _OF_KEY.order_by(versions.c.rank).limit(1)
OF_ID = _OF_KEY.where(versions.c.version == sa.bindparam("v"))
_LATEST = Statement(LATEST)
_VERSION = Statement(OF_ID)
_INSERT_VERSION = Statement(sa.insert(versions))


def locking_key(conn: sa.Connection, bucket: str, key: str) -> list[Question]:
    """What lets one transaction at a time decide about a key: nothing on SQLite, which has one writer anyway."""
    return deciding(conn, bucket, key)


def lock_key(conn: sa.Connection, bucket: str, key: str) -> None:
    """Let one transaction at a time decide about a key."""
    decide_alone(conn, bucket, key)


def finding_bucket(name: str, *, lock: str = "") -> Question:
    """The question that `bucket_in` knows the answer of. See `find_bucket`."""
    return _FIND_BUCKET[lock], {"n": name}


def bucket_in(rows: Sequence[Any]) -> Bucket | None:
    """The bucket that was found."""
    return _bucket(rows[0]) if rows else None


def find_bucket(conn: sa.Connection, name: str, *, lock: str = "") -> Bucket | None:
    """The bucket; `lock` "share" keeps it from being deleted in this transaction, "update" is for changing it."""
    return bucket_in(ask(conn, finding_bucket(name, lock=lock))[0])


def _bucket(row: Any) -> Bucket:
    return Bucket(
        name=row.name,
        account=row.account,
        region=row.region,
        created=row.created,
        versioning=Versioning(row.versioning),
        settings=row.settings,
    )


def insert_bucket(conn: sa.Connection, bucket: Bucket) -> None:
    """Add a bucket."""
    conn.execute(
        sa.insert(buckets).values(
            name=bucket.name,
            account=bucket.account,
            region=bucket.region,
            created=bucket.created,
            versioning=bucket.versioning.value,
            settings=bucket.settings,
        )
    )


def update_bucket(conn: sa.Connection, name: str, **values: Any) -> None:
    """Change columns of a bucket."""
    conn.execute(sa.update(buckets).where(buckets.c.name == name).values(**values))


def delete_bucket(conn: sa.Connection, name: str) -> None:
    """Remove a bucket's row."""
    conn.execute(sa.delete(buckets).where(buckets.c.name == name))


def list_buckets(
    conn: sa.Connection, account: str, *, after: Sequence[Any] | None, prefix: str, region: str, limit: int
) -> list[Bucket]:
    """An account's buckets by name."""
    query = sa.select(buckets).where(buckets.c.account == account)
    if prefix:
        query = query.where(sa.func.substr(buckets.c.name, 1, len(prefix)) == prefix)
    if region:
        query = query.where(buckets.c.region == region)
    return [_bucket(row) for row in conn.execute(rows_behind(query, [buckets.c.name], after, limit=limit))]


def bucket_has_versions(conn: sa.Connection, name: str) -> bool:
    """Whether any version or marker is left."""
    return conn.execute(sa.select(versions.c.rank).where(versions.c.bucket == name).limit(1)).first() is not None


def finding_version(bucket: str, key: str, version: str | None = None) -> Question:
    """The question that `version_in` knows the answer of. See `find_version`."""
    return _LATEST if version is None else _VERSION, naming_version(bucket, key, version)


def naming_version(bucket: str, key: str, version: str | None) -> dict[str, Any]:
    """The parameters of `LATEST` (no version) or `OF_ID`."""
    where = {"b": bucket, "k": key.encode()}
    return where if version is None else {**where, "v": version}


def version_in(rows: Sequence[Any]) -> Version | None:
    """The version that was found."""
    return version_of(rows[0]) if rows else None


def find_version(conn: sa.Connection, bucket: str, key: str, version: str | None = None) -> Version | None:
    """A version of a key, or its latest (which may be a marker)."""
    return version_in(ask(conn, finding_version(bucket, key, version))[0])


def version_of(row: Any) -> Version:
    """The version in a row."""
    return Version(
        bucket=row.bucket,
        key=row.key.decode(),
        rank=row.rank,
        version=row.version,
        account=row.account,
        latest=row.latest,
        marker=row.marker,
        modified=row.modified,
        etag=row.etag,
        size=row.size,
        content=row.content,
        part_count=row.part_count,
        about=About.of(row.about),
    )


def insert_version(conn: sa.Connection, version: Version, region: str) -> None:
    """Add a version."""
    _INSERT_VERSION.later(
        conn,
        {
            "bucket": version.bucket,
            "key": version.key.encode(),
            "rank": version.rank,
            "version": version.version,
            "account": version.account,
            "region": region,
            "latest": version.latest,
            "live": version.latest and not version.marker,
            "marker": version.marker,
            "modified": version.modified,
            "etag": version.etag,
            "size": version.size,
            "content": version.content,
            "part_count": version.part_count,
            "about": version.about.document(),
        },
    )


def set_latest(conn: sa.Connection, version: Version, *, latest: bool) -> None:
    """Make a version the latest of its key, or not."""
    conn.execute(sa.update(versions).where(*_at(version)).values(latest=latest, live=latest and not version.marker))


def set_about(conn: sa.Connection, version: Version, about: About) -> None:
    """Replace what is said about a version."""
    conn.execute(sa.update(versions).where(*_at(version)).values(about=about.document()))


def delete_version(conn: sa.Connection, version: Version) -> None:
    """Remove a version's row. The caller releases its content."""
    conn.execute(sa.delete(versions).where(*_at(version)))


def _at(version: Version) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        versions.c.bucket == version.bucket,
        versions.c.key == version.key.encode(),
        versions.c.rank == version.rank,
    )
