"""Buckets and objects by real clients against a live server."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_an_object_comes_and_goes(live) -> None:
    s3 = live.client("s3")
    s3.create_bucket(Bucket="first")
    put = s3.put_object(
        Bucket="first", Key="a/b c+é.txt", Body=b"hello", Metadata={"Colour": "red"}, ContentType="text/plain"
    )
    assert put["ETag"] == '"5d41402abc4b2a76b9719d911017c592"'
    got = s3.get_object(Bucket="first", Key="a/b c+é.txt")
    assert got["Body"].read() == b"hello"
    assert got["Metadata"] == {"colour": "red"}
    assert got["ContentType"] == "text/plain"
    assert got["ServerSideEncryption"] == "AES256"
    assert s3.head_object(Bucket="first", Key="a/b c+é.txt")["ContentLength"] == 5
    listed = s3.list_objects_v2(Bucket="first")
    assert [item["Key"] for item in listed["Contents"]] == ["a/b c+é.txt"]
    with pytest.raises(ClientError) as error:
        s3.delete_bucket(Bucket="first")
    assert code_of(error) == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket="first", Key="a/b c+é.txt")
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket="first", Key="a/b c+é.txt")
    assert code_of(error) == ("NoSuchKey", 404)
    s3.delete_bucket(Bucket="first")
    with pytest.raises(ClientError) as error:
        s3.head_bucket(Bucket="first")
    assert code_of(error) == ("404", 404)
