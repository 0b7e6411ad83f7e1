"""Keys of KMS that log groups are under: what is written is sealed under a data key, which KMS opens for CloudWatch Logs as long as it may.

It is the service that asks, not whoever writes or reads, as on AWS: the key's policy names `logs.REGION.amazonaws.com`, and may ask for the ARN of the
group in the encryption context. (AWS: CloudWatch Logs User Guide, "Encrypt log data in CloudWatch Logs using AWS Key Management Service".)
"""

from __future__ import annotations

import asyncio
from typing import Any

from penstock.application import Call
from penstock.logfiles.sealed import DataKey
from penstock.logs import records
from penstock.logs.errors import (
    AccessDeniedException,
    InvalidParameterException,
    ResourceNotFoundException,
)
from penstock.wire.call import Input, Output, service_session
from penstock.wire.errors import Refused, ServiceError

_KEPT_MS = 60_000  # that an opened data key is used before KMS is asked again
_MOST = 1_000  # opened data keys in memory


class OpenedKeys:
    """The data keys that were opened lately: builds write many times a second."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, bytes]] = {}

    async def made(self, call: Call, group: str, key: str) -> dict[str, Any]:
        """The columns of a new data key of a group, and `key`, the ARN of the key of KMS that it is under.

        Raises InvalidParameterException or AccessDeniedException unless CloudWatch Logs may use that for the group.
        """
        made = await _kms(call, group, "GenerateDataKey", {"KeyId": key, "KeySpec": "AES_256"})
        # Or nobody could read what is written.
        await _kms(call, group, "Decrypt", {"CiphertextBlob": made["CiphertextBlob"]})
        return {"id": call.app.ids.hex(32), "ciphertext": made["CiphertextBlob"], "key": made["KeyId"]}

    async def to_seal(self, call: Call, group: str, data_key: str | None) -> DataKey | None:
        """What a batch is sealed under. Raises as `made`, or ResourceNotFoundException."""
        if data_key is None:
            return None
        known = self._of(call, data_key)
        if known is None:
            kept = await call.app.store.read(records.data_keys_of, call.account, call.region, group)
            if data_key not in kept:  # the group was deleted meanwhile
                raise ResourceNotFoundException(what="log group")
            known = await self._open(call, group, data_key, kept[data_key])
        return DataKey(data_key, known)

    async def to_read(self, call: Call, group: str) -> dict[str, str]:
        """The data keys of a group by id, in hexadecimal, as far as CloudWatch Logs may open them."""
        kept = await call.app.store.read(records.data_keys_of, call.account, call.region, group)
        found = await asyncio.gather(*(self._opened(call, group, *one) for one in kept.items()))
        return {key_id: key.hex() for key_id, key in zip(kept, found, strict=True) if key is not None}

    async def _opened(self, call: Call, group: str, key_id: str, ciphertext: bytes) -> bytes | None:
        try:
            return self._of(call, key_id) or await self._open(call, group, key_id, ciphertext)
        except (AccessDeniedException, InvalidParameterException):
            return None

    def _of(self, call: Call, key_id: str) -> bytes | None:
        until, key = self._known.get(key_id, (0, b""))
        return key if call.now < until else None

    async def _open(self, call: Call, group: str, key_id: str, ciphertext: bytes) -> bytes:
        opened = await _kms(call, group, "Decrypt", {"CiphertextBlob": ciphertext})
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key_id] = (call.now + _KEPT_MS, opened["Plaintext"])
        return opened["Plaintext"]


def not_usable(call: Call, group: str) -> str:
    """What is answered where CloudWatch Logs may not use a key."""
    return f"The specified KMS key does not exist or is not allowed to be used with Arn '{_arn(call, group)}'"


async def _kms(call: Call, group: str, operation: str, input: Input) -> Output:
    arn = _arn(call, group)
    session = service_session(f"logs.{call.region}.amazonaws.com", call.account, arn)
    asked = {**input, "EncryptionContext": {"aws:logs:arn": arn}}
    try:
        return await call.app.invoke(session, "kms", operation, asked, region=call.region)
    except Refused:
        raise AccessDeniedException(not_usable(call, group)) from None
    except ServiceError as error:
        if error.server_fault:
            raise
        raise InvalidParameterException(not_usable(call, group)) from None


def _arn(call: Call, group: str) -> str:
    return call.arn("logs", f"log-group:{group}")
