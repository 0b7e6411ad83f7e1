"""A provider for tests, in one file: a source that watches a folder of a bucket, and a check that runs elsewhere."""

from penstock.pipelines.actions.provider import Display, Provider, Revision, Succeeded, polls
from penstock.pipelines.model import ActionType, ActionTypeId, Property

SITE = "https://drop.example.com"


def _subject(bucket, folder):
    return f"dropfolder:{bucket}/{folder}"


class DropFolder(Provider):
    types = (
        ActionType(
            id=ActionTypeId(category="Source", owner="AWS", provider="DropFolder"),
            properties=(
                Property(name="Bucket", description="The bucket", required=True, key=True),
                Property(name="Folder", description="The folder", required=True, key=True),
                Property(name="PollForSourceChanges", description="Whether a file starts the pipeline"),
            ),
            inputs=(0, 0),
            outputs=(1, 1),
            entity_url=f"{SITE}/{{Config:Bucket}}/{{Config:Folder}}",
            revision_url=f"{SITE}/{{Config:Bucket}}/{{RevisionId}}",
            works_on="drop:folder",
            revision_types=("S3_OBJECT_KEY",),
        ),
        ActionType(
            id=ActionTypeId(category="Test", owner="AWS", provider="DropFolder"),
            properties=(Property(name="Suite", description="The checks", key=True),),
            inputs=(1, 1),
            outputs=(0, 0),
            execution_url=f"{SITE}/checks/{{ExternalExecutionId}}",
            starts="drop:check",
        ),
    )
    news = {
        "s3.object.created": lambda made: _subject(made["bucket"]["name"], made["object"]["key"].rpartition("/")[0])
    }

    def watches(self, configuration):
        if "Folder" not in configuration or not polls(configuration):
            return None
        return _subject(configuration["Bucket"], configuration["Folder"])

    def refuse_revision(self, kind, action):
        return f"{action['name']} cannot be held at another file." if action["name"] == "Strict" else None

    def shows(self, known, configuration):
        answer = super().shows(known, configuration)
        return (
            Display(line=f"Checks {answer.subject}", subject=answer.subject) if known.id.category == "Test" else answer
        )

    async def start(self, action):
        if action.type.category == "Test":
            return Succeeded(external_id="check 7")
        bucket, folder = action.configuration["Bucket"], action.configuration["Folder"]
        key = action.overrides.get("S3_OBJECT_KEY")
        if key is None:
            listed = await action.invoke("s3", "ListObjectsV2", {"Bucket": bucket, "Prefix": f"{folder}/"})
            key = max(entry["Key"] for entry in listed["Contents"])
        target = action.outputs[0]
        await action.invoke(
            "s3", "CopyObject", {"Bucket": target.bucket, "Key": target.key, "CopySource": f"{bucket}/{key}"}
        )
        return Succeeded(external_id=key, outputs=action.outputs, revision=Revision(id=key, summary="Dropped"))


PROVIDER = DropFolder()
