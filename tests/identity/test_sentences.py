"""What is refused, with its sentence to the letter, where the other tests look at the code of the error alone."""

from pathlib import Path

import pytest
from penstock_identity_harness import ACCOUNT, allow, refused, trusting

from penstock.identity.issuers import Issuers
from penstock.identity.settings import _secret_file
from penstock.identity.web_tokens import Keys


async def test_what_keeps_policies_and_roles(on_sqlite):
    iam = on_sqlite.iam
    arn = (await iam("CreatePolicy", PolicyName="p", PolicyDocument=allow("s3:*")))["Policy"]["Arn"]
    await iam("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=allow("s3:*"))
    await on_sqlite.role("own", trusting(AWS=ACCOUNT))
    for operation, input, answer in (
        *((operation, {**named, "PolicyDocument": text}, answer)
          for operation, named in (("CreatePolicy", {"PolicyName": "q"}), ("CreatePolicyVersion", {"PolicyArn": arn}))
          for text, answer in (
              ("{", ("MalformedPolicyDocument", "Syntax errors in policy.")),
              (allow(*["s3:Get" + "a" * 60] * 100), ("LimitExceeded", "Cannot exceed quota for PolicySize: 6144")),
          )),
        ("DeletePolicyVersion", {"PolicyArn": arn, "VersionId": "v1"}, ("DeleteConflict", "Cannot delete the default version of a policy.")),
        ("DeletePolicy", {"PolicyArn": arn}, ("DeleteConflict",
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is "
            "deleted with the policy.")),
        ("DeleteServiceLinkedRole", {"RoleName": "own"}, ("NoSuchEntity",
            "The service-linked role with name own cannot be found. DeleteRole deletes roles of other kinds.")),
        *(("SimulateCustomPolicy", {"PolicyInputList": [allow("*")], "ActionNames": ["s3:Get"], "ContextEntries": [
            {"ContextKeyName": name, "ContextKeyValues": ["x"], "ContextKeyType": "string"} for name in names
        ]}, ("InvalidInput", f"The context key {names[-1]!r} is not the name of a key, or is given twice."))
          for names in (("plain",), ("aws:A", "aws:a"))),
    ):  # fmt: skip
        assert await refused(iam(operation, **input)) == answer


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b" top secret\n", ""),
        (b" \n", "{} holds no secret"),
        (b"s" * 4_097, "cannot read the client's secret in {}: it has more than 4,096 characters"),
        (b"\xff", "cannot read the client's secret in {}: it is no text"),
        (None, "cannot read the client's secret in {}: No such file or directory"),
    ],
)
def test_the_file_of_a_clients_secret(tmp_path: Path, content, said):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    if not said:
        assert _secret_file(str(path)) == "top secret"
        return
    with pytest.raises(ValueError, match=r".") as refused:
        _secret_file(str(path))
    assert str(refused.value) == said.format(path)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"[]", "a set of keys has at least one"),
        (b'{"keys":[]}', "a set of keys has at least one"),
        (b'{"keys":[%s]}' % b",".join([b'{"kty":"EC"}'] * 101), "a set has at most 100 keys of the kind EC"),
        (b'{"keys":[%s]}' % b",".join([b'{"kty":"RSA"}'] * 101), "a set has at most 100 keys of the kind RSA"),
    ],
)
def test_what_is_no_set_of_keys(document, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        Keys(document)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"[]", "the discovery document is of another issuer"),
        (b'{"issuer":"https://other.example"}', "the discovery document is of another issuer"),
        (b'{"issuer":"https://i.example"}', "the discovery document names no jwks_uri"),
        (b'{"issuer":"https://i.example","jwks_uri":7}', "the discovery document names no jwks_uri"),
    ],
)
async def test_why_an_issuer_has_no_keys_stands_in_the_log(on_sqlite, monkeypatch, caplog, document, why):
    async def fetch(_self, url, _thumbprints, form=None):
        assert (url, form) == ("https://i.example/.well-known/openid-configuration", None)
        return document

    monkeypatch.setattr(Issuers, "fetch", fetch)
    issuers = Issuers(on_sqlite.app)
    await issuers._ask(issuers._issuer("i.example", ()), "i.example", ())
    [record] = [one for one in caplog.records if one.getMessage() == "identity.issuer_not_asked"]
    assert (record.issuer, record.why) == ("i.example", why)  # type: ignore[attr-defined]
