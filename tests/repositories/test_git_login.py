"""What the AWS CLI's credential helper for CodeCommit signs is verified; what it has not signed is refused."""

import time

import pytest
from awscli.customizations.codecommit import CodeCommitGetCommand
from botocore.credentials import Credentials

from penstock.repositories.git_login import parse_git_login, verify_git_login
from penstock.wire.errors import SignatureExpired, SignatureMismatch

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def test_codecommit_helper_login_verifies() -> None:
    class Session:
        def get_credentials(self):
            return Credentials(KEY, SECRET, None)

    path = "/v1/repos/orders"
    password = CodeCommitGetCommand(Session()).sign_request("us-east-1", f"http://localhost:8470{path}")
    login = parse_git_login(f"{KEY}%session%token", password)
    assert login is not None
    assert (login.access_key_id, login.session_token) == (KEY, "session%token")
    verify_git_login(
        login, secret=SECRET, region="us-east-1", host="localhost:8470", path=path, now=int(time.time() * 1000)
    )
    for wrong in ({"path": "/v1/repos/other"}, {"region": "eu-west-1"}, {"secret": "x"}, {"host": "evil"}):
        arguments = {"secret": SECRET, "region": "us-east-1", "host": "localhost:8470", "path": path, **wrong}
        with pytest.raises(SignatureMismatch):
            verify_git_login(login, now=int(time.time() * 1000), **arguments)
    with pytest.raises(SignatureExpired):
        verify_git_login(
            login,
            secret=SECRET,
            region="us-east-1",
            host="localhost",
            path=path,
            now=int(time.time() * 1000) + 3_600_000,
        )
    assert parse_git_login("user", "an ordinary password") is None
