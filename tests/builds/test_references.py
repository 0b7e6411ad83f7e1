"""Variables that are kept in Parameter Store and Secrets Manager: which ones, what they ask for, and what a log hides of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from penstock.builds.buildspec import Buildspec
from penstock.builds.errors import PhaseFailed
from penstock.builds.references import Kind, Reference, Resolver, SecretPart, hidden, references, secret_part
from penstock.wire.errors import ServiceError

ARN = "arn:aws:secretsmanager:us-east-1:111111111111:secret:db-AbCdEf"


def declared(name: str, value: str, kind: str = "PLAINTEXT") -> dict[str, str]:
    return {"name": name, "value": value, "type": kind}


def test_what_a_project_declares_counts_more_than_the_buildspec():
    spec = Buildspec(
        parameter_store={"A": "/a", "B": "/b", "CODEBUILD_X": "/x"}, secrets_manager={"B": "b", "C": "c", "D": "d"}
    )
    project = [declared("A", "plain"), declared("C", "/c", "PARAMETER_STORE"), declared("E", "e", "SECRETS_MANAGER")]
    assert references(spec, project) == [
        Reference("B", Kind.SECRET, "b"),
        Reference("D", Kind.SECRET, "d"),
        Reference("C", Kind.PARAMETER, "/c"),
        Reference("E", Kind.SECRET, "e"),
    ]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("db", SecretPart("db")),
        ("prod/db:password", SecretPart("prod/db", "password")),
        ("db::AWSPREVIOUS", SecretPart("db", "", "AWSPREVIOUS")),
        ("db:k::v-1", SecretPart("db", "k", "", "v-1")),
        (ARN, SecretPart(ARN)),
        (f"{ARN}:k:stage", SecretPart(ARN, "k", "stage")),
    ],
)
def test_what_a_reference_to_a_secret_asks_for(text: str, part: SecretPart):
    assert secret_part(text) == part


FORM = "Write secret-id[:json-key[:version-stage[:version-id]]]"


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", FORM), (":k", FORM), ("db:k::v:more", FORM), (f"{ARN}:k::v:more", FORM),
        ("db:k:stage:version", "Name a version stage or a version id, not both of them"),
    ],
)  # fmt: skip
def test_what_is_no_reference_to_a_secret(text: str, advice: str):
    with pytest.raises(PhaseFailed) as failed:
        secret_part(text)
    assert (failed.value.code, str(failed.value)) == (
        "Secrets Manager Error",
        f"invalid secret reference: {text}. {advice}",
    )


def test_what_a_log_hides():
    key = "-----BEGIN KEY-----\r\n  QUJDREVGR0g=\n}\n-----END KEY-----\n"
    assert hidden(["s3cret", "1", "", "no", "one line\n", key]) == [
        "s3cret", "one line", key.strip(), "-----BEGIN KEY-----", "QUJDREVGR0g=", "-----END KEY-----",
    ]  # fmt: skip
    with pytest.raises(PhaseFailed, match="2000 lines"):
        hidden(f"value {number:06}\nvalue {number:07}" for number in range(1001))


class Services:
    """Stands in for the application: parameters and secrets by name, and what was asked of them."""

    def __init__(self, parameters: dict[str, str], secrets: dict[str, Any]) -> None:
        self.parameters, self.secrets = parameters, secrets
        self.asked: list[dict[str, Any]] = []

    async def invoke(self, session: str, service: str, operation: str, input: dict[str, Any], *, region: str) -> Any:
        assert (session, region) == ("the role's", "eu-west-1")
        self.asked.append(input)
        if (service, operation) == ("ssm", "GetParameters"):
            assert input["WithDecryption"]
            assert len(input["Names"]) <= 10
            names = [name for name in reversed(input["Names"]) if name in self.parameters]
            listed = [(name.partition(":"), self.parameters[name]) for name in names]
            return {
                "Parameters": [
                    {"Name": name, "ARN": f"arn{name}", "Value": value} | ({"Selector": f":{more}"} if more else {})
                    for (name, _, more), value in listed
                ],
            }
        assert (service, operation) == ("secretsmanager", "GetSecretValue")
        if (found := self.secrets.get(input["SecretId"])) is None:
            raise ResourceNotFoundException
        return found if isinstance(found, dict) else {"SecretString": found}


class ResourceNotFoundException(ServiceError):
    """Secrets Manager can't find the specified secret."""


async def resolved(services: Services, *variables: dict[str, str], **spec: Any) -> tuple[dict[str, str], list[str]]:
    request = SimpleNamespace(
        document={"environment": {"environmentVariables": variables}}, key=SimpleNamespace(region="eu-west-1")
    )
    said: list[str] = []
    resolver = Resolver(services, request, SimpleNamespace(session="the role's"), said.append)  # type: ignore[arg-type]
    return await resolver.values(Buildspec(**spec)), said


async def test_parameters_are_read_ten_at_a_time_and_each_once():
    names = {f"V{number}": f"/p{number % 12}" for number in range(24)} | {"OLD": "/p0:3"}
    services = Services({f"/p{number}": f"value {number}" for number in range(12)} | {"/p0:3": "before"}, {})
    values, said = await resolved(services, parameter_store=names, exported_variables=("V1", "OTHER"))
    assert values == {f"V{number}": f"value {number % 12}" for number in range(24)} | {"OLD": "before"}
    assert [len(input["Names"]) for input in services.asked] == [10, 3]
    assert said == [
        "Decrypting parameter store environment variables",
        "V1 is not exported: its value is from Parameter Store or Secrets Manager",
    ]


async def test_a_secret_is_read_once_for_all_of_its_keys():
    services = Services({}, {"db": '{"user": "u", "port": 5432, "more": {"a": [1]}}', "text": "not JSON"})
    values, _ = await resolved(
        services, declared("T", "text", "SECRETS_MANAGER"),
        secrets_manager={"U": "db:user", "P": "db:port", "M": "db:more", "OLD": "db:user:AWSPREVIOUS", "ID": "db:user::v1"},
    )  # fmt: skip
    assert values == {"U": "u", "P": "5432", "M": '{"a":[1]}', "OLD": "u", "ID": "u", "T": "not JSON"}
    assert services.asked == [
        {"SecretId": "db"},
        {"SecretId": "db", "VersionStage": "AWSPREVIOUS"},
        {"SecretId": "db", "VersionId": "v1"},
        {"SecretId": "text"},
    ]


@pytest.mark.parametrize(
    ("kind", "text", "code", "message"),
    [
        (Kind.PARAMETER, "/none", "Decrypted Variables Error", "parameter does not exist: /none"),
        (Kind.PARAMETER, "/nul", "Decrypted Variables Error", "the value of /nul holds a NUL character"),
        (Kind.SECRET, "none", "Secrets Manager Error", "ResourceNotFoundException: Secrets Manager can't find the specified secret."),
        (Kind.SECRET, "db:none", "Secrets Manager Error", "the secret db has no key none"),
        (Kind.SECRET, "text:key", "Secrets Manager Error", "the secret text is not a JSON object"),
        (Kind.SECRET, "list:key", "Secrets Manager Error", "the secret list is not a JSON object"),
        (Kind.SECRET, "bytes", "Secrets Manager Error", "the secret bytes is binary"),
    ],
)  # fmt: skip
async def test_what_cannot_be_read_fails_the_phase(kind: Kind, text: str, code: str, message: str):
    secrets = {"db": '{"user": "u"}', "text": "s3cret", "list": '["s3cret"]', "bytes": {"SecretBinary": b"s3cret"}}
    services = Services({"/nul": "a\0b"}, secrets)
    with pytest.raises(PhaseFailed) as failed:
        await resolved(services, declared("V", text, kind))
    assert failed.value.code == code
    assert failed.value.message.startswith(message)
    assert "s3cret" not in failed.value.message


async def test_values_with_which_no_command_can_be_started():
    services = Services({}, {"large": "x" * 65536})
    with pytest.raises(PhaseFailed, match="more than 1 MiB"):
        await resolved(services, secrets_manager={f"V{number}": "large" for number in range(17)})
    assert len(services.asked) == 1
