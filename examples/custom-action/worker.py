"""A job worker: runs the commands of a pipeline's custom actions on this machine.

    python worker.py --pool linux --memory worker.json

It remembers its job in a file, so that it continues with the same job after it was killed; another worker gets the job when it stays away.
"""

import argparse
import io
import json
import os
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path

import boto3

TYPE = {"category": "Build", "owner": "Custom", "provider": "Shell", "version": "1"}
pipelines = boto3.client("codepipeline")


def next_job(pool, memory):
    """The job that was begun, or a new one; None without one."""
    if not memory.exists():
        jobs = pipelines.poll_for_jobs(actionTypeId=TYPE, queryParam={"Pool": pool})["jobs"]
        if not jobs:
            return None
        noted = memory.with_suffix(".new")
        noted.write_text(json.dumps({"jobId": jobs[0]["id"], "nonce": jobs[0]["nonce"]}))
        noted.replace(memory)
    offer = json.loads(memory.read_text())
    try:
        pipelines.acknowledge_job(**offer)  # once more, if we were killed: with the same nonce it stays ours
        return pipelines.get_job_details(jobId=offer["jobId"])["jobDetails"]
    except (pipelines.exceptions.InvalidNonceException, pipelines.exceptions.JobNotFoundException):
        memory.unlink()  # another worker has it by now, or nobody wants it any more
        return None


def place_of(artifact):
    place = artifact["location"]["s3Location"]
    return {"Bucket": place["bucketName"], "Key": place["objectKey"]}


def build(job, folder):
    """Run the command in the input artifact; the file that it wrote, packed as the output artifact."""
    data, (given,), (made,) = job["data"], job["data"]["inputArtifacts"], job["data"]["outputArtifacts"]
    keys = data["artifactCredentials"]
    s3 = boto3.client(
        "s3",
        aws_access_key_id=keys["accessKeyId"],
        aws_secret_access_key=keys["secretAccessKey"],
        aws_session_token=keys["sessionToken"],
    )
    zipfile.ZipFile(io.BytesIO(s3.get_object(**place_of(given))["Body"].read())).extractall(folder)
    configuration = data["actionConfiguration"]["configuration"]
    environment = {**os.environ, "TOKEN": configuration.get("Token", "")}
    process = subprocess.Popen(configuration["Command"], shell=True, cwd=folder, env=environment)
    while process.poll() is None:
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            pipelines.get_job_details(jobId=job["id"])  # we are alive: the job stays ours
    if process.returncode:
        raise RuntimeError(f"The command ended with {process.returncode}.")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted(Path(folder, "out").rglob("*")):
            archive.write(file, file.relative_to(Path(folder, "out")))
    encryption = {"ServerSideEncryption": "aws:kms"}
    if "encryptionKey" in data:
        encryption["SSEKMSKeyId"] = data["encryptionKey"]["id"]
    s3.put_object(**place_of(made), Body=packed.getvalue(), **encryption)
    return len(packed.getvalue())


def work(job):
    """One step of an action: build and upload, then, in a job of its own, say how large it is."""
    token = job["data"].get("continuationToken")
    if token is not None:
        pipelines.put_job_success_result(
            jobId=job["id"], outputVariables={"Bytes": token}, executionDetails={"summary": f"Built {token} bytes."}
        )
        return
    try:
        with tempfile.TemporaryDirectory() as folder:
            size = build(job, folder)
    except (RuntimeError, zipfile.BadZipFile) as error:
        pipelines.put_job_failure_result(jobId=job["id"], failureDetails={"type": "JobFailed", "message": str(error)})
        return
    details = {"summary": "Built.", "externalExecutionId": job["id"], "percentComplete": 90}
    pipelines.put_job_success_result(jobId=job["id"], continuationToken=str(size), executionDetails=details)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", required=True)
    parser.add_argument("--memory", type=Path, default=Path("worker.json"))
    parser.add_argument("--pause", type=float, default=5, help="seconds between two questions for jobs")
    options = parser.parse_args()
    while True:
        job = next_job(options.pool, options.memory)
        if job is None:
            time.sleep(options.pause)
            continue
        try:
            work(job)
        except pipelines.exceptions.InvalidJobStateException:
            pass  # a result that was put before we were killed
        options.memory.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
