"""The agent's endpoint of credentials: what programs on the machine get from it, and who gets nothing."""

import errno
import http.client
import json
import os
import socket
import subprocess
import sys
import time

import boto3
import botocore.utils
import pytest
from penstock_waiting import until

from penstock_agent import metadata
from penstock_agent.config import Metadata, read_config
from penstock_agent.connection import Unreachable
from penstock_agent.failures import ConfigInvalid
from penstock_agent.identity import Granted, Joined
from penstock_agent.sigv4 import Credentials

ROLE = "/latest/meta-data/iam/security-credentials/"
TTL = "X-aws-ec2-metadata-token-ttl-seconds"
STRANGER = 54321


class Source:
    """Credentials as `RoleCredentials` has them."""

    joined = Joined("", "us-east-1", "arn:aws:iam::111111111111:role/fleet/hosts", "", "", "")

    def __init__(self):
        self.fault = None

    def granted(self):
        if self.fault:
            raise self.fault
        return Granted(Credentials("ASIAX", "the-secret", "the-token"), time.time() + 3600)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    source, token_file = Source(), tmp_path_factory.mktemp("metadata") / "token"
    endpoint = metadata.Endpoint(Metadata("127.0.0.1", 0, (), str(token_file)), source)
    endpoint.start()
    yield endpoint, source, token_file
    endpoint.close()


@pytest.fixture
def ask(place):
    host, port = place[0].address

    def asked(method, path, body=None, **headers):
        connection = http.client.HTTPConnection(host, port, timeout=30)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    return asked


def test_boto3_finds_credentials_by_itself(place, monkeypatch, tmp_path):
    """Both ways that SDKs know; nothing but an address, and the name of a file, is configured."""
    endpoint, _, token_file = place
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_METADATA_SERVICE_TIMEOUT", "60")
    monkeypatch.setattr(botocore.utils.ContainerMetadataFetcher, "TIMEOUT_SECONDS", 60)
    url = f"http://127.0.0.1:{endpoint.address[1]}"
    for chosen in (
        {"AWS_EC2_METADATA_SERVICE_ENDPOINT": url},
        {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/v2/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token_file),
        },
    ):
        with monkeypatch.context() as patch:
            for name, value in chosen.items():
                patch.setenv(name, value)
            found = boto3.session.Session().get_credentials()
            frozen = found.get_frozen_credentials()
            assert (frozen.access_key, frozen.secret_key, frozen.token) == ("ASIAX", "the-secret", "the-token")
            assert not found.refresh_needed()


def test_a_token_is_asked_for_and_shown(ask):
    status, token = ask("PUT", "/latest/api/token", **{TTL: "60"})
    assert status == 200
    shown = {"X-aws-ec2-metadata-token": token}
    for path in (ROLE, ROLE[:-1]):
        assert ask("GET", path, **shown) == (200, "hosts")
    said = json.loads(ask("GET", f"{ROLE}hosts", **shown)[1])
    assert (said["Code"], said["Type"], said["AccessKeyId"]) == ("Success", "AWS-HMAC", "ASIAX")
    assert ask("GET", "/latest/meta-data/placement/region", **shown) == (200, "us-east-1")
    for path in (f"{ROLE}other", "/", "/latest/meta-data/", f"{ROLE}hosts?x=y", f"{ROLE}../{ROLE}hosts"):
        assert ask("GET", path, **shown)[0] == 404
    assert ask("POST", ROLE, **shown)[0] == 405


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", ROLE, {}, 401),  # IMDSv1
        ("GET", f"{ROLE}hosts", {}, 401),
        ("GET", f"{ROLE}hosts", {"X-aws-ec2-metadata-token": "9999999999." + "0" * 64}, 401),
        ("GET", f"{ROLE}hosts", {"X-aws-ec2-metadata-token": "ä.ö"}, 401),
        ("PUT", "/latest/api/token", {}, 400),
        ("PUT", "/latest/api/token", {TTL: "0"}, 400),
        ("PUT", "/latest/api/token", {TTL: "21601"}, 400),
        ("PUT", "/latest/api/token", {TTL: "²"}, 400),
        ("GET", "/latest/api/token", {TTL: "60"}, 405),
        ("PUT", "/latest/api/token", {TTL: "60", "X-Forwarded-For": "10.0.0.1"}, 403),
        ("PUT", "/latest/api/token", {TTL: "60", "Forwarded": "for=10.0.0.1"}, 403),
        ("PUT", "/latest/api/token", {TTL: "60", "Host": "evil.example:1338"}, 403),  # a name that leads here (DNS rebinding)
        ("GET", "/v2/credentials", {}, 401),
        ("GET", "/v2/credentials", {"Authorization": "x" * 64}, 401),
        ("GET", "/v2/credentials", {"Authorization": "ä"}, 401),
    ],
)  # fmt: skip
def test_who_was_talked_into_asking_gets_nothing(ask, method, path, headers, status):
    found, text = ask(method, path, **headers)
    assert found == status
    assert "ASIAX" not in text


def test_tokens_end_and_are_their_users_own(place):
    endpoint, _, token_file = place
    host = {"host": f"127.0.0.1:{endpoint.address[1]}"}

    def status(user, path, method="GET", **headers):
        return endpoint.answer(metadata.Request(method, path, {**host, **headers}), user)

    mine = status(os.geteuid(), "/latest/api/token", "PUT", **{TTL.lower(): "60"}).text
    ends, _, seal = mine.partition(".")
    assert status(os.geteuid(), ROLE, **{"x-aws-ec2-metadata-token": mine}).status == 200
    for forged in (
        f"{int(ends) + 1}.{seal}",
        f"{ends}.{'0' * 64}",
        f"1.{endpoint._seal(1, os.geteuid())}",
        "",
        ".",
        mine + "0",
    ):
        assert status(os.geteuid(), ROLE, **{"x-aws-ec2-metadata-token": forged}).status == 401
    endpoint._users.add(4711)
    assert status(4711, ROLE, **{"x-aws-ec2-metadata-token": mine}).status == 401
    endpoint._users.remove(4711)
    for user in (4711, None):
        assert status(user, "/latest/api/token", "PUT", **{TTL.lower(): "60"}).status == 403
        assert status(user, ROLE, **{"x-aws-ec2-metadata-token": mine}).status == 403
        # The token speaks for them.
        assert status(user, "/v2/credentials", authorization=token_file.read_text()).status == 200
    assert token_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a program as another user")
def test_another_user_of_the_machine_gets_nothing(place):
    """The kernel says who asks; nothing of the request does. Closing its end makes nobody root."""
    port = place[0].address[1]
    program = (
        "import os, socket, sys\n"
        f"os.setgid({STRANGER}); os.setuid({STRANGER})\n"
        f"s = socket.socket(); s.connect(('127.0.0.1', {port}))\n"
        f"s.sendall(b'PUT /latest/api/token HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\n{TTL}: 60\\r\\n\\r\\n')\n"
        "if len(sys.argv) > 1: s.shutdown(socket.SHUT_WR)\n"
        "sys.stdout.buffer.write(s.makefile('rb').read())\n"
    )
    for more in ((), ("half closed",)):
        command = [sys.executable, "-S", "-c", program, *more]
        done = subprocess.run(command, capture_output=True, timeout=60, check=True)
        assert done.stdout.startswith(b"HTTP/1.1 403"), done.stdout


def _has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (None, "::ffff:127.0.0.1")]
)
def test_the_kernel_knows_who_holds_the_other_end(family, host):
    if family is not socket.AF_INET and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    own = ("127.0.0.1", socket.AF_INET) if family is None else (host, family)
    with socket.create_server((own[0], 0), family=own[1]) as listening:
        client = socket.socket(socket.AF_INET6 if family is None else family)
        client.connect((host, listening.getsockname()[1]))
        served, peer = listening.accept()
        with served:
            ends = peer[:2], served.getsockname()[:2]
            assert metadata.owner(*ends) == os.geteuid()
            assert metadata.owner(ends[1], ends[0]) == os.geteuid()  # we hold both
            assert metadata.owner((ends[0][0], 1), ends[1]) is None
            client.close()
            until(lambda: metadata.owner(*ends) is None)


def test_no_credentials_are_no_answer_of_ours(place, ask):
    place[1].fault = Unreachable("cannot connect")
    try:
        assert ask("GET", "/v2/credentials", Authorization=place[2].read_text())[0] == 503
    finally:
        place[1].fault = None


@pytest.mark.parametrize(
    "sent",
    [
        b"x\r\n\r\n", b"GET / HTTP/2\r\n\r\n", b"GET /v2/credentials HTTP/1.1\r\nHost\r\n\r\n", b"A" * 9000,
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", b"\xff\xfe\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused(place, sent):
    with socket.create_connection(place[0].address, timeout=30) as client:
        client.sendall(sent)
        assert client.recv(4096).startswith((b"HTTP/1.1 400", b"HTTP/1.1 403"))


def test_what_the_configuration_may_say(tmp_path):
    folder = tmp_path / "state" / "identity"
    folder.mkdir(parents=True)
    said = dict.fromkeys(("region", "roleArn", "sessionArn", "trustAnchorArn", "profileArn"), "r")
    (folder / "host.json").write_text(json.dumps(said))
    path = tmp_path / "agent.yml"

    def read(*lines):
        path.write_text(
            "endpoint: http://127.0.0.1:1\nroot_dir: state\nmetadata:\n" + "".join(f"  {line}\n" for line in lines)
        )
        return read_config(str(path)).metadata

    assert read("listen: 127.0.0.1:1338") == Metadata("127.0.0.1", 1338, (), "")
    assert read("listen: '[::1]:80'", "users: [root, '33']", "token_file: t") == Metadata(
        "::1", 80, (0, 33), str(tmp_path / "t")
    )
    assert read("listen: 169.254.169.254:80").host == "169.254.169.254"
    for line, why in (
        ("listen: 0.0.0.0:80", "loopback or link-local"), ("listen: 10.0.0.1:80", "loopback or link-local"),
        ("listen: 127.0.0.1", "loopback or link-local"), ("listen: localhost:80", "loopback or link-local"),
        ("listen: 127.0.0.1:65536", "loopback or link-local"), ("users: [nobody-of-this-name]", "there is no user"),
        ("users: root", "must be a list of names"), ("port: 80", "is not a key"),
    ):  # fmt: skip
        with pytest.raises(ConfigInvalid, match=why):
            read(line)
    (folder / "host.json").unlink()
    path.write_text(path.read_text() + "iam_user_arn: a\naws_access_key_id: b\naws_secret_access_key: c\nregion: r\n")
    with pytest.raises(ConfigInvalid, match="only a host that has joined"):
        read_config(str(path))


def test_what_cannot_be_listened_at_or_read_is_explained(place, tmp_path):
    taken = Metadata("127.0.0.1", place[0].address[1], (), "")
    with pytest.raises(ConfigInvalid, match="metadata: cannot listen at 127.0.0.1 port"):
        metadata.Endpoint(taken, Source())
    (tmp_path / "short").write_text("x")
    for name, why in (("short", "holds no token"), (".", "cannot be used")):
        with pytest.raises(ConfigInvalid, match=why):
            metadata.Endpoint(Metadata("127.0.0.1", 0, (), str(tmp_path / name)), Source())


class Short:
    """A listening socket of a process that is short of descriptors."""

    def __init__(self, real):
        self.real, self.refused = real, 0

    def accept(self):
        if self.refused < 2:
            self.refused += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.real.accept()

    def __getattr__(self, name):
        return getattr(self.real, name)


def test_a_connection_that_cannot_be_accepted_ends_nothing():
    endpoint = metadata.Endpoint(Metadata("127.0.0.1", 0, (), ""), Source())
    endpoint._listening = short = Short(endpoint._listening)
    endpoint.start()
    try:
        for _ in range(2):
            connection = http.client.HTTPConnection(*endpoint.address, timeout=30)
            connection.request("PUT", "/latest/api/token", headers={TTL: "60"})
            assert connection.getresponse().status == 200
            connection.close()
    finally:
        endpoint.close()
    assert short.refused == 2
