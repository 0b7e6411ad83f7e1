"""A pinned signer over plain HTTP: nothing that was signed for something else, changed or left out is carried out."""

import hashlib
import json
import time

import pytest
from agent_harness import appspec, tgz
from command_service_stub import EXECUTION, HOST, IN_PLACE, make_signer, seal, signer
from cryptography.hazmat.primitives import serialization

from penstock_agent.config import ConfigInvalid, read_config
from penstock_agent.connection import Address
from penstock_agent.failures import CommandFailure
from penstock_agent.replays import Replays
from penstock_agent.specification import IssuedFor, parse_specification


def bundle(text="one"):
    return tgz({"appspec.yml": appspec(), "app": text})


@pytest.fixture
def pinned(machine):
    path = machine.path / "signer.pem"
    path.write_bytes(signer()[1].public_bytes(serialization.Encoding.PEM))
    machine.configure(signer_certificate=path)
    machine.agent()
    return machine


def refused(service, deployment, event="ApplicationStop"):
    status, why = service.finish(deployment)[event]
    assert status == "Failed"
    return why["message"]


HOUR = 3600
OTHER = {
    "another host": ({"HostIdentifier": HOST + "x"}, "signed for the host"),
    "another deployment": ({"DeploymentExecutionId": EXECUTION + "d-9"}, "signed for another deployment"),
    "other commands": ({"CommandPrefix": "d-9/"}, "signed for other commands"),
    "other events": ({"Events": ["Install"]}, "event 0 of the deployment is not ApplicationStop"),
    "no such event": ({"Events": []}, "event 0 of the deployment is not ApplicationStop"),
    "another time": ({"Expires": int((time.time() - HOUR) * 1000)}, "it expired at 20"),
    "no time": ({"Expires": None}, "IssuedFor in the deployment specification cannot be read"),
}


@pytest.mark.parametrize("case", OTHER)
def test_a_specification_that_was_signed_for_something_else(pinned, service, case):
    change, reason = OTHER[case]
    service.deploy("d-1", bundle(), IssuedFor=service.issued_for("d-1", **change))
    assert reason in refused(service, "d-1")
    assert pinned.installed() == {}


def test_a_specification_that_does_not_say_for_whom_it_was_signed(pinned, service):
    service.deploy("d-1", bundle(), IssuedFor=None)
    assert "does not say for which host and command" in refused(service, "d-1")


def test_what_ran_does_not_run_again_nor_does_what_is_older(pinned, service):
    old = service.issued_for("d-1")
    service.deploy("d-2", bundle("two"))
    assert service.finish("d-2")["ValidateService"][0] == "Succeeded"
    service.deploy("d-1", bundle("one"), IssuedFor=old)
    assert "deployment d-1 is older than d-2" in refused(service, "d-1")
    with service.condition:  # the same deployment's Install, under a name that the host has not heard
        service.deployments["d-2"]["events"] = list(IN_PLACE)
        again = {**service.commands["d-2/3"], "HostCommandIdentifier": "d-2/3.again"}
        service.commands["d-2/3.again"] = again
        service.queue.append(again)
        service.condition.notify_all()
    service.wait(lambda stub: any(identifier == "d-2/3.again" for identifier, _, _ in stub.completions))
    (reported,) = [report for identifier, _, report in service.completions if identifier == "d-2/3.again"]
    assert "has run on this host already" in reported["message"]
    assert list(pinned.installed().values()) == ["two"]


def test_of_two_commands_at_once_one_runs(tmp_path):
    """Both pass the check before either of them is noted: somebody in the middle sends one command under two names, or an old one beside a new one."""
    (tmp_path / "deployment-instructions").mkdir()
    replays = Replays(str(tmp_path), HOST, required=True)
    now = int(time.time() * 1000)

    def command(deployment, deployed_at, name):
        issued = IssuedFor("e", HOST, deployment + "/", ("Install",), deployed_at, now + 1000)
        specification = parse_specification(
            json.dumps(
                {
                    "DeploymentId": deployment,
                    "DeploymentGroupId": "g",
                    "DeploymentGroupName": "g",
                    "ApplicationName": "a",
                    "Revision": {"RevisionType": "GitHub"},
                }
            ).encode()
        )
        return {"id": deployment + name, "execution": "e", "event": "Install"}, specification._replace(
            issued_for=issued
        )

    sent = [command("d-2", 2, "/0.a"), command("d-2", 2, "/0.b"), command("d-1", 1, "/0.a")]
    for record, specification in sent:
        replays.check(record, specification, now)
    replays.ran(*sent[0])
    for late, reason in ((sent[1], "has run on this host already"), (sent[2], "deployment d-1 is older than d-2")):
        with pytest.raises(CommandFailure, match=reason):
            replays.ran(*late)


def test_the_newest_is_remembered_over_a_restart(pinned, service):
    old = service.issued_for("d-1")
    service.deploy("d-2", bundle("two"))
    service.finish("d-2")
    assert pinned.agents[0].stop() == 0
    pinned.agent()
    service.deploy("d-1", bundle("one"), IssuedFor=old)
    assert "older than d-2" in refused(service, "d-1")


def digest_of(data):
    return hashlib.sha256(data).hexdigest()


def deploy_with_digest(service, name, data, sha256):
    source = {"Bucket": "bundles", "Key": name + ".tgz", "BundleType": "tgz", "Sha256": sha256}
    service.deploy(name, data, Revision={"RevisionType": "S3", "S3Revision": source})


def test_the_bundle_is_the_one_whose_digest_was_signed(pinned, service):
    good = bundle("good")
    deploy_with_digest(service, "d-1", good, digest_of(good))
    assert service.finish("d-1")["ValidateService"][0] == "Succeeded"
    deploy_with_digest(service, "d-2", bundle("bad"), digest_of(good))
    message = refused(service, "d-2", "DownloadBundle")
    assert "is not the one that was deployed" in message
    assert digest_of(bundle("bad")) in message
    assert digest_of(good) in message
    assert list(pinned.installed().values()) == ["good"]
    deploy_with_digest(service, "d-3", good, "short")
    assert "64 hexadecimal digits" in refused(service, "d-3")


def test_another_signer_another_format_and_a_redirect(pinned, service):
    other = make_signer()
    service.sealed = lambda content: seal(content, other)
    service.deploy("d-1", bundle())
    assert "not the pinned one" in refused(service, "d-1")
    service.sealed = seal

    def as_text(operation, _body):
        if operation != "GetDeploymentSpecification":
            return None
        envelope = {"Format": "TEXT/JSON", "Payload": service.deployments["d-2"]["content"].decode()}
        return 200, {"DeploymentSystem": "CodeDeploy", "DeploymentSpecification": {"GenericEnvelope": envelope}}

    service.faults.append(as_text)
    service.deploy("d-2", bundle())
    assert "Unsupported DeploymentSpecification format: TEXT/JSON" in refused(service, "d-2")
    service.faults[:] = [lambda operation, _: (302, b"") if operation == "GetObject" else None]
    service.deploy("d-3", bundle())
    assert "could not be downloaded" in refused(service, "d-3", "DownloadBundle")
    assert pinned.installed() == {}


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.8.9.1", True),
        ("http://localhost", True),
        ("http://[::1]:2", True),
        ("https://example.com", True),
        ("http://example.com", False),
        ("http://10.0.0.1", False),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost.example.com", False),
        ("http://2130706433", False),
        ("http://[::ffff:127.0.0.1]", False),
        ("http://0.0.0.0", False),
    ],
)
def test_plain_http_to_another_machine_needs_a_pinned_signer(machine, url, private):
    assert Address(url).private is private
    machine.configure(endpoint=url)
    if private:
        assert read_config(str(machine.config)).endpoint == url
        return
    with pytest.raises(ConfigInvalid, match="Give an https endpoint .*, or pin the server's signer"):
        read_config(str(machine.config))
    pem = machine.path / "signer.pem"
    pem.write_bytes(signer()[1].public_bytes(serialization.Encoding.PEM))
    machine.configure(endpoint=url, signer_certificate=pem)
    assert read_config(str(machine.config)).endpoint == url
