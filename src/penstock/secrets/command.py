"""One step of a rotation as a command of the operator's: it gets the event on its standard input, and its exit code decides."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from penstock import children
from penstock.masking import Mask, texts
from penstock.secrets.settings import environment
from penstock.wire.hiding import HIDDEN

SECONDS = 300.0  # of one step
_LEFT_SECONDS = 5.0  # for the rest of its output, when it has ended
_KEPT = 64 << 10  # bytes of output
_PIECE = 16 << 10

# The kernel ends the command when this process is killed, so that another one does not run the step beside it.
_LEAD = """
import os, signal, sys
from penstock.sandbox.kernel import die_with_parent
die_with_parent(signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"{sys.argv[2]} cannot be run: {error.strerror}")
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a step went."""

    why: str  # it failed; "" when it did not
    output: str  # the beginning of what it wrote, standard output and errors


async def run(words: Sequence[str], event: Mapping[str, str], variables: Mapping[str, str]) -> Ended:
    """Run a command with an event on its standard input. However this ends, the command is gone then."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-c",
        _LEAD,
        str(os.getpid()),
        *words,
        env=environment(variables),
        cwd="/",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    output = bytearray()
    reading = asyncio.ensure_future(_read(child, output))
    try:
        async with asyncio.timeout(SECONDS):
            await _give(child, orjson.dumps(event) + b"\n")
            why = _why(await child.wait())
        # What it has left running may hold the pipe open for ever.
        await asyncio.wait({reading}, timeout=_LEFT_SECONDS)
    except TimeoutError:
        why = f"took longer than {SECONDS:.0f} seconds"
    finally:
        reading.cancel()
        await children.end(child)
    return Ended(why, _text(output))


async def _give(child: asyncio.subprocess.Process, line: bytes) -> None:
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it need not read it
        child.stdin.write(line)
        await child.stdin.drain()
    child.stdin.close()


async def _read(child: asyncio.subprocess.Process, output: bytearray) -> None:
    """Keep the beginning; the rest is read and thrown away, so that the command does not wait for us."""
    assert child.stdout is not None
    while piece := await child.stdout.read(_PIECE):
        output += piece[: _KEPT + 1 - len(output)]


def _text(output: bytearray) -> str:
    """Complete lines only where something was cut off: half of a secret would not be known for one."""
    kept = bytes(output)
    if len(kept) > _KEPT:
        kept = kept[: kept.rfind(b"\n", 0, _KEPT) + 1] + b"The rest of the output is not kept.\n"
    return kept.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _why(code: int) -> str:
    if code < 0:
        return f"was ended by the signal {-code}"
    return f"ended with exit code {code}" if code else ""


def hidden(output: str, values: Iterable[str]) -> str:
    """An output without secret values, however they are spelled in it (`Mask`).

    Looks for tens of thousands of texts in a large value: not for the event loop.
    """
    mask = Mask(texts(values))
    return mask.covered(output.encode("utf-8", "replace"), cover=HIDDEN.encode()).decode("utf-8", "replace")
