"""`penstock plan` and `penstock apply`: what a file would change, and that it does so once."""

from __future__ import annotations

import json

import pytest
import yaml
from penstock_console import bucket, gate, role
from penstock_live import live  # noqa: F401 - the fixture

from penstock.cli.exits import Exit
from penstock.cli.main import main

ARN = "arn:aws:iam::111111111111:role/codepipeline"
SOURCE = {
    "name": "Source",
    "actions": [
        {
            "name": "pull",
            "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "S3", "version": "1"},
            "configuration": {"S3Bucket": "planned", "S3ObjectKey": "app.zip", "PollForSourceChanges": "false"},
            "outputArtifacts": [{"name": "App"}],
        }
    ],
}


@pytest.fixture(scope="module")
def ready(live):  # noqa: F811 - the fixture
    bucket(live, "planned")
    role(live, "codepipeline")
    live.client("s3").put_object(Bucket="planned", Key="app.zip", Body=b"PK\x05\x06" + bytes(18))
    return live


@pytest.fixture
def penstock(ready, tmp_path, capsys):
    """Runs `penstock COMMAND` on a file with these contents; its exit code and what it printed, or else complained of."""

    def penstock(command, document, *more):
        path = tmp_path / "pipeline.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        named = ["-f", str(path)] if command == "apply" else [str(path)]
        code = main([command, *named, *more, "--data-dir", str(ready.data_dir)])
        printed = capsys.readouterr()
        return code, printed.out or printed.err

    return penstock


def declared(name, *stages, **more):
    store = {"type": "S3", "location": "planned"}
    return {"name": name, "roleArn": ARN, "artifactStore": store, "stages": [SOURCE, *stages], **more}


def waits(client, name):
    state = client.get_pipeline_state(name=name)["stageStates"][1].get("latestExecution", {})
    return state.get("status") == "InProgress"


def test_a_file_is_planned_created_left_alone_and_updated(ready, penstock):
    client = ready.client("codepipeline")
    first = declared("kept", gate("Ask", "Go", CustomData="Ship?"))
    assert penstock("plan", first) == (
        Exit.DONE,
        "+ pipeline kept\n+ stage Source (1 action)\n+ stage Ask (1 action)\nIts first run starts at once.\n",
    )
    with pytest.raises(client.exceptions.PipelineNotFoundException):
        client.get_pipeline(name="kept")
    tagged = {"pipeline": first, "tags": [{"key": "team", "value": "shop"}]}
    assert penstock("apply", tagged) == (Exit.DONE, "kept created (version 1)\n")
    assert penstock("apply", tagged) == (Exit.DONE, "kept unchanged (version 1)\n")
    assert penstock("plan", first) == (Exit.DONE, "kept is as the file says (version 1)\n")

    (run,) = client.list_pipeline_executions(pipelineName="kept")["pipelineExecutionSummaries"]
    second = declared(
        "kept",
        gate("Ask", "Go", CustomData="Ship it?", ExternalEntityLink="https://x.example.com"),
        gate("Again", "Go"),
        variables=[{"name": "Size"}],
    )
    changes = (
        "~ pipelineType: V1 → V2\n"
        '~ variables: - → [{"name": "Size"}]\n'
        "~ stage Ask: action Go: CustomData: Ship? → Ship it?\n"
        "+ stage Ask: action Go: ExternalEntityLink: - → https://x.example.com\n"
        "+ stage Again (1 action)\n"
    )
    code, printed = penstock("plan", second)
    assert (code, printed) == (
        Exit.DONE,
        f"{changes}run {run['pipelineExecutionId']} is cancelled when its actions in progress have ended; an open approval is void\n",
    )
    code, printed = penstock("plan", second, "--json")
    planned = json.loads(printed)
    assert (planned["version"], planned["runs"]) == (1, [run["pipelineExecutionId"]])
    assert [one["sign"] for one in planned["changes"]] == ["~", "~", "~", "+", "+"]
    assert penstock("apply", second) == (Exit.DONE, f"{changes}kept updated (version 2)\n")
    retagged = {"pipeline": second, "tags": [{"key": "team", "value": "web"}]}
    assert penstock("apply", retagged) == (Exit.DONE, "kept unchanged (version 2), with other tags\n")
    code, printed = penstock("apply", retagged, "--json")
    assert json.loads(printed) == {"pipeline": "kept", "version": 2, "result": "unchanged", "tagged": False}
    code, printed = penstock("plan", declared("kept", gate("Again", "Go"), gate("Ask", "Go", CustomData="Ship it?")))
    assert printed.splitlines()[-3:-1] == [
        "- stage Ask: action Go: ExternalEntityLink: https://x.example.com → -",
        '~ order of stages: ["Source", "Ask", "Again"] → ["Source", "Again", "Ask"]',
    ]
    assert client.get_pipeline(name="kept", version=1)["pipeline"]["stages"][1]["actions"][0]["configuration"] == {
        "CustomData": "Ship?"
    }


def test_what_get_pipeline_answers_is_a_file_without_a_difference(ready, penstock):
    client = ready.client("codepipeline")
    assert penstock("apply", declared("echoed", gate("Ask", "Go"), executionMode="PARALLEL"))[0] == Exit.DONE
    answered = client.get_pipeline(name="echoed")
    document = json.loads(json.dumps({key: answered[key] for key in ("pipeline", "metadata")}, default=str))
    assert penstock("apply", document) == (Exit.DONE, "echoed unchanged (version 1)\n")
    code, printed = penstock("plan", declared("echoed", gate("Ask", "Go")))
    assert code == Exit.DONE
    assert "continues with the version that it began with" in printed


def test_secrets_are_neither_compared_nor_printed(ready, penstock):
    def hub(token, branch="main"):
        source = {
            "name": "Source",
            "actions": [
                {
                    "name": "pull",
                    "actionTypeId": {"category": "Source", "owner": "ThirdParty", "provider": "GitHub", "version": "1"},
                    "configuration": {"Owner": "o", "Repo": "r", "Branch": branch, "OAuthToken": token},
                    "outputArtifacts": [{"name": "App"}],
                }
            ],
        }
        return {**declared("hub"), "stages": [source, gate("Ask", "Go")]}

    assert penstock("apply", hub("first-secret"))[0] == Exit.DONE
    for token in ("first-secret", "other-secret", "****"):
        assert penstock("apply", hub(token)) == (Exit.DONE, "hub unchanged (version 1)\n")
    code, printed = penstock("apply", hub("other-secret", "release"))
    assert (code, printed) == (
        Exit.DONE,
        "~ stage Source: action pull: Branch: main → release\nhub updated (version 2)\n",
    )
    assert penstock("apply", hub("third-secret", "release"), "--force") == (Exit.DONE, "hub updated (version 3)\n")


def test_a_file_that_is_not_in_order_changes_nothing(ready, penstock):
    for command in ("plan", "apply"):
        code, printed = penstock(command, {**declared("broken"), "stages": [SOURCE]})
        assert code == Exit.FAILED
        assert "error: Pipeline has only 1 stage(s)" in printed
    code, printed = penstock("apply", {**declared("broken", gate("Ask", "Go")), "roleArn": f"{ARN}-none"})
    assert code == Exit.USAGE
    assert "is not authorized to perform AssumeRole" in printed
    with pytest.raises(ready.client("codepipeline").exceptions.PipelineNotFoundException):
        ready.client("codepipeline").get_pipeline(name="broken")
