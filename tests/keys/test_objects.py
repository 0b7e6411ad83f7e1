"""Objects under keys (SSE-KMS): whoever may not decrypt cannot read them, whatever S3's policies let them."""

import base64
import hashlib
import re

import penstock_identity_harness
import pytest
import sqlalchemy as sa
from penstock_identity_harness import ACCOUNT, OTHER, allow, document
from penstock_keys import kms, new_key, refused

import penstock.keys
import penstock.objects
from penstock.blobs.segments import DamagedBlob
from penstock.fleet import MODEL
from penstock.identity.operations import security_tokens  # noqa: F401 - sts
from penstock.objects.checksums import ALGORITHMS
from penstock.store.schema import metadata
from penstock.wire.services import Service

WHERE = {"Bucket": "artifacts", "Key": "a/b"}
UNDER = {"ServerSideEncryption": "aws:kms"}


@pytest.fixture
async def harness(any_store, clock, tmp_path):
    components = (penstock.keys.component, penstock.objects.component)
    async with penstock_identity_harness.harness_on(any_store, clock, tmp_path, *components) as made:
        made.app.services.add(Service("penstock", MODEL))  # whose GetObjectDigest belongs to objects
        yield made


async def s3(harness, by, operation, **input):
    return await harness.app.invoke(by, "s3", operation, input, region="us-east-1")


async def read(harness, by, **where):
    return await (await s3(harness, by, "GetObject", **(WHERE | where)))["Body"].read()


@pytest.fixture
async def bucket(harness, owner):
    await s3(harness, owner, "CreateBucket", Bucket="artifacts")


@pytest.fixture
async def reader(harness, bucket):
    """Who may do everything with objects, and nothing with keys."""
    return await harness.user("reader", allow("s3:*"))


async def denied(coroutine, action):
    code, message = await refused(coroutine)
    assert code == "AccessDenied"
    assert f"is not authorized to perform: kms:{action} on resource: arn:aws:kms:us-east-1:{ACCOUNT}:key/" in message


async def test_an_object_is_written_and_read_by_whom_its_key_lets(harness, owner, key, reader):
    put = await s3(harness, owner, "PutObject", **WHERE, **UNDER, SSEKMSKeyId=key, Body=b"secret")
    assert (put["ServerSideEncryption"], put["SSEKMSKeyId"]) == ("aws:kms", key)
    assert await read(harness, owner) == b"secret"
    assert await read(harness, owner, Range="bytes=1-2") == b"ec"
    await denied(read(harness, reader), "Decrypt")
    assert (await s3(harness, reader, "HeadObject", **WHERE))["SSEKMSKeyId"] == key
    await denied(s3(harness, reader, "PutObject", **WHERE, **UNDER, SSEKMSKeyId=key, Body=b"x"), "GenerateDataKey")
    assert await read(harness, owner) == b"secret"


async def test_every_way_to_the_bytes_asks_the_key(harness, owner, key, reader):
    """Copies, parts of uploads and digests read as well; a part is written under its upload's key."""
    await s3(harness, owner, "PutObject", **WHERE, **UNDER, SSEKMSKeyId=key, Body=b"secret")
    source = {"Bucket": "artifacts", "CopySource": "artifacts/a/b"}
    await denied(s3(harness, reader, "CopyObject", **source, Key="stolen"), "Decrypt")
    await denied(s3(harness, reader, "CopyObject", **source, Key="a/b", MetadataDirective="REPLACE"), "Decrypt")
    upload = (await s3(harness, reader, "CreateMultipartUpload", Bucket="artifacts", Key="up"))["UploadId"]
    part = {"Key": "up", "UploadId": upload, "PartNumber": 1}
    await denied(s3(harness, reader, "UploadPartCopy", **source, **part), "Decrypt")
    theirs = await s3(harness, owner, "CreateMultipartUpload", Bucket="artifacts", Key="mine", **UNDER, SSEKMSKeyId=key)
    mine = {"Bucket": "artifacts", "Key": "mine", "UploadId": theirs["UploadId"], "PartNumber": 1}
    await denied(s3(harness, reader, "UploadPart", **mine, Body=b"x"), "Decrypt")
    part = await s3(harness, owner, "UploadPart", **mine, Body=b"part")
    done = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    del mine["PartNumber"]
    await s3(harness, owner, "CompleteMultipartUpload", **mine, MultipartUpload=done)
    assert await read(harness, owner, Key="mine") == b"part"
    await denied(read(harness, reader, Key="mine"), "Decrypt")
    asked = {"bucketName": "artifacts", "objectKey": "mine"}
    digest = harness.app.invoke(reader, "penstock", "GetObjectDigest", asked, region="us-east-1")
    await denied(digest, "Decrypt")
    await denied(s3(harness, reader, "HeadObject", **WHERE, ChecksumMode="ENABLED"), "Decrypt")
    await denied(s3(harness, reader, "GetObjectAttributes", **WHERE, ObjectAttributes=["Checksum"]), "Decrypt")


async def test_a_database_without_its_keys_confirms_no_guess_of_the_bytes(harness, owner, key, bucket):
    """No digest of the bytes stands in it in clear, whichever way they came under the key, and each is answered all the same."""
    body, under = b"a guess", {**UNDER, "SSEKMSKeyId": key}
    digests = {name: algorithm.begin() for name, algorithm in ALGORITHMS.items()}
    for digest in digests.values():
        digest.update(body)
    value = {name: base64.b64encode(digest.digest()).decode() for name, digest in digests.items()}

    async def checksums(name):
        head = await s3(harness, owner, "HeadObject", Bucket="artifacts", Key=name, ChecksumMode="ENABLED")
        wanted = {"Bucket": "artifacts", "Key": name, "ObjectAttributes": ["Checksum", "ObjectParts"]}
        attributes = await s3(harness, owner, "GetObjectAttributes", **wanted)
        where = {"bucketName": "artifacts", "objectKey": name}
        ours = await harness.app.invoke(owner, "penstock", "GetObjectDigest", where, region="us-east-1")
        assert ours["sha256"] == hashlib.sha256(body).hexdigest()
        found = {name: one for name, one in head.items() if name.startswith("Checksum") and name != "ChecksumType"}
        assert {member: one.partition("-")[0] for member, one in found.items()}.items() <= attributes[
            "Checksum"
        ].items()
        return found, [part.get("ChecksumSHA256") for part in (attributes.get("ObjectParts") or {}).get("Parts", [])]

    for name in ("CRC64NVME", "SHA256"):
        where = {"Bucket": "artifacts", "Key": name}
        put = await s3(harness, owner, "PutObject", **where, Body=body, ChecksumAlgorithm=name, **under)
        assert put[f"Checksum{name}"] == value[name]
        assert await checksums(name) == ({f"Checksum{name}": value[name]}, [])
        where = {"Bucket": "artifacts", "Key": f"copy of {name}", "CopySource": f"artifacts/{name}"}
        copied = await s3(harness, owner, "CopyObject", **where, **under)
        assert copied["CopyObjectResult"][f"Checksum{name}"] == value[name]
        assert await checksums(f"copy of {name}") == ({f"Checksum{name}": value[name]}, [])
    of_parts = base64.b64encode(hashlib.sha256(base64.b64decode(value["SHA256"])).digest()).decode()
    for name, source in (("parts", None), ("copied parts", "SHA256")):
        up = {"Bucket": "artifacts", "Key": name}
        begin = {**up, **under, "ChecksumAlgorithm": "SHA256"}
        up["UploadId"] = (await s3(harness, owner, "CreateMultipartUpload", **begin))["UploadId"]
        if source:
            copy = {"PartNumber": 1, "CopySource": f"artifacts/{source}"}
            part = (await s3(harness, owner, "UploadPartCopy", **up, **copy))["CopyPartResult"]
        else:
            part = await s3(harness, owner, "UploadPart", **up, PartNumber=1, Body=body, ChecksumAlgorithm="SHA256")
        (listed,) = (await s3(harness, owner, "ListParts", **up))["Parts"]
        assert listed["ChecksumSHA256"] == part["ChecksumSHA256"] == value["SHA256"]
        done = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]}]}
        for _ in range(2):
            made = await s3(harness, owner, "CompleteMultipartUpload", **up, MultipartUpload=done)
            assert made["ChecksumSHA256"] == f"{of_parts}-1"
        assert await checksums(name) == ({"ChecksumSHA256": f"{of_parts}-1"}, [value["SHA256"]])
        first = await s3(
            harness, owner, "GetObject", Bucket="artifacts", Key=name, PartNumber=1, ChecksumMode="ENABLED"
        )
        assert first["ChecksumSHA256"] == value["SHA256"]
    raw = [digest.digest() for digest in digests.values()]
    raw += [hashlib.md5(body, usedforsecurity=False).digest(), hashlib.sha256(raw[-1]).digest()]
    guesses = {text for one in raw for text in (one.hex(), base64.b64encode(one).decode())}
    everything = str(await harness.app.store.read(_everything))
    assert "copied parts" in everything
    assert not {guess for guess in guesses if guess in everything}


def _everything(conn):
    return [conn.execute(sa.select(table)).all() for table in metadata.sorted_tables]


async def test_who_may_list_only_learns_nothing_of_the_bytes(harness, owner, key, reader):
    """Two objects with the same bytes have other ETags, whichever way they came under the key; out of it a copy has its MD5 again."""
    body, md5 = b"secret", hashlib.md5(b"secret", usedforsecurity=False).hexdigest()
    under = {**UNDER, "SSEKMSKeyId": key}
    await s3(harness, owner, "PutObject", Bucket="artifacts", Key="plain", Body=body)
    for name in ("one", "two"):
        await s3(harness, owner, "PutObject", Bucket="artifacts", Key=name, Body=body, **under)
    for name, source in (("into", "plain"), ("within", "one")):
        copy = {"Bucket": "artifacts", "Key": name, "CopySource": f"artifacts/{source}"}
        await s3(harness, owner, "CopyObject", **copy, **under)
    parts = []
    for name in ("parts", "copied parts"):
        up = {"Bucket": "artifacts", "Key": name}
        up["UploadId"] = (await s3(harness, owner, "CreateMultipartUpload", **up, **under))["UploadId"]
        if name == "parts":
            made = await s3(harness, owner, "UploadPart", **up, PartNumber=1, Body=body)
        else:
            made = await s3(harness, owner, "UploadPartCopy", **up, PartNumber=1, CopySource="artifacts/plain")
        (part,) = (await s3(harness, owner, "ListParts", **up))["Parts"]
        assert part["ETag"] == made.get("CopyPartResult", made)["ETag"]
        await denied(s3(harness, reader, "ListParts", **up), "Decrypt")
        done = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        await denied(s3(harness, reader, "CompleteMultipartUpload", **up, MultipartUpload=done), "Decrypt")
        await s3(harness, owner, "CompleteMultipartUpload", **up, MultipartUpload=done)
        parts.append(part["ETag"])
    listed = (await s3(harness, reader, "ListObjectsV2", Bucket="artifacts"))["Contents"]
    assert {one["Key"]: one["ETag"] for one in listed}.pop("plain") == f'"{md5}"'
    hidden = [one["ETag"] for one in listed if one["Key"] != "plain"]
    assert len(set(hidden + parts)) == len(hidden) + 2 == 8
    revealing = md5, hashlib.md5(bytes.fromhex(md5), usedforsecurity=False).hexdigest()
    for etag in hidden + parts:
        assert re.fullmatch('"[0-9a-f]{32}(-1)?"', etag)
        assert not etag.strip('"').startswith(revealing)
    assert sum("-" in etag for etag in hidden) == 2
    for source in ("one", "parts"):
        copied = await s3(harness, owner, "CopyObject", Bucket="artifacts", Key="out", CopySource=f"artifacts/{source}")
        assert copied["CopyObjectResult"]["ETag"] == f'"{md5}"'


async def test_what_is_said_of_the_md5_counts_under_a_key_too(harness, owner, key, bucket):
    under = {**UNDER, "SSEKMSKeyId": key}
    for body, good in ((b"secret", True), (b"other", False)):
        said = base64.b64encode(hashlib.md5(b"secret", usedforsecurity=False).digest()).decode()
        put = s3(harness, owner, "PutObject", **WHERE, **under, Body=body, ContentMD5=said)
        up = {"Bucket": "artifacts", "Key": "up"}
        up["UploadId"] = (await s3(harness, owner, "CreateMultipartUpload", **up, **under))["UploadId"]
        part = s3(harness, owner, "UploadPart", **up, PartNumber=1, Body=body, ContentMD5=said)
        for write in (put, part):
            if good:
                await write
            else:
                assert (await refused(write))[0] == "BadDigest"


async def test_copies_are_under_the_key_that_they_ask_for(harness, owner, key, reader):
    await s3(harness, owner, "PutObject", **WHERE, **UNDER, SSEKMSKeyId=key, Body=b"secret")
    other = await new_key(harness, owner)
    source = {"Bucket": "artifacts", "CopySource": "artifacts/a/b"}
    moved = await s3(harness, owner, "CopyObject", **source, Key="moved", **UNDER, SSEKMSKeyId=other)
    assert moved["SSEKMSKeyId"] == other
    await s3(harness, owner, "CopyObject", **source, Key="open")
    await kms(harness, owner, "DisableKey", KeyId=key)
    assert await read(harness, owner, Key="moved") == b"secret"
    assert await read(harness, reader, Key="open") == b"secret"
    back = {"Bucket": "artifacts", "Key": "closed", "CopySource": "artifacts/open"}
    await s3(harness, owner, "CopyObject", **back, **UNDER, SSEKMSKeyId=other)
    await denied(read(harness, reader, Key="closed"), "Decrypt")
    upload = await s3(harness, owner, "CreateMultipartUpload", Bucket="artifacts", Key="up", **UNDER, SSEKMSKeyId=other)
    up = {"Bucket": "artifacts", "Key": "up", "UploadId": upload["UploadId"]}
    part = await s3(harness, owner, "UploadPartCopy", **up, PartNumber=1, CopySource="artifacts/open")
    done = {"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]}
    await s3(harness, owner, "CompleteMultipartUpload", **up, MultipartUpload=done)
    assert await read(harness, owner, Key="up") == b"secret"


async def test_copies_under_other_keys_share_the_bytes_and_open_by_their_own_key_only(harness, owner, key, bucket):
    """What a copy keeps of its own is the blob's key, wrapped under its data key: once the source is gone, nothing else opens it."""
    from penstock.objects import contents, records

    kept = await stored(harness)
    other = await new_key(harness, owner)
    await s3(harness, owner, "PutObject", **WHERE, Body=b"secret")
    copies = {"one": key, "two": other, "three": key}
    source = "artifacts/a/b"
    for name, under in copies.items():  # from none to a key, from a key to another, and on
        where = {"Bucket": "artifacts", "Key": name, "CopySource": source}
        await s3(harness, owner, "CopyObject", **where, **UNDER, SSEKMSKeyId=under)
        source = f"artifacts/{name}"
    up = {"Bucket": "artifacts", "Key": "four"}
    up["UploadId"] = (await s3(harness, owner, "CreateMultipartUpload", **up, **UNDER, SSEKMSKeyId=key))["UploadId"]
    part = {"PartNumber": 1, "CopySource": source, "CopySourceRange": "bytes=1-3"}
    etag = (await s3(harness, owner, "UploadPartCopy", **up, **part))["CopyPartResult"]["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    await s3(harness, owner, "CompleteMultipartUpload", **up, MultipartUpload=parts)
    assert len(await stored(harness) - kept) == 1
    await s3(harness, owner, "DeleteObject", **WHERE)
    assert await read(harness, owner, Key="four") == b"ecr"
    blobs = penstock.objects.component(harness.app).state
    keys = set()
    try:
        for name in copies:
            assert await read(harness, owner, Key=name) == b"secret"
            version = await harness.app.store.read(records.find_version, "artifacts", name)
            pieces = await harness.app.store.read(contents.pieces, version.content)
            keys.add(pieces[0].blob.key)
            with pytest.raises(DamagedBlob):
                await blobs.open(pieces)
    finally:
        blobs.close()
    assert len(keys) == len(copies)
    await kms(harness, owner, "DisableKey", KeyId=other)
    assert (await refused(read(harness, owner, Key="two")))[0] == "KMS.DisabledException"
    assert await read(harness, owner, Key="three") == b"secret"


async def test_a_copy_is_under_the_newest_master_key_however_old_its_source_was_found(
    harness, owner, bucket, monkeypatch
):
    """Its source is hashed for minutes, perhaps: by then nothing else may be under the key that its blob was under when it was found."""
    from penstock.objects import contents, records
    from penstock.store.masterkeys import new_key as new_master_key
    from penstock.store.sealing import Sealer, key_id_of

    await s3(harness, owner, "PutObject", **WHERE, Body=b"secret")
    version = await harness.app.store.read(records.find_version, "artifacts", "a/b")
    pieces = await harness.app.store.read(contents.pieces, version.content)
    changed = Sealer([*harness.app.sealer.keys, newest := new_master_key()])
    blobs = penstock.objects.component(harness.app).state
    monkeypatch.setattr(blobs, "_sealer", changed)
    try:
        for again in ([pieces[0]], [pieces[0]] * 2):
            for key in await blobs.keys_for(again, opens=b"", seals=b""):
                assert key_id_of(key) == newest.id
                assert changed.open(key, f"blob/{pieces[0].blob.id}") == harness.app.sealer.open(
                    pieces[0].blob.key, f"blob/{pieces[0].blob.id}"
                )
    finally:
        blobs.close()


async def stored(harness):
    """The ids of all blobs."""
    from penstock.objects import records

    rows = await harness.app.store.read(lambda conn: conn.execute(sa.select(records.blobs.c.id)).all())
    return {row.id for row in rows}


@pytest.mark.parametrize(
    ("state", "code"),
    [("DisableKey", "KMS.DisabledException"), ("ScheduleKeyDeletion", "KMS.KMSInvalidStateException")],
)
async def test_a_key_that_cannot_be_used(harness, owner, key, bucket, state, code):
    await s3(harness, owner, "PutObject", **WHERE, **UNDER, SSEKMSKeyId=key, Body=b"secret")
    await kms(harness, owner, state, KeyId=key)
    assert (await refused(read(harness, owner)))[0] == code
    assert (await refused(s3(harness, owner, "PutObject", **WHERE, **UNDER, SSEKMSKeyId=key, Body=b"x")))[0] == code
    nowhere = "11111111-1111-1111-1111-111111111111"
    put = s3(harness, owner, "PutObject", **WHERE, **UNDER, SSEKMSKeyId=nowhere, Body=b"x")
    assert (await refused(put))[0] == "KMS.NotFoundException"


async def test_the_bucket_names_the_key_of_those_who_name_none(harness, owner, key, reader):
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    rules = {"Rules": [{**default, "BucketKeyEnabled": True}]}
    await s3(harness, owner, "PutBucketEncryption", Bucket="artifacts", ServerSideEncryptionConfiguration=rules)
    put = await s3(harness, owner, "PutObject", **WHERE, Body=b"secret")
    assert (put["SSEKMSKeyId"], put["BucketKeyEnabled"]) == (key, True)
    assert await read(harness, owner) == b"secret"
    await denied(s3(harness, reader, "PutObject", Bucket="artifacts", Key="c", Body=b"x"), "GenerateDataKey")
    # Whose policy asks for the bucket's ARN is asked for it, not for the object's.
    condition = {"StringEquals": {"kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::artifacts"}}
    may = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*", "Condition": condition}
    ann = await harness.user("ann", allow("s3:*"), document(may))
    assert await read(harness, ann) == b"secret"


async def test_the_key_of_s3_is_for_everybody_of_the_account_by_way_of_s3(harness, owner, reader):
    put = await s3(harness, reader, "PutObject", **WHERE, **UNDER, Body=b"secret")
    named = await kms(harness, owner, "DescribeKey", KeyId="alias/aws/s3")
    assert put["SSEKMSKeyId"] == named["KeyMetadata"]["Arn"]
    assert await read(harness, reader) == b"secret"


async def test_another_account_reads_when_bucket_and_key_both_let_it(harness, owner, key, bucket):
    await s3(harness, owner, "PutObject", **WHERE, **UNDER, SSEKMSKeyId=key, Body=b"secret")
    eve = await harness.user("eve", allow("s3:*", "kms:*"), account=OTHER)
    them = {"Effect": "Allow", "Principal": {"AWS": OTHER}}
    policy = document({**them, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::artifacts/*"})
    await s3(harness, owner, "PutBucketPolicy", Bucket="artifacts", Policy=policy)
    assert (await refused(read(harness, eve)))[0] == "AccessDenied"
    mine = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:*", "Resource": "*"}
    via = {"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}}
    both = document(mine, {**them, "Action": "kms:Decrypt", "Resource": "*", "Condition": via})
    await kms(harness, owner, "PutKeyPolicy", KeyId=key, Policy=both)
    assert await read(harness, eve) == b"secret"
    blob = (await kms(harness, owner, "Encrypt", KeyId=key, Plaintext=b"x"))["CiphertextBlob"]
    assert (await refused(kms(harness, eve, "Decrypt", CiphertextBlob=blob)))[0] == "AccessDenied"


async def test_without_its_data_key_a_blob_is_worth_nothing(harness, owner, key, bucket):
    """The bytes are not only guarded by a question: the installation's master key alone does not open them."""
    from penstock.objects import contents, records

    await s3(harness, owner, "PutObject", **WHERE, **UNDER, SSEKMSKeyId=key, Body=b"secret")
    version = await harness.app.store.read(records.find_version, "artifacts", "a/b")
    pieces = await harness.app.store.read(contents.pieces, version.content)
    blobs = penstock.objects.component(harness.app).state
    try:
        for root in (b"", bytes(32)):
            with pytest.raises(DamagedBlob):
                await blobs.open(pieces, root=root)
    finally:
        blobs.close()
    opened = await kms(
        harness,
        owner,
        "Decrypt",
        CiphertextBlob=base64.b64decode(version.about.data_key),
        EncryptionContext={"aws:s3:arn": "arn:aws:s3:::artifacts/a/b"},
    )
    assert opened["KeyId"] == key
