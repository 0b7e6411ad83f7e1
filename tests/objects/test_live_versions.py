"""Versions of objects, lists of them, and their deletion, by boto3 against a live server."""

from __future__ import annotations

from penstock_buckets import Failure, limited


def test_versions_of_one_key_continue_where_a_page_ended(s3) -> None:
    s3.create_bucket(Bucket="paged-versions")
    s3.put_bucket_versioning(Bucket="paged-versions", VersioningConfiguration={"Status": "Enabled"})
    made = [
        (key, s3.put_object(Bucket="paged-versions", Key=key, Body=b"x")["VersionId"])
        for key in ("a", "b", "b", "b", "c")
    ]
    pages = s3.get_paginator("list_object_versions").paginate(Bucket="paged-versions", PaginationConfig={"PageSize": 1})
    listed = [(item["Key"], item["VersionId"]) for page in pages for item in page["Versions"]]
    assert listed == [made[0], *made[3:0:-1], made[4]]  # the newest version of a key first
    refusal = Failure(s3.delete_bucket, Bucket="paged-versions")
    assert refusal == ("BucketNotEmpty", 409)
    assert "You must delete all versions in the bucket" in refusal.error["Message"]


def test_a_token_continues_the_list_that_it_came_from(s3) -> None:
    for bucket in ("listed-one", "listed-two"):
        s3.create_bucket(Bucket=bucket)
        for key in ("p/1", "p/2", "q/1"):
            s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    page = s3.list_objects_v2(Bucket="listed-one", Prefix="p/", MaxKeys=1)
    token = page["NextContinuationToken"]
    rest = s3.list_objects_v2(Bucket="listed-one", Prefix="p/", ContinuationToken=token)
    assert [item["Key"] for item in rest["Contents"]] == ["p/2"]
    for other in ({"Prefix": "q/"}, {"Prefix": "p/", "Delimiter": "/"}, {"Bucket": "listed-two", "Prefix": "p/"}):
        assert Failure(s3.list_objects_v2, **{"Bucket": "listed-one", "ContinuationToken": token, **other}) == (
            "InvalidArgument",
            400,
        )
    refusal = Failure(s3.delete_bucket, Bucket="listed-one")
    assert refusal == ("BucketNotEmpty", 409)
    assert "versions" not in refusal.error["Message"]


def test_conditions_on_a_delete_marker_find_nothing(s3, versioned: str) -> None:
    where = {"Bucket": versioned, "Key": "marked"}
    etag = s3.put_object(**where, Body=b"1")["ETag"]
    s3.delete_object(**where)
    assert Failure(s3.put_object, **where, Body=b"2", IfMatch=etag) == ("NoSuchKey", 404)
    assert Failure(s3.get_object, **where, IfMatch=etag) == ("NoSuchKey", 404)
    s3.put_object(**where, Body=b"3", IfNoneMatch="*")
    assert s3.get_object(**where)["Body"].read() == b"3"


def test_versions(s3, versioned: str) -> None:
    where = {"Bucket": versioned, "Key": "v"}
    one = s3.put_object(**where, Body=b"one")["VersionId"]
    two = s3.put_object(**where, Body=b"two")["VersionId"]
    assert s3.get_object(**where)["Body"].read() == b"two"
    assert s3.get_object(**where, VersionId=one)["Body"].read() == b"one"
    gone = s3.delete_object(**where)
    assert gone["DeleteMarker"] is True
    missing = Failure(s3.get_object, **where)
    assert missing == ("NoSuchKey", 404)
    assert missing.headers["x-amz-delete-marker"] == "true"
    assert missing.headers["x-amz-version-id"] == gone["VersionId"]
    assert Failure(s3.get_object, **where, VersionId=gone["VersionId"]) == ("MethodNotAllowed", 405)
    assert Failure(s3.get_object, **where, VersionId="nothere") == ("InvalidArgument", 400)
    assert Failure(s3.get_object, **where, VersionId="n" * 32) == ("NoSuchVersion", 404)
    listed = s3.list_object_versions(Bucket=versioned, Prefix="v")
    assert [item["VersionId"] for item in listed["Versions"]] == [two, one]
    assert [item["IsLatest"] for item in listed["Versions"]] == [False, False]
    assert [item["VersionId"] for item in listed["DeleteMarkers"]] == [gone["VersionId"]]
    assert listed["DeleteMarkers"][0]["IsLatest"] is True
    assert "Contents" not in s3.list_objects_v2(Bucket=versioned, Prefix="v")
    undone = s3.delete_object(**where, VersionId=gone["VersionId"])
    assert undone["DeleteMarker"] is True
    assert s3.get_object(**where)["Body"].read() == b"two"
    s3.delete_object(**where, VersionId=two)
    assert s3.get_object(**where)["VersionId"] == one
    assert Failure(s3.delete_bucket, Bucket=versioned) == ("BucketNotEmpty", 409)


def test_suspended_versions(s3) -> None:
    s3.create_bucket(Bucket="suspended")
    where = {"Bucket": "suspended", "Key": "k"}
    assert "Status" not in s3.get_bucket_versioning(Bucket="suspended")
    s3.put_object(**where, Body=b"null 1")
    s3.put_bucket_versioning(Bucket="suspended", VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(**where, Body=b"first")["VersionId"]
    s3.put_bucket_versioning(Bucket="suspended", VersioningConfiguration={"Status": "Suspended"})
    assert s3.get_bucket_versioning(Bucket="suspended")["Status"] == "Suspended"
    s3.put_object(**where, Body=b"null 2")
    versions = s3.list_object_versions(Bucket="suspended")["Versions"]
    assert [item["VersionId"] for item in versions] == ["null", first]
    assert s3.get_object(**where, VersionId="null")["Body"].read() == b"null 2"
    assert s3.delete_object(**where)["VersionId"] == "null"
    assert s3.get_object(**where, VersionId=first)["Body"].read() == b"first"
    assert Failure(s3.get_object, **where) == ("NoSuchKey", 404)
    keys = [{"Key": "k", "VersionId": first}, {"Key": "k", "VersionId": "null"}]
    done = s3.delete_objects(Bucket="suspended", Delete={"Objects": keys})
    assert len(done["Deleted"]) == 2
    s3.delete_bucket(Bucket="suspended")


def test_lists(s3) -> None:
    s3.create_bucket(Bucket="lists")
    keys = ["a", "a/1", "a/2", "b b", "b/1/2", "c&<>", "c\x01", "ä", "\U0001f600"]
    for key in keys:
        s3.put_object(Bucket="lists", Key=key, Body=key.encode())
    ordered = sorted(keys, key=str.encode)
    assert [item["Key"] for item in s3.list_objects_v2(Bucket="lists")["Contents"]] == ordered
    grouped = s3.list_objects_v2(Bucket="lists", Delimiter="/")
    assert [item["Prefix"] for item in grouped["CommonPrefixes"]] == ["a/", "b/"]
    assert [item["Key"] for item in grouped["Contents"]] == [key for key in ordered if "/" not in key]
    assert grouped["KeyCount"] == 8
    for size in (1, 2, 3):
        for operation in ("list_objects_v2", "list_objects"):
            pages = s3.get_paginator(operation).paginate(
                Bucket="lists", Delimiter="/", PaginationConfig={"PageSize": size}
            )
            seen: list[str] = []
            for page in pages:
                assert len(page.get("Contents", [])) + len(page.get("CommonPrefixes", [])) <= size
                seen += [item["Key"] for item in page.get("Contents", [])]
                seen += [item["Prefix"] for item in page.get("CommonPrefixes", [])]
            assert sorted(seen) == sorted([key for key in keys if "/" not in key] + ["a/", "b/"])
    assert [item["Key"] for item in s3.list_objects_v2(Bucket="lists", StartAfter="a/1", Prefix="a")["Contents"]] == [
        "a/2"
    ]
    assert s3.list_objects_v2(Bucket="lists", MaxKeys=0)["KeyCount"] == 0
    assert Failure(s3.list_objects_v2, Bucket="lists", ContinuationToken="forged") == ("InvalidArgument", 400)
    s3.delete_object(Bucket="lists", Key="c\x01")  # XML cannot name it
    keys.remove("c\x01")
    done = s3.delete_objects(Bucket="lists", Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True})
    assert "Deleted" not in done
    s3.delete_bucket(Bucket="lists")


def test_a_bucket_is_emptied_page_by_page(s3) -> None:
    s3.create_bucket(Bucket="emptied")
    s3.put_bucket_versioning(Bucket="emptied", VersioningConfiguration={"Status": "Enabled"})
    for key in ("a", "b"):
        for _ in range(3):
            s3.put_object(Bucket="emptied", Key=key, Body=b"x")
        s3.delete_object(Bucket="emptied", Key=key)
    for page in s3.get_paginator("list_object_versions").paginate(Bucket="emptied", PaginationConfig={"PageSize": 3}):
        found = page.get("Versions", []) + page.get("DeleteMarkers", [])
        objects = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found]
        s3.delete_objects(Bucket="emptied", Delete={"Objects": objects})
    s3.delete_bucket(Bucket="emptied")


def test_conditional_deletes(live, s3, versioned: str) -> None:
    old = s3.put_object(Bucket=versioned, Key="conditional", Body=b"old")
    new = s3.put_object(Bucket=versioned, Key="conditional", Body=b"new")
    at = {"Bucket": versioned, "Key": "conditional"}
    assert Failure(s3.delete_object, **at, IfMatch=old["ETag"]) == ("PreconditionFailed", 412)
    stale = {"VersionId": old["VersionId"], "IfMatch": new["ETag"]}
    assert Failure(s3.delete_object, **at, **stale) == ("PreconditionFailed", 412)

    def delete_all(*objects):
        done = s3.delete_objects(Bucket=versioned, Delete={"Objects": list(objects)})
        codes = [(item["Key"], item["Code"]) for item in done.get("Errors", [])]
        return [item["Key"] for item in done.get("Deleted", [])], codes

    s3.put_object(Bucket=versioned, Key="other", Body=b"")
    refused = [
        {"Key": "conditional", "ETag": old["ETag"]},
        {"Key": "conditional", "VersionId": old["VersionId"], "ETag": new["ETag"]},
        {"Key": "conditional", "Size": 3},
    ]
    deleted, errors = delete_all(*refused, {"Key": "none", "ETag": "*"}, {"Key": "other", "ETag": "*"})
    assert deleted == ["other"]
    assert sorted(errors) == [
        ("conditional", "NotImplemented"),
        ("conditional", "PreconditionFailed"),
        ("conditional", "PreconditionFailed"),
        ("none", "NoSuchKey"),
    ]
    assert s3.get_object(**at)["Body"].read() == b"new"
    assert delete_all({"Key": "conditional", "VersionId": old["VersionId"], "ETag": old["ETag"]}) == (
        ["conditional"],
        [],
    )
    # Only callers that may read an object learn whether its ETag matches.
    blind = limited(live, "blind", versioned, "s3:DeleteObject")
    assert Failure(blind.delete_object, **at, IfMatch=new["ETag"]) == ("AccessDenied", 403)
    blind.delete_object(**at, IfMatch="*")
