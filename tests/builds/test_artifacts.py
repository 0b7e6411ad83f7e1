"""Where artifacts go, which of them a build owes, and how a build is shown: each rule by itself."""

from __future__ import annotations

import io
import zipfile
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.builds import uploads, views
from penstock.builds.buildspec import ArtifactSpec
from penstock.builds.model import Phase
from penstock.builds.phases import PhaseType, Status
from penstock.builds.sources import split_location
from penstock.builds.uploads import Destination, FileBody, chosen, destination, destination_of

BUILD = "app:11111111-2222-4333-8444-555555555555"


@pytest.mark.parametrize(
    ("artifacts", "spec_name", "bucket", "key", "zipped", "encrypted"),
    [
        ({"location": "b"}, "", "b", "app", False, True),
        ({"location": "b", "packaging": "ZIP"}, "", "b", "app.zip", True, True),
        ({"location": "b", "packaging": "NONE", "name": "n"}, "", "b", "n", False, True),
        ({"location": "b", "name": "/"}, "", "b", "", False, True),
        ({"location": "b/in/", "path": "/p/", "name": "n"}, "", "b", "in/p/n", False, True),
        ({"location": "arn:aws:s3:::b", "namespaceType": "BUILD_ID"}, "", "b", "11111111-2222-4333-8444-555555555555/app", False, True),
        ({"location": "b", "namespaceType": "NONE", "path": "p"}, "", "b", "p/app", False, True),
        ({"location": "b", "overrideArtifactName": True}, "spec", "b", "spec", False, True),
        ({"location": "b", "overrideArtifactName": True}, "", "b", "app", False, True),
        ({"location": "b", "name": "n"}, "spec", "b", "n", False, True),
        ({"location": "b", "encryptionDisabled": True}, "", "b", "app", False, False),
    ],
)  # fmt: skip
def test_where_an_artifact_goes(artifacts, spec_name, bucket, key, zipped, encrypted):
    found = destination(artifacts, project="app", build_id=BUILD, spec_name=spec_name)
    assert found == Destination(identifier="", bucket=bucket, key=key, zipped=zipped, encrypted=encrypted)


@pytest.mark.parametrize(
    ("location", "found"),
    [("b/k/x", ("b", "k/x")), ("b", ("b", "")), ("arn:aws-cn:s3:::b/k", ("b", "k")), ("s3://b/k", ("b", "k"))],
)
def test_buckets_and_keys_of_a_location(location, found):
    assert split_location(location) == found


def request(*, pipeline: Any = None, **private: Any) -> Any:
    return SimpleNamespace(
        pipeline=pipeline, private=private, document={"projectName": "app"}, key=SimpleNamespace(id=BUILD)
    )


OUTPUTS = [{"name": name, "location": {"bucket": "b", "key": f"k/{name}"}} for name in ("One", "Two")]


def test_which_destination_is_meant():
    two = {"artifactIdentifier": "two", "location": "c", "name": "n"}
    asked = request(artifacts={"location": "b"}, secondaryArtifacts=[two])
    assert destination_of(asked, "").key == "app"
    found = destination_of(asked, "two", name="spec")
    assert (found.identifier, found.bucket, found.key) == ("two", "c", "n")
    piped = destination_of(request(pipeline={"outputArtifacts": OUTPUTS}), "Two")
    assert piped == Destination(identifier="Two", bucket="b", key="k/Two", zipped=True, encrypted=True)


def spec(primary: bool, *names: str) -> Any:
    return SimpleNamespace(
        artifacts=ArtifactSpec(files=("main",)) if primary else None,
        secondary_artifacts=[ArtifactSpec(identifier=name, files=(name,)) for name in names],
    )


@pytest.mark.parametrize(
    ("asked", "declared", "found", "why"),
    [
        (request(pipeline={"outputArtifacts": []}), spec(True), [], ""),
        (request(pipeline={"outputArtifacts": OUTPUTS[:1]}), spec(True), [("One", "main")], ""),
        (request(pipeline={"outputArtifacts": OUTPUTS[:1]}), spec(True, "One"), [("One", "One")], ""),
        (request(pipeline={"outputArtifacts": OUTPUTS}), spec(True, "One", "Two"), [("One", "One"), ("Two", "Two")], ""),
        (request(pipeline={"outputArtifacts": OUTPUTS}), spec(True, "One"), [], "no artifacts are declared in the buildspec for the output artifact Two"),
        (request(artifacts={"type": "NO_ARTIFACTS"}), spec(True), [], ""),
        (request(artifacts={"type": "S3"}), spec(True), [("", "main")], ""),
        (request(artifacts={"type": "S3"}), spec(False), [], "no artifacts are declared in the buildspec"),
        (request(artifacts={"type": "S3"}, secondaryArtifacts=[{"artifactIdentifier": "x", "type": "S3"}]), spec(True, "x"), [("", "main"), ("x", "x")], ""),
        (request(artifacts={"type": "NO_ARTIFACTS"}, secondaryArtifacts=[{"artifactIdentifier": "x", "type": "NO_ARTIFACTS"}]), spec(False, "x"), [], ""),
        (request(artifacts={"type": "S3"}, secondaryArtifacts=[{"artifactIdentifier": "x", "type": "S3"}]), spec(True), [], "no secondary artifact x is declared in the buildspec"),
    ],
)  # fmt: skip
def test_which_artifacts_a_build_owes(asked, declared, found, why):
    owed, failure = chosen(asked, declared)
    assert [(one.identifier, one.files[0]) for one in owed] == found
    assert failure == why


async def test_a_file_is_hashed_as_it_is_read(monkeypatch):
    monkeypatch.setattr(uploads, "_CHUNK", 4)
    body = FileBody(io.BytesIO(b"123456789"), 9)
    assert [piece async for piece in body] == [b"1234", b"5678", b"9"]
    assert body.length == 9
    assert body.md5.hexdigest() == "25f9e794323b453885f5181f1b624d0b"


def test_names_of_members_are_text():
    member = zipfile.ZipInfo("a")
    member.filename, member.flag_bits = "ü", 0x800
    assert uploads._key(member) == "ü"
    member.filename, member.flag_bits = "ü".encode().decode("cp437"), 0
    assert uploads._key(member) == "ü"
    member.filename = b"\xff".decode("cp437")
    assert uploads._key(member) == "\ufffd"


# --- what is shown ----------------------------------------------------------------------------------------------------

DAY = 1_800_000_000_000  # Jan 15, 2027 8:00:00 AM
ENDED = Phase(type=PhaseType.BUILD, status=Status.FAILED, start=DAY, end=DAY + 3_999, code="X", message="why")
OPEN = Phase(type=PhaseType.POST_BUILD, start=DAY)
OVER = Phase(type=PhaseType.COMPLETED, start=DAY)


def test_a_phase_as_it_is_shown():
    assert views.phase_to_api(ENDED) == {
        "phaseType": "BUILD", "startTime": DAY, "phaseStatus": "FAILED", "endTime": DAY + 3_999, "durationInSeconds": 3,
        "contexts": [{"statusCode": "X", "message": "why"}],
    }  # fmt: skip
    assert views.phase_to_api(OPEN) == {"phaseType": "POST_BUILD", "startTime": DAY, "phaseStatus": "IN_PROGRESS"}
    assert views.phase_to_api(OVER) == {"phaseType": "COMPLETED", "startTime": DAY}


@pytest.mark.parametrize(
    ("hours", "text"),
    [(0, "8:00:00 AM"), (3.999, "11:59:56 AM"), (4, "12:00:00 PM"), (5, "1:00:00 PM"), (16, "12:00:00 AM")],
)
def test_times_of_events_are_americas(hours, text):
    day = "Jan 16, 2027" if hours == 16 else "Jan 15, 2027"
    assert views._event_time(DAY + round(hours * 3_600_000)) == f"{day} {text}"


def test_phases_of_events():
    assert views._event_phase(OPEN) == {"phase-type": "POST_BUILD", "start-time": "Jan 15, 2027 8:00:00 AM"}
    ended = views._event_phase(ENDED)
    assert (ended["phase-context"], ended["phase-status"], ended["duration-in-seconds"]) == (["X: why"], "FAILED", 3)
    plain = views._event_phase(Phase(type=PhaseType.BUILD, status=Status.SUCCEEDED, start=DAY, end=DAY))
    assert plain["phase-context"] == [": "]
    only = views._event_phase(Phase(type=PhaseType.BUILD, start=DAY, end=DAY, message="m"))
    assert only["phase-context"] == [": m"]


def test_a_build_as_it_is_shown():
    state: Any = SimpleNamespace(started=DAY, status="FAILED", phase="BUILD", complete=True, phases=[ENDED], ended=None)
    shown = views.to_api({"id": BUILD}, state)
    assert shown == {
        "id": BUILD, "startTime": DAY, "buildStatus": "FAILED", "currentPhase": "BUILD", "buildComplete": True,
        "phases": [views.phase_to_api(ENDED)],
    }  # fmt: skip
    state.ended = DAY + 1
    assert views.to_api({}, state)["endTime"] == DAY + 1


def test_what_events_say_of_a_build():
    document = {
        "projectName": "app", "arn": "arn", "initiator": "me", "timeoutInMinutes": 5, "buildNumber": 7, "source": {"type": "NO_SOURCE"},
        "environment": {"image": "i", "computeType": "c", "type": "t", "environmentVariables": [{"name": "A", "value": "1"}, {"name": "B", "value": "s", "type": "SECRETS_MANAGER"}]},
        "artifacts": {"location": "l", "md5sum": "m"}, "logs": {"groupName": "g"},
    }  # fmt: skip
    state: Any = SimpleNamespace(started=DAY, status="FAILED", phase="BUILD", complete=False, phases=[ENDED])
    said = views.event_detail(document, state)
    more = said["additional-information"]
    assert (said["build-status"], said["current-phase"], said["build-id"], said["version"]) == (
        "FAILED",
        "BUILD",
        "arn",
        "1",
    )
    assert more["artifact"] == {"location": "l", "md5sum": "m"}
    assert more["environment"]["environment-variables"] == [
        {"name": "A", "type": "PLAINTEXT", "value": "1"}, {"name": "B", "type": "SECRETS_MANAGER", "value": "s"},
    ]  # fmt: skip
    assert (more["build-complete"], more["build-number"], more["source"], more["source-version"]) == (
        False,
        7.0,
        {"type": "NO_SOURCE"},
        "",
    )
    assert more["environment"]["privileged-mode"] is False
    assert more["logs"] == {"group-name": "g", "stream-name": None, "deep-link": None}
    document["source"] = {"type": "S3", "location": "b/k"}
    assert views.event_detail(document, state)["additional-information"]["source"] == {"type": "S3", "location": "b/k"}
    changed = views.phase_detail(document, state, ENDED)
    assert not {"build-status", "current-phase", "current-phase-context"} & changed.keys()
    assert (changed["completed-phase"], changed["completed-phase-status"]) == ("BUILD", "FAILED")
    assert (changed["completed-phase-context"], changed["completed-phase-duration-seconds"]) == ("[X: why]", 3)
    begun = views.phase_detail(document, state, OPEN)
    assert begun["completed-phase-start"] == begun["completed-phase-end"] == "Jan 15, 2027 8:00:00 AM"
    assert ("completed-phase-status" in begun) is bool(OPEN.status)
