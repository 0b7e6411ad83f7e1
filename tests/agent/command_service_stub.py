"""A command service and an S3 bucket in one thread-per-connection server. Every signature is checked with botocore."""

import hashlib
import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

HOST = "arn:aws:iam::111111111111:user/AWS/CodeDeploy/web-1"
ACCESS_KEY = "AKIDEXAMPLEAGENTHOST"
SECRET_KEY = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY42"
REGION = "us-east-1"
EXECUTION = "CodeDeploy/us-east-1/prod/penstock:1/"
IN_PLACE = (
    "ApplicationStop",
    "DownloadBundle",
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
)


def make_signer(name="deployment signer"):
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    return key, certificate


_SIGNER = []


def signer():
    if not _SIGNER:
        _SIGNER.append(make_signer())
    return _SIGNER[0]


def seal(content, key_and_certificate=None):
    key, certificate = key_and_certificate or signer()
    return (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(content)
        .add_signer(certificate, key, hashes.SHA256())
        .sign(serialization.Encoding.PEM, [pkcs7.PKCS7Options.Binary])
        .decode()
    )


class CommandServiceStub:
    """Commands of a deployment are offered one after the other; the next one when the last one succeeded."""

    def __init__(self):
        self.condition = threading.Condition()
        self.deployments = {}
        self.deployed_at = 0
        self.queue = []
        self.commands = {}
        self.offered = {}
        self.requests = []
        self.acknowledgements = []
        self.completions = []
        self.updates = []
        self.polls = 0
        self.hold_s = 20.0
        self.objects = {}
        self.faults = []  # callables (operation, body) -> None | "drop" | (status, document)
        self.acknowledgement_status = "InProgress"
        self.connections = 0
        self.scheme = "http"
        self.closing = False
        self.sealed = seal
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.stub = self
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with self.condition:
            self.closing = True
            self.condition.notify_all()
        self.server.shutdown()
        self.server.end_connections()
        self.server.server_close()
        self.thread.join()

    def put_bundle(self, data, key="app.tgz"):
        self.objects["bundles/" + key] = data
        return hashlib.md5(data).hexdigest()

    def deploy(self, deployment_id, data, *, events=IN_PLACE, kind="tgz", group="group-1", etag=None, **more):
        found = self.put_bundle(data, deployment_id + "." + kind)
        source = {
            "Bucket": "bundles",
            "Key": deployment_id + "." + kind,
            "BundleType": kind,
            "ETag": found if etag is None else etag,
        }
        specification = {
            "DeploymentId": deployment_id,
            "DeploymentGroupId": group,
            "DeploymentGroupName": "fleet",
            "ApplicationName": "shop",
            "Revision": {"RevisionType": "S3", "S3Revision": source},
            "IssuedFor": self.issued_for(deployment_id, events),
            **more,
        }
        self.deploy_specification(deployment_id, json.dumps(specification).encode(), events)

    def issued_for(self, deployment_id, events=IN_PLACE, **other):
        """What a server of ours signs beside the rest; each is newer than the one before."""
        self.deployed_at += 1
        return {
            "DeploymentExecutionId": EXECUTION + deployment_id,
            "HostIdentifier": HOST,
            "CommandPrefix": deployment_id + "/",
            "Events": list(events),
            "Begun": self.deployed_at,
            "Expires": int((time.time() + 3600) * 1000),
            **other,
        }

    def deploy_specification(self, deployment_id, content, events):
        with self.condition:
            execution = EXECUTION + deployment_id
            self.deployments[deployment_id] = {
                "execution": execution,
                "content": content,
                "events": list(events),
                "results": {},
            }
            self._offer(deployment_id, 0)

    def _offer(self, deployment_id, index):
        deployment = self.deployments[deployment_id]
        command = {
            "HostCommandIdentifier": f"{deployment_id}/{index}",
            "HostIdentifier": HOST,
            "DeploymentExecutionId": deployment["execution"],
            "CommandName": deployment["events"][index],
            "Nonce": 1,
        }
        self.commands[command["HostCommandIdentifier"]] = command
        self.queue.append(command)
        self.condition.notify_all()

    def wait(self, predicate, timeout=60.0):
        with self.condition:
            if not self.condition.wait_for(lambda: predicate(self), timeout):
                raise AssertionError(f"nothing after {timeout} s; completions: {self.completions}")

    def finish(self, deployment_id, timeout=60.0):
        """Wait for the deployment's end; its results by event: (status, diagnostics)."""
        deployment = self.deployments[deployment_id]

        def ended(_):
            results = deployment["results"]
            return len(results) == len(deployment["events"]) or any(
                status == "Failed" for status, _ in results.values()
            )

        self.wait(ended, timeout)
        return deployment["results"]

    # --- operations -------------------------------------------------------------------------------------------------

    def answer(self, operation, body):
        with self.condition:
            self.requests.append((operation, body))
            for fault in list(self.faults):
                found = fault(operation, body)
                if found is not None:
                    return found
        return 200, getattr(self, operation)(body)

    def PollHostCommand(self, body):
        with self.condition:
            self.polls += 1
            self.condition.notify_all()
            assert body == {"HostIdentifier": HOST, "RunningCommands": body["RunningCommands"]}
            self.condition.wait_for(lambda: self.queue or self.closing, self.hold_s)
            if not self.queue:
                return {}
            command = self.queue.pop(0)
            self.offered[command["HostCommandIdentifier"]] = threading.current_thread()
            return {"HostCommand": command}

    def connection_ended(self):
        """Offer again what nobody acknowledged of this thread's connection: its poll was held by an agent that is dead."""
        with self.condition:
            for identifier, thread in list(self.offered.items()):
                if thread is threading.current_thread():
                    del self.offered[identifier]
                    self.queue.append(self.commands[identifier])
            self.condition.notify_all()

    def GetDeploymentSpecification(self, body):
        assert body["HostIdentifier"] == HOST
        deployment = next(
            each for each in self.deployments.values() if each["execution"] == body["DeploymentExecutionId"]
        )
        payload = self.sealed(deployment["content"])
        return {
            "DeploymentSystem": "CodeDeploy",
            "DeploymentSpecification": {
                "VariantId": "v",
                "GenericEnvelope": {"Format": "PKCS7/JSON", "Payload": payload},
            },
        }

    def PutHostCommandAcknowledgement(self, body):
        with self.condition:
            payload = json.loads(body["Diagnostics"]["Payload"])
            self.acknowledgements.append((body["HostCommandIdentifier"], payload["IsCommandNoop"]))
            self.offered.pop(body["HostCommandIdentifier"], None)
            self.condition.notify_all()
        status = self.acknowledgement_status
        return {"CommandStatus": status} if status else {}

    def PostHostCommandUpdate(self, body):
        with self.condition:
            self.updates.append((body["HostCommandIdentifier"], json.loads(body["Diagnostics"]["Payload"])))
            self.condition.notify_all()
        return {"CommandStatus": "InProgress"}

    def PutHostCommandComplete(self, body):
        envelope = body["Diagnostics"]
        assert envelope["Format"] == "JSON"
        assert len(envelope["Payload"].encode()) < 8192
        with self.condition:
            identifier = body["HostCommandIdentifier"]
            self.offered.pop(identifier, None)
            self.completions.append((identifier, body["CommandStatus"], json.loads(envelope["Payload"])))
            deployment_id, index = identifier.rsplit("/", 1)
            deployment = self.deployments[deployment_id]
            index = index.partition(".")[0]
            event = deployment["events"][int(index)]
            if event not in deployment["results"]:
                deployment["results"][event] = self.completions[-1][1:]
                if body["CommandStatus"] == "Succeeded" and int(index) + 1 < len(deployment["events"]):
                    self._offer(deployment_id, int(index) + 1)
            self.condition.notify_all()
        return {}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.sockets = set()

    def process_request(self, request, client_address):
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sockets.add(request)
        self.stub.connections += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.sockets.discard(request)
        super().shutdown_request(request)

    def end_connections(self):
        for each in list(self.sockets):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, request, client_address):
        pass  # an agent that was killed


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def handle(self):
        try:
            super().handle()
        finally:
            self.server.stub.connection_ended()

    def log_message(self, *_):
        pass

    def send(self, status, data, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def signed(self, service, body):
        """Whether the signature is what botocore would make of the same request."""
        given = self.headers["Authorization"]
        names = given.split("SignedHeaders=")[1].split(",")[0].split(";")
        assert ACCESS_KEY in given
        assert f"/{REGION}/{service}/aws4_request" in given
        assert {"host", "x-amz-date", "x-amz-content-sha256"} <= set(names)
        stamp = self.headers["X-Amz-Date"]
        parts = urlsplit(self.path)
        request = AWSRequest(
            method=self.command,
            url=self.server.stub.url + unquote(parts.path) if service != "s3" else self.server.stub.url + parts.path,
            headers={
                name: self.headers[name] for name in names if name not in ("host", "x-amz-date", "x-amz-content-sha256")
            },
            data=body,
            params=dict(parse_qsl(parts.query)),
        )
        request.headers["X-Amz-Content-SHA256"] = self.headers["X-Amz-Content-SHA256"]
        request.context.update(timestamp=stamp, payload_signing_enabled=True)
        auth = (S3SigV4Auth if service == "s3" else SigV4Auth)(Credentials(ACCESS_KEY, SECRET_KEY), service, REGION)
        request.headers["X-Amz-Date"] = stamp
        canonical = auth.canonical_request(request)
        signature = auth.signature(auth.string_to_sign(request, canonical), request)
        assert hashlib.sha256(body).hexdigest() == self.headers["X-Amz-Content-SHA256"]
        return given.endswith("Signature=" + signature)

    def do_POST(self):
        stub = self.server.stub
        body = self.rfile.read(int(self.headers["Content-Length"]))
        prefix, _, operation = self.headers["X-Amz-Target"].partition(".")
        assert prefix == "CodeDeployCommandService_v20141006"
        assert self.headers["Content-Type"] == "application/x-amz-json-1.1"
        assert self.headers["X-Amz-Codedeploy-Agent-Version"]
        if not self.signed("codedeploy-commands", body):
            answer = (403, {"__type": "SignatureDoesNotMatch", "message": "no"})
        else:
            try:
                answer = stub.answer(operation, json.loads(body))
            except AssertionError as error:
                answer = (400, {"__type": "ValidationException", "message": repr(error)})
        if answer == "drop":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, document = answer
        data = json.dumps(document).encode()
        self.send(status, data, {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": "1"})

    def do_GET(self):
        stub = self.server.stub
        key = unquote(urlsplit(self.path).path).lstrip("/")
        found = None
        for fault in list(stub.faults):
            found = found or fault("GetObject", {"key": key})
        if found == "drop":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if found == "short":
            data = stub.objects[key]
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{hashlib.md5(data).hexdigest()}"')
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return
        if found:
            self.send(*found, {})
        elif not self.signed("s3", b""):
            self.send(403, b"<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>", {})
        elif key not in stub.objects:
            self.send(
                404, b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>", {}
            )
        else:
            data = stub.objects[key]
            self.send(200, data, {"ETag": f'"{hashlib.md5(data).hexdigest()}"'})
