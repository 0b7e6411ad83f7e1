"""Every rule of a declaration, with its code and text."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_examples import examples
from pipeline_harness import BUILD, SOURCE, Scripted, action, approval, declared, stage

from penstock.pipelines.actions import Providers, built_in
from penstock.pipelines.declaration import check, faults, normalise, refusal_of_resolved
from penstock.pipelines.plan import plan_of
from penstock.pipelines.plan import type_of as plan_type
from penstock.wire.errors import ServiceError

TYPES_OF_AWS = built_in().types()
TYPES = Providers({**built_in().by_name, "scripted": Scripted()}).type
STRUCTURE, STAGE, ACTION = (
    "InvalidStructureException",
    "InvalidStageDeclarationException",
    "InvalidActionDeclarationException",
)


def refused(declaration, region="us-east-1"):
    with pytest.raises(ServiceError) as error:
        check(declaration, TYPES, region=region)
    return error.value.wire_code, error.value.message


def pull(name="pull", **more):
    return action(name, "Source", **more)


@pytest.mark.parametrize("known", TYPES_OF_AWS, ids=lambda known: f"{known.id.category}-{known.id.provider}")
def test_every_value_of_every_provider_may_have_variables(known):
    """But those that say who approves."""
    source = known.id.category == "Source"
    reference = "#{codepipeline.PipelineExecutionId}" if source else "#{Src.Value}, #{variables.Name}"
    kept = {"RequiredApprovals", "Approvers", "AllowSelfApproval"}
    configuration = {one.name: f"a {reference}" for one in known.properties if one.name not in kept}
    one = {"name": "a", "actionTypeId": known.id.as_output(), "configuration": configuration}
    if "commands" in known.members:
        one["commands"] = ["true"]
    names = [f"Own{number}" for number in range(known.inputs[0])]
    makes = [{"name": f"Made{number}"} for number in range(known.outputs[0])]
    one |= {"inputArtifacts": [{"name": name} for name in names], "outputArtifacts": makes}
    first = [pull("pull", namespace="Src"), *(pull(name, outputArtifacts=[{"name": name}]) for name in names)]
    stages = [stage("Source", one), BUILD] if source else [stage("Source", *first), stage("Do", one)]
    whole = {**declared(*stages), "pipelineType": "V2", "variables": [{"name": "Name", "defaultValue": "x"}]}
    if source:
        whole["stages"][1] = stage("Do", action("do"))
    check(whole, TYPES, region="us-east-1")


@pytest.mark.parametrize(
    ("provider", "configuration", "said"),
    [
        ("S3", {"BucketName": "b", "Extract": "true"}, None),
        ("S3", {"BucketName": "b", "Extract": "#{a.b}"}, "Action configuration for action 'a' contains an invalid value for 'Extract': it must be one of true, false"),
        ("S3", {"BucketName": "b", "Extract": "false"}, "Action configuration for action 'a' is missing required configuration 'ObjectKey'"),
        ("S3", {"BucketName": "", "Extract": "true"}, "Action configuration for action 'a' is missing required configuration 'BucketName': its variables have empty values"),
        ("S3", {"BucketName": "b", "Extract": "true", "ObjectKey": "", "CacheControl": ""}, None),
    ],
)  # fmt: skip
def test_values_of_variables_are_checked_as_those_of_declarations(provider, configuration, said):
    """A reference in the value of a variable is none."""
    known = next(one for one in TYPES_OF_AWS if (one.id.category, one.id.provider) == ("Deploy", provider))
    assert refusal_of_resolved({"name": "a", "configuration": configuration}, known) == said


def test_a_good_one_passes():
    check(declared(), TYPES, region="us-east-1")


ROWS = [
    (
        declared(SOURCE),
        STRUCTURE,
        "Pipeline has only 1 stage(s). There should be a minimum of 2 stages in a pipeline",
    ),
    (
        declared(SOURCE, *(stage(f"S{i}", action("a")) for i in range(50))),
        STRUCTURE,
        "Pipeline has too many stages. There can only be up to 50 stages in a pipeline",
    ),
    (
        declared(stage("Source", pull(), action("a")), BUILD),
        STRUCTURE,
        "Pipeline should start with a stage that only contains source actions",
    ),
    (
        declared(SOURCE, stage("Build", action("a"), pull("again"))),
        STRUCTURE,
        "Source actions can only be included in the first stage of the pipeline",
    ),
    (
        declared(SOURCE, stage("Build")),
        STRUCTURE,
        "Pipeline should contain at least 1 action whose category is not Source",
    ),
    (declared(SOURCE, BUILD, stage("Empty")), STAGE, "Stage 'Empty' should contain at least 1 action"),
    (declared(SOURCE, BUILD, BUILD), STAGE, "Stage name 'Build' is used more than once"),
    (
        declared(SOURCE, stage("Build", action("a"), action("a"))),
        ACTION,
        "Action name 'a' is used more than once in stage 'Build'",
    ),
    (
        declared(executionMode="QUEUED", pipelineType="V1"),
        STRUCTURE,
        "QUEUED or PARALLEL mode can only be used with V2 pipelines",
    ),
    (
        declared(variables=[{"name": "A"}], pipelineType="V1"),
        STRUCTURE,
        "Pipeline variable can only be used with V2 pipelines",
    ),
    (
        declared(
            triggers=[{"providerType": "CodeStarSourceConnection", "gitConfiguration": {"sourceActionName": "pull"}}],
            pipelineType="V1",
        ),
        STRUCTURE,
        "Triggers on tag can only be used with V2 pipelines",
    ),
    (
        declared(
            triggers=[{"providerType": "CodeStarSourceConnection", "gitConfiguration": {"sourceActionName": "pull"}}],
            pipelineType="V2",
        ),
        STRUCTURE,
        "Triggers for connections must reference a CodeStarSourceConnection action.",
    ),
    (
        declared(SOURCE, stage("Build", action("a"), onFailure={"result": "RETRY"}), pipelineType="V1"),
        STAGE,
        "Stage level conditions can only be used with V2 pipelines.",
    ),
    (
        declared(SOURCE, stage("Build", action("a"), onFailure={"result": "RETRY", "conditions": [{}]})),
        STAGE,
        "The following stage cannot have a failure exit gate configured with both top level result and conditions: 'Build'",
    ),
    (
        declared(SOURCE, stage("Build", action("a"), onFailure={"result": "ROLLBACK"}), executionMode="PARALLEL"),
        STAGE,
        "Failure conditions with rollback result type cannot be added to a PARALLEL pipeline.",
    ),
    (
        declared({**SOURCE, "onFailure": {"result": "ROLLBACK"}}, stage("Build", action("a"))),
        STAGE,
        "The result ROLLBACK cannot be used for the failure exit gate of stage 'Source': the stage of the sources is not "
        "rolled back",
    ),
    (
        declared(SOURCE, stage("Build", action("a"), beforeEntry={"conditions": [{"result": "FAIL"}]})),
        STAGE,
        "The condition BEFORE_ENTRY of stage 'Build' has 0 rules: it must have 1 to 5",
    ),
    (
        declared(SOURCE, stage("Build", action("a"), blockers=[{"name": "b", "type": "Schedule"}])),
        "InvalidBlockerDeclarationException",
        "Stage 'Build' declares blockers. Blockers are reserved for future use.",
    ),
    (
        declared(
            SOURCE,
            stage(
                "Build",
                {
                    "name": "A",
                    "actionTypeId": {"category": "Build", "owner": "ThirdParty", "provider": "Jenkins", "version": "1"},
                },
            ),
        ),
        ACTION,
        "ActionType (Category: 'Build', Provider: 'Jenkins', Owner: 'ThirdParty', Version: '1') in action 'A' is not "
        "available in region 'US_EAST_1'",
    ),
    (
        declared(SOURCE, stage("Build", action("b", provider="CodeBuild", configuration={"ProjectName": "p"}))),
        ACTION,
        "Action b declares 0 input artifacts which is less than the minimum count (1)",
    ),
    (
        declared(stage("Source", pull()), stage("Gate", approval(inputArtifacts=[{"name": "App"}]))),
        ACTION,
        "Action ok declares 1 input artifacts which is more than the maximum count (0)",
    ),
    (
        declared(SOURCE, stage("Build", action("b", provider="CodeBuild", inputArtifacts=[{"name": "App"}]))),
        ACTION,
        "Action configuration for action 'b' is missing required configuration 'ProjectName'",
    ),
    (
        declared(SOURCE, stage("Build", action("b", configuration={"Nonsense": "1"}))),
        ACTION,
        "Action configuration for action 'b' contains unknown configuration 'Nonsense'",
    ),
    (
        declared(SOURCE, stage("Build", action("b", configuration={"Colour": "blue"}))),
        ACTION,
        "Action configuration for action 'b' contains an invalid value for 'Colour': it must be one of red",
    ),
    (
        declared(SOURCE, stage("Build", action("b", commands=["make"]))),
        ACTION,
        "The following action cannot contain a commands field: b. To use the commands field, use a compute action.",
    ),
    (
        declared(SOURCE, stage("Build", action("b", outputArtifacts=[{"name": "O", "files": ["x"]}]))),
        ACTION,
        "Action 'b' declares files of an output artifact, which actions of provider 'Scripted' do not have",
    ),
    (
        declared(SOURCE, stage("Build", action("b", timeoutInMinutes=5))),
        ACTION,
        "Action 'b' declares 'timeoutInMinutes', which only manual approval actions have",
    ),
    (
        declared(SOURCE, stage("Build", action("b", inputArtifacts=[{"name": "Nope"}]))),
        ACTION,
        "Input Artifact Bundle Nope in action b is not declared as the output of any preceding actions",
    ),
    (
        declared(SOURCE, stage("Build", action("b", inputArtifacts=[{"name": "App"}, {"name": "App"}]))),
        ACTION,
        "Input Artifact Bundle App is declared more than once in action b",
    ),
    (
        declared(
            SOURCE,
            stage("Build", action("b", outputArtifacts=[{"name": "O"}]), action("c", inputArtifacts=[{"name": "O"}])),
        ),
        ACTION,
        "Input Artifact Bundle O in action c is not declared as the output of any preceding actions",
    ),
    (
        declared(SOURCE, stage("Build", action("b", outputArtifacts=[{"name": "App"}]))),
        ACTION,
        "Output Artifact Bundle name must be unique within the pipeline. App has been used more than once.",
    ),
    (
        declared(variables=[{"name": "A"}, {"name": "A"}]),
        STRUCTURE,
        "Variable names must be unique. The following variable name is already in use: A",
    ),
    (
        declared(SOURCE, stage("Build", action("b", namespace="src"))),
        ACTION,
        "Namespaces must be unique in a pipeline. Namespace 'src' of action 'b' is used more than once",
    ),
    (
        declared(SOURCE, stage("Build", action("b", namespace="App"))),
        ACTION,
        "Namespaces must be unique in a pipeline. Namespace 'App' of action 'b' is also the name of an artifact",
    ),
    (
        declared(SOURCE, stage("Build", action("b", namespace="codepipeline"))),
        ACTION,
        "Namespaces must be unique in a pipeline. Namespace 'codepipeline' of action 'b' is reserved",
    ),
    (
        declared(SOURCE, stage("Build", action("b", configuration={"Say": "#{nobody.X}"}))),
        ACTION,
        "Valid format for a pipeline execution variable reference is a namespace and a key separated by a period (.). "
        "The following pipeline execution variables are referencing a namespace that does not exist.\nStageName=[Build], "
        "ActionName=[b], ActionConfigurationKey=[Say], VariableReferenceText=[nobody.X]",
    ),
    *(
        (
            declared(
                stage("Source", pull(namespace="Src")),
                stage("Build", action("b", configuration={"Say": f"x #{{{text}}}"})),
            ),
            ACTION,
            "Valid format for a pipeline execution variable reference is a namespace and a key separated by a period (.). The "
            f"following pipeline execution variables {what}.\nStageName=[Build], ActionName=[b], ActionConfigurationKey=[Say], "
            f"VariableReferenceText=[{text}]",
        )
        for text, what in (
            ("Src", "do not have this format"),
            ("Src.", "do not have this format"),
            (".CommitId", "do not have this format"),
            ("", "do not have this format"),
            ("src.CommitId", "are referencing a namespace that does not exist"),
            ("codepipeline.PipelineName", "are referencing a key that does not exist"),
        )
    ),
    *(
        (
            declared(SOURCE, stage("Build", *together)),
            ACTION,
            "Valid format for a pipeline execution variable reference is a namespace and a key separated by a period (.). The "
            "following pipeline execution variables are referencing a namespace that does not exist.\nStageName=[Build], "
            "ActionName=[b], ActionConfigurationKey=[Say], VariableReferenceText=[Own.X]",
        )
        for together in (
            (action("b", namespace="Own", configuration={"Say": "#{Own.X}"}),),
            (action("a", namespace="Own"), action("b", configuration={"Say": "#{Own.X}"})),
            (action("b", configuration={"Say": "#{Own.X}"}), action("a", runOrder=2, namespace="Own")),
        )
    ),
    (
        declared(
            stage("Source", pull(configuration={"Say": "#{variables.A}"})),
            stage("Build", action("b")),
            variables=[{"name": "A"}],
        ),
        STRUCTURE,
        "Variables at the pipeline level cannot be used in source actions.\nStageName=[Source], ActionName=[pull], "
        "ActionConfigurationKey=[Say], VariableReferenceText=[variables.A]",
    ),
    (
        declared(
            SOURCE, stage("Build", action("b", configuration={"Say": "#{variables.B}"})), variables=[{"name": "A"}]
        ),
        STRUCTURE,
        "The referenced variables haven't been declared.\nStageName=[Build], ActionName=[b], "
        "ActionConfigurationKey=[Say], VariableReferenceText=[variables.B]",
    ),
    (
        declared(SOURCE, stage("Build", action("b", configuration={"Say": "#{variables.B}"}))),
        STRUCTURE,
        "The referenced variables haven't been declared.\nStageName=[Build], ActionName=[b], "
        "ActionConfigurationKey=[Say], VariableReferenceText=[variables.B]",
    ),
    (
        declared(SOURCE, stage("Build", action("b", region="eu-west-1"))),
        "ValidationException",
        "Your pipeline contains actions in more than one region. Use 'pipeline.artifactStores' instead of "
        "'pipeline.artifactStore' to declare an artifact store, such as an artifact bucket, for each region where you "
        "have an action.",
    ),
    (
        declared(artifactStore=None, artifactStores={"eu-west-1": {"type": "S3", "location": "bbb"}}),
        "ValidationException",
        "Your pipeline must have an artifact store, such as an artifact bucket, for each region where you have an "
        "action. The following region is missing in 'pipeline.artifactStores': us-east-1.",
    ),
    (
        declared(artifactStore=None),
        STRUCTURE,
        "A pipeline must have exactly one of 'artifactStore' and 'artifactStores'",
    ),
    (
        declared(SOURCE, stage("Gate", approval(configuration={"RequiredApprovals": "0"}))),
        ACTION,
        "RequiredApprovals of the approval action ok must be a number from 1 to 10.",
    ),
    (
        declared(SOURCE, stage("Gate", approval(configuration={"RequiredApprovals": "11"}))),
        ACTION,
        "RequiredApprovals of the approval action ok must be a number from 1 to 10.",
    ),
    (
        declared(SOURCE, stage("Gate", approval(configuration={"Approvers": "ada,,bob"}))),
        ACTION,
        "Approvers of the approval action ok must be names of users, groups and roles with commas between them: NAME, user/NAME, group/NAME, role/NAME or an ARN. This is none of them: ''.",
    ),
    (
        declared(SOURCE, stage("Gate", approval(configuration={"Approvers": "#{variables.who}"}))),
        ACTION,
        "Approvers of the approval action ok may not hold variables: whoever starts a run would choose who approves it.",
    ),
    (
        declared(SOURCE, stage("Gate", approval(configuration={"Approvers": "user/ada", "RequiredApprovals": "2"}))),
        ACTION,
        "RequiredApprovals of the approval action ok is 2, but Approvers names 1 users only.",
    ),
    (
        declared(SOURCE, stage("Gate", approval(configuration={"NotificationArn": "topic"}))),
        ACTION,
        "The ARN topic you specified for sending notifications for the approval action ok contains a format error.",
    ),
    (
        declared(
            SOURCE, stage("Gate", approval(configuration={"NotificationArn": "arn:aws:sqs:us-east-1:111111111111:q"}))
        ),
        ACTION,
        "The ARN arn:aws:sqs:us-east-1:111111111111:q has been specified for sending notifications for the approval "
        "action ok, but the AWS service for this ARN cannot be used to send approval requests.",
    ),
]


@pytest.mark.parametrize(("declaration", "code", "message"), ROWS, ids=[row[2][:60] for row in ROWS])
def test_what_is_refused(declaration, code, message):
    before = copy.deepcopy(declaration)
    assert refused(declaration) == (code, message)
    assert declaration == before


def connected(*triggers, **more):
    """A pipeline whose source `pull` is a repository behind a connection."""
    source = action(
        "pull",
        "Source",
        "CodeStarSourceConnection",
        outputArtifacts=[{"name": "App"}],
        configuration={"ConnectionArn": "arn", "FullRepositoryId": "o/r", "BranchName": "main"},
    )
    found = [{"providerType": "CodeStarSourceConnection", "gitConfiguration": one} for one in triggers]
    return declared(stage("Source", source), stage("Build", action("b")), triggers=found, **more)


def trigger(**filters):
    return {"sourceActionName": "pull", **filters}


MAIN = {"branches": {"includes": ["main"]}}
TAGS = {"tags": {"includes": ["v*"], "excludes": ["v0*"]}}
PATHS = {"filePaths": {"includes": ["src/**"]}}


def test_triggers():
    for good in (
        trigger(push=[TAGS]),
        trigger(push=[MAIN, TAGS, {**MAIN, **PATHS}]),
        trigger(pullRequest=[{"events": ["OPEN", "UPDATED"], **MAIN}, {**MAIN, **PATHS}]),
        trigger(push=[MAIN], pullRequest=[MAIN]),
    ):
        declaration = connected(good)
        check(declaration, TYPES, region="us-east-1")
        normal = normalise(declaration, 1)
        assert normal["pipelineType"] == "V2"
        assert normal["triggers"] == declaration["triggers"]
    again = "The source action 'pull' has more than one trigger. Put its filters into one."
    nothing = (
        "The trigger of source action 'pull' has no filter. Give it 'push' or 'pullRequest', or remove the trigger: "
        "without one every push to the branch of the action starts the pipeline."
    )
    for kind, filters, why in (
        ("push", [MAIN, MAIN], None),
        ("push", [{**TAGS, **MAIN}], "has 'tags' beside other criteria: tags stand alone"),
        ("push", [{**TAGS, **PATHS}], "has 'tags' beside other criteria: tags stand alone"),
        ("push", [PATHS], "has 'filePaths' without 'branches'"),
        ("push", [{}], "has no criteria"),
        ("push", [{"branches": {}}], "has 'branches' without 'includes' and without 'excludes'"),
        ("pullRequest", [{"events": ["OPEN"]}], "has no 'branches'"),
        ("pullRequest", [{"events": ["OPEN", "OPEN"], **MAIN}], "has an event more than once"),
    ):
        code, message = refused(connected(trigger(**{kind: filters})))
        assert code == STRUCTURE
        if why is None:
            assert message == f"The trigger of source action 'pull' has the same filter of '{kind}' more than once"
        else:
            assert message == f"A filter of '{kind}' in the trigger of source action 'pull' {why}"
    assert refused(connected(trigger(push=[MAIN]), trigger(push=[TAGS]))) == (STRUCTURE, again)
    assert refused(connected(trigger())) == (STRUCTURE, nothing)
    large = {"branches": {"includes": ["b" * 255] * 8, "excludes": ["b" * 255] * 8}}
    assert "bytes of JSON" in refused(connected(*[trigger(push=[large])] * 50))[1]


def test_members_of_compute_actions():
    def compute(provider="Commands", category="Compute", **more):
        found = action("c", category, provider, inputArtifacts=[{"name": "App"}], **more)
        return declared(SOURCE, stage("Do", found), pipelineType="V2")

    variable = {"name": "A", "value": "1"}
    good = compute(
        commands=["make"],
        outputVariables=["A"],
        environmentVariables=[{**variable, "type": "SECRETS_MANAGER"}],
        outputArtifacts=[{"name": "Out", "files": ["a", "b/**"]}],
    )
    check(good, TYPES, region="us-east-1")
    assert normalise(good, 1)["stages"][1]["actions"][0]["commands"] == ["make"]
    check(
        compute("EKS", "Deploy", configuration={"ClusterName": "c"}, environmentVariables=[variable]),
        TYPES,
        region="us-east-1",
    )
    for bad, message in (
        (compute(), "Action c must have a non-empty commands field"),
        (
            compute(commands=["a\nb"]),
            "Action 'c' declares a command of several lines. Make each line a command of its own.",
        ),
        *(
            (
                compute(**{"commands": ["a"], **more}),
                "Valid format for a pipeline execution variable reference is a namespace and a key separated by a period (.). The "
                "following pipeline execution variables are referencing a namespace that does not exist."
                f"\nStageName=[Do], ActionName=[c], ActionConfigurationKey=[{place}], VariableReferenceText=[none.x]",
            )
            for place, more in (
                ("commands", {"commands": ["a", "b #{none.x}"]}),
                ("environmentVariables", {"environmentVariables": [{"name": "A", "value": "#{none.x}"}]}),
            )
        ),
        (
            compute(commands=["a"], outputVariables=["A", "A"]),
            "Action 'c' declares the output variable 'A' more than once",
        ),
        (
            compute(commands=["a"], environmentVariables=[variable, variable]),
            "Action 'c' declares the environment variable 'A' more than once",
        ),
        (
            compute(
                "EKS",
                "Deploy",
                configuration={"ClusterName": "c"},
                environmentVariables=[{**variable, "type": "SECRETS_MANAGER"}],
            ),
            "Action 'c' declares an environment variable of type SECRETS_MANAGER, which actions of provider 'EKS' do not have",
        ),
        (
            compute("EKS", "Deploy", configuration={"ClusterName": "c"}, outputVariables=["A"]),
            "Action 'c' declares 'outputVariables', which actions of provider 'EKS' do not have",
        ),
        (
            compute("S3", "Deploy", configuration={"BucketName": "b", "Extract": "false"}),
            "Action configuration for action 'c' is missing required configuration 'ObjectKey'",
        ),
        (
            compute("StepFunctions", "Invoke", configuration={"StateMachineArn": "a", "InputType": "FilePath"}),
            "Action configuration for action 'c' is missing required configuration 'Input'",
        ),
        (
            compute("ServiceCatalog", "Deploy", configuration={"ProductId": "p", "TemplateFilePath": "f"}),
            "Action configuration for action 'c' is missing required configuration 'ProductVersionName'",
        ),
    ):
        assert refused(bad) == (ACTION, message)
    without = declared(
        SOURCE, stage("Do", action("c", "Deploy", "Lambda", configuration={"FunctionName": "f"})), pipelineType="V2"
    )
    assert "missing required configuration 'PublishedTargetVersion'" in refused(without)[1]


def test_what_only_v2_runs():
    for category, provider, keys in (
        ("Compute", "Commands", []),
        ("Build", "ECRBuildAndPublish", ["ECRRepositoryName"]),
        ("Deploy", "EKS", ["ClusterName"]),
        ("Deploy", "EC2", ["InstanceTagKey", "InstanceType"]),
        ("Deploy", "Lambda", ["FunctionName"]),
        ("Invoke", "CodePipeline", ["PipelineName"]),
    ):
        found = action("c", category, provider, configuration=dict.fromkeys(keys, "x"))
        assert refused(declared(SOURCE, stage("Do", found))) == (
            ACTION,
            f"{provider} Action can only be used with V2 pipelines.",
        )


def test_every_part_says_its_first_fault_with_its_place():
    declaration = declared(
        stage("Source", pull(configuration={"Nonsense": "1", "Colour": "blue"}, outputArtifacts=[{"name": "App"}])),
        stage("Build", action("b", inputArtifacts=[{"name": "Nope"}], configuration={"Say": "#{nobody.X}"})),
        stage("Build", action("c", provider="Nobody")),
    )
    found = {fault.path: fault.error.message for fault in faults(declaration, TYPES, region="us-east-1")}
    assert list(found) == [
        ("stages", 2),
        ("stages", 0, "actions", 0, "configuration", "Nonsense"),
        ("stages", 0, "actions", 0, "configuration", "Colour"),
        ("stages", 2, "actions", 0, "actionTypeId"),
        ("stages", 1, "actions", 0, "inputArtifacts"),
        ("stages", 1, "actions", 0, "configuration", "Say"),
    ]
    assert refused(declaration) == (STAGE, found["stages", 2])


def test_a_stage_has_fifty_actions_at_most():
    check(declared(SOURCE, stage("Many", *(action(f"a{i}") for i in range(50)))), TYPES, region="us-east-1")
    code, message = refused(declared(SOURCE, stage("Many", *(action(f"a{i}") for i in range(51)))))
    assert (code, message) == (
        STAGE,
        "Stage 'Many' has too many actions. There can only be up to 50 actions in a stage",
    )


def test_a_pipeline_has_a_thousand_actions_at_most():
    stages = [stage(f"S{i}", *(action(f"a{j}") for j in range(50))) for i in range(20)]
    *others, last = stages
    check(declared(SOURCE, *others, {**last, "actions": last["actions"][1:]}), TYPES, region="us-east-1")
    assert refused(declared(SOURCE, *stages)) == (
        STRUCTURE,
        "Pipeline has too many actions. There can only be up to 1000 actions in a pipeline",
    )


def test_codecommit_clone_references_refused_with_a_reason():
    source = stage(
        "Source",
        action(
            "pull",
            "Source",
            "CodeCommit",
            outputArtifacts=[{"name": "App"}],
            configuration={"RepositoryName": "r", "BranchName": "b", "OutputArtifactFormat": "CODEBUILD_CLONE_REF"},
        ),
    )
    code, message = refused(declared(source, BUILD))
    assert code == ACTION
    assert "Use OutputArtifactFormat CODE_ZIP" in message


def test_actions_and_rules_name_regions_that_are_served_and_have_a_store():
    stores = {region: {"type": "S3", "location": "bbb"} for region in ("us-east-1", "eu-west-1")}
    ruled = {**BUILD, "beforeEntry": {"conditions": [{"result": "FAIL", "rules": [RULE]}]}}
    for last, code, where in (
        (stage("Build", action("b", region="eu-west-1")), ACTION, "Action 'b'"),
        (ruled, STAGE, "Rule 'r' of stage 'Build'"),
    ):
        there = declared(SOURCE, last, artifactStore=None, artifactStores=stores, pipelineType="V2")
        check(there, TYPES, region="us-east-1")
        check(there, TYPES, region="us-east-1", served=("us-east-1", "eu-west-1"))
        with pytest.raises(ServiceError) as error:
            check(there, TYPES, region="us-east-1", served=("us-east-1", "eu-north-1"))
        assert (error.value.wire_code, error.value.message) == (
            code,
            f"{where} names the region eu-west-1, which this installation does not serve. It serves us-east-1, eu-north-1: name one "
            "of them, or start it with --also-region eu-west-1.",
        )
        code, message = refused(declared(SOURCE, last, pipelineType="V2"))
        assert code == "ValidationException"
        assert message.startswith("Your pipeline contains actions in more than one region.")


@pytest.mark.parametrize("owner", ["Custom", "ThirdParty"])
def test_actions_of_others_stay_in_the_region_of_the_pipeline(owner):
    one = action("b", region="eu-west-1")
    one["actionTypeId"] = {**one["actionTypeId"], "owner": owner}
    known = TYPES(plan_type(action("b")))
    stores = {region: {"type": "S3", "location": "bbb"} for region in ("us-east-1", "eu-west-1")}
    whole = declared(SOURCE, stage("Build", one), artifactStore=None, artifactStores=stores)
    with pytest.raises(ServiceError) as error:
        check(whole, lambda id: known if id.owner == owner else TYPES(id), region="us-east-1")
    assert error.value.wire_code == ACTION
    assert "run in the region of the pipeline: leave 'region' out." in error.value.message


RULE = {
    "name": "r",
    "region": "eu-west-1",
    "ruleTypeId": {"category": "Rule", "owner": "AWS", "provider": "VariableCheck", "version": "1"},
    "configuration": {"Variable": "a", "Value": "b", "Operator": "EQ"},
}


def build(**configuration):
    return declared(
        SOURCE,
        stage(
            "Build",
            action(
                "b",
                provider="CodeBuild",
                inputArtifacts=[{"name": "App"}],
                configuration={"ProjectName": "p", **configuration},
            ),
        ),
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "cannot be read"),
        ("{}", "must be a JSON list"),
        ("[" * 50_000, "nested too deeply"),
        ('[{"value": "x"}]', "every variable must have a name"),
        ('[{"name": "A", "value": 1}]', "the value of 'A' must be a string"),
        ('[{"name": "A", "value": "1", "type": "ODD"}]', "the type of 'A' must be one of"),
    ],
)
def test_environment_variables_of_builds(text, why):
    assert why in refused(build(EnvironmentVariables=text))[1]


def test_environment_variables_that_hold_references_are_read_later():
    check(build(EnvironmentVariables='[{"name": "A", "value": "#{src.X}"}]'), TYPES, region="us-east-1")


def test_the_primary_source_is_an_input():
    assert "is not one of its input artifacts" in refused(build(PrimarySource="Other"))[1]
    for good in ("App", "#{src.Name}"):
        check(build(PrimarySource=good), TYPES, region="us-east-1")


def test_same_stage_later_run_order_may_use_an_artifact():
    check(
        declared(
            SOURCE,
            stage(
                "Build",
                action("b", outputArtifacts=[{"name": "O"}], namespace="n"),
                action("c", inputArtifacts=[{"name": "O"}], runOrder=2, configuration={"Say": "#{n.x}"}),
            ),
        ),
        TYPES,
        region="us-east-1",
    )


def test_a_namespace_called_variables_is_tolerated_without_pipeline_variables():
    check(
        declared(
            stage("Source", pull(namespace="variables")),
            stage("Build", action("b", configuration={"Say": "#{variables.x}"})),
        ),
        TYPES,
        region="us-east-1",
    )


def test_defaults_are_written_back():
    answer = normalise(declared(), 3)
    assert answer["version"] == 3
    assert answer["executionMode"] == "SUPERSEDED"
    assert answer["pipelineType"] == "V1"
    first = answer["stages"][0]["actions"][0]
    assert first["runOrder"] == 1
    assert first["configuration"] == {}
    assert first["inputArtifacts"] == []


def test_v2_features_make_it_v2():
    assert normalise(declared(variables=[{"name": "A"}]), 1)["pipelineType"] == "V2"
    assert normalise(declared(executionMode="QUEUED"), 1)["pipelineType"] == "V2"


NAMES = st.sampled_from(["a", "b", "App", "src", "variables", "codepipeline"])
ARTIFACTS = st.lists(
    st.fixed_dictionaries({"name": NAMES}, optional={"files": st.lists(NAMES, max_size=1)}), max_size=2
)
SAID = st.sampled_from(
    ["", "x", "****", "true", "[{", "#{", "#{}", "#{a.b}", "#{variables.a}", "#{codepipeline.x}", "]" * 9]
)
KEYS = sorted({one.name for known in built_in().types() for one in known.properties})
ACTIONS = st.fixed_dictionaries(
    {
        "name": NAMES,
        "actionTypeId": st.sampled_from(
            [known.id.as_output() for known in built_in().types()]
            + [{"category": "Build", "owner": "Custom", "provider": "Nobody", "version": "1"}]
        ),
    },
    optional={
        "runOrder": st.integers(1, 3),
        "configuration": st.dictionaries(st.sampled_from(KEYS), SAID, max_size=6),
        "commands": st.lists(SAID, max_size=2),
        "inputArtifacts": ARTIFACTS,
        "outputArtifacts": ARTIFACTS,
        "outputVariables": st.lists(NAMES, max_size=2),
        "environmentVariables": st.lists(
            st.fixed_dictionaries({"name": NAMES, "value": SAID}, optional={"type": st.just("SECRETS_MANAGER")}),
            max_size=2,
        ),
        "namespace": NAMES,
        "region": st.sampled_from(["us-east-1", "eu-west-1"]),
        "timeoutInMinutes": st.just(5),
    },
)
CRITERIA = st.fixed_dictionaries(
    {}, optional={"includes": st.lists(NAMES, max_size=2), "excludes": st.lists(NAMES, max_size=2)}
)
FILTERS = st.lists(
    st.fixed_dictionaries(
        {}, optional={"tags": CRITERIA, "branches": CRITERIA, "filePaths": CRITERIA, "events": st.just(["OPEN"])}
    ),
    max_size=3,
)
DECLARATIONS = st.fixed_dictionaries(
    {
        "name": NAMES,
        "roleArn": st.just("arn:aws:iam::111111111111:role/p"),
        "stages": st.lists(
            st.fixed_dictionaries({"name": NAMES, "actions": st.lists(ACTIONS, max_size=3)}), max_size=4
        ),
    },
    optional={
        "artifactStore": st.just({"type": "S3", "location": "bbb"}),
        "artifactStores": st.just({"eu-west-1": {"type": "S3", "location": "bbb"}}),
        "executionMode": st.sampled_from(["QUEUED", "SUPERSEDED", "PARALLEL"]),
        "pipelineType": st.sampled_from(["V1", "V2"]),
        "variables": st.lists(st.fixed_dictionaries({"name": NAMES}), max_size=3),
        "triggers": st.lists(
            st.fixed_dictionaries(
                {
                    "providerType": st.just("CodeStarSourceConnection"),
                    "gitConfiguration": st.fixed_dictionaries(
                        {"sourceActionName": NAMES}, optional={"push": FILTERS, "pullRequest": FILTERS}
                    ),
                }
            ),
            max_size=2,
        ),
    },
)


@settings(max_examples=examples(300), deadline=None)
@given(DECLARATIONS)
def test_whatever_the_model_allows_is_judged(declaration):
    before = copy.deepcopy(declaration)
    found = list(faults(declaration, TYPES, region="us-east-1"))
    assert declaration == before
    for fault in found:
        value = declaration
        for i, part in enumerate(fault.path):
            there = part < len(value) if isinstance(part, int) else part in value
            assert there or i == len(fault.path) - 1 or fault.path[i:] == ("configuration",)
            value = value[part] if there else {}
    if not found:
        again = normalise(declaration, 1)
        assert list(faults(again, TYPES, region="us-east-1")) == []
        assert normalise(again, 1) == again
        plan_of(again, 1, TYPES)
