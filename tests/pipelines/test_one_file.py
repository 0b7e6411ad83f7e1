"""A provider is one file: nothing outside its folder knows it, and dropping a file in makes it work from trigger to console page."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from penstock_console import Visitor, allow, bucket, gate, pipeline, role, user, waits
from penstock_live import live_server
from penstock_waiting import until

import penstock
from penstock.cli.clients import Clients
from penstock.cli.exits import Exit
from penstock.cli.follow import Follower
from penstock.pipelines import actions
from penstock.pipelines.actions import built_in, modules
from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.links import Links
from penstock.webpages.view import View

ACCOUNT = "111111111111"
SOURCE = Path(penstock.__file__).parent
PROVIDERS = Path(__file__).parents[1] / "support" / "providers"
# Names that AWS has and that are not run yet: they must not creep in either.
TO_COME = {"CodeStarSourceConnection", "GitHub", "ECR", "ServiceCatalog", "StepFunctions", "Jenkins"}
# What is another word too: a trigger type of AWS's model, the service that this is, and what it speaks of.
SHARED = {"PollForSourceChanges", "CodePipeline", "PipelineName", "Variables"}
EXEMPT = {
    "cli/demo/resources.py": "declares a pipeline, as any customer would",
    "cli/init/resources.py": "the same",
    "cli/init/written.py": "the same",
    "cli/docs.py": "titles of AWS's services",
    "cli/serve.py": "names the store of the objects' bytes",
    "pipelines/webhook_endpoint.py": "webhooks are sent and signed as GitHub does, whatever their pipeline's source is",
    "pipelines/webhooks.py": "the same",
    "pipelines/hand_outs.py": "lets workers outside read and write artifacts",
    "pipelines/operations/jobs.py": "says in AWS's words what kind of place an artifact's location is",
}


def provider_names():
    found = set(TO_COME)
    for provider in modules().values():
        if isinstance(provider, NotRun):  # nothing depends on one but its declaration, and some have names of services
            continue
        for known in provider.types:
            found.add(known.id.provider)
            found |= {declared.name for declared in known.properties} | {*known.revision_types}
        found |= {*provider.reports, *provider.news}
    return found - SHARED


def test_no_provider_is_known_outside_its_file():
    known = re.compile(r"(?<![\w.])(?:" + "|".join(map(re.escape, sorted(provider_names()))) + r")(?!\w)")
    mentions = []
    for room in ("pipelines", "console", "cli"):
        for file in sorted((SOURCE / room).rglob("*")):
            name = file.relative_to(SOURCE).as_posix()
            if (
                file.suffix not in (".py", ".html", ".js")
                or name.startswith(("pipelines/actions/", "pipelines/rules/"))
                or name in EXEMPT
            ):
                continue
            mentions += [
                f"{name}:{number}: {match[0]}"
                for number, line in enumerate(file.read_text().splitlines(), 1)
                if (match := known.search(line))
            ]
    assert mentions == []


def test_the_exempt_files_are_there():
    assert [name for name in EXEMPT if not (SOURCE / name).is_file()] == []


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A server whose folder of providers has one file more."""
    path = list(actions.__path__)
    actions.__path__.append(str(PROVIDERS))
    modules.cache_clear()
    try:
        with live_server(tmp_path_factory.mktemp("one-file") / "data") as server:
            bucket(server, "artifacts")
            role(server, "codepipeline")
            yield server
    finally:
        actions.__path__[:] = path
        modules.cache_clear()


def kind(category):
    return {"category": category, "owner": "AWS", "provider": "DropFolder", "version": "1"}


def drop(name="Drop", **more):
    return {
        "name": "Source",
        "actions": [
            {
                "name": name,
                "actionTypeId": kind("Source"),
                "configuration": {"Bucket": "drops", "Folder": "in box", **more},
                "outputArtifacts": [{"name": "App"}],
            }
        ],
    }


CHECK = {
    "name": "Check",
    "actions": [
        {
            "name": "Look",
            "actionTypeId": kind("Test"),
            "configuration": {"Suite": "smoke"},
            "inputArtifacts": [{"name": "App"}],
        }
    ],
}


ADDRESSES = (
    "javascript:alert(1)",
    "//elsewhere.example.com/",
    "data:text/html,x",
    "",
    "https://x.example.com/#{src.A}",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_that_nobody_should_follow_is_no_link(live, address):
    row = SimpleNamespace(provider="Source/AWS/Nobody/1", resolved={}, external_id="1", external_url=address)
    links, find = Links(live.app), built_in().find
    assert links.execution(find, row) is None
    aged = SimpleNamespace(**{**vars(row), "external_url": "https://" + "x" * 2_100})
    assert links.execution(find, aged) is None


def test_a_page_of_the_console_is_a_path_at_whatever_address_the_visitor_came_by(live):
    at = SimpleNamespace(app=SimpleNamespace(public_url="https://cd.example.com"))
    for address, link in (
        ("https://cd.example.com/console/builds/a:1", "/console/builds/a:1"),
        ("https://cd.example.com//elsewhere.example.com/", "https://cd.example.com//elsewhere.example.com/"),
        ("https://cd.example.com.evil.example/console/", "https://cd.example.com.evil.example/console/"),
        ("/console/builds/a:1", ""),
        ("//elsewhere.example.com/console/", ""),
        *((address, "") for address in ADDRESSES if not address.startswith("https")),
    ):
        assert View.link(at, address) == link


def test_a_run_is_described_with_its_variables_to_those_who_may_see_them(live):
    codepipeline, arn = live.client("codepipeline"), f"arn:aws:iam::{ACCOUNT}:role/codepipeline"
    bucket(live, "described-drops")
    live.client("s3").put_object(Bucket="described-drops", Key="in/1.txt", Body=b"one")
    ask = gate(
        "Ask", "Go", CustomData="Ship #{codepipeline.PipelineExecutionId}?", ExternalEntityLink="https://x.example.com"
    )
    pipeline(live, "described", arn, drop(Bucket="described-drops", Folder="in"), ask)
    run = codepipeline.list_pipeline_executions(pipelineName="described")["pipelineExecutionSummaries"][0]
    until(lambda: waits(live, "described", "Ask"))
    (question,) = [
        action
        for action in live.client("penstock").describe_pipeline_actions(
            pipelineName="described", pipelineExecutionId=run["pipelineExecutionId"]
        )["actions"]
        if action["actionName"] == "Go"
    ]
    assert question == {
        "region": "us-east-1",
        "stageName": "Ask",
        "actionName": "Go",
        "summary": "A person decides",
        "question": f"Ship {run['pipelineExecutionId']}?",
        "entityUrl": "https://x.example.com",
    }
    ours = live.client("penstock")
    nowhere = "11111111-2222-4333-8444-555555555555"
    with pytest.raises(ours.exceptions.PipelineNotFoundException, match="none"):
        ours.describe_pipeline_actions(pipelineName="none")
    with pytest.raises(ours.exceptions.PipelineExecutionNotFoundException):
        ours.describe_pipeline_actions(pipelineName="described", pipelineExecutionId=nowhere)
    for bad in ({"pipelineName": "a b"}, {"pipelineName": "described", "pipelineExecutionId": "no id"}):
        with pytest.raises(ours.exceptions.ClientError) as refused:
            ours.describe_pipeline_actions(**bad)
        assert refused.value.response["Error"]["Code"] == "ValidationException"
    # The configuration as declared is what GetPipeline shows, and as it ran what ListActionExecutions shows.
    for action, may in (
        ("GetPipeline", {}),
        ("ListActionExecutions", {"pipelineExecutionId": run["pipelineExecutionId"]}),
    ):
        user(
            live,
            action,
            allow(f"codepipeline:{action}", resource=f"arn:aws:codepipeline:us-east-1:{ACCOUNT}:described"),
        )
        key = live.client("iam").create_access_key(UserName=action)["AccessKey"]
        keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        theirs = live.client("penstock", keys=keys)
        assert theirs.describe_pipeline_actions(pipelineName="described", **may)["actions"]
        other = {} if may else {"pipelineExecutionId": run["pipelineExecutionId"]}
        with pytest.raises(theirs.exceptions.ClientError, match="not authorized"):
            theirs.describe_pipeline_actions(pipelineName="described", **other)


def ended(live, name, count):
    """The runs of a pipeline, newest first, once there are so many and all have ended."""

    def found_now():
        runs = live.client("codepipeline").list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"]
        return runs if len(runs) == count and all(run["status"] != "InProgress" for run in runs) else None

    return until(found_now)


def test_one_file_works_from_trigger_to_page(live):
    codepipeline, s3 = live.client("codepipeline"), live.client("s3")
    bucket(live, "drops")
    s3.put_object(Bucket="drops", Key="in box/1.txt", Body=b"one")
    arn = f"arn:aws:iam::{ACCOUNT}:role/codepipeline"
    pipeline(live, "drop", arn, drop(), CHECK)
    pipeline(live, "quiet", arn, drop("Strict", PollForSourceChanges="false"), CHECK)
    ended(live, "drop", 1)
    ended(live, "quiet", 1)

    # What it watches.
    s3.put_object(Bucket="drops", Key="elsewhere/2.txt", Body=b"two")
    s3.put_object(Bucket="drops", Key="in box/3.txt", Body=b"three")
    newest = ended(live, "drop", 2)[0]
    assert newest["status"] == "Succeeded"
    assert newest["trigger"] == {"triggerType": "PollForSourceChanges", "triggerDetail": "Drop"}
    assert len(ended(live, "quiet", 1)) == 1

    # Its revisions, and their links.
    assert newest["sourceRevisions"] == [
        {
            "actionName": "Drop",
            "revisionId": "in box/3.txt",
            "revisionSummary": "Dropped",
            "revisionUrl": "https://drop.example.com/drops/in%20box%2F3.txt",
        }
    ]
    pinned = {"actionName": "Drop", "revisionType": "S3_OBJECT_KEY", "revisionValue": "in box/1.txt"}
    codepipeline.start_pipeline_execution(name="drop", sourceRevisions=[pinned])
    assert ended(live, "drop", 3)[0]["sourceRevisions"][0]["revisionId"] == "in box/1.txt"
    for name, revision, message in (
        ("drop", {**pinned, "revisionType": "COMMIT_ID"}, "COMMIT_ID cannot be used for source action 'Drop'"),
        ("quiet", {**pinned, "actionName": "Strict"}, "Strict cannot be held at another file."),
    ):
        with pytest.raises(codepipeline.exceptions.ValidationException, match=message):
            codepipeline.start_pipeline_execution(name=name, sourceRevisions=[revision])

    # Its links in the state and the history.
    source, check = (stage["actionStates"][0] for stage in codepipeline.get_pipeline_state(name="drop")["stageStates"])
    assert source["entityUrl"] == "https://drop.example.com/drops/in%20box"
    assert source["revisionUrl"] == "https://drop.example.com/drops/in%20box%2F1.txt"
    assert "entityUrl" not in check
    assert check["latestExecution"]["externalExecutionUrl"] == "https://drop.example.com/checks/check%207"
    listed = codepipeline.list_action_executions(pipelineName="drop")["actionExecutionDetails"]
    (inspected, *_) = [one for one in listed if one["actionName"] == "Look"]
    result = inspected["output"]["executionResult"]
    assert result["externalExecutionUrl"] == "https://drop.example.com/checks/check%207"
    types = [known for known in codepipeline.list_action_types()["actionTypes"] if known["id"] == kind("Source")]
    assert types[0]["settings"]["revisionUrlTemplate"] == "https://drop.example.com/{Config:Bucket}/{RevisionId}"

    # What people are shown.
    described = live.client("penstock").describe_pipeline_actions(pipelineName="drop")["actions"]
    assert described == [
        {
            "stageName": "Source",
            "actionName": "Drop",
            "summary": "DropFolder, in box",
            "subject": "drops",
            "part": "in box",
            "entityUrl": "https://drop.example.com/drops/in%20box",
            "entityType": "drop:folder",
            "region": "us-east-1",
        },
        {
            "stageName": "Check",
            "actionName": "Look",
            "summary": "Checks smoke",
            "subject": "smoke",
            "executionType": "drop:check",
            "region": "us-east-1",
        },
    ]
    user(live, "jonas.lind", allow("*"))
    page = Visitor(live, "jonas.lind").get("pipelines/drop")
    assert page.status == 200
    assert "drops in box" in page.visible_text
    assert "Checks smoke" in page.visible_text
    leads = 'href="https://drop.example.com/checks/check%207" rel="noreferrer noopener">Look</a>'
    assert leads in page.text
    follower = Follower(Clients.administrator(live.data_dir), "drop")
    assert follower.until_end(follower.newest()) is Exit.DONE
