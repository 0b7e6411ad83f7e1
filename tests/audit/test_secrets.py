"""No secret reaches a record or a log, whichever operation it is given to."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_examples import examples

from penstock.wire.errors import Refused, ServiceError
from penstock.wire.hiding import HIDDEN, Hiding, secret_name
from penstock.wire.recording import _encoded, _message, writer
from penstock.wire.registry import Recorded
from penstock.wire.shapes import Model, Shape

MARK = "MARKED-SECRET"
numbers = itertools.count()


def filled(service: Any, shape: Shape, *, secret: bool = False, above: tuple[str, ...] = ()) -> Any:
    """A value with every member, whose secrets are marked."""
    secret = secret or bool(shape.traits.get("sensitive"))
    if above.count(shape.name):
        return None
    inside = (*above, shape.name)
    match shape.type:
        case "structure":
            found = {
                name: filled(
                    service,
                    member,
                    secret=secret or secret_name(name) or f"{shape.name}${name}" in service.secrets,
                    above=inside,
                )
                for name, member in shape.members.items()
            }
            return {name: value for name, value in found.items() if value is not None}
        case "list":
            item = filled(service, shape.member, secret=secret, above=inside)
            return None if item is None else [item]
        case "map":
            value = filled(service, shape.value, secret=secret, above=inside)
            names = {"OAuthToken": f"{MARK}-{next(numbers)}"} if shape.value.type == "string" else {}
            more = {
                key.partition("$")[2]: f"{MARK}-{next(numbers)}"
                for key in service.secrets
                if key.startswith(f"{shape.name}$")
            }
            return {"x": value} | names | more
        case "string":
            if secret:
                return f"{MARK}-{next(numbers)}"
            return (shape.traits.get("enum") or ["x"])[0]
        case "integer" | "long" | "float" | "double":
            return 1
        case "boolean":
            return False
        case "blob":
            return f"{MARK}-{next(numbers)}".encode()
        case "timestamp":
            return 0
    raise AssertionError(shape.type)


def test_no_marked_secret_is_in_any_file_of_records_and_logs(live):
    """Every operation is called in process with every member, all secrets marked, and with each top-level member left out."""
    key = live.keys()["aws_access_key_id"]
    session = live.run(live.app.identity.credential(key, "")).session

    async def call_all() -> int:
        calls = 0
        for operation in live.app.registry:
            if operation.recorded is not Recorded.MANAGEMENT:
                continue
            service = live.app.services.get(operation.service)
            model = service.operation(operation.name)
            given = filled(service, model.input) if model.input else {}
            for input in (given, {name: value for name, value in given.items() if MARK in str(value)}):
                calls += 1
                try:
                    await live.app.invoke(session, operation.service, operation.name, input, region="us-east-1")
                except (ServiceError, Refused):
                    pass
        return calls

    assert live.run(call_all()) > 300
    live.run(_written(live))
    files = [path for folder in ("audit", "logs") for path in (live.data_dir / folder).rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)
    assert content.count(HIDDEN.encode()) > 30
    place = content.find(MARK.encode())
    assert place < 0, content[max(0, place - 1500) : place + 200]


async def _written(live):
    live.app.records.trail.write()


def test_outputs_are_shown_without_their_secrets(live):
    for operation in live.app.registry:
        service = live.app.services.get(operation.service)
        output = service.operation(operation.name).output
        if output is None:
            continue
        shown = orjson.dumps(
            Hiding(service.secrets, service.hides).readable(output, filled(service, output))[0]
        ).decode()
        assert MARK not in shown, (operation.service, operation.name, shown)


def test_what_made_a_secret_does_not_show_it(live):
    live.client("iam").create_user(UserName="with-secrets")
    key = live.client("iam").create_access_key(UserName="with-secrets")["AccessKey"]
    link = live.client("penstock").create_sign_in_link(userName="with-secrets")["url"]
    session = live.client("sts").get_session_token()["Credentials"]
    live.run(_written(live))
    content = b"".join(path.read_bytes() for path in (live.data_dir / "audit").iterdir()).decode()
    assert key["AccessKeyId"] in content
    for secret in (key["SecretAccessKey"], link, session["SecretAccessKey"], session["SessionToken"]):
        assert secret not in content


MODEL = Model(
    {
        "metadata": {},
        "shapes": {
            "Text": {"type": "string"},
            "Secret": {"type": "string", "sensitive": True},
            "Bytes": {"type": "blob"},
            "Moment": {"type": "timestamp"},
            "Texts": {"type": "map", "key": {"shape": "Text"}, "value": {"shape": "Text"}},
            "Node": {
                "type": "structure",
                "members": {
                    "Name": {"shape": "Text"}, "Value": {"shape": "Secret"}, "Body": {"shape": "Bytes"}, "At": {"shape": "Moment"},
                    "Below": {"shape": "Nodes"}, "Configuration": {"shape": "Texts"}, "clientRequestToken": {"shape": "Text"},
                },
            },
            "Nodes": {"type": "list", "member": {"shape": "Node"}},
        },
    }
)  # fmt: skip


def test_names_begin_small_bytes_are_left_out_and_times_are_written_out():
    given = {
        "Name": "n",
        "Value": "s1",
        "Body": b"b",
        "At": 0,
        "Below": [{"Value": "s2"}],
        "Other": 1,
        "clientRequestToken": "t",
    }
    shown, hidden = Hiding().readable(MODEL.shape({"shape": "Node"}), given)
    assert shown == {
        "name": "n",
        "value": HIDDEN,
        "at": "1970-01-01T00:00:00Z",
        "below": [{"value": HIDDEN}],
        "clientRequestToken": "t",
    }
    assert hidden == ["s1", "s2"]


@pytest.mark.parametrize("name", ["OAuthToken", "oauth_token", "Password", "SECRET-TOKEN", "DbPassword"])
def test_a_name_that_only_secrets_have_hides_its_value(name):
    shown, _ = Hiding().readable(MODEL.shape({"shape": "Node"}), {"Configuration": {name: "s", "Branch": "main"}})
    assert shown == {"configuration": {name: HIDDEN, "Branch": "main"}}


@settings(max_examples=examples(100))
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
        lambda below: (
            st.lists(below)
            | st.dictionaries(st.text() | st.sampled_from(["Name", "Value", "Below", "At", "Configuration"]), below)
        ),
    )
)
def test_whatever_an_input_is_it_can_be_shown(value):
    shown, _ = Hiding().readable(MODEL.shape({"shape": "Node"}), value)
    assert "\ud800" not in str(shown)


PLAIN = Model(
    {
        "metadata": {},
        "shapes": {
            "Text": {"type": "string"},
            "Number": {"type": "integer"},
            "Secret": {"type": "string", "sensitive": True},
            "Bytes": {"type": "blob"},
            "Input": {
                "type": "structure",
                "members": {
                    "name": {"shape": "Text"}, "Name": {"shape": "Text"}, "count": {"shape": "Number"}, "value": {"shape": "Secret"},
                    "body": {"shape": "Bytes"}, "oauthToken": {"shape": "Text"}, "stated": {"shape": "Text"}, "names": {"shape": "Texts"},
                },
            },
            "Texts": {"type": "list", "member": {"shape": "Text"}},
            "Hidden": {"type": "structure", "sensitive": True, "members": {"name": {"shape": "Text"}}},
        },
    }
)  # fmt: skip
VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.just("\ud800") | st.lists(st.text())


@pytest.mark.parametrize("shape", ["Input", "Hidden"])
@given(st.data())
def test_what_is_written_is_what_is_shown(shape, data):
    """The short way for what is shown as it is writes what the long way does."""
    hiding, shape = Hiding({"Input$stated"}), PLAIN.shape({"shape": shape})
    assert hiding.plain(shape) == ({"name", "count"} if shape.name == "Input" else set())
    value = data.draw(
        st.dictionaries(st.sampled_from([*PLAIN.shape({"shape": "Input"}).members, "other"]), VALUES, min_size=1)
    )
    written, hidden = writer(hiding, shape)(value)
    shown, texts = hiding.readable(shape, value)
    assert orjson.loads(written) == orjson.loads(_encoded(shown or None))
    assert list(hidden) == texts


@pytest.mark.parametrize("message", ["Value 's3cr3t-value' at 'x'", "Value 's3cr3t-v…' at 'x'", "s3cr3t-value"])
def test_a_message_that_quotes_a_secret_is_shown_without_it(message):
    assert "s3cr" not in _message(message, ["s3cr3t-value"])


def test_a_message_that_quotes_none_is_shown():
    assert _message("User: a is not authorized", ["s3cr3t-value"]) == "User: a is not authorized"
