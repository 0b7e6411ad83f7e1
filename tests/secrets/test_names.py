"""What secrets are called, and which of them a filter lists: each rule by itself."""

import re
from types import SimpleNamespace

import pytest

from penstock.secrets import names
from penstock.secrets.filters import tests_of as filters_of
from penstock.secrets.names import Asked, asked
from penstock.secrets.settings import command_of_option
from penstock.wire.errors import ServiceError

HOME, REGION = "111111111111", "us-east-1"
ARN = f"arn:aws:secretsmanager:{REGION}:{HOME}:secret:"


@pytest.mark.parametrize(
    ("text", "candidates", "arn"),
    [
        ("db", [("db", "")], f"{ARN}db-??????"),
        ("db-AbCdEf", [("db-AbCdEf", "")], f"{ARN}db-AbCdEf-??????"),
        (f"{ARN}db-AbCdEf", [("db", "AbCdEf"), ("db-AbCdEf", "")], f"{ARN}db-AbCdEf"),
        (f"{ARN}db", [("db", "")], f"{ARN}db"),
        (f"{ARN}-AbCdEf", [("-AbCdEf", "")], f"{ARN}-AbCdEf"),
        (f"{ARN}d-b-AbCdE", [("d-b-AbCdE", "")], f"{ARN}d-b-AbCdE"),
    ],
)
def test_which_secrets_a_request_may_mean(text, candidates, arn):
    found = asked(text, HOME, REGION)
    assert (list(found.candidates), found.arn) == (candidates, arn)


def test_an_arn_is_of_its_account_and_of_this_region():
    assert asked(ARN.replace("1" * 12, "2" * 12) + "x", HOME, REGION) == Asked("2" * 12, REGION, "x", by_arn=True)
    for text in (ARN, ARN.replace("us-east-1", "eu-west-1") + "x", "arn:aws:s3:::x"):
        with pytest.raises(ServiceError) as refused:
            asked(text, HOME, REGION)
        assert refused.value.wire_code == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("renew=/bin/true 'two words'", ""), (f"{HOME}:{'n' * 64}=x", ""), ("ab=x", ""),
        ("a=x", "where a name has 2 to 64"), (f"{'n' * 65}=x", "where a name has 2 to 64"), ("renew", "is not [ACCOUNT:]NAME=COMMAND"),
        ("renew=/bin/true 'two", "the command of renew cannot be split into words: No closing quotation"), ("renew= ", "the command of renew is empty"),
    ],
)  # fmt: skip
def test_a_command_of_an_option_says_what_is_wrong_with_it(text, said):
    if not said:
        assert command_of_option(text) == text
        return
    with pytest.raises(ValueError, match=re.escape(said)):
        command_of_option(text)


def test_new_names_and_ends():
    for name in ("a", "x" * 512, "A/_+=.@!-9"):
        names.check_new(name)
    for name in ("", "x" * 513, "a b", "a:b", "ä"):
        with pytest.raises(ServiceError):
            names.check_new(name)
    ends = {names.new_suffix() for _ in range(50)}
    assert len(ends) > 45
    assert all(len(end) == 6 and end.isalnum() and end.isascii() for end in ends)
    assert names.arn_of(HOME, "cn-north-1", "n", "") == f"arn:aws-cn:secretsmanager:cn-north-1:{HOME}:secret:n"


ROW = SimpleNamespace(name="prod/db", description="The Main one", tags={"Team": "core data", "env": "x"})
BARE = SimpleNamespace(name="prod/db", description=None, tags=None)


@pytest.mark.parametrize(
    ("key", "values", "listed"),
    [
        ("name", ["prod"], True), ("name", ["Prod"], False), ("name", ["db"], False), ("name", ["x", "prod/"], True),
        ("name", ["!prod"], False), ("name", ["!x"], True), ("name", ["prod", "!prod/db"], False), ("name", ["x", "!y"], False),
        ("description", ["main"], True), ("description", ["MAIN the"], True), ("description", ["ain"], False), ("description", ["main two"], False),
        ("tag-key", ["Te"], True), ("tag-key", ["te"], False), ("tag-value", ["core"], True), ("tag-value", ["data"], False),
        ("primary-region", ["us"], False), ("primary-region", ["!us"], True), ("owning-service", ["x"], False),
        ("all", ["prod"], True), ("all", ["team"], True), ("all", ["data"], True), ("all", ["main team"], True), ("all", ["nothing"], False),
        ("all", [], True), ("name", [], True),
    ],
)  # fmt: skip
def test_which_secrets_a_filter_lists(key, values, listed):
    (test,) = filters_of([{"Key": key, "Values": values}])
    assert test(ROW) is listed
    if key in ("description", "tag-key", "tag-value") and listed:
        assert test(BARE) is False


def test_a_filter_without_a_key_looks_everywhere():
    (test,) = filters_of([{"Values": ["core"]}])
    assert test(ROW) is True
    assert test(BARE) is False
