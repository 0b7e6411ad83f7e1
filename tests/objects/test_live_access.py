"""Who may do what with buckets and objects, and in which region, by boto3 against a live server."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from penstock_buckets import Failure, fetch, limited


def test_bucket_names_and_owners(s3, bucket: str) -> None:
    for name in ("console", "healthz", "metrics", "webhooks", "service", "192.168.1.1", "xn--abc", "a-s3alias"):
        assert Failure(s3.create_bucket, Bucket=name) == ("InvalidBucketName", 400), name
    assert Failure(s3.create_bucket, Bucket="Capital") == ("InvalidBucketName", 400)
    s3.create_bucket(Bucket=bucket)  # as AWS answers in us-east-1
    names = [item["Name"] for item in s3.list_buckets()["Buckets"]]
    assert bucket in names
    page = s3.list_buckets(MaxBuckets=1)
    assert len(page["Buckets"]) == 1
    if len(names) > 1:
        rest = s3.list_buckets(ContinuationToken=page["ContinuationToken"])
        assert page["Buckets"][0]["Name"] not in [item["Name"] for item in rest["Buckets"]]
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    assert s3.head_bucket(Bucket=bucket)["BucketRegion"] == "us-east-1"
    wrong = {"LocationConstraint": "eu-west-3"}
    assert Failure(s3.create_bucket, Bucket="elsewhere", CreateBucketConfiguration=wrong) == (
        "InvalidLocationConstraint",
        400,
    )
    assert Failure(s3.head_bucket, Bucket=bucket, ExpectedBucketOwner="222222222222") == ("403", 403)


def _user_of_one_region(live, region: str, *, name: str = "local", action: str = "s3:*") -> dict[str, str]:
    iam = live.client("iam")
    iam.create_user(UserName=name)
    elsewhere = {"StringNotEquals": {"aws:RequestedRegion": region}}
    statements = [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
        {"Effect": "Deny", "Action": action, "Resource": "*", "Condition": elsewhere},
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}


def test_regions(live_factory) -> None:
    with live_factory(region="us-east-1", regions=("eu-central-1", "plant-7")) as live:
        s3 = live.client("s3", region="eu-central-1")
        assert Failure(s3.create_bucket, Bucket="there") == ("IllegalLocationConstraintException", 400)
        there = {"LocationConstraint": "eu-central-1"}
        s3.create_bucket(Bucket="there", CreateBucketConfiguration=there)
        assert Failure(s3.create_bucket, Bucket="there", CreateBucketConfiguration=there) == (
            "BucketAlreadyOwnedByYou",
            409,
        )
        assert s3.get_bucket_location(Bucket="there")["LocationConstraint"] == "eu-central-1"
        home = live.client("s3")
        home.put_object(Bucket="there", Key="x", Body=b"1")
        assert home.head_bucket(Bucket="there")["BucketRegion"] == "eu-central-1"
        home.create_bucket(Bucket="here", CreateBucketConfiguration={"LocationConstraint": "plant-7"})
        assert home.get_bucket_location(Bucket="here")["LocationConstraint"] == "plant-7"
        keys = _user_of_one_region(live, "eu-central-1")
        for signed in ("eu-central-1", "us-east-1"):
            theirs = live.client("s3", region=signed, keys=keys)
            assert theirs.get_object(Bucket="there", Key="x")["Body"].read() == b"1"
            assert Failure(theirs.put_object, Bucket="here", Key="x", Body=b"") == ("AccessDenied", 403)
            assert Failure(theirs.copy_object, Bucket="there", Key="y", CopySource="here/x") == ("AccessDenied", 403)
            gone = theirs.delete_objects(Bucket="here", Delete={"Objects": [{"Key": "x"}]})
            assert [error["Code"] for error in gone["Errors"]] == ["AccessDenied"]
            ours = live.client("penstock", region=signed, keys=keys)
            assert ours.get_object_digest(bucketName="there", objectKey="x")["size"] == 1
            with pytest.raises(ClientError, match="s3:GetObject on resource: .* explicit deny"):
                ours.get_object_digest(bucketName="here", objectKey="x")
        # The tags of a copy's source are read where the source lies.
        home.put_object(Bucket="here", Key="tagged", Body=b"1", Tagging="a=b")
        theirs = live.client(
            "s3", keys=_user_of_one_region(live, "eu-central-1", name="tags", action="s3:GetObjectTagging")
        )
        assert Failure(theirs.copy_object, Bucket="there", Key="y", CopySource="here/tagged") == ("AccessDenied", 403)
        theirs.copy_object(Bucket="there", Key="y", CopySource="here/tagged", TaggingDirective="REPLACE")
        for nowhere in ("mars", "us-east-1"):
            configuration = {"LocationConstraint": nowhere}
            assert Failure(home.create_bucket, Bucket="nowhere", CreateBucketConfiguration=configuration) == (
                "InvalidLocationConstraint",
                400,
            )


def test_a_part_of_an_object_that_cannot_be_deleted_is_not_the_object(live, s3, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="kept", Body=b"kept")
    s3.create_bucket(Bucket="kept-bucket")
    credentials = live.client("s3")._request_signer._credentials
    for method, path in (
        ("DELETE", f"/{bucket}/kept?acl"),
        ("PUT", f"/{bucket}/kept?partNumber=1"),
        ("DELETE", "/kept-bucket?versions"),
    ):
        request = AWSRequest(method=method, url=f"{live.url}{path}", data=b"")
        S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
        with pytest.raises(urllib.error.HTTPError) as caught:
            fetch(request.url, method=method, headers=dict(request.headers))
        with caught.value as refused:
            assert refused.code == 405
    assert s3.get_object(Bucket=bucket, Key="kept")["Body"].read() == b"kept"
    s3.delete_bucket(Bucket="kept-bucket")


def test_bucket_settings(s3, bucket: str, key: str) -> None:
    rule = {
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key},
        "BucketKeyEnabled": True,
    }
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"] == [rule]
    put = s3.put_object(Bucket=bucket, Key="default", Body=b"")
    assert (put["ServerSideEncryption"], put["SSEKMSKeyId"], put["BucketKeyEnabled"]) == ("aws:kms", key, True)
    s3.delete_bucket_encryption(Bucket=bucket)
    assert s3.put_object(Bucket=bucket, Key="default", Body=b"")["ServerSideEncryption"] == "AES256"
    assert Failure(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)
    tags = [{"Key": "a", "Value": "b"}]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
    s3.delete_bucket_tagging(Bucket=bucket)
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert (block["BlockPublicAcls"], block["BlockPublicPolicy"]) == (True, False)


def test_a_policy_for_everybody_is_taken_when_the_bucket_blocks_none(s3) -> None:
    s3.create_bucket(Bucket="public")
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::public/*"}
    tied = statement | {"Condition": {"StringEquals": {"aws:PrincipalAccount": "111111111111"}}}

    def put(one: dict) -> dict:
        return {"Bucket": "public", "Policy": json.dumps({"Version": "2012-10-17", "Statement": [one]})}

    def block(public: bool) -> None:
        only = {"BlockPublicPolicy": public, "BlockPublicAcls": True}
        s3.put_public_access_block(Bucket="public", PublicAccessBlockConfiguration=only)

    for change in (lambda: None, lambda: block(public=True)):  # as AWS makes buckets, and as somebody says
        change()
        refusal = Failure(s3.put_bucket_policy, **put(statement))
        assert (refusal.code, "BlockPublicPolicy setting" in refusal.error["Message"]) == ("AccessDenied", True)
        s3.put_bucket_policy(**put(tied))
    for change in (lambda: block(public=False), lambda: s3.delete_public_access_block(Bucket="public")):
        s3.delete_bucket_policy(Bucket="public")
        change()
        s3.put_bucket_policy(**put(statement))
        assert s3.get_bucket_policy_status(Bucket="public")["PolicyStatus"]["IsPublic"] is True
    policy = put(tied)["Policy"]
    s3.put_bucket_policy(Bucket="public", Policy=policy.ljust(20_480))
    refusal = Failure(s3.put_bucket_policy, Bucket="public", Policy=policy.ljust(20_481))
    assert (refusal.code, "document size of 20480 bytes" in refusal.error["Message"]) == ("MalformedPolicy", True)


def test_permissions(live, s3, bucket: str) -> None:
    iam = live.client("iam")
    iam.create_user(UserName="reader")
    allow = [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/open/*"},
        {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{bucket}/open/deletable"},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": allow})
    iam.put_user_policy(UserName="reader", PolicyName="p", PolicyDocument=policy)
    made = iam.create_access_key(UserName="reader")["AccessKey"]
    keys = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
    reader = live.client("s3", keys=keys)
    for key in ("open/a", "open/deletable", "shut/a"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert reader.get_object(Bucket=bucket, Key="open/a")["Body"].read() == b"x"
    assert Failure(reader.get_object, Bucket=bucket, Key="shut/a") == ("AccessDenied", 403)
    assert Failure(reader.put_object, Bucket=bucket, Key="open/a") == ("AccessDenied", 403)
    assert Failure(reader.list_objects_v2, Bucket=bucket) == ("AccessDenied", 403)
    # Callers that may not list do not learn that a key is missing.
    assert Failure(reader.head_object, Bucket=bucket, Key="open/none") == ("403", 403)
    assert Failure(reader.get_object, Bucket=bucket, Key="open/none") == ("AccessDenied", 403)
    assert Failure(reader.copy_object, Bucket=bucket, Key="open/a", CopySource=f"{bucket}/shut/a") == (
        "AccessDenied",
        403,
    )
    keys_ = [{"Key": "open/deletable"}, {"Key": "shut/a"}]
    done = reader.delete_objects(Bucket=bucket, Delete={"Objects": keys_})
    assert [item["Key"] for item in done["Deleted"]] == ["open/deletable"]
    assert [(item["Key"], item["Code"]) for item in done["Errors"]] == [("shut/a", "AccessDenied")]
    assert s3.head_object(Bucket=bucket, Key="shut/a")


def test_buckets_are_listed_by_who_may_list_all_of_them(live, s3, bucket: str) -> None:
    every = limited(live, "every", "*", "s3:ListAllMyBuckets")
    assert Failure(every.list_buckets) == ("AccessDenied", 403)  # arn:aws:s3:::*/* are objects
    allow = {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "arn:aws:s3:::*"}
    put = live.client("iam").put_user_policy
    put(UserName="every", PolicyName="p", PolicyDocument=json.dumps({"Statement": [allow]}))
    assert bucket in [item["Name"] for item in every.list_buckets()["Buckets"]]
    put(
        UserName="every",
        PolicyName="p",
        PolicyDocument=json.dumps({"Statement": [allow | {"Resource": f"{allow['Resource']}{bucket}"}]}),
    )
    assert Failure(every.list_buckets) == ("AccessDenied", 403)


def test_tags_and_attributes_ask_for_actions_of_their_own(live, s3, bucket: str) -> None:
    copier = limited(live, "copier", bucket, "s3:GetObject", "s3:PutObject")
    s3.put_object(Bucket=bucket, Key="plainly", Body=b"x")
    s3.put_object(Bucket=bucket, Key="tagged", Body=b"x", Tagging="team=a")
    copier.copy_object(Bucket=bucket, Key="to", CopySource=f"{bucket}/plainly")
    tagged = {"Bucket": bucket, "Key": "to", "CopySource": f"{bucket}/tagged"}
    assert Failure(copier.copy_object, **tagged) == ("AccessDenied", 403)
    copier.copy_object(**tagged, TaggingDirective="REPLACE")
    attributes = {"Bucket": bucket, "Key": "tagged", "ObjectAttributes": ["ETag"]}
    assert Failure(copier.get_object_attributes, **attributes) == ("AccessDenied", 403)
    tagger = limited(live, "tagger", bucket, "s3:GetObject*", "s3:PutObject*")
    tagger.copy_object(**tagged)
    assert tagger.get_object_tagging(Bucket=bucket, Key="to")["TagSet"] == [{"Key": "team", "Value": "a"}]
    assert tagger.get_object_attributes(**attributes)["ETag"]
