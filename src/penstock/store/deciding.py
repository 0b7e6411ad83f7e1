"""Deciding alone: by what is counted, which no row's lock holds still."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

from penstock.store.statement import Question, Statement

_LOCK = Statement(sa.select(sa.func.pg_advisory_xact_lock(sa.bindparam("d"))))


def deciding(conn: sa.Connection, *about: str) -> list[Question]:
    """What lets one transaction at a time decide about something: nothing on SQLite, which has one writer anyway."""
    if conn.dialect.name == "sqlite":
        return []
    digest = hashlib.blake2b("\0".join(about).encode(), digest_size=8).digest()
    return [(_LOCK, {"d": int.from_bytes(digest, "big", signed=True)})]


def decide_alone(conn: sa.Connection, *about: str) -> None:
    """Let one transaction at a time decide about something."""
    for statement, parameters in deciding(conn, *about):
        statement.later(conn, parameters)
