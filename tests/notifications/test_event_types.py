"""Which types an event is of: by the samples of the catalogue, and by every state."""

import penstock.builds.events as builds
import penstock.deployments.events as deployments
import penstock.pipelines.events as pipelines
import penstock.repositories.events as repositories
from penstock.notifications import event_types
from penstock.notifications.event_types import ids_of, resource_arns, service_of

APPROVAL = {"type": {"category": "Approval"}}


def test_each_event_is_of_the_types_that_its_state_names():
    for emitted, payload, wanted in (
        (pipelines.EXECUTION_CHANGED, {"state": "STARTED"}, {"codepipeline-pipeline-pipeline-execution-started"}),
        (pipelines.EXECUTION_CHANGED, {"state": "SUPERSEDED"}, {"codepipeline-pipeline-pipeline-execution-superseded"}),
        (pipelines.EXECUTION_CHANGED, {"state": "STOPPED"}, set()),
        (pipelines.STAGE_CHANGED, {"state": "RESUMED"}, {"codepipeline-pipeline-stage-execution-resumed"}),
        (pipelines.ACTION_CHANGED, {"state": "FAILED"}, {"codepipeline-pipeline-action-execution-failed"}),
        (
            pipelines.ACTION_CHANGED, {"state": "STARTED", **APPROVAL},
            {"codepipeline-pipeline-action-execution-started", "codepipeline-pipeline-manual-approval-needed"},
        ),
        (
            pipelines.ACTION_CHANGED, {"state": "FAILED", **APPROVAL},
            {"codepipeline-pipeline-action-execution-failed", "codepipeline-pipeline-manual-approval-failed"},
        ),
        (builds.STATE_CHANGED, {"build-status": "TIMED_OUT"}, {"codebuild-project-build-state-failed"}),
        (builds.STATE_CHANGED, {"build-status": "IN_PROGRESS"}, {"codebuild-project-build-state-in-progress"}),
        (builds.PHASE_CHANGED, {"completed-phase-status": "SUCCEEDED"}, {"codebuild-project-build-phase-success"}),
        (deployments.DEPLOYMENT_CHANGED, {"state": "SUCCESS"}, {"codedeploy-application-deployment-succeeded"}),
        (deployments.DEPLOYMENT_CHANGED, {"state": "STOP"}, set()),
        (repositories.REFERENCE_UPDATED, {"event": "referenceDeleted"}, {"codecommit-repository-branches-and-tags-deleted"}),
    ):  # fmt: skip
        assert emitted.name in event_types.EMITTED
        assert ids_of(emitted.name, {**emitted.sample, **payload}) == wanted, (emitted.name, payload)


def test_rules_are_about_projects_and_applications():
    build = "arn:aws:codebuild:us-east-1:111111111111:build/shop:1"
    project = "arn:aws:codebuild:us-east-1:111111111111:project/shop"
    assert resource_arns(event_types.BUILD, [build], {"project-name": "shop"}) == [project]
    application = "arn:aws:codedeploy:us-east-1:111111111111:application:shop"
    assert resource_arns(event_types.DEPLOYMENT, [application, "a group"], {}) == [application]
    assert (service_of(project), service_of(application)) == ("codebuild-", "codedeploy-")
    for odd in (
        build,
        f"{project}/x",
        application.replace("application:", "deploymentgroup:"),
        "arn:aws:s3:::b",
        f"{application}:x",
    ):
        assert service_of(odd) == "", odd


def test_ids_are_those_of_aws():
    """Of pipelines, builds and deployments all that the documentation of AWS names."""
    of = {}
    for id in event_types.KINDS:
        of.setdefault(id.partition("-")[0], set()).add(id)
    assert {service: len(ids) for service, ids in of.items()} == {
        "codepipeline": 18, "codebuild": 6, "codedeploy": 3, "codecommit": 3,
    }  # fmt: skip
