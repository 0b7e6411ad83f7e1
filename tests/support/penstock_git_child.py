"""A git that prints, complains and ends as a test says."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from types import SimpleNamespace

from penstock.repositories.git import Git


async def nothing_runs_but(tasks) -> None:
    """What was cancelled has had its turns to end."""
    for _ in range(20):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks


def stream(*pieces: bytes, ends: bool = True) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    for piece in pieces:
        reader.feed_data(piece)
    if ends:
        reader.feed_eof()
    return reader


class ScriptedGit(Git):
    """Git whose children print what a test says, and end with `code`."""

    def __init__(self, printed: bytes = b"", complaint: bytes = b"", code: int = 0, *, ends: bool = True) -> None:
        super().__init__(Path("/"))
        self.printed, self.complaint, self.code, self.ends = printed, complaint, code, ends
        self.asked: list[tuple[str, ...]] = []

    @contextlib.asynccontextmanager
    async def running(self, *arguments, **more):
        self.asked.append(arguments)
        self.options = more

        async def wait() -> int:
            return self.code

        yield SimpleNamespace(
            stdout=stream(self.printed, ends=self.ends), stderr=stream(self.complaint, ends=self.ends), wait=wait
        )
