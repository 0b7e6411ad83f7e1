"""What the agent says when a specification, a configuration, or a request for credentials cannot be used."""

import json
import os
import socket

import pytest

from penstock_agent import metadata
from penstock_agent.agent import pinned_certificates
from penstock_agent.config import Metadata, read_config, read_credentials
from penstock_agent.documents import load
from penstock_agent.failures import CommandFailure, ConfigInvalid
from penstock_agent.specification import open_specification, parse_specification

# --- specifications ---------------------------------------------------------------------------------------------------

S3 = {"RevisionType": "S3", "S3Revision": {"Bucket": "b", "Key": "k", "BundleType": "zip"}}
WHOLE = {
    "DeploymentId": "d-1", "DeploymentGroupId": "g-1", "DeploymentGroupName": "g", "ApplicationName": "a", "Revision": S3,
}  # fmt: skip
ISSUED = {
    "DeploymentExecutionId": "e", "HostIdentifier": "h", "CommandPrefix": "c", "Begun": 1, "Expires": 2, "Events": ["x"],
}  # fmt: skip


def parsed(**changes):
    return parse_specification(json.dumps(WHOLE | changes).encode())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Revision": None}, "Must specify a revison"),
        ({"Revision": "S3"}, "Must specify a revison"),
        ({"Revision": {}}, "Must specify a revision source"),
        ({"Revision": {"RevisionType": "S3"}}, "S3Revision in Deployment Spec must specify Bucket, Key and BundleType"),
        *[
            ({"Revision": {"RevisionType": "S3", "S3Revision": {**S3["S3Revision"], member: ""}}}, "S3Revision in Deployment Spec must specify Bucket, Key and BundleType")
            for member in ("Bucket", "Key", "BundleType")
        ],
        ({"Revision": {"RevisionType": "S3", "S3Revision": {"Bucket": "b", "Key": "k", "BundleType": "7z"}}}, "BundleType in S3Revision must be tar, tgz or zip"),
        ({"Revision": {"RevisionType": "S3", "S3Revision": {**S3["S3Revision"], "Sha256": "0" * 63}}}, "Sha256 in S3Revision must be 64 hexadecimal digits"),
        ({"Revision": {"RevisionType": "S3", "S3Revision": {**S3["S3Revision"], "Sha256": "G" * 64}}}, "Sha256 in S3Revision must be 64 hexadecimal digits"),
        ({"Revision": {"RevisionType": "Local File", "LocalRevision": {"BundleType": "tar"}}}, "LocalRevision in Deployment Spec must specify Location and BundleType"),
        ({"Revision": {"RevisionType": "Local File", "LocalRevision": {"Location": "/x"}}}, "LocalRevision in Deployment Spec must specify Location and BundleType"),
        ({"Revision": {"RevisionType": "Elsewhere"}}, "Exactly one of S3Revision, GitHubRevision, or LocalRevision must be specified"),
        ({"DeploymentGroupId": ""}, "Deployment Spec has no DeploymentGroupId"),
        ({"DeploymentGroupName": 1}, "Deployment Spec has no DeploymentGroupName"),
        ({"ApplicationName": None}, "Deployment Spec has no ApplicationName"),
        ({"DeploymentId": ""}, "Deployment Spec has no DeploymentId"),
        ({"DeploymentId": "d" * 201}, "The deployment specification's DeploymentId cannot name a directory"),
        ({"DeploymentGroupId": ".."}, "The deployment specification's DeploymentGroupId cannot name a directory"),
        ({"ReuseArchiveFromDeploymentId": "../x"}, "The deployment specification's ReuseArchiveFromDeploymentId cannot name a directory"),
        *[({"IssuedFor": ISSUED | wrong}, "IssuedFor in the deployment specification cannot be read") for wrong in ({"HostIdentifier": ""}, {"Begun": True}, {"Expires": "2"}, {"Events": "x"})],
        ({"IssuedFor": "x"}, "IssuedFor in the deployment specification cannot be read"),
    ],
)  # fmt: skip
def test_a_specification_that_cannot_be_followed_says_why(changes, said):
    with pytest.raises(CommandFailure) as refused:
        parsed(**changes)
    assert str(refused.value) == said


def test_what_a_specification_leaves_out_and_what_it_says():
    plain = parsed()
    assert plain[:8] == ("d-1", "g-1", "g", "a", "user", "IN_PLACE", plain.revision, "appspec.yml")
    assert plain[8:] == ("DISALLOW", None, "", False, None)
    assert plain.revision == ("S3", "zip", "b", "k", "", "", "", "")
    full = parsed(
        DeploymentId="arn:aws:codedeploy:us-east-1:1:deployment/" + "d" * 200,
        DeploymentCreator="autoRollback",
        DeploymentType="BLUE_GREEN",
        AppSpecFilename="other.yml",
        AgentActionOverrides={"AgentOverrides": {"FileExistsBehavior": "retain"}},
        AllPossibleLifecycleEvents=["A", "B"],
        ReuseArchiveFromDeploymentId="d-0",
        Strict=True,
        IssuedFor=ISSUED,
        Revision={"RevisionType": "S3", "S3Revision": S3["S3Revision"] | {"Version": 3, "ETag": '"e"', "Sha256": "a" * 64}},
    )  # fmt: skip
    assert full.deployment_id == "d" * 200
    assert full[4:6] == ("autoRollback", "BLUE_GREEN")
    assert full[7:] == ("other.yml", "RETAIN", ["A", "B"], "d-0", True, ("e", "h", "c", ("x",), 1, 2))
    assert full.revision == ("S3", "zip", "b", "k", "3", "e", "", "a" * 64)
    assert parsed(Strict="true").strict is False
    local = {"RevisionType": "Local Directory", "LocalRevision": {"Location": "/x", "BundleType": "directory"}}
    assert parsed(Revision=local).revision == ("Local Directory", "directory", "", "", "", "", "/x", "")
    github = {"RevisionType": "GitHub", "GitHubRevision": {"CommitId": "c"}}
    assert parsed(Revision=github).revision == ("GitHub", "", "", "", "c", "", "", "")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({}, "Deployment System mismatch: CodeDeploy != None"),
        ({"DeploymentSystem": "CodeDeploy"}, "Deployment Specification missing"),
        ({"Format": "TEXT/JSON", "Payload": "x"}, "Unsupported DeploymentSpecification format: TEXT/JSON"),
        ({"Format": "PKCS7/JSON"}, "The deployment specification's envelope is missing or too long"),
        ({"Format": "PKCS7/JSON", "Payload": "x" * (64 * 1024 + 1)}, "The deployment specification's envelope is missing or too long"),
        ({"Format": "PKCS7/JSON", "Payload": "x" * 64 * 1024}, "Validation of the deployment specification failed: the envelope is not one PEM block of PKCS7"),
    ],
)  # fmt: skip
def test_an_answer_without_a_specification_says_why(answer, said):
    if "Format" in answer:
        answer = {"DeploymentSystem": "CodeDeploy", "DeploymentSpecification": {"GenericEnvelope": answer}}
    with pytest.raises(CommandFailure) as refused:
        open_specification(answer, ())
    assert str(refused.value) == said


# --- configuration ----------------------------------------------------------------------------------------------------

KEYS = "iam_user_arn: a\naws_access_key_id: k\naws_secret_access_key: s\n"


def configured(tmp_path, text):
    path = tmp_path / "agent.yml"
    path.write_text(text)
    path.chmod(0o600)
    return read_config(str(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n", ": the file must hold a mapping of keys to values"),
        ("a: [\n", ": line"),
        ("region: r\n", ": no identity: let this host join (penstock-agent join), or give iam_user_arn, iam_session_arn or on_premises_config"),
        ("iam_user_arn: a\niam_session_arn: b\n", ": On Premises config cannot contain both 'iam_user_arn' and 'iam_session_arn' keys."),
        ("iam_user_arn: a\naws_access_key_id: k\n", ": 'aws_secret_access_key' key is required when 'iam_user_arn' is provided."),
        ("iam_session_arn: a\n", ": 'aws_credentials_file' key is required when 'iam_session_arn' is provided."),
        (KEYS, ": region is missing"),
        (KEYS + "region: r\nmax_commands: 0\n", ", line 5: max_commands: must be a whole number of at least 1 (K, M, G may follow)"),
        (KEYS + "region: r\nmax_commands: -1\n", ", line 5: max_commands: must be a whole number of at least 1 (K, M, G may follow)"),
        (KEYS + "region: r\nlog_level: loud\n", ", line 5: log_level: must be one of"),
        (KEYS + "region: r\nnothing: 1\n", ", line 5: nothing: is not a key of this file"),
        (KEYS + "region: r\nhook_environment: {1a: x}\n", ", line 5: hook_environment: 1a must be a variable's name with text"),
        (KEYS + "region: r\nhook_environment: x\n", ", line 5: hook_environment: must be a mapping"),
        (KEYS + "region: [r]\n", ", line 4: region: must be text"),
        (KEYS + "region: r\nca_file: nowhere\n", "ca_file: there is no file "),
        (KEYS + "region: r\nmetadata: {listen: x}\n", "metadata: only a host that has joined (penstock-agent join) gives out credentials: those of an access key never end"),
        (KEYS + "region: r\nendpoint: http://192.0.2.1\n", "endpoint: http://192.0.2.1 is plain HTTP to another machine: anybody on the way could have this host run what they like."),
        (KEYS + "region: r\nendpoint: ftp://x\n", ", line 5: endpoint: "),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_used_says_why(tmp_path, text, said):
    with pytest.raises(ConfigInvalid) as refused:
        configured(tmp_path, text)
    assert str(refused.value).startswith(str(tmp_path / "agent.yml"))
    assert said in str(refused.value)


def test_a_configuration_that_is_not_there(tmp_path):
    with pytest.raises(ConfigInvalid) as refused:
        read_config(str(tmp_path / "agent.yml"))
    assert str(refused.value) == f"{tmp_path}/agent.yml cannot be read: it does not exist"


def test_what_a_configuration_leaves_out(tmp_path):
    found = configured(tmp_path, KEYS + "region: cn-north-1\n")
    assert (found.endpoint, found.s3_endpoint) == (
        "https://codedeploy-commands.cn-north-1.amazonaws.com.cn",
        "https://s3.cn-north-1.amazonaws.com.cn",
    )
    assert (found.max_revisions, found.max_commands, found.stop_timeout_s, found.strict) == (5, 16, 60, False)
    assert (found.s3_addressing, found.log_level, found.hook_environment) == ("path", "info", {})
    more = configured(tmp_path, KEYS + "region: r\nmax_commands: 2k\nstop_timeout: 0\nstrict: true\nlimits: {}\n")
    assert (more.max_commands, more.stop_timeout_s, more.strict) == (2048, 0, True)
    assert more.s3_endpoint == "https://s3.r.amazonaws.com"
    assert configured(tmp_path, KEYS + "region: r\nendpoint: https://x\n").s3_endpoint == "https://x"


def test_a_secret_that_others_may_read_is_warned_of(tmp_path, capsys):
    configured(tmp_path, KEYS + "region: r\n")
    assert capsys.readouterr().err == ""
    for mode, others in ((0o640, True), (0o604, True), (0o700, False)):
        (tmp_path / "agent.yml").chmod(mode)
        read_config(str(tmp_path / "agent.yml"))
        assert ("config.readable_by_others" in capsys.readouterr().err) is others


def test_a_profile_without_keys(tmp_path):
    path = tmp_path / "credentials"
    path.write_text(
        "[other]\naws_access_key_id = a\naws_secret_access_key = b\n[default]\naws_access_key_id = a\n# x = y\n"
    )
    with pytest.raises(
        ConfigInvalid, match=r"credentials: the profile default has no aws_access_key_id and aws_secret_access_key$"
    ):
        read_credentials(str(path))
    path.write_text("[default]\nAWS_ACCESS_KEY_ID = a\naws_secret_access_key = b=c\naws_session_token=t\n")
    assert read_credentials(str(path)) == ("a", "b=c", "t")


def test_numbers_of_lines_are_those_of_the_file():
    assert load(b"a: 1\nb:\n  c: 2\n")["b"]["c"].line == 3


# --- credentials of the machine ---------------------------------------------------------------------------------------


@pytest.fixture
def endpoint():
    endpoint = metadata.Endpoint(Metadata("127.0.0.1", 0, (), ""), None)
    yield endpoint
    endpoint.close()


TOKEN = "/latest/api/token"
TTL = "x-aws-ec2-metadata-token-ttl-seconds"


@pytest.mark.parametrize(
    ("method", "path", "headers", "user", "status", "said"),
    [
        ("GET", "/", {"x-forwarded-for": "x"}, 0, 403, "Requests that were forwarded are not answered."),
        ("GET", "/", {"host": "evil.example"}, 0, 403, "The Host header does not name this address."),
        ("GET", "/", {}, 54321, 403, "This user may not ask: metadata.users in the agent's configuration says who may."),
        ("GET", "/", {}, None, 403, "This user may not ask: metadata.users in the agent's configuration says who may."),
        ("GET", TOKEN, {}, 0, 405, "A token is asked for by PUT."),
        ("PUT", TOKEN, {}, 0, 400, "X-aws-ec2-metadata-token-ttl-seconds is a number from 1 to 21600."),
        ("PUT", TOKEN, {TTL: "0"}, 0, 400, "X-aws-ec2-metadata-token-ttl-seconds is a number from 1 to 21600."),
        ("PUT", TOKEN, {TTL: "21601"}, 0, 400, "X-aws-ec2-metadata-token-ttl-seconds is a number from 1 to 21600."),
        ("PUT", TOKEN, {TTL: "000001"}, 0, 400, "X-aws-ec2-metadata-token-ttl-seconds is a number from 1 to 21600."),
        ("PUT", "/latest/meta-data", {}, 0, 405, "Metadata are read by GET."),
        ("GET", "/latest/meta-data", {}, 0, 401, "A token is required: PUT /latest/api/token gives one (IMDSv2)."),
    ],
)  # fmt: skip
def test_who_gets_no_credentials_is_told_why(endpoint, method, path, headers, user, status, said):
    here = {"host": f"127.0.0.1:{endpoint.address[1]}"}
    answer = endpoint.answer(metadata.Request(method, path, here | headers), user)
    assert (answer.status, answer.text) == (status, said)


@pytest.mark.parametrize("seconds", ["1", "21600"])
def test_how_long_a_token_may_live(endpoint, seconds):
    request = metadata.Request("PUT", TOKEN, {"host": f"localhost:{endpoint.address[1]}", TTL: seconds})
    answer = endpoint.answer(request, 0)
    assert (answer.status, answer.headers) == (200, {"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": seconds})


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"GET / SPDY\r\n\r\n", "This is not HTTP/1.1."),
        (b"GET /\r\n\r\n", "This is not HTTP/1.1."),
        (b"GET / HTTP/1.1\r\na: 1\r\nA: 2\r\n\r\n", "The headers cannot be read."),
        (b"GET / HTTP/1.1\r\na : 1\r\n\r\n", "The headers cannot be read."),
        (b"GET / HTTP/1.1\r\na\r\n\r\n", "The headers cannot be read."),
        (b"GET / HTTP/1.1\r\na: " + b"x" * metadata.MAX_HEAD, f"The request is longer than {metadata.MAX_HEAD} bytes."),
        (b"GET / HTTP/1.1\r\n", "the request ended early"),
    ],
)  # fmt: skip
def test_what_is_no_request(sent, said):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises((OSError, metadata._Answer)) as refused:
            metadata._request(ours)
    assert str(refused.value) == said


def test_the_longest_request_that_is_read():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        head = b"GET / HTTP/1.1\r\na: "
        theirs.sendall(head + b"x" * (metadata.MAX_HEAD - len(head) - 4) + b"\r\n\r\n")
        found = metadata._request(ours)
    assert (found.method, found.path, set(found.headers)) == ("GET", "/", {"a"})


def test_a_file_that_holds_no_token(tmp_path):
    path = tmp_path / "token"
    for text, good in (("x" * 32, True), ("x" * 31, False), ("x" * 16 + " " + "x" * 16, False)):
        path.write_text(text + "\n")
        if good:
            assert metadata._token_of(str(path)) == text
            continue
        with pytest.raises(ConfigInvalid, match="holds no token: one line of at least 32 characters without blanks$"):
            metadata._token_of(str(path))
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigInvalid, match=r"^metadata\.token_file: .* cannot be used: "):
        metadata._token_of(str(path))
    assert os.path.isdir(path)


@pytest.mark.parametrize(
    ("text", "said"), [(None, " cannot be read: it does not exist"), ("é", ": there is no certificate in PEM form")]
)
def test_pinned_certificates_that_are_none(tmp_path, text, said):
    path = tmp_path / "signer.pem"
    if text is not None:
        path.write_text(text)
    config = configured(tmp_path, KEYS + "region: r\n")._replace(signer_certificate=str(path))
    with pytest.raises(ConfigInvalid) as refused:
        pinned_certificates(config)
    assert str(refused.value) == f"{path}{said}"
    assert pinned_certificates(config._replace(signer_certificate="")) == []
