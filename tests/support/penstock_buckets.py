"""What calls of S3 are refused with, plain requests for addresses, and users who may do only some things."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request

import pytest
from botocore.exceptions import ClientError


class Failure:
    """What a call was refused with."""

    def __init__(self, call, **arguments):
        with pytest.raises(ClientError) as error:
            call(**arguments)
        self.response = error.value.response
        self.error = self.response["Error"]
        self.code = self.error["Code"]
        self.status = self.response["ResponseMetadata"]["HTTPStatusCode"]
        self.headers = self.response["ResponseMetadata"]["HTTPHeaders"]

    def __eq__(self, other):
        return (self.code, self.status) == other

    def __repr__(self):
        return repr((self.code, self.status, self.error))


def limited(live, name: str, bucket: str, *actions: str):
    """S3 as a user who may do these things to the objects of a bucket, and nothing else."""
    iam = live.client("iam")
    iam.create_user(UserName=name)
    allow = {"Effect": "Allow", "Action": actions, "Resource": f"arn:aws:s3:::{bucket}/*"}
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps({"Statement": [allow]}))
    made = iam.create_access_key(UserName=name)["AccessKey"]
    keys = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
    return live.client("s3", keys=keys)


def fetch(
    url: str, *, method: str = "GET", data: bytes | None = None, headers: dict[str, str] | None = None, context=None
):
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:  # noqa: S310
        return answer.status, dict(answer.headers), answer.read()
