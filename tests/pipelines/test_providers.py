"""The contract of every action provider, and what each asks of the services it uses."""

import asyncio
import base64
import hashlib
import inspect
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from penstock_zips import zip_archive, zip_entry

from penstock.pipelines.actions import Providers, built_in, codebuild, codecommit_source, modules, s3_deploy
from penstock.pipelines.actions.not_run import NotRun
from penstock.pipelines.actions.provider import (
    Action,
    Display,
    Failed,
    Invoke,
    Link,
    Provider,
    Running,
    Succeeded,
    Waiting,
)
from penstock.pipelines.model import MINUTE, ActionTypeId, ArtifactLocation, Property, Revision
from penstock.pipelines.pinning import changed_input
from penstock.pipelines.plan import plan_of
from penstock.wire.errors import AccessDenied, InternalFailure, ServiceError

PAGES = Path(__file__).parents[2] / "docs" / "reference" / "actions"
SHA = "5a" * 32
SHA_64 = base64.b64encode(bytes.fromhex(SHA)).decode()
SITE = zip_archive(zip_entry(b"index.html", b"<p>"), zip_entry(b"js/", mode=0o40755), zip_entry(b"js/app.js", b"1;"))
APP = ArtifactLocation(
    name="App",
    bucket="artifacts",
    key="demo/App/1234567",
    version_id="v1",
    etag="e1",
    sha256=hashlib.sha256(SITE).hexdigest(),
)


class Refusal(ServiceError):
    """Not so."""


def refusal(code, message="Not so.", status=400):
    return type(code, (Refusal,), {"status": status})(message)


class Bytes:
    """The body of an object."""

    def __init__(self, content):
        self.content = content
        self.length = len(content)
        self.closed = False

    def __eq__(self, other):
        return isinstance(other, Bytes) and self.content == other.content

    def __hash__(self):
        return hash(self.content)

    async def __aiter__(self):
        for at in range(0, self.length, 1000):
            yield self.content[at : at + 1000]

    async def aclose(self):
        self.closed = True


class Services(Invoke):
    """Scripted services: operation → output, exception, or a function of the input."""

    def __init__(self, **answers):
        self.answers = answers
        self.calls = []

    async def __call__(self, service, operation, input):
        self.calls.append((service, operation, input))
        answer = self.answers[operation]
        if callable(answer):
            answer = answer(input)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def input(self, operation):
        return next(i for _, o, i in self.calls if o == operation)


def an_action(provider, services, *, configuration=None, inputs=(APP,), outputs=("Out",), **more):
    known = provider.types[0]
    return Action(
        id="0b0c6f0e-0000-4000-8000-000000000001",
        account="111111111111",
        region="us-east-1",
        partition="aws",
        pipeline="demo",
        execution="0b0c6f0e-0000-4000-8000-000000000002",
        stage="Stage",
        name="act",
        type=known.id,
        configuration=configuration
        or {p.name: p.values[0] if p.values else "x" for p in known.properties if p.required},
        inputs=inputs,
        outputs=tuple(ArtifactLocation(name=n, bucket="artifacts", key=f"demo/{n}/7654321") for n in outputs),
        invoke=services,
        **{"store": {"type": "S3", "location": "artifacts"}, **more},
    )


@pytest.mark.parametrize("name", sorted(modules()))
class TestContract:
    def test_has_its_page(self, name):
        page = PAGES / f"{name}.md"
        assert page.exists(), f"docs/reference/actions/{name}.md is missing"
        text = page.read_text()
        for known in modules()[name].types:
            assert f"{known.id.category} / {known.id.owner} / {known.id.provider} / {known.id.version}" in text
            for declared in known.properties:
                assert f"`{declared.name}`" in text, f"{declared.name} is not in the page"

    def test_declares_sound_types(self, name):
        for known in modules()[name].types:
            assert 0 <= known.inputs[0] <= known.inputs[1]
            assert 0 <= known.outputs[0] <= known.outputs[1]
            assert known.timeout > 0
            assert len({p.name for p in known.properties}) == len(known.properties)
            assert all(p.description for p in known.properties)

    def test_watches_what_its_news_are_of(self, name):
        provider = modules()[name]
        required = {p.name: "x" for p in provider.types[0].properties if p.required}
        subject = provider.watches(required)
        assert bool(subject) == bool(provider.news)
        if subject is None:
            return
        assert subject.partition(":")[0].isalnum()
        found = {kind: read(NEWS[kind]) for kind, read in provider.news.items()}
        assert set(found.values()) == {subject}
        if provider.types[0].property("PollForSourceChanges"):
            assert provider.watches({**required, "PollForSourceChanges": "true"}) == subject
            assert provider.watches({**required, "PollForSourceChanges": "false"}) is None

    def test_takes_revisions_of_the_model_and_says_so_in_its_page(self, name):
        text = (PAGES / f"{name}.md").read_text()
        for known in modules()[name].types:
            assert set(known.revision_types) <= REVISION_TYPES
            assert not known.revision_types or known.id.category == "Source"
            assert all(f"`{kind}`" in text for kind in known.revision_types)

    def test_its_links_stay_links_whatever_is_configured(self, name):
        provider = modules()[name]
        for known in provider.types:
            for template in (known.entity_url, known.execution_url, known.revision_url):
                assert template == "" or template.startswith(("/console/", "https://"))
                for key in re.findall(r"\{Config:([^}]*)\}", template):
                    assert known.property(key).required, f"{key} may be absent"
            hostile = {p.name: 'a/../b?c&d#e"<é %' for p in known.properties}
            for link in Link:
                made = provider.link(link, known, hostile, id="a/../b?c&d#e")
                assert made == "" or made in hostile.values() or made.count("..") == made.count("%2F..%2F")
                assert provider.link(link, known, {}, id="") == ""
            later = {p.name: "#{variables.Name}" for p in known.properties}
            assert "variables.Name" not in provider.link(Link.ENTITY, known, later).replace("#{variables.Name}", "")

    def test_people_are_shown_what_it_works_on(self, name):
        provider = modules()[name]
        for known in provider.types:
            assert provider.shows(known, {}).line
            keys = [p.name for p in known.properties if p.key]
            got = provider.shows(known, {key: f"<{key}>" for key in keys})
            assert [got.subject, got.part][: len(keys)] == [f"<{key}>" for key in keys][:2]
            assert not keys or f"<{keys[-1]}>" in got.line
            for kind in (known.works_on, known.starts):
                assert re.fullmatch(r"([a-z0-9-]+:[a-z-]+)?", kind)

    async def test_a_start_that_runs_twice_asks_for_the_same(self, name):
        provider = modules()[name]
        calls = []
        for _ in range(2):
            services = Services(**GOOD)
            outcome = await provider.start(an_action(provider, services))
            if isinstance(provider, NotRun):
                assert isinstance(outcome, Failed)
                assert outcome.message.startswith(f"Penstock does not run {provider.types[0].id.category} actions of ")
                assert outcome.message.endswith(f" {provider.why}")
                assert provider.why.endswith(".")
                assert services.calls == []
                page = " ".join((PAGES / f"{name}.md").read_text().split())
                assert provider.why in page
            else:
                assert isinstance(outcome, (Running, Succeeded, Waiting))
            calls.append(services.calls)
        assert calls[0] == calls[1]

    async def test_a_denied_role_is_a_permission_error(self, name):
        provider = modules()[name]
        if not provider.acts(an_action(provider, Services()).configuration):
            return
        denied = Services(**dict.fromkeys(GOOD, AccessDenied("User is not authorized")))
        outcome = await provider.start(an_action(provider, denied))
        assert isinstance(outcome, Failed)
        assert outcome.code == "PermissionError"
        assert "not authorized" in outcome.message

    async def test_a_refused_request_fails_with_a_reason(self, name):
        provider = modules()[name]
        if not provider.acts(an_action(provider, Services()).configuration):
            return
        refusing = Services(**dict.fromkeys(GOOD, refusal("SomethingException", "It is not there.")))
        outcome = await provider.start(an_action(provider, refusing))
        assert isinstance(outcome, Failed)
        assert "It is not there." in outcome.message

    async def test_a_fault_of_the_server_is_tried_again(self, name):
        provider = modules()[name]
        if not provider.acts(an_action(provider, Services()).configuration):
            return
        with pytest.raises(InternalFailure):
            await provider.start(an_action(provider, Services(**dict.fromkeys(GOOD, InternalFailure()))))

    async def test_stopping_twice_does_no_harm(self, name):
        provider = modules()[name]
        services = Services(**GOOD)
        for _ in range(2):
            await provider.stop(an_action(provider, services, external_id="id:1"))
        await provider.stop(an_action(provider, services))

    def test_what_reports_later_can_be_looked_at(self, name):
        provider = modules()[name]
        if provider.reports:
            assert inspect.iscoroutinefunction(type(provider).observe)
            assert "observe" in type(provider).__dict__


# News of what a configuration of "x" everywhere watches.
NEWS = {
    "codecommit.reference.updated": {
        "repositoryName": "x",
        "referenceType": "branch",
        "referenceName": "x",
        "event": "referenceUpdated",
    },
    "s3.object.created": {"bucket": {"name": "x"}, "object": {"key": "x"}},
}
REVISION_TYPES = {"COMMIT_ID", "IMAGE_DIGEST", "S3_OBJECT_VERSION_ID", "S3_OBJECT_KEY"}
COMMIT = {
    "commit": {
        "message": "Fix it\n",
        "author": {"date": "1700000000 +0100"},
        "committer": {"date": "1700000060 +0000"},
    }
}
PUT = {
    "location": "arn:aws:s3:::artifacts/demo/Out/7654321",
    "versionId": "v2",
    "eTag": "e2",
    "sha256sum": SHA,
}
GOOD = {
    "StartPipelineExecution": {"pipelineExecutionId": "0b0c6f0e-0000-4000-8000-000000000009"},
    "GetObject": lambda _: {"Body": Bytes(SITE), "ETag": '"e1"'},
    "PutObject": {"ETag": '"e5"'},
    "GetBranch": {"branch": {"branchName": "x", "commitId": "c0ffee"}},
    "GetCommit": COMMIT,
    "UploadRepositoryArchive": {"versionId": "v9", "eTag": "e9", "sha256": SHA, "size": 12},
    "GetBucketVersioning": {"Status": "Enabled"},
    "HeadObject": {"VersionId": "v3", "ETag": '"e3"', "LastModified": 1_700_000_000_500, "Metadata": {}},
    "CopyObject": {"VersionId": "v4", "CopyObjectResult": {"ETag": '"e4"', "ChecksumSHA256": SHA_64}},
    "StartBuild": {"build": {"id": "x:1", "buildStatus": "IN_PROGRESS"}},
    "BatchGetBuilds": {"builds": [{"id": "x:1", "buildStatus": "SUCCEEDED", "artifacts": PUT}]},
    "StopBuild": {"build": {"id": "x:1"}},
    "StartActionCommands": {"run": {"id": "commands.demo:1", "status": "IN_PROGRESS"}},
    "StopActionCommands": {},
    "RegisterApplicationRevision": {},
    "CreateDeployment": {"deploymentId": "d-ABCDEF123"},
    "GetDeployment": {"deploymentInfo": {"status": "Succeeded"}},
    "StopDeployment": {"status": "Pending"},
}


def test_the_registry_refuses_two_providers_for_a_type():
    providers = built_in()
    with pytest.raises(ValueError, match="two providers"):
        providers.add(modules()["codebuild"])
    assert providers.type(ActionTypeId(category="Build", owner="AWS", provider="Nope")) is None
    assert isinstance(Providers({}), Providers)


def test_what_each_type_takes_and_how_long_it_may_run():
    """AWS: "Valid action types", "Number of artifacts", and the quotas of CodePipeline for the time an action may take."""
    known = {
        (one.id.category, one.id.owner, one.id.provider): (one.inputs, one.outputs, one.timeout // MINUTE, one.v2_only)
        for provider in modules().values()
        for one in provider.types
    }
    hour, day = 60, 24 * 60
    assert known == {
        ("Approval", "AWS", "Manual"): ((0, 0), (0, 0), 7 * day, False),
        ("Build", "AWS", "CodeBuild"): ((1, 5), (0, 5), 36 * hour, False),
        ("Build", "AWS", "ECRBuildAndPublish"): ((1, 1), (0, 0), hour, True),
        ("Compute", "AWS", "Commands"): ((1, 10), (0, 1), 55, True),
        ("Deploy", "AWS", "AppConfig"): ((1, 1), (0, 0), hour, False),
        ("Deploy", "AWS", "CloudFormation"): ((0, 10), (0, 1), 3 * day, False),
        ("Deploy", "AWS", "CloudFormationStackInstances"): ((0, 3), (0, 0), 3 * day, False),
        ("Deploy", "AWS", "CloudFormationStackSet"): ((1, 3), (0, 0), 3 * day, False),
        ("Deploy", "AWS", "CodeDeploy"): ((1, 1), (0, 0), 5 * day, False),
        ("Deploy", "AWS", "CodeDeployToECS"): ((1, 5), (0, 0), 5 * day, False),
        ("Deploy", "AWS", "EC2"): ((1, 1), (0, 0), hour, True),
        ("Deploy", "AWS", "ECS"): ((1, 1), (0, 0), hour, False),
        ("Deploy", "AWS", "EKS"): ((1, 1), (0, 0), hour, True),
        ("Deploy", "AWS", "ElasticBeanstalk"): ((1, 1), (0, 0), hour, False),
        ("Deploy", "AWS", "Lambda"): ((0, 1), (0, 0), 2 * day, True),
        ("Deploy", "AWS", "OpsWorks"): ((1, 1), (0, 1), hour, False),
        ("Deploy", "AWS", "S3"): ((1, 1), (0, 0), 90, False),
        ("Deploy", "AWS", "ServiceCatalog"): ((1, 1), (0, 0), hour, False),
        ("Deploy", "ThirdParty", "AlexaSkillsKit"): ((1, 2), (0, 0), hour, False),
        ("Invoke", "AWS", "CodePipeline"): ((0, 0), (0, 0), hour, True),
        ("Invoke", "AWS", "InspectorScan"): ((0, 1), (1, 1), hour, False),
        ("Invoke", "AWS", "Lambda"): ((0, 5), (0, 5), day, False),
        ("Invoke", "AWS", "StepFunctions"): ((0, 1), (0, 1), 7 * day, False),
        ("Source", "AWS", "CodeCommit"): ((0, 0), (1, 1), hour, False),
        ("Source", "AWS", "CodeStarSourceConnection"): ((0, 0), (1, 1), hour, False),
        ("Source", "AWS", "ECR"): ((0, 0), (1, 1), hour, False),
        ("Source", "AWS", "S3"): ((0, 0), (1, 1), hour, False),
        ("Source", "ThirdParty", "GitHub"): ((0, 0), (1, 1), hour, False),
        ("Test", "AWS", "CodeBuild"): ((1, 5), (0, 5), 8 * hour, False),
        ("Test", "AWS", "DeviceFarm"): ((1, 1), (0, 0), 8 * hour, False),
    }
    required = {
        name: [one.name for one in provider.types[0].properties if one.required] for name, provider in modules().items()
    }
    assert required == {
        "alexa_skills_kit": ["ClientId", "ClientSecret", "RefreshToken", "SkillId"],
        "app_config": ["Application", "Environment", "ConfigurationProfile", "InputArtifactConfigurationPath"],
        "cloudformation": ["ActionMode", "StackName"],
        "codebuild": ["ProjectName"],
        "codecommit_source": ["RepositoryName", "BranchName"],
        "codedeploy": ["ApplicationName", "DeploymentGroupName"],
        "codedeploy_to_ecs": [
            "ApplicationName",
            "DeploymentGroupName",
            "TaskDefinitionTemplateArtifact",
            "AppSpecTemplateArtifact",
        ],
        "codestar_source": ["ConnectionArn", "FullRepositoryId", "BranchName"],
        "commands": [],
        "device_farm": ["AppType", "ProjectId", "App", "DevicePoolArn", "TestType"],
        "ec2": ["InstanceTagKey", "InstanceType"],
        "ecr_build": ["ECRRepositoryName"],
        "ecr_source": ["RepositoryName"],
        "ecs": ["ClusterName", "ServiceName"],
        "eks": ["ClusterName"],
        "elastic_beanstalk": ["ApplicationName", "EnvironmentName"],
        "github_source": ["Owner", "Repo", "Branch", "OAuthToken"],
        "inspector_scan": ["InspectorRunMode"],
        "lambda_deploy": ["FunctionName"],
        "lambda_invoke": ["FunctionName"],
        "manual_approval": [],
        "ops_works": ["Stack", "App"],
        "pipeline_invoke": ["PipelineName"],
        "s3_deploy": ["BucketName", "Extract"],
        "s3_source": ["S3Bucket", "S3ObjectKey"],
        "service_catalog": ["ProductId"],
        "stack_instances": ["StackSetName", "Regions"],
        "stack_set": ["StackSetName", "TemplatePath"],
        "step_functions": ["StateMachineArn"],
    }
    for provider in modules().values():
        for one in provider.types:
            assert all(found.required or not found.key for found in one.properties)
            names_nothing = {found.name for found in one.properties if found.required and not found.key}
            assert names_nothing == (
                {"Extract"} if one.id.provider == "S3" and one.id.category == "Deploy" else set()
            ) or (isinstance(provider, NotRun))
    assert {
        (one.id.provider, found.name)
        for provider in modules().values()
        for one in provider.types
        for found in one.properties
        if found.masked
    } == {("GitHub", "OAuthToken"), ("AlexaSkillsKit", "ClientSecret"), ("AlexaSkillsKit", "RefreshToken")}


def test_what_is_news_for_a_source():
    source = modules()["codecommit_source"]
    watched = source.watches({"RepositoryName": "x", "BranchName": "x"})
    payload = NEWS["codecommit.reference.updated"]
    read = source.news["codecommit.reference.updated"]
    assert read(payload) == read({**payload, "event": "referenceCreated"}) == watched
    assert read({**payload, "event": "referenceDeleted"}) is None
    assert read({**payload, "referenceType": "tag"}) is None
    assert read({**payload, "referenceType": "tag", "event": "referenceDeleted"}) is None
    assert read({**payload, "referenceName": "y"}) not in (None, watched)
    for name, configuration in (
        ("codecommit_source", {"RepositoryName": "x", "BranchName": "x"}),
        ("s3_source", {"S3Bucket": "x", "S3ObjectKey": "x"}),
    ):
        for polls, seen in (("true", True), ("false", False)):
            found = modules()[name].watches({**configuration, "PollForSourceChanges": polls})
            assert (found is not None) is seen


def test_another_object_is_started_with_only_where_the_action_allows_it():
    source = modules()["s3_source"]
    for allows, kind, refused in (
        ("true", "S3_OBJECT_KEY", False),
        ("false", "S3_OBJECT_KEY", True),
        (None, "S3_OBJECT_KEY", True),
        (None, "S3_OBJECT_VERSION_ID", False),
    ):
        configuration = {} if allows is None else {"AllowOverrideForS3ObjectKey": allows}
        why = source.refuse_revision(kind, {"name": "Pull", "configuration": configuration})
        assert (why is not None) is refused
        assert not refused or why.startswith("Source action 'Pull' does not allow another object key")


SOURCES = {
    "codecommit_source": ({"RepositoryName": "app", "BranchName": "main"}, "UploadRepositoryArchive"),
    "s3_source": ({"S3Bucket": "in", "S3ObjectKey": "k"}, "CopyObject"),
}


@pytest.mark.parametrize(
    ("name", "operation", "error", "code", "says"),
    [
        ("codecommit_source", "GetCommit", AccessDenied("not you"), "PermissionError", "Error: not you"),
        ("codecommit_source", "GetCommit", refusal("CommitIdDoesNotExistException"), "ConfigurationError", "no branch"),
        ("codecommit_source", "GetBranch", refusal("RepositoryDoesNotExistException"), "ConfigurationError", "no AWS CodeCommit repository named app"),
        ("codecommit_source", "UploadRepositoryArchive", refusal("Odd", status=499), "JobFailed", "Not so. (Odd)"),
        ("s3_source", "GetBucketVersioning", AccessDenied("not you"), "PermissionError", "Underlying error: not you"),
        ("s3_source", "GetBucketVersioning", refusal("NoSuchBucket", status=404), "ConfigurationError", "The object with key 'k' does not exist"),
        ("s3_source", "HeadObject", refusal("NoSuchVersion", status=400), "ConfigurationError", "The object with key 'k' does not exist"),
        ("s3_source", "CopyObject", refusal("Odd", status=499), "JobFailed", "Not so. (Odd)"),
    ],
)  # fmt: skip
async def test_a_source_that_cannot_be_fetched(name, operation, error, code, says):
    provider, services = modules()[name], Services(**{**GOOD, operation: error})
    outcome = await provider.start(an_action(provider, services, configuration=SOURCES[name][0]))
    assert (type(outcome), outcome.code) == (Failed, code)
    assert says in outcome.message


@pytest.mark.parametrize("name", SOURCES)
async def test_a_source_is_tried_again_and_encrypted_as_its_pipeline_says(name):
    provider, (configuration, operation) = modules()[name], SOURCES[name]
    broken = Services(**{**GOOD, operation: refusal("InternalError", status=500)})
    with pytest.raises(ServiceError):
        await provider.start(an_action(provider, broken, configuration=configuration))
    plain, sealed = Services(**GOOD), Services(**GOOD)
    await provider.start(an_action(provider, plain, configuration=configuration))
    store = {"type": "S3", "location": "artifacts", "encryptionKey": {"id": "alias/mine", "type": "KMS"}}
    await provider.start(an_action(provider, sealed, configuration=configuration, store=store))
    added = sealed.input(operation).items() - plain.input(operation).items()
    assert {value for _, value in added} == {"alias/mine"}


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("s3_source", {"BucketName", "ETag", "ObjectKey", "VersionId"}),
        ("codecommit_source", {"AuthorDate", "BranchName", "CommitId", "CommitMessage", "CommitterDate", "RepositoryName"}),
        ("pipeline_invoke", {"PipelineExecutionId"}),
        ("codedeploy", {"DeploymentId"}),
        ("s3_deploy", set()),
    ],
)  # fmt: skip
async def test_the_output_variables_of_a_provider_are_those_of_its_page(name, variables):
    """AWS: reference-variables, "Variables available for pipeline actions"."""
    provider, services = modules()[name], Services(**GOOD)
    outcome = await provider.start(an_action(provider, services))
    if isinstance(outcome, Running):
        outcome = await provider.observe(an_action(provider, services, external_id=outcome.external_id))
    assert set(outcome.variables) == variables
    said = re.search(r"Output variables: (.*?)\.\s", (PAGES / f"{name}.md").read_text(), re.DOTALL).group(1)
    assert set(re.findall(r"`(\w+)`", said)) == variables


async def test_codecommit():
    provider, services = modules()["codecommit_source"], Services(**GOOD)
    wanted = {"RepositoryName": "app", "BranchName": "main"}
    outcome = await provider.start(an_action(provider, services, configuration=wanted))
    assert isinstance(outcome, Succeeded)
    assert services.input("UploadRepositoryArchive") == {
        "repositoryName": "app",
        "commitId": "c0ffee",
        "bucketName": "artifacts",
        "objectKey": "demo/Out/7654321",
    }
    assert outcome.variables == {
        "AuthorDate": "2023-11-14T22:13:20Z",
        "BranchName": "main",
        "CommitId": "c0ffee",
        "CommitMessage": "Fix it\n",
        "CommitterDate": "2023-11-14T22:14:20Z",
        "RepositoryName": "app",
    }
    (written,) = outcome.outputs
    assert (written.version_id, written.etag, written.sha256) == ("v9", "e9", SHA)
    assert outcome.revision.id == "c0ffee"
    assert outcome.revision.created == 1_700_000_060_000
    ageless = {**GOOD["GetCommit"]["commit"], "committer": {"date": "9999999999999 +0000"}}
    far = await provider.start(an_action(provider, Services(**{**GOOD, "GetCommit": {"commit": ageless}})))
    assert far.revision.created is None  # clients fail at a year of six digits
    assert far.variables["CommitterDate"] == "9999999999999 +0000"
    pinned = Services(**GOOD)
    await provider.start(an_action(provider, pinned, configuration=wanted, overrides={"COMMIT_ID": "dead"}))
    assert pinned.input("UploadRepositoryArchive")["commitId"] == "dead"
    assert "GetBranch" not in [o for _, o, _ in pinned.calls]
    absent = Services(**{**GOOD, "GetBranch": refusal("BranchDoesNotExistException", "no such branch")})
    outcome = await provider.start(an_action(provider, absent, configuration=wanted))
    assert outcome.code == "ConfigurationError"
    assert outcome.message.startswith(
        "The action failed because no branch named main was found in the selected AWS CodeCommit repository app."
    )


async def test_s3():
    provider, services = modules()["s3_source"], Services(**GOOD)
    wanted = {"S3Bucket": "in", "S3ObjectKey": "a b.zip"}
    outcome = await provider.start(an_action(provider, services, configuration=wanted))
    assert services.input("CopyObject")["CopySource"] == "in/a%20b.zip?versionId=v3"
    assert services.input("CopyObject")["TaggingDirective"] == "REPLACE"
    assert outcome.summary == "Amazon S3 version id: v3"
    assert outcome.variables == {"BucketName": "in", "ETag": "e3", "ObjectKey": "a b.zip", "VersionId": "v3"}
    assert (outcome.outputs[0].etag, outcome.outputs[0].sha256) == ("e4", SHA)
    plain = Services(**{**GOOD, "GetBucketVersioning": {}})
    outcome = await provider.start(an_action(provider, plain, configuration=wanted))
    assert outcome.code == "ConfigurationError"
    gone = Services(**{**GOOD, "HeadObject": refusal("NoSuchKey", status=404)})
    assert "does not exist" in (await provider.start(an_action(provider, gone, configuration=wanted))).message
    store_gone = Services(**{**GOOD, "CopyObject": refusal("NoSuchBucket", status=404)})
    outcome = await provider.start(an_action(provider, store_gone, configuration=wanted))
    assert outcome.message.startswith("The artifact store's Amazon S3 bucket ")


DEPLOY = {"BucketName": "b", "Extract": "true"}


@pytest.mark.parametrize("extract", ["true", "false"])
async def test_only_the_artifact_that_was_pinned_is_deployed(extract):
    provider = modules()["s3_deploy"]
    configuration = {**DEPLOY, "Extract": extract, "ObjectKey": "k"}
    other = Bytes(zip_archive(zip_entry(b"index.html", b"other")))
    stale = replace(APP, sha256="", etag="e0")
    for artifact, put in ((APP, refusal("BadDigest", status=400)), (stale, GOOD["PutObject"])):
        services = Services(**{**GOOD, "GetObject": {"Body": other, "ETag": '"e1"'}, "PutObject": put})
        outcome = await provider.start(
            an_action(provider, services, configuration=configuration, inputs=(artifact,), outputs=())
        )
        assert outcome.code == "RevisionOutOfSync"
        assert outcome.message.startswith("The artifact App (s3://artifacts/demo/App/1234567) was changed")
        assert other.closed
        assert services.input("GetObject").get("VersionId") == "v1"
        puts = [input for _, operation, input in services.calls if operation == "PutObject"]
        if artifact is stale or extract == "true":
            assert puts == []
        else:  # the bucket compares what it reads with this
            assert puts[0]["ChecksumSHA256"] == base64.b64encode(bytes.fromhex(APP.sha256)).decode()
    unknown = replace(APP, sha256="", etag="", version_id="null")
    services = Services(**GOOD)
    outcome = await provider.start(an_action(provider, services, configuration=configuration, inputs=(unknown,)))
    assert isinstance(outcome, Succeeded)
    assert "VersionId" not in services.input("GetObject")
    assert "ChecksumSHA256" not in services.input("PutObject")


async def test_a_deployment_to_a_bucket_ends(monkeypatch):
    provider = modules()["s3_deploy"]

    async def hangs(self):
        await asyncio.Event().wait()
        yield b""

    monkeypatch.setattr(Bytes, "__aiter__", hangs)
    late = an_action(provider, Services(**GOOD), configuration=DEPLOY, started=0, now=90 * MINUTE)
    outcome = await provider.start(late)
    assert outcome.message == "The deployment took longer than 90 minutes. Retry the stage."


async def test_an_artifact_with_too_much_in_it_is_not_deployed(monkeypatch):
    provider = modules()["s3_deploy"]
    for name, most, says in (
        ("_FILES", 2, "it has more than 2 entries"),
        ("_LARGEST", 1, "The artifact is larger than 0 GiB."),
        ("_LARGEST_FILE", 2, "'index.html' is larger than 0 GiB"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(s3_deploy, name, most)
            services = Services(**GOOD)
            outcome = await provider.start(an_action(provider, services, configuration=DEPLOY))
        assert (outcome.code, says in outcome.message) == ("ConfigurationError", True)
        assert "PutObject" not in [operation for _, operation, _ in services.calls]


async def test_how_far_a_deployment_to_a_bucket_is(monkeypatch):
    monkeypatch.setattr(s3_deploy, "_AT_ONCE", 1)
    said = []

    async def report(running):
        said.append(running)

    for pause, expected in ((0, [Running(percent=60), Running(percent=100)]), (3600, [])):
        monkeypatch.setattr(s3_deploy, "_SHOWN_S", pause)
        said.clear()
        provider = modules()["s3_deploy"]
        outcome = await provider.start(an_action(provider, Services(**GOOD), configuration=DEPLOY, report=report))
        assert isinstance(outcome, Succeeded)
        assert said == expected


async def test_a_deployment_names_an_object():
    provider = modules()["s3_deploy"]
    empty = {"BucketName": "b", "Extract": "false", "ObjectKey": ""}
    outcome = await provider.start(an_action(provider, Services(**GOOD), configuration=empty))
    assert outcome.message == "ObjectKey is empty: it must name the object to write."
    services = Services(**GOOD)
    places = {**DEPLOY, "ObjectKey": "{datetime}/{uuid}/", "CacheControl": "no-cache", "CannedACL": "private"}
    more = {"started": 1_700_000_000_999, "now": 1_700_000_001_000}
    outcome = await provider.start(an_action(provider, services, configuration=places, **more))
    folder = "2023-11-14_22-13-20/0b0c6f0e-0000-4000-8000-000000000001/"
    assert outcome == Succeeded(external_id=f"b/{folder}", summary="Deployment Succeeded")
    puts = [input for _, operation, input in services.calls if operation == "PutObject"]
    said = {"Bucket": "b", "CacheControl": "no-cache", "ACL": "private"}
    assert puts == [
        {**said, "Key": f"{folder}index.html", "Body": b"<p>", "ContentType": "text/html"},
        {**said, "Key": f"{folder}js/app.js", "Body": b"1;", "ContentType": "text/javascript"},
    ]


async def test_another_pipeline_is_started_once_with_what_it_is_told():
    provider, services = modules()["pipeline_invoke"], Services(**GOOD)
    wanted = {
        "PipelineName": "child",
        "Variables": '[{"name": "A", "value": "1"}]',
        "SourceRevisions": '[{"actionName": "Src", "revisionType": "COMMIT_ID", "revisionValue": "c"}]',
    }
    outcome = await provider.start(an_action(provider, services, configuration=wanted, inputs=(), outputs=()))
    child = GOOD["StartPipelineExecution"]["pipelineExecutionId"]
    assert outcome == Succeeded(
        external_id=child, summary="Pipeline child started", variables={"PipelineExecutionId": child}
    )
    assert services.calls == [
        (
            "codepipeline",
            "StartPipelineExecution",
            {
                "name": "child",
                "clientRequestToken": "0b0c6f0e-0000-4000-8000-000000000001",
                "variables": [{"name": "A", "value": "1"}],
                "sourceRevisions": [{"actionName": "Src", "revisionType": "COMMIT_ID", "revisionValue": "c"}],
            },
        )
    ]
    assert provider.link(Link.EXECUTION, provider.types[0], wanted, id=child) == "/console/pipelines/child"
    full = Services(StartPipelineExecution=refusal("ConcurrentPipelineExecutionsLimitExceededException", "Full"))
    outcome = await provider.start(an_action(provider, full, configuration=wanted))
    assert (outcome.code, outcome.message.partition(" (")[0]) == ("JobFailed", "Full")


WAITS = {"PipelineName": "child", "WaitForCompletion": "true"}


async def test_another_pipeline_is_waited_for():
    provider, child = modules()["pipeline_invoke"], GOOD["StartPipelineExecution"]["pipelineExecutionId"]
    outcome = await provider.start(an_action(provider, Services(**GOOD), configuration=WAITS))
    assert outcome == Running(external_id=child, summary="Pipeline child started", check_after=2_000)
    for status, more, expected in (
        ("InProgress", {}, Running(external_id=child, check_after=2_000)),
        ("Stopping", {}, Running(external_id=child, check_after=2_000)),
        ("Succeeded", {}, Succeeded(external_id=child, summary="Pipeline child succeeded", variables={"PipelineExecutionId": child})),
        ("Superseded", {}, f"Execution {child} of pipeline child ended as Superseded."),
        ("Failed", {"statusSummary": "No values"}, f"Execution {child} of pipeline child ended as Failed: No values"),
    ):  # fmt: skip
        services = Services(GetPipelineExecution={"pipelineExecution": {"status": status, **more}})
        outcome = await provider.observe(an_action(provider, services, configuration=WAITS, external_id=child))
        if isinstance(expected, str):
            expected = Failed(code="JobFailed", message=expected, external_id=child)
        assert outcome == expected
        assert services.calls == [
            ("codepipeline", "GetPipelineExecution", {"pipelineName": "child", "pipelineExecutionId": child})
        ]
    myself = Services()
    outcome = await provider.start(an_action(provider, myself, configuration={**WAITS, "PipelineName": "demo"}))
    assert (outcome.code, myself.calls) == ("ConfigurationError", [])


async def test_what_is_waited_for_is_stopped_with_its_action():
    provider = modules()["pipeline_invoke"]
    for error in ("PipelineExecutionNotStoppableException", "DuplicatedStopRequestException", None):
        services = Services(StopPipelineExecution=refusal(error) if error else {})
        await provider.stop(an_action(provider, services, configuration=WAITS, external_id="e"))
        assert services.input("StopPipelineExecution") == {
            "pipelineName": "child",
            "pipelineExecutionId": "e",
            "reason": "Action act of pipeline demo has ended",
        }
    with pytest.raises(ServiceError):
        broken = Services(StopPipelineExecution=refusal("PipelineNotFoundException"))
        await provider.stop(an_action(provider, broken, configuration=WAITS, external_id="e"))
    for configuration, started in (({"PipelineName": "child"}, "e"), (WAITS, "")):
        await provider.stop(an_action(provider, Services(), configuration=configuration, external_id=started))


def test_an_action_that_waits_for_a_pipeline_has_more_time():
    known = modules()["pipeline_invoke"].types[0]
    for value, hours in ((None, 1), ("false", 1), ("true", 7 * 24), ("#{a.b}", 7 * 24)):
        configuration = {"PipelineName": "x"} | ({} if value is None else {"WaitForCompletion": value})
        stages = [
            {
                "name": "Do",
                "actions": [{"name": "a", "actionTypeId": known.id.as_output(), "configuration": configuration}],
            }
        ]
        (only,) = plan_of({"stages": stages}, 1, lambda _id: known).stages
        assert only.groups[0][0].timeout == hours * 60 * MINUTE


@pytest.mark.parametrize("text", ["{", "1", "{}", "[1]", '[{"name": 1}]', '[{"name": ["x"]}]', "[" * 100_000])
@pytest.mark.parametrize("key", ["Variables", "SourceRevisions"])
async def test_what_another_pipeline_is_told_must_be_readable(key, text):
    provider = modules()["pipeline_invoke"]
    configuration = {"PipelineName": "child", key: text}
    refused = provider.types[0].refuse({"name": "Go", "configuration": configuration})
    assert refused.startswith(f"{key} of action 'Go' cannot be read: ")
    services = Services()
    outcome = await provider.start(an_action(provider, services, configuration=configuration))
    assert (outcome.code, services.calls) == ("ConfigurationError", [])
    assert outcome.message.startswith(f"{key} cannot be read: ")
    later = {"PipelineName": "child", key: text + "#{src.List}"}
    assert provider.types[0].refuse({"name": "Go", "configuration": later}) is None


async def test_codebuild():
    provider, services = modules()["codebuild"], Services(**GOOD)
    wanted = {"ProjectName": "p", "EnvironmentVariables": '[{"name": "A", "value": "1"}]', "BuildspecOverride": "b.yml"}
    outcome = await provider.start(an_action(provider, services, configuration=wanted))
    assert outcome == Running(external_id="x:1")
    assert services.input("StartBuild") == {
        "projectName": "p",
        "idempotencyToken": "0b0c6f0e-0000-4000-8000-000000000001",
        "sourceTypeOverride": "CODEPIPELINE",
        "artifactsOverride": {"type": "CODEPIPELINE"},
        "environmentVariablesOverride": [{"name": "A", "value": "1", "type": "PLAINTEXT"}],
        "buildspecOverride": "b.yml",
    }
    assert provider.reports["codebuild.build.state_changed"](
        {"build-id": "arn:aws:codebuild:us-east-1:111111111111:build/p:abc"}
    ) == ("p:abc")
    build = {
        "id": "x:1",
        "buildStatus": "SUCCEEDED",
        "logs": {"cloudWatchLogsArn": "arn:logs", "deepLink": "http://log"},
        "exportedEnvironmentVariables": [{"name": "TAG", "value": "v1"}],
        "artifacts": PUT,
    }
    checked_services = Services(BatchGetBuilds={"builds": [build]})
    outcome = await provider.observe(an_action(provider, checked_services, external_id="x:1"))
    assert outcome.variables == {"TAG": "v1"}
    assert outcome.log_stream == "arn:logs"
    (written,) = outcome.outputs
    assert (written.name, written.version_id, written.etag, written.sha256) == ("Out", "v2", "e2", SHA)
    silent = Services(BatchGetBuilds={"builds": [{**build, "artifacts": {"location": ""}}]})
    outcome = await provider.observe(an_action(provider, silent, external_id="x:1"))
    assert outcome.message.startswith("The build did not say which objects it wrote")
    checked_services = Services(BatchGetBuilds={"builds": [{**build, "buildStatus": "FAULT"}]})
    outcome = await provider.observe(an_action(provider, checked_services, external_id="x:1"))
    assert (outcome.code, outcome.message) == ("JobFailed", "Build terminated with state: FAULT")
    phases = [
        {"phaseType": "INSTALL", "phaseStatus": "SUCCEEDED", "contexts": [{"statusCode": "", "message": "fine"}]},
        {
            "phaseType": "BUILD",
            "phaseStatus": "FAILED",
            "contexts": [{"statusCode": "COMMAND_EXECUTION_ERROR", "message": "x"}],
        },
        {"phaseType": "COMPLETED"},
    ]
    checked_services = Services(BatchGetBuilds={"builds": [{**build, "buildStatus": "FAILED", "phases": phases}]})
    outcome = await provider.observe(an_action(provider, checked_services, external_id="x:1"))
    assert outcome.message == outcome.summary
    assert (
        outcome.message
        == "Build terminated with state: FAILED. Phase: BUILD, Code: COMMAND_EXECUTION_ERROR, Message: x"
    )
    absent = Services(StartBuild=refusal("ResourceNotFoundException", "Project cannot be found"))
    outcome = await provider.start(an_action(provider, absent, configuration={"ProjectName": "p"}))
    assert outcome.message == (
        "Error calling startBuild: Project cannot be found (Service: AWSCodeBuild; Status Code: 400; Error Code: "
        "ResourceNotFoundException)"
    )


async def test_codedeploy():
    provider, services = modules()["codedeploy"], Services(**GOOD)
    wanted = {"ApplicationName": "a", "DeploymentGroupName": "g"}
    outcome = await provider.start(an_action(provider, services, configuration=wanted, outputs=()))
    assert outcome == Running(external_id="d-ABCDEF123")
    made = services.input("CreateDeployment")
    assert made["revision"]["s3Location"] == {
        "bucket": "artifacts",
        "key": "demo/App/1234567",
        "bundleType": "zip",
        "version": "v1",
        "eTag": "e1",
    }
    assert made["description"] == "Pipeline demo, execution 0b0c6f0e-0000-4000-8000-000000000002"
    failed = Services(
        GetDeployment={
            "deploymentInfo": {
                "status": "Failed",
                "errorInformation": {"code": "HEALTH_CONSTRAINTS", "message": "Too many"},
            }
        }
    )
    outcome = await provider.observe(an_action(provider, failed, external_id="d-1"))
    assert (outcome.code, outcome.message, outcome.summary) == ("JobFailed", "Too many", "Deployment d-1 failed")
    over = Services(StopDeployment=refusal("DeploymentAlreadyCompletedException"))
    await provider.stop(an_action(provider, over, external_id="d-1"))


@pytest.mark.parametrize(
    ("overview", "percent"),
    [
        ({"Succeeded": 1, "Pending": 2, "InProgress": 1}, 25),
        ({"Succeeded": 1, "Failed": 1, "Skipped": 1, "Pending": 5}, 37),
        ({"Succeeded": 2, "Ready": 1, "Pending": 0}, 66),
        ({"Pending": 4}, 0),
        ({"Skipped": 3}, 100),
        ({"Pending": 0, "InProgress": 0}, None),
        ({}, None),
    ],
)
async def test_how_far_a_deployment_is(overview, percent):
    got = Services(GetDeployment={"deploymentInfo": {"status": "InProgress", "deploymentOverview": overview}})
    outcome = await modules()["codedeploy"].observe(an_action(modules()["codedeploy"], got, external_id="d-1"))
    assert outcome == Running(external_id="d-1", percent=percent)


async def test_what_a_deployment_that_ended_says():
    provider = modules()["codedeploy"]
    for info, expected in (
        (
            {"status": "Succeeded"},
            Succeeded(external_id="d-1", summary="Deployment Succeeded", variables={"DeploymentId": "d-1"}),
        ),
        (
            {"status": "Stopped"},
            Failed(
                code="JobFailed", message="Deployment d-1 stopped", external_id="d-1", summary="Deployment d-1 stopped"
            ),
        ),
        ({"status": "Queued"}, Running(external_id="d-1")),
    ):
        got = Services(GetDeployment={"deploymentInfo": info})
        assert await provider.observe(an_action(provider, got, external_id="d-1")) == expected


async def test_a_deployment_names_only_what_is_known_of_the_artifact():
    provider, services = modules()["codedeploy"], Services(**GOOD)
    bare = ArtifactLocation(name="App", bucket="artifacts", key="k")
    wanted = {"ApplicationName": "a", "DeploymentGroupName": "g"}
    await provider.start(an_action(provider, services, configuration=wanted, inputs=(bare,), outputs=()))
    location = {"bucket": "artifacts", "key": "k", "bundleType": "zip"}
    for operation in ("RegisterApplicationRevision", "CreateDeployment"):
        assert services.input(operation)["revision"] == {"revisionType": "S3", "s3Location": location}
        assert services.input(operation)["applicationName"] == "a"
    assert services.input("CreateDeployment")["deploymentGroupName"] == "g"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (refusal("DeploymentLimitExceededException"), "JobFailed"),
        (refusal("ApplicationDoesNotExistException", status=499), "ConfigurationError"),
        (AccessDenied("not you"), "PermissionError"),
    ],
)
async def test_a_deployment_that_is_refused(error, code):
    provider, services = modules()["codedeploy"], Services(**{**GOOD, "CreateDeployment": error})
    wanted = {"ApplicationName": "a", "DeploymentGroupName": "g"}
    outcome = await provider.start(an_action(provider, services, configuration=wanted, outputs=()))
    assert (type(outcome), outcome.code) == (Failed, code)
    assert "not you" in outcome.message or "Not so." in outcome.message


async def test_what_passes_by_itself_is_tried_again():
    provider = modules()["codedeploy"]
    services = Services(
        **{**GOOD, "CreateDeployment": refusal("X", status=500), "StopDeployment": refusal("Y", status=500)}
    )
    wanted = {"ApplicationName": "a", "DeploymentGroupName": "g"}
    with pytest.raises(ServiceError):
        await provider.start(an_action(provider, services, configuration=wanted, outputs=()))
    with pytest.raises(ServiceError):
        await provider.stop(an_action(provider, services, external_id="d-1"))
    assert services.input("StopDeployment") == {"deploymentId": "d-1", "autoRollbackEnabled": False}
    services.calls.clear()
    await provider.stop(an_action(provider, services))
    assert services.calls == []


@pytest.mark.parametrize(
    ("date", "got"),
    [
        ("1795245426 +0000", "2026-11-21T07:17:06Z"),
        ("99999999999999 +0000", "99999999999999 +0000"),
        ("", ""),
        (None, ""),
    ],
)
def test_a_commit_of_any_age_has_a_date(date, got):
    assert codecommit_source._iso(date) == got


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        ({"eTag": "e1", "sha256": APP.sha256}, False),
        ({"eTag": "of the same bytes, written twice", "sha256": APP.sha256}, False),
        ({"eTag": "e1", "sha256": SHA}, True),
        ({"eTag": "e1"}, False),  # a large one in parts, whose digest nobody has computed
        ({"eTag": "e2"}, True),
    ],
)
async def test_what_counts_as_changed(now, changed):
    services = Services(GetObjectDigest={"lastModified": 0, **now})
    found = await changed_input(an_action(modules()["codedeploy"], services))
    assert (found is not None) is changed
    if found is not None:
        assert found.code == "RevisionOutOfSync"
    asked = {"bucketName": "artifacts", "objectKey": APP.key, "versionId": "v1", "maximumSize": 0}
    assert services.input("GetObjectDigest") == asked


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (refusal("NoSuchVersion", status=404), "is not there any more (NoSuchVersion). Run the action that makes it again."),
        (refusal("MethodNotAllowed", status=405), "is not there any more (MethodNotAllowed). Run the action that"),
        (refusal("KMS.DisabledException", "K is disabled."), "cannot be read: K is disabled. (KMS.DisabledException). Mend that, then retry"),
    ],
)  # fmt: skip
async def test_an_artifact_that_cannot_be_had_says_why(error, says):
    """A key that was disabled in mid-pipeline is enabled again; to build the artifact anew would be refused too."""
    found = await changed_input(an_action(modules()["codedeploy"], Services(GetObjectDigest=error)))
    assert (found.code, says in found.message) == ("RevisionUnavailable", True), found.message


async def test_every_artifact_is_looked_at_whatever_the_one_before_is():
    names = ("unpinned", "forbidden", "refused", "same", "changed")
    inputs = tuple(replace(APP, name=name, key=name, etag="" if name == "unpinned" else "e1") for name in names)
    answers = {
        "forbidden": AccessDenied("no"), "refused": refusal("AccessDenied", status=403),
        "same": {"eTag": "e1"}, "changed": {"eTag": "e2", "lastModified": 0},
    }  # fmt: skip

    def digest(asked):
        answer = answers[asked["objectKey"]]
        if isinstance(answer, Exception):
            raise answer
        return answer

    services = Services(GetObjectDigest=digest)
    found = await changed_input(an_action(modules()["codedeploy"], services, inputs=inputs))
    assert (found.code, "The artifact changed (" in found.message) == ("RevisionOutOfSync", True)
    assert [asked["objectKey"] for _, _, asked in services.calls] == list(names[1:])


async def test_a_server_that_fails_says_nothing_of_an_artifact():
    failing = refusal("InternalError", status=500)
    with pytest.raises(type(failing)):
        await changed_input(an_action(modules()["codedeploy"], Services(GetObjectDigest=failing)))


async def test_what_nobody_pinned_is_not_looked_up():
    unknown = replace(APP, etag="", sha256="")
    assert await changed_input(an_action(modules()["codedeploy"], Services(), inputs=(unknown,))) is None


LACKS = "Action configuration for action 'Build' is missing required configuration 'PrimarySource'"
UNREADABLE = "EnvironmentVariables of action 'Build' cannot be read: "


@pytest.mark.parametrize(
    ("configuration", "inputs", "said"),
    [
        ({}, ["A"], None),
        ({}, ["A", "B"], LACKS),
        ({"PrimarySource": "B"}, ["A", "B"], None),
        ({"PrimarySource": "#{x.y}"}, ["A", "B"], None),
        ({"PrimarySource": "C"}, ["A", "B"], "PrimarySource 'C' of action 'Build' is not one of its input artifacts"),
        ({"PrimarySource": "C"}, [], "PrimarySource 'C' of action 'Build' is not one of its input artifacts"),
        ({"BatchEnabled": "true", "CombineArtifacts": "true"}, ["A"], None),
        ({"EnvironmentVariables": "#{x.y}"}, ["A"], None),
        ({"EnvironmentVariables": '[{"name": "A", "value": ""}]'}, ["A"], None),
        ({"EnvironmentVariables": "[" * 100_000}, ["A"], f"{UNREADABLE}it is nested too deeply"),
        ({"EnvironmentVariables": "{}"}, ["A"], f"{UNREADABLE}it must be a JSON list of objects with name, value and type"),
        ({"EnvironmentVariables": "[1]"}, ["A"], f"{UNREADABLE}every variable must have a name"),
        ({"EnvironmentVariables": '[{"name": "", "value": ""}]'}, ["A"], f"{UNREADABLE}every variable must have a name"),
        ({"EnvironmentVariables": '[{"name": "A", "value": 1}]'}, ["A"], f"{UNREADABLE}the value of 'A' must be a string"),
        ({"EnvironmentVariables": '[{"name": "A", "value": "", "type": "x"}]'}, ["A"],
         f"{UNREADABLE}the type of 'A' must be one of PLAINTEXT, PARAMETER_STORE, SECRETS_MANAGER"),
    ],
)  # fmt: skip
def test_builds_that_no_pipeline_can_declare(configuration, inputs, said):
    action = {"name": "Build", "configuration": configuration, "inputArtifacts": [{"name": name} for name in inputs]}
    assert codebuild._refuse(action) == said


@pytest.mark.parametrize("key", ["BatchEnabled", "CombineArtifacts"])
async def test_batches_of_builds_fail_at_once(key):
    for value, runs in (("true", False), ("false", True)):
        services = Services(**GOOD)
        wanted = {"ProjectName": "p", key: value}
        outcome = await modules()["codebuild"].start(
            an_action(modules()["codebuild"], services, configuration=wanted, outputs=())
        )
        assert isinstance(outcome, Running) is runs
        assert bool(services.calls) is runs
        assert runs or outcome == Failed(
            code="ConfigurationError",
            message=f"Penstock does not run batch builds from pipelines yet. Remove {key} from action 'act'.",
        )


async def test_a_build_that_is_gone_has_failed():
    gone = an_action(modules()["codebuild"], Services(BatchGetBuilds={"builds": []}), external_id="x:1")
    assert await modules()["codebuild"].observe(gone) == Failed(
        code="JobFailed", message="The build x:1 does not exist.", external_id="x:1"
    )


@pytest.mark.parametrize(
    ("keys", "display"),
    [
        ([], Display(line="P", subject="", part="")),
        (["a"], Display(line="P, a", subject="a", part="")),
        (["a", "b"], Display(line="P, b", subject="a", part="b")),
        (["a", ""], Display(line="P", subject="a", part="")),
    ],
)
def test_what_people_are_shown_of_an_action(keys, display):
    properties = [Property(name=f"k{number}", description="", key=True) for number in range(len(keys))]
    known = replace(modules()["codebuild"].types[0], properties=(*properties, Property(name="other", description="")))
    known = replace(known, id=replace(known.id, provider="P"))
    configuration = {f"k{number}": value for number, value in enumerate(keys)} | {"other": "x"}
    assert Provider.shows(modules()["codebuild"], known, configuration) == display


class TestApprovalsAndTopics:
    """What a manual approval tells its topic."""

    PROVIDER = modules()["manual_approval"]
    TOPIC = "arn:aws:sns:us-east-1:111111111111:asked"

    def asking(self, services, **more):
        configuration = {"NotificationArn": self.TOPIC, **more.pop("configuration", {})}
        return an_action(self.PROVIDER, services, configuration=configuration, **{"site": "https://p.test", **more})

    async def test_a_topic_is_told_once_for_every_start_with_nothing_that_is_not_there(self):
        services = Services(Publish={"MessageId": "m"})
        asked = self.asking(services, approval="the-token", ends=1_767_225_659_999)
        assert await self.PROVIDER.start(asked) == Waiting()
        ((service, operation, input),) = services.calls
        assert (service, operation, input["TopicArn"]) == ("sns", "Publish", self.TOPIC)
        assert json.loads(input["Message"])["approval"] == {
            "pipelineName": "demo",
            "stageName": "Stage",
            "actionName": "act",
            "token": "the-token",
            "expires": "2026-01-01T00:00Z",
            "approvalReviewLink": "https://p.test/console/pipelines/demo/approvals/Stage/act",
        }

    async def test_a_topic_is_notified_of_who_has_to_approve(self):
        services = Services(Publish={"MessageId": "m"})
        rule = {"RequiredApprovals": "2", "Approvers": "group/leads, cy", "AllowSelfApproval": "false"}
        await self.PROVIDER.start(self.asking(services, configuration=rule))
        asked = json.loads(services.input("Publish")["Message"])["approval"]
        assert (asked["requiredApprovals"], asked["approvers"], asked["selfApproval"]) == (
            2,
            ["group/leads", "cy"],
            False,
        )
        shown = self.PROVIDER.shows(self.PROVIDER.types[0], rule)
        assert shown.needs == "2 approvals from group/leads, cy, not from whoever started the run"

    async def test_a_topic_is_notified_of_what_the_run_brings(self):
        services = Services(Publish={"MessageId": "m"})
        many = tuple(Revision(id=f"r{number}", summary="s" * 300) for number in range(25))
        await self.PROVIDER.start(replace(self.asking(services), brought=many))
        changes = json.loads(services.input("Publish")["Message"])["approval"]["changes"]
        assert (len(changes), changes[0]) == (20, {"id": "r0", "summary": "s" * 200})

    async def test_a_fifo_topic_takes_a_request_once(self):
        services = Services(Publish={"MessageId": "m"})
        topic = {"NotificationArn": f"{self.TOPIC}.fifo"}
        asked = replace(self.asking(services, configuration=topic), pipeline="p" * 100)
        await self.PROVIDER.start(asked)
        input = services.input("Publish")
        assert (input["MessageGroupId"], input["MessageDeduplicationId"]) == ("p" * 100, asked.id)
        assert len(input["Subject"]) == 100

    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            (AccessDenied("User is not authorized"), "PermissionError"),
            (refusal("NotFound", "Topic does not exist"), "JobFailed"),
        ],
    )
    async def test_who_cannot_be_told_is_not_waited_for(self, answer, code):
        outcome = await self.PROVIDER.start(self.asking(Services(Publish=answer)))
        assert isinstance(outcome, Failed)
        assert outcome.code == code
        assert str(answer.message) in outcome.message

    async def test_a_topic_that_cannot_be_told_now_is_told_later(self):
        with pytest.raises(InternalFailure):
            await self.PROVIDER.start(self.asking(Services(Publish=InternalFailure())))

    async def test_without_a_topic_it_needs_no_role(self):
        assert not self.PROVIDER.acts({"CustomData": "x"})
        assert self.PROVIDER.acts({"NotificationArn": self.TOPIC})


RUN = {
    "id": "commands.demo:1",
    "logUrl": "http://here/console/builds/commands.demo:1",
    "logStreamARN": "arn:aws:logs:us-east-1:111111111111:log-group:/aws/codepipeline/demo:log-stream:1",
}
SHOWN = {"external_id": RUN["id"], "url": RUN["logUrl"], "log_stream": RUN["logStreamARN"]}


async def test_commands_are_looked_at_and_stopped_by_the_action_alone():
    provider = modules()["commands"]
    failure = {"phase": "BUILD", "code": "COMMAND_EXECUTION_ERROR", "message": "Error while executing command: x"}
    broken = "Build terminated with state: FAILED. Phase: BUILD, Code: COMMAND_EXECUTION_ERROR, Message: Error while executing command: x"
    stopped = "Build terminated with state: STOPPED"
    place = {"bucketName": "artifacts", "objectKey": "demo/Out/7654321", "versionId": "v2", "eTag": "e2", "sha256": SHA}
    for run, wanted in (
        ({"status": "IN_PROGRESS"}, Running(**SHOWN)),
        (
            {"status": "SUCCEEDED", "outputVariables": {"V": "1"}, "outputArtifact": place},
            Succeeded(
                **SHOWN,
                variables={"V": "1"},
                outputs=(
                    ArtifactLocation(
                        name="Out", bucket="artifacts", key="demo/Out/7654321", version_id="v2", etag="e2", sha256=SHA
                    ),
                ),
            ),
        ),
        (
            {"status": "FAILED", "failure": failure},
            Failed(**SHOWN, code="JobFailed", message=broken, summary=broken),
        ),
        ({"status": "STOPPED"}, Failed(**SHOWN, code="JobFailed", message=stopped, summary=stopped)),
    ):
        services = Services(GetActionCommands={"run": RUN | run})
        assert await provider.observe(an_action(provider, services, external_id=RUN["id"])) == wanted
        assert services.calls == [("penstock", "GetActionCommands", {"pipelineName": "demo"})]
    long = {"status": "FAILED", "failure": failure | {"message": "x" * 100_000}}
    outcome = await provider.observe(an_action(provider, Services(GetActionCommands={"run": RUN | long})))
    assert len(outcome.message) == 2_000
    gone = Services(GetActionCommands=AccessDenied("Only a running action"), StopActionCommands=AccessDenied("No"))
    outcome = await provider.observe(an_action(provider, gone, external_id=RUN["id"]))
    assert (outcome.code, outcome.message) == (
        "JobFailed",
        "The build commands.demo:1 of the commands does not exist any more. Retry the stage.",
    )
    await provider.stop(an_action(provider, gone))
