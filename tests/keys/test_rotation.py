"""Rotation in process, on either database: what was encrypted before is read for ever."""

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from penstock_identity_harness import OTHER, allow, document
from penstock_keys import kms, refused

from penstock.keys.material import ROTATION
from penstock.keys.operations import rotation
from penstock.keys.vault import Vault
from penstock.store import jobs
from penstock.store.records import jobs as table
from penstock.wire.call import Origin

DAY = 86_400_000


def job_of(key: str, due: int) -> Any:
    return SimpleNamespace(payload={"key": key.rpartition("/")[2], "due": due})


async def sealed(harness, owner, key):
    return (await kms(harness, owner, "Encrypt", KeyId=key, Plaintext=b"s"))["CiphertextBlob"]


async def rotations(harness, owner, key):
    return (await kms(harness, owner, "ListKeyRotations", KeyId=key))["Rotations"]


async def test_new_material_encrypts_and_the_old_goes_on_decrypting(harness, owner, key):
    blobs, ids = [], []
    for _ in range(3):
        blobs.append(await sealed(harness, owner, key))
        ids.append((await kms(harness, owner, "DescribeKey", KeyId=key))["KeyMetadata"]["CurrentKeyMaterialId"])
        assert await kms(harness, owner, "RotateKeyOnDemand", KeyId=key) == {"KeyId": key}
    assert len(set(ids)) == 3
    for blob, material in zip(blobs, ids, strict=True):
        opened = await kms(harness, owner, "Decrypt", CiphertextBlob=blob)
        assert (opened["Plaintext"], opened["KeyMaterialId"]) == (b"s", material)
    moved = await kms(harness, owner, "ReEncrypt", CiphertextBlob=blobs[0], DestinationKeyId=key)
    assert moved["SourceKeyMaterialId"] != moved["DestinationKeyMaterialId"]


async def test_lists_of_rotations(harness, owner, key, clock):
    clock.advance(1000)
    for _ in range(2):
        await kms(harness, owner, "RotateKeyOnDemand", KeyId=key)
    found = await rotations(harness, owner, key)
    assert [(one["KeyId"], one["RotationDate"], one["RotationType"], one["KeyMaterialState"]) for one in found] == [
        (key.rpartition("/")[2], clock.now(), "ON_DEMAND", "NON_CURRENT"),
        (key.rpartition("/")[2], clock.now(), "ON_DEMAND", "CURRENT"),
    ]
    asked = {"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL", "Limit": 2}
    first = await kms(harness, owner, "ListKeyRotations", **asked)
    rest = await kms(harness, owner, "ListKeyRotations", **asked, Marker=first["NextMarker"])
    assert "RotationDate" not in first["Rotations"][0]
    assert (len(first["Rotations"]), len(rest["Rotations"])) == (2, 1)
    assert len({one["KeyMaterialId"] for one in first["Rotations"] + rest["Rotations"]}) == 3
    assert (first["Truncated"], rest["Truncated"]) == (True, False)


async def test_a_key_is_rotated_on_demand_25_times(harness, owner, key):
    for _ in range(25):
        await kms(harness, owner, "RotateKeyOnDemand", KeyId=key)
    assert await refused(kms(harness, owner, "RotateKeyOnDemand", KeyId=key)) == (
        "LimitExceededException",
        "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for "
        f"this key: {key}",
    )
    assert len(await rotations(harness, owner, key)) == 25


async def test_a_key_is_rotated_by_itself_once_for_each_period(harness, owner, key, clock):
    vault, began = Vault(harness.app), clock.now()
    assert await kms(harness, owner, "GetKeyRotationStatus", KeyId=key) == {
        "KeyId": key.rpartition("/")[2],
        "KeyRotationEnabled": False,
    }
    await kms(harness, owner, "EnableKeyRotation", KeyId=key, RotationPeriodInDays=90)
    first = began + 90 * DAY
    assert await kms(harness, owner, "GetKeyRotationStatus", KeyId=key) == {
        "KeyId": key.rpartition("/")[2],
        "KeyRotationEnabled": True,
        "RotationPeriodInDays": 90,
        "NextRotationDate": first,
    }
    blob = await sealed(harness, owner, key)
    await rotation.rotate(vault, job_of(key, first))  # too early
    assert await rotations(harness, owner, key) == []
    clock.advance(90 * DAY + 5)
    for _ in range(2):
        await rotation.rotate(vault, job_of(key, first))
    (made,) = await rotations(harness, owner, key)
    assert (made["RotationType"], made["RotationDate"]) == ("AUTOMATIC", clock.now())
    status = await kms(harness, owner, "GetKeyRotationStatus", KeyId=key)
    assert status["NextRotationDate"] == first + 90 * DAY
    await kms(harness, owner, "RotateKeyOnDemand", KeyId=key)
    assert (await kms(harness, owner, "GetKeyRotationStatus", KeyId=key)) == status
    clock.advance(1000 * DAY)  # nothing ran for years: one rotation, not one for each period
    await rotation.rotate(vault, job_of(key, first + 90 * DAY))
    assert len(await rotations(harness, owner, key)) == 3
    status = await kms(harness, owner, "GetKeyRotationStatus", KeyId=key)
    assert status["NextRotationDate"] == clock.now() + 90 * DAY
    await kms(harness, owner, "DisableKeyRotation", KeyId=key)
    clock.advance(90 * DAY)
    await rotation.rotate(vault, job_of(key, status["NextRotationDate"]))
    assert len(await rotations(harness, owner, key)) == 3
    assert (await kms(harness, owner, "Decrypt", CiphertextBlob=blob))["Plaintext"] == b"s"


async def test_another_period_counts_from_when_it_was_chosen(harness, owner, key, clock):
    began = clock.now()
    await kms(harness, owner, "EnableKeyRotation", KeyId=key)
    clock.advance(10 * DAY)
    await kms(harness, owner, "EnableKeyRotation", KeyId=key)  # Terraform says it again and again
    status = await kms(harness, owner, "GetKeyRotationStatus", KeyId=key)
    assert (status["RotationPeriodInDays"], status["NextRotationDate"]) == (365, began + 365 * DAY)
    await kms(harness, owner, "EnableKeyRotation", KeyId=key, RotationPeriodInDays=100)
    status = await kms(harness, owner, "GetKeyRotationStatus", KeyId=key)
    assert (status["RotationPeriodInDays"], status["NextRotationDate"]) == (100, began + 110 * DAY)
    await rotation.rotate(Vault(harness.app), job_of(key, began + 365 * DAY))
    assert await rotations(harness, owner, key) == []


async def test_a_disabled_key_is_rotated_when_it_is_enabled(harness, owner, key, clock):
    due = clock.now() + 90 * DAY
    await kms(harness, owner, "EnableKeyRotation", KeyId=key, RotationPeriodInDays=90)
    await kms(harness, owner, "DisableKey", KeyId=key)
    assert (await kms(harness, owner, "GetKeyRotationStatus", KeyId=key))["KeyRotationEnabled"]
    clock.advance(90 * DAY)
    (job,) = await due_jobs(harness, clock)
    await rotation.rotate(Vault(harness.app), job)
    assert await rotations(harness, owner, key) == []
    await kms(harness, owner, "EnableKey", KeyId=key)
    (job,) = await due_jobs(harness, clock)
    assert job.payload["due"] == due
    await rotation.rotate(Vault(harness.app), job)
    assert len(await rotations(harness, owner, key)) == 1


async def due_jobs(harness, clock):
    """The jobs of rotations that are due, as a worker that dies with them has them; they are done."""

    def take(conn):
        c = table.c
        found = conn.execute(sa.select(table).where(c.kind == ROTATION, c.state == "ready", c.due <= clock.now()))
        taken = [jobs.job_of(row) for row in found.mappings()]
        for job in taken:
            jobs.finish(conn, job.id)
        return taken

    return await harness.app.store.write(take)


async def test_a_key_on_its_way_out_is_not_rotated(harness, owner, key, clock):
    due = clock.now() + 90 * DAY
    await kms(harness, owner, "EnableKeyRotation", KeyId=key, RotationPeriodInDays=90)
    await kms(harness, owner, "ScheduleKeyDeletion", KeyId=key)
    assert (await kms(harness, owner, "GetKeyRotationStatus", KeyId=key))["KeyRotationEnabled"] is False
    clock.advance(90 * DAY)
    await rotation.rotate(Vault(harness.app), job_of(key, due))
    for operation in ("EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand"):
        code = (await refused(kms(harness, owner, operation, KeyId=key)))[0]
        assert code == "KMSInvalidStateException"
    await kms(harness, owner, "CancelKeyDeletion", KeyId=key)
    assert (await kms(harness, owner, "GetKeyRotationStatus", KeyId=key))["KeyRotationEnabled"] is True
    for operation in ("EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand"):
        assert (await refused(kms(harness, owner, operation, KeyId=key)))[0] == "DisabledException"
    assert await rotations(harness, owner, key) == []


async def test_the_keys_of_services_are_rotated_every_year(harness, owner, clock):
    through = Origin(via="invoke", called_via=("s3.amazonaws.com",))
    made = await kms(harness, owner, "GenerateDataKey", KeyId="alias/aws/s3", KeySpec="AES_256", origin=through)
    key, due = made["KeyId"], clock.now() + 365 * DAY
    status = await kms(harness, owner, "GetKeyRotationStatus", KeyId=key)
    assert (status["RotationPeriodInDays"], status["NextRotationDate"]) == (365, due)
    clock.advance(365 * DAY)
    (job,) = await due_jobs(harness, clock)
    await rotation.rotate(Vault(harness.app), job)
    assert len(await rotations_of(harness, job)) == 2
    opened = await kms(harness, owner, "Decrypt", CiphertextBlob=made["CiphertextBlob"], origin=through)
    assert opened["Plaintext"] == made["Plaintext"]


async def rotations_of(harness, job):
    from penstock.keys import records

    return await harness.app.store.read(records.page_of_materials, job.payload["key"], first=1, after=0, limit=10)


async def test_a_rotation_that_was_killed_happens_once(harness, owner, key, clock, monkeypatch):
    """What was not committed is gone with its material; what was is not repeated."""
    due = clock.now() + 90 * DAY
    await kms(harness, owner, "EnableKeyRotation", KeyId=key, RotationPeriodInDays=90)
    blob = await sealed(harness, owner, key)
    clock.advance(90 * DAY)
    for point, made in (("keys.rotating", 0), ("keys.rotated", 1)):

        def killed(name, point=point):
            if name == point:
                raise SystemError(point)

        monkeypatch.setattr(rotation, "failpoint", killed)
        with pytest.raises(SystemError):
            await rotation.rotate(Vault(harness.app), job_of(key, due))
        assert len(await rotations(harness, owner, key)) == made
        await sealed(harness, owner, key)
    monkeypatch.undo()
    await rotation.rotate(Vault(harness.app), job_of(key, due))
    assert len(await rotations(harness, owner, key)) == 1
    for one in (blob, await sealed(harness, owner, key)):
        assert (await kms(harness, owner, "Decrypt", CiphertextBlob=one))["Plaintext"] == b"s"


async def test_policies_may_ask_for_the_period(harness, owner, key):
    asked = {"NumericLessThanEquals": {"kms:RotationPeriodInDays": "180"}}
    policy = document({"Effect": "Allow", "Action": "kms:EnableKeyRotation", "Resource": "*", "Condition": asked})
    ann = await harness.user("ann", policy)
    await kms(harness, ann, "EnableKeyRotation", KeyId=key, RotationPeriodInDays=180)
    assert (await refused(kms(harness, ann, "EnableKeyRotation", KeyId=key, RotationPeriodInDays=181)))[
        0
    ] == "AccessDenied"
    for days in (89, 2561):
        wrong = kms(harness, owner, "EnableKeyRotation", KeyId=key, RotationPeriodInDays=days)
        assert (await refused(wrong))[0] == "ValidationException"


async def test_only_its_account_rotates_a_key(harness, owner, key):
    eve = await harness.user("eve", allow("kms:*"), account=OTHER)
    for operation in ("EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand", "ListKeyRotations"):
        assert (await refused(kms(harness, eve, operation, KeyId=key)))[0] == "AccessDenied"
