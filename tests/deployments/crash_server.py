"""A server with short leases, so that a dead process's jobs are taken over at once rather than after half a minute.

crash_server.py FOLDER PORT
"""

import asyncio
import sys
from pathlib import Path

from penstock.app import running
from penstock.application import Settings


async def main(folder, port):
    key = folder / "key"
    settings = Settings(data_dir=folder / "data", port=port, master_key_file=key, lease_ms=1_500, poll_ms=500)
    async with running(settings):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
