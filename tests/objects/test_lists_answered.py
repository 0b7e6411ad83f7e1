"""What each list of a bucket answers, member by member: limits, groups, encodings, and where its next page begins."""

from __future__ import annotations

import pytest

from penstock.objects.checksums import ChecksumType
from penstock.objects.errors import InvalidArgument
from penstock.objects.names import owner
from penstock.objects.operations import lists

ON_SQLITE = pytest.mark.parametrize("any_url", ["sqlite"], indirect=True)
ACCOUNT = "1" * 12


@pytest.mark.parametrize(("asked", "limit"), [(None, 1000), (0, 0), (1, 1), (999, 999), (1000, 1000), (1001, 1000)])
def test_how_many_entries_a_page_has_at_most(asked, limit):
    given = {"Bucket": "b"} | ({} if asked is None else {"MaxKeys": asked})
    assert lists._selection(given, "MaxKeys").limit == limit
    empty = lists.Page(entries=[], truncated=False)
    assert lists._common(given, empty, "MaxKeys", str)["MaxKeys"] == limit


def test_no_page_has_fewer_than_no_entries():
    with pytest.raises(InvalidArgument, match="between 0 and 2147483647") as refused:
        lists._selection({"MaxKeys": -1}, "MaxKeys")
    assert refused.value.values == {"ArgumentName": "MaxKeys", "ArgumentValue": "-1"}


def test_keys_are_written_as_the_client_asked():
    assert lists._key_encoder({})("a b/é") == "a b/é"
    assert lists._key_encoder({"EncodingType": "url"})("a b/é~") == "a%20b/%C3%A9~"
    for wrong in ("", "URL"):
        with pytest.raises(InvalidArgument, match="Invalid Encoding Method"):
            lists._key_encoder({"EncodingType": wrong})


async def filled(harness):
    """`a`, the groups `d/` and `e f/`, and `z`, which was deleted, each in two versions with an upload under way; their ids by key."""
    await harness("CreateBucket", Bucket="bucket")
    await harness("PutBucketVersioning", Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    ids, uploads = {}, {}
    for key in ("z", "a", "d/2", "d/1", "e f/1"):
        for _ in range(2):
            kept = await harness("PutObject", Bucket="bucket", Key=key, Body=b"xy", ChecksumAlgorithm="CRC32")
            ids.setdefault(key, []).insert(0, kept["VersionId"])
            harness.app.clock.advance(1_000)
        begun = {"ChecksumAlgorithm": "CRC32"} if key == "a" else {}
        uploads[key] = (await harness("CreateMultipartUpload", Bucket="bucket", Key=key, **begun))["UploadId"]
    ids["z"].insert(0, (await harness("DeleteObject", Bucket="bucket", Key="z"))["VersionId"])
    return ids, uploads


def groups(answer):
    return [each["Prefix"] for each in answer["CommonPrefixes"] or ()]


def keys(answer, member):
    return [each["Key"] for each in answer[member] or ()]


@ON_SQLITE
async def test_lists_of_objects(harness):
    await filled(harness)
    who = owner(ACCOUNT)
    one = await harness("ListObjects", Bucket="bucket")
    two = await harness("ListObjectsV2", Bucket="bucket", FetchOwner=True)
    assert keys(one, "Contents") == keys(two, "Contents") == ["a", "d/1", "d/2", "e f/1"]
    assert one["Contents"] == two["Contents"]
    first = one["Contents"][0]
    assert {name: first[name] for name in ("Size", "Owner", "ChecksumAlgorithm", "ChecksumType", "StorageClass")} == {
        "Size": 2, "Owner": who, "ChecksumAlgorithm": ["CRC32"], "ChecksumType": ChecksumType.FULL_OBJECT.value, "StorageClass": "STANDARD",
    }  # fmt: skip
    shared = ("Name", "Prefix", "Delimiter", "MaxKeys", "EncodingType", "IsTruncated", "CommonPrefixes")
    assert [one[name] for name in shared] == ["bucket", "", None, 1000, None, False, None]
    assert (one["Marker"], "NextMarker" in one, two["KeyCount"], "NextContinuationToken" in two) == ("", False, 4, False)  # fmt: skip
    assert "Owner" not in (await harness("ListObjectsV2", Bucket="bucket"))["Contents"][0]
    # By pages of one, with and without groups; the first version says where it goes on only where there is a delimiter.
    for more, shown in (({}, ["a", "d/1", "d/2", "e f/1"]), ({"Delimiter": "/", "EncodingType": "url"}, ["a", "d/", "e%20f/"])):  # fmt: skip
        seen, token, marker = [], {}, {}
        for number in range(len(shown)):
            two = await harness("ListObjectsV2", Bucket="bucket", MaxKeys=1, **more, **token)
            one = await harness("ListObjects", Bucket="bucket", MaxKeys=1, **more, **marker)
            page = keys(two, "Contents") + groups(two)
            assert page == keys(one, "Contents") + groups(one)
            seen += page
            last = number == len(shown) - 1
            assert (one["IsTruncated"], two["IsTruncated"], two["KeyCount"]) == (not last, not last, 1)
            assert ("NextContinuationToken" in two) is not last
            assert one.get("NextMarker") == (page[0] if more and not last else None)
            assert two["ContinuationToken"] == token.get("ContinuationToken")
            token = {"ContinuationToken": two.get("NextContinuationToken")}
            marker = {"Marker": page[0].replace("%20", " ")}
        assert seen == shown
    after = await harness("ListObjectsV2", Bucket="bucket", StartAfter="d/1", Prefix="d/")
    assert (keys(after, "Contents"), after["StartAfter"], after["Prefix"]) == (["d/2"], "d/1", "d/")
    for version, behind, listed in (
        ("ListObjectsV2", "StartAfter", ["d/", "e f/"]),  # a key, of which the group's keys are behind
        ("ListObjects", "Marker", ["e f/"]),
    ):
        assert groups(await harness(version, Bucket="bucket", Delimiter="/", **{behind: "d/"})) == listed
    none = await harness("ListObjectsV2", Bucket="bucket", MaxKeys=0)
    assert (none["Contents"], none["IsTruncated"], none["KeyCount"], none["StartAfter"]) == (None, False, 0, None)
    for wrong in ({"Prefix": "a"}, {"Delimiter": "/"}):  # a token is of one list
        page = await harness("ListObjectsV2", Bucket="bucket", MaxKeys=1)
        with pytest.raises(InvalidArgument):
            await harness("ListObjectsV2", Bucket="bucket", ContinuationToken=page["NextContinuationToken"], **wrong)


@ON_SQLITE
async def test_lists_of_versions(harness):
    ids, _ = await filled(harness)
    every = await harness("ListObjectVersions", Bucket="bucket")
    expected = [(key, id, at == 0) for key in ("a", "d/1", "d/2", "e f/1") for at, id in enumerate(ids[key])]
    expected += [("z", id, False) for id in ids["z"][1:]]
    assert [(each["Key"], each["VersionId"], each["IsLatest"]) for each in every["Versions"]] == expected
    (marker,) = every["DeleteMarkers"]
    assert (marker["Key"], marker["VersionId"], marker["IsLatest"], marker["Owner"]) == ("z", ids["z"][0], True, owner(ACCOUNT))  # fmt: skip
    assert {tuple(each["Owner"].items()) for each in every["Versions"]} == {tuple(owner(ACCOUNT).items())}
    assert (every["KeyMarker"], every["VersionIdMarker"], "NextKeyMarker" in every) == ("", "", False)
    page = await harness("ListObjectVersions", Bucket="bucket", MaxKeys=1)
    assert (page["NextKeyMarker"], page["NextVersionIdMarker"], page["DeleteMarkers"]) == ("a", ids["a"][0], None)
    page = await harness("ListObjectVersions", Bucket="bucket", MaxKeys=1, Delimiter="/", KeyMarker="a")
    assert (groups(page), page["NextKeyMarker"], "NextVersionIdMarker" in page) == (["d/"], "d/", False)
    behind = await harness("ListObjectVersions", Bucket="bucket", KeyMarker="z", VersionIdMarker=ids["z"][0])
    assert [each["VersionId"] for each in behind["Versions"]] == ids["z"][1:]
    assert (behind["KeyMarker"], behind["VersionIdMarker"], behind["DeleteMarkers"]) == ("z", ids["z"][0], None)
    with pytest.raises(InvalidArgument, match="without a key marker") as refused:
        await harness("ListObjectVersions", Bucket="bucket", VersionIdMarker=ids["z"][0])
    assert refused.value.values == {"ArgumentName": "version-id-marker", "ArgumentValue": ids["z"][0]}
    with pytest.raises(InvalidArgument, match="Invalid version id") as refused:
        await harness("ListObjectVersions", Bucket="bucket", KeyMarker="z", VersionIdMarker="x")
    assert refused.value.values["ArgumentName"] == "version-id-marker"


@ON_SQLITE
async def test_lists_of_uploads(harness):
    _, uploads = await filled(harness)
    every = await harness("ListMultipartUploads", Bucket="bucket")
    shown = [(each["Key"], each["UploadId"], each["ChecksumAlgorithm"], each["ChecksumType"]) for each in every["Uploads"]]  # fmt: skip
    assert shown == [(key, uploads[key], *(("CRC32", "COMPOSITE") if key == "a" else (None, None))) for key in sorted(uploads)]  # fmt: skip
    assert (every["Bucket"], "Name" in every, every["MaxUploads"]) == ("bucket", False, 1000)
    assert (every["NextKeyMarker"], every["NextUploadIdMarker"]) == ("z", uploads["z"])
    assert {tuple(each["Owner"].items()) for each in every["Uploads"]} == {tuple(owner(ACCOUNT).items())}
    page = await harness("ListMultipartUploads", Bucket="bucket", MaxUploads=2, Delimiter="/")
    assert (keys(page, "Uploads"), groups(page), page["IsTruncated"]) == (["a"], ["d/"], True)
    assert (page["NextKeyMarker"], page["NextUploadIdMarker"]) == ("d/", "")
    behind = await harness("ListMultipartUploads", Bucket="bucket", KeyMarker="a", UploadIdMarker=uploads["a"])
    assert (behind["Uploads"], behind["KeyMarker"], behind["UploadIdMarker"]) == (every["Uploads"][1:], "a", uploads["a"])  # fmt: skip
    # Without a key the id says nothing, and of another key or none it is refused.
    assert (await harness("ListMultipartUploads", Bucket="bucket", UploadIdMarker="x"))["Uploads"] == every["Uploads"]
    for id in ("x", uploads["z"]):
        with pytest.raises(InvalidArgument, match="Invalid uploadId marker") as refused:
            await harness("ListMultipartUploads", Bucket="bucket", KeyMarker="a", UploadIdMarker=id)
        assert refused.value.values == {"ArgumentName": "upload-id-marker", "ArgumentValue": id}
    empty = await harness("ListMultipartUploads", Bucket="bucket", Prefix="none")
    assert (empty["Uploads"], empty["NextKeyMarker"], empty["NextUploadIdMarker"]) == (None, "", "")


@ON_SQLITE
async def test_lists_of_parts(harness):
    await harness("CreateBucket", Bucket="bucket")
    at = {"Bucket": "bucket", "Key": "k"}
    at["UploadId"] = (await harness("CreateMultipartUpload", **at))["UploadId"]
    for number in (1, 2, 10):
        await harness("UploadPart", **at, PartNumber=number, Body=b"x" * number)
    for marker, shown in ((None, [1, 2, 10]), (0, [1, 2, 10]), (1, [2, 10]), (2, [10]), (3, [10]), (10, [])):
        more = {} if marker is None else {"PartNumberMarker": marker}
        parts = (await harness("ListParts", **at, **more))["Parts"] or []
        assert [(each["PartNumber"], each["Size"]) for each in parts] == [(number, number) for number in shown]
