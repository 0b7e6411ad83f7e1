"""A child process is gone when its user is, read to its end or not."""

from __future__ import annotations

import ast
import asyncio
import gc
from pathlib import Path

import pytest
import uvloop
from penstock_waiting import eventually

import penstock
from penstock import children
from penstock.repositories.git import Git

STARTS = ("create_subprocess_exec", "create_subprocess_shell", "Popen")
LOOPS = {"asyncio": asyncio.run, "uvloop": uvloop.run}


async def until_paused(stream: asyncio.StreamReader | None) -> None:
    """Until so much is unread that nothing more is taken from the child."""
    await eventually(lambda: stream._paused)


@pytest.mark.parametrize("run", LOOPS.values(), ids=LOOPS)
def test_a_child_whose_output_nobody_reads_on_is_killed_and_its_pipes_are_closed(run):
    async def main() -> int | None:
        child = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", "yes & yes >&2",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        await until_paused(child.stdout)
        await until_paused(child.stderr)
        async with asyncio.timeout(60):
            await children.end(child)
            await children.end(child)  # as one that has ended already
        return child.returncode

    assert run(main()) == -9
    gc.collect()  # a pipe that is still open is a warning now, and so an error


@pytest.mark.parametrize("run", LOOPS.values(), ids=LOOPS)
def test_git_whose_output_is_too_much_ends_with_its_reader(run, tmp_path: Path):
    async def main() -> None:
        git = Git(tmp_path)
        for _ in range(2):  # the first one has given its place back
            with pytest.raises(LookupError):
                async with asyncio.timeout(60), git.running("-c", "alias.flood=!yes", "flood") as child:
                    await until_paused(child.stdout)
                    raise LookupError

    run(main())
    gc.collect()


def test_every_child_of_the_event_loop_is_ended_here():
    sources = {path: path.read_text() for path in Path(penstock.__file__).parent.rglob("*.py")}
    starting = {path for path, text in sources.items() if "create_subprocess" in text}
    assert starting
    assert starting == {path for path, text in sources.items() if "children.end(" in text}


def test_every_child_has_a_session_of_its_own():
    """A terminal's Ctrl-C is the server's, and what a child starts ends with its group."""
    for path in Path(penstock.__file__).parent.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if any(f"{start}(" in text for start in STARTS) else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in STARTS:
                options = {each.arg: ast.unparse(each.value) for each in node.keywords}
                assert options.get("start_new_session") == "True", f"{path}:{node.lineno}"
