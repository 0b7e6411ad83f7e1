"""How many Encrypt and Decrypt one core does, in process: validated, authorised, logged, under a real key on SQLite."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import uvloop

import penstock.identity
import penstock.keys
from bench.run import Row
from penstock.app import compose
from penstock.application import Settings

CALLS = 4_000
ATONCE = 16
BAR = 3_000


def measure() -> list[Row]:
    """The rows of the table."""
    return uvloop.run(_measure())


async def _measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder) / "data", master_key_file=Path(folder) / "master.key")
        async with compose(settings, components=(penstock.identity.component, penstock.keys.component)) as app:
            key_id = (await app.identity.bootstrap()).splitlines()[1].partition(" = ")[2]
            session = (await app.identity.credential(key_id, "")).session

            async def kms(operation: str, **input: object) -> dict[str, object]:
                return await app.invoke(session, "kms", operation, input, region=settings.region)

            arn = (await kms("CreateKey"))["KeyMetadata"]["Arn"]  # type: ignore[index]
            asked = {"KeyId": arn, "Plaintext": b"x" * 64, "EncryptionContext": {"a": "b"}}
            blob = (await kms("Encrypt", **asked))["CiphertextBlob"]
            inputs = {
                "Encrypt": asked,
                "Decrypt": {"CiphertextBlob": blob, "EncryptionContext": {"a": "b"}},
            }
            rows = []
            for operation, input in inputs.items():

                async def some(operation: str = operation, input: dict[str, object] = input) -> None:
                    for _ in range(CALLS // ATONCE):
                        await kms(operation, **input)

                began = time.process_time()
                await asyncio.gather(*(some() for _ in range(ATONCE)))
                rate = CALLS / (time.process_time() - began)
                rows.append(
                    Row(
                        what=f"{operation} per second of processor",
                        measured=f"{rate:,.0f}",
                        bar=f">= {BAR:,}",
                        met=rate >= BAR,
                    )
                )
            return rows
