"""What components let go after its time: old builds and deployments, never what is still shown or gone back to."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.builds import records as builds
from penstock.deployments import records as deployments
from penstock.deployments import runs
from penstock.store.clock import ManualClock
from penstock.store.database import Store
from penstock.store.retention import Expiring, Retention, Sweeper

KEPT = 30 * 86_400_000
RULES = (
    Expiring(table=builds.builds, over=lambda now: builds.expired_builds(now - KEPT)),
    Expiring(table=deployments.hook_logs, over=lambda now: runs.expired_logs(now - KEPT)),
    Expiring(table=deployments.targets, over=lambda now: runs.expired_targets(now - KEPT)),
    Expiring(table=deployments.deployments, over=lambda now: runs.expired(now - KEPT)),
    Expiring(table=deployments.revisions, over=lambda now: runs.expired_revisions(now - KEPT)),
)
OWNER = {"account": "111111111111", "region": "us-east-1"}


def build(id: str, number: int, *, started: int, complete: bool = True) -> dict[str, object]:
    rest = {"state": {}, "document": {}, "private": {}, "sequence": 1, "node": ""}
    return {**OWNER, "id": id, "project": "p", "number": number, "started": started, "complete": complete, **rest}


def deployment(id: str, number: int, *, created: int, status: str = "Succeeded") -> dict[str, object]:
    rest = {
        "body": {},
        "state": {},
        "links": {},
        "version": 1,
        "application": "a",
        "group_name": "g",
        "group_id": "g-1",
    }
    return {**OWNER, "id": id, "number": number, "created": created, "status": status, **rest}


def target(id: str) -> dict[str, object]:
    rest = {"position": 1, "name": "h", "arn": "arn", "status": "Succeeded", "healthy": True, "seen": True}
    return {"deployment": id, "acknowledged": False, **rest}


async def test_old_builds_and_deployments_go_and_what_is_needed_stays(any_store: Store, clock: ManualClock):
    now = clock.now()
    old, fresh = now - KEPT - 1, now - 1

    def fill(conn: sa.Connection) -> None:
        conn.execute(builds.builds.insert(), [build(f"p:{n}", n, started=old) for n in range(1, 6)])
        conn.execute(
            builds.builds.insert(), [build("p:6", 6, started=old, complete=False), build("p:7", 7, started=old)]
        )
        group = {
            "id": "g-1",
            **OWNER,
            "application": "a",
            "name": "g",
            "body": {},
            "tags": {},
            "state": {},
            "sequence": 1,
            "created": old,
        }
        conn.execute(
            deployments.groups.insert(),
            {**group, "state": {}, "sequence": 0, "attempted": "d-4", "successful": "d-2", "digest": "wanted"},
        )
        rows = [deployment(f"d-{n}", n, created=old) for n in range(1, 5)]
        rows += [deployment("d-5", 5, created=old, status="InProgress"), deployment("d-6", 6, created=fresh)]
        conn.execute(deployments.deployments.insert(), rows)
        conn.execute(deployments.targets.insert(), [target(str(row["id"])) for row in rows])
        logs = [{"deployment": row["id"], "position": 1, "event": 0, "log": "x", "updated": old} for row in rows]
        conn.execute(deployments.hook_logs.insert(), logs)
        about = {**OWNER, "application": "a", "location": {}, "bucket": "b", "key": "k", "description": ""}
        conn.execute(
            deployments.revisions.insert(),
            [
                {**about, "digest": digest, "registered": old, "first_used": used, "last_used": used}
                for digest, used in (("unused", None), ("long ago", old), ("lately", fresh), ("wanted", old))
            ],
        )

    await any_store.write(fill)
    swept = await Sweeper(any_store, Retention(batch=2), RULES).sweep()
    assert [swept[name] for name in ("builds", "deployments_targets", "deployments_deployments")] == [5, 2, 2]
    assert (swept["deployments_hook_logs"], swept["deployments_revisions"]) == (2, 2)

    def left(conn: sa.Connection) -> tuple[list[str], list[str], list[str]]:
        return (
            sorted(conn.execute(sa.select(builds.builds.c.id)).scalars()),
            sorted(conn.execute(sa.select(deployments.deployments.c.id)).scalars()),
            sorted(conn.execute(sa.select(deployments.targets.c.deployment)).scalars()),
        )

    kept = ["d-2", "d-4", "d-5", "d-6"]
    logs, found = deployments.hook_logs.c.deployment, deployments.revisions.c.digest
    assert await any_store.scan(lambda conn: sorted(conn.execute(sa.select(logs)).scalars())) == kept
    assert await any_store.scan(lambda conn: sorted(conn.execute(sa.select(found)).scalars())) == ["lately", "wanted"]
    assert await any_store.scan(left) == (["p:6", "p:7"], kept, kept)
