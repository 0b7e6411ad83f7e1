#!/usr/bin/env python3
"""Gives the PostgreSQL user of a secret another password, in AWS's four steps.

The secret is {"host": …, "port": …, "dbname": …, "username": …, "password": …}. The user may change its own password, so nobody else's is
needed. `lambda_handler` is a rotation function as AWS Lambda runs it; the last lines let the server run it as a command.
"""

import json
import os
import sys

import boto3
import psycopg
from psycopg import sql


def lambda_handler(event, _context):
    """Do one step; every one of them may be done twice."""
    secrets = boto3.client("secretsmanager", endpoint_url=os.environ["SECRETS_MANAGER_ENDPOINT"])
    secret, token = event["SecretId"], event["ClientRequestToken"]
    versions = secrets.describe_secret(SecretId=secret)["VersionIdsToStages"]
    if "AWSCURRENT" in versions[token]:
        return
    current = read(secrets, secret, VersionStage="AWSCURRENT")
    match event["Step"]:
        case "createSecret":
            try:
                read(secrets, secret, VersionId=token, VersionStage="AWSPENDING")
            except secrets.exceptions.ResourceNotFoundException:
                made = secrets.get_random_password(ExcludePunctuation=True)["RandomPassword"]
                value = json.dumps({**current, "password": made})
                secrets.put_secret_value(
                    SecretId=secret, ClientRequestToken=token, SecretString=value, VersionStages=["AWSPENDING"]
                )
        case "setSecret":
            pending = read(secrets, secret, VersionId=token, VersionStage="AWSPENDING")
            if not can_connect(pending):
                with connection(current) as database:
                    database.execute(
                        sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                            sql.Identifier(pending["username"]), pending["password"]
                        )
                    )
        case "testSecret":
            with connection(read(secrets, secret, VersionId=token, VersionStage="AWSPENDING")) as database:
                database.execute("SELECT 1")
        case "finishSecret":
            before = next(version for version, stages in versions.items() if "AWSCURRENT" in stages)
            secrets.update_secret_version_stage(
                SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=before
            )


def read(secrets, secret, **which):
    """The value of a version."""
    return json.loads(secrets.get_secret_value(SecretId=secret, **which)["SecretString"])


def connection(value):
    """A connection as the user of a value."""
    return psycopg.connect(
        host=value["host"],
        port=value["port"],
        dbname=value["dbname"],
        user=value["username"],
        password=value["password"],
        connect_timeout=60,
    )


def can_connect(value):
    """Whether the user has that password already."""
    try:
        connection(value).close()
    except psycopg.OperationalError:
        return False
    return True


if __name__ == "__main__":
    lambda_handler(json.load(sys.stdin), None)
