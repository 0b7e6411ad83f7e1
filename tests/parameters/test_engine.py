"""What a parameter may be called and what a new version of it is: each rule of AWS, and each of its limits."""

import re
from types import SimpleNamespace

import pytest

from penstock.parameters import engine, names
from penstock.parameters.engine import Written, written
from penstock.parameters.names import Named, named
from penstock.wire.errors import ServiceError

HOME, REGION = "111111111111", "us-east-1"
ARN = f"arn:aws:ssm:{REGION}:{HOME}:parameter"
PREFIXED = "Parameter name: can't be prefixed with "
SPELLING = (
    "If formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers "
    "and the following 3 symbols .-_"
)


def refused(code, message, call, *arguments, **more):
    with pytest.raises(ServiceError, match=f"^{re.escape(message)}$") as raised:
        call(*arguments, **more)
    assert raised.value.wire_code == code


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("n", Named(HOME, REGION, "n", "n", "")),
        ("/n", Named(HOME, REGION, "n", "/n", "")),
        ("/a/b", Named(HOME, REGION, "a/b", "/a/b", "")),
        ("/aws/service/x", Named("", REGION, "aws/service/x", "/aws/service/x", "")),
        (f"{ARN}/a/b", Named(HOME, REGION, "a/b", "", "")),
        (f"arn:aws:ssm:{REGION}::parameter/aws/service/x", Named("", REGION, "aws/service/x", "", "")),
        ("n:3", Named(HOME, REGION, "n", "n", "3")),
        (f"{ARN}/n:label", Named(HOME, REGION, "n", "", "label")),
    ],
)
def test_what_a_request_calls_a_parameter(text, found):
    assert named(text, HOME, REGION, selects=True) == found
    if found.selector:
        refused("ParameterNotFound", "", named, text, HOME, REGION)
    else:
        assert named(text, HOME, REGION) == found


@pytest.mark.parametrize(
    "text",
    ["n:", f"{ARN}/", "arn:aws:ssm", f"{ARN}/aws/service/x", f"arn:aws:ssm:{REGION}::parameter/n", "arn:aws:s3:::x"],
)
def test_what_names_no_parameter(text):
    refused("ParameterNotFound", "", named, text, HOME, REGION, selects=True)


def test_two_spellings_of_a_path_are_two_names():
    assert [named("/n", HOME, REGION).stands_for(name) for name in ("/n", "n")] == [True, False]
    assert [named(f"{ARN}/n", HOME, REGION).stands_for(name) for name in ("/n", "n")] == [True, True]
    assert named("n", HOME, REGION).place == (HOME, REGION)


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("/aws/x", "AccessDeniedException", "No access to reserved parameter name: /aws/x."),
        ("/AWSx/y", "AccessDeniedException", "No access to reserved parameter name: /AWSx/y."),
        ("aws", "ValidationException", f'{PREFIXED}"aws" or "ssm" (case-insensitive).'),
        ("/AWS", "ValidationException", f'{PREFIXED}"aws" or "ssm" (case-insensitive).'),
        ("Ssm-x", "ValidationException", f'{PREFIXED}"aws" or "ssm" (case-insensitive).'),
        ("/ssm/x", "ValidationException", f'{PREFIXED}"ssm" (case-insensitive). {SPELLING}'),
        ("a/b", "ValidationException", "Parameter name must be a fully qualified name."),
        ("", "ValidationException", f'{PREFIXED}"aws" or "ssm" (case-insensitive). {SPELLING}'),
        ("/a/", "ValidationException", f'{PREFIXED}"aws" or "ssm" (case-insensitive). {SPELLING}'),
        ("/x" * 16, "HierarchyLevelLimitExceededException", "A hierarchy can have a maximum of 15 levels."),
    ],
)
def test_names_that_no_parameter_gets(name, code, message):
    refused(code, message, names.check_new, name, "arn")


def test_names_at_their_limits():
    for name in ("n", "/n", "/x" * 15, "A-z_0.9", "xaws", "/x/aws", "/x/ssm"):
        names.check_new(name, "a" * 1011)
    refused("ValidationException", "The ARN of the parameter would have 1012 characters; the longest one has 1011. Choose a shorter name.", names.check_new, "n", "a" * 1012)  # fmt: skip
    names.check_public("/aws/service/x", "arn")
    refused("ValidationException", "The names of public parameters begin with /aws/service/.", names.check_public, "/aws/x", "arn")  # fmt: skip
    refused("HierarchyLevelLimitExceededException", "A hierarchy can have a maximum of 15 levels.", names.check_public, "/aws/service" + "/x" * 14, "arn")  # fmt: skip


@pytest.mark.parametrize(
    ("text", "may"),
    [("a", True), ("A.b-c_9", True), ("x" * 100, True), ("x" * 101, False), ("", False), ("9a", False), ("awsx", False), ("SSM", False), ("a b", False)],
)  # fmt: skip
def test_what_a_label_is(text, may):
    assert names.is_label(text) is may


# --- versions ---------------------------------------------------------------------------------------------------------


def old(**changes):
    given = {"type": "String", "tier": "Standard", "key": "", "description": "d", "pattern": ""}
    return SimpleNamespace(**given | changes)


@pytest.mark.parametrize(
    ("input", "before", "found"),
    [
        ({"Type": "String"}, None, Written("String", "Standard", "", "", "")),
        ({}, old(pattern="v+"), Written("String", "Standard", "", "d", "v+")),
        ({"Description": "", "AllowedPattern": "."}, old(), Written("String", "Standard", "", "", ".")),
        ({"Type": "SecureString"}, None, Written("SecureString", "Standard", "alias/aws/ssm", "", "")),
        ({"Type": "SecureString", "KeyId": "k"}, None, Written("SecureString", "Standard", "k", "", "")),
        ({}, old(type="SecureString", key="k"), Written("SecureString", "Standard", "k", "d", "")),
        ({"Type": "String"}, old(type="SecureString", key="k"), Written("String", "Standard", "", "d", "")),
        ({"Type": "String", "Tier": "Advanced"}, None, Written("String", "Advanced", "", "", "")),
        ({}, old(tier="Advanced"), Written("String", "Advanced", "", "d", "")),
        ({"Tier": "Intelligent-Tiering"}, old(tier="Advanced"), Written("String", "Advanced", "", "d", "")),
        ({"Tier": "Intelligent-Tiering", "Value": "x" * 4096}, old(), Written("String", "Standard", "", "d", "")),
        ({"Tier": "Intelligent-Tiering", "Value": "x" * 4097}, old(), Written("String", "Advanced", "", "d", "")),
        ({"Value": "ä" * 2048}, old(), Written("String", "Standard", "", "d", "")),
        ({"Value": "x" * 8192}, old(tier="Advanced"), Written("String", "Advanced", "", "d", "")),
        ({"DataType": "text"}, old(), Written("String", "Standard", "", "d", "")),
    ],
)
def test_what_a_new_version_is(input, before, found):
    assert written({"Value": "v"} | input, before) == found


LONGER = " To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier."


@pytest.mark.parametrize(
    ("input", "before", "code", "message"),
    [
        ({"Policies": "[]"}, old(), "InvalidPolicyTypeException", "Parameter policies are not served: nothing would expire or be notified. Leave out Policies."),
        ({"DataType": "x"}, old(), "ValidationException", "The following data type is not supported: x. Only text is."),
        ({}, None, "ValidationException", "A parameter type is required when you create a parameter."),
        ({"KeyId": "k"}, old(), "ValidationException", "KeyId is required for SecureString type parameter only."),
        ({"Tier": "Standard"}, old(tier="Advanced"), "ValidationException", engine._DOWNGRADE),
        ({"Value": "ä" * 2048 + "x"}, old(), "ValidationException", f"Standard tier parameters support a maximum parameter value of 4096 characters.{LONGER}"),
        ({"Value": "x" * 8193}, old(tier="Advanced"), "ValidationException", "Advanced tier parameters support a maximum parameter value of 8192 characters."),
        ({"Value": ""}, old(), "ValidationException", "1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must have length greater than or equal to 1."),
        ({"AllowedPattern": "a+"}, old(), "ParameterPatternMismatchException", "Parameter value, cannot be validated against allowedPattern: a+"),
        ({}, old(pattern="V"), "ParameterPatternMismatchException", "Parameter value, cannot be validated against allowedPattern: V"),
    ],
)  # fmt: skip
def test_what_no_version_is(input, before, code, message):
    refused(code, message, written, {"Value": "v"} | input, before)


def test_a_pattern_is_of_the_whole_value_and_may_be_wrong():
    assert written({"Value": "vv", "AllowedPattern": "v+"}, old()).pattern == "v+"
    with pytest.raises(ServiceError, match=r"^The AllowedPattern is not a regular expression that is matched in linear time: .*\. Look-around"):  # fmt: skip
        written({"Value": "v", "AllowedPattern": "("}, old())
    refused("ParameterPatternMismatchException", "Parameter value, cannot be validated against allowedPattern: v", written, {"Value": "vv", "AllowedPattern": "v"}, old())  # fmt: skip


def test_how_many_there_may_be():
    assert engine.MAX_BYTES == {"Standard": 4096, "Advanced": 8192}
    assert engine.MAX_PARAMETERS == {"Standard": 10_000, "Advanced": 100_000}
    assert (engine.MAX_VERSIONS, engine.MAX_LABELS, engine.DEFAULT_KEY) == (100, 10, "alias/aws/ssm")
