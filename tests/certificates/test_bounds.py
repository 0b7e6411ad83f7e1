"""What lies exactly on a bound: times, numbers of things, and which state a host is in."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest
from penstock_certificates import authority
from sqlalchemy.dialects import postgresql

from penstock.certificates import operations, records
from penstock.certificates.chains import Untrusted, roots_of, trusted_path
from penstock.certificates.errors import HostJoinedException, InvalidInvitationException, ValidationException
from penstock.certificates.operations import hosts, profiles
from penstock.store.database import Store

FROM = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
UNTIL = FROM + dt.timedelta(days=1)
FROM_MS, UNTIL_MS = (int(one.timestamp() * 1000) for one in (FROM, UNTIL))
ROOT = authority("Root", before=FROM, after=UNTIL)
LASTING = authority("Root", key=ROOT.key, before=FROM - dt.timedelta(days=9), after=UNTIL + dt.timedelta(days=9))
LEAF = ROOT.issue(before=FROM, after=UNTIL)


@pytest.mark.parametrize(
    ("now", "roots", "said"),
    [
        (FROM_MS, (ROOT,), ""),
        (UNTIL_MS, (ROOT,), ""),
        (FROM_MS - 1, (LASTING,), "the certificate of CN=web-1 is not valid before 2030-01-01 00:00 UTC"),
        (UNTIL_MS + 1, (LASTING,), "the certificate of CN=web-1 has expired on 2030-01-02 00:00 UTC"),
    ],
)
def test_a_certificate_is_good_from_its_first_to_its_last_millisecond(now, roots, said):
    def trust() -> list[Any]:
        return trusted_path(LEAF.certificate, [], [one.certificate for one in roots], now=now)

    if not said:
        assert trust() == [LEAF.certificate, ROOT.certificate]
        return
    with pytest.raises(Untrusted) as refused:
        trust()
    assert str(refused.value) == said


def test_an_anchor_has_at_most_ten_certificates():
    assert len(roots_of(ROOT.pem * 10)) == 10
    with pytest.raises(Untrusted, match="^it holds more than 10 certificates$"):
        roots_of(ROOT.pem * 11)


def host(**given: Any) -> Any:
    usual = {"name": "web-1", "role": "arn", "joining": "", "invitation": "", "joined": 0, "serial": "07", "expires": 0}
    return SimpleNamespace(**usual | given)


@pytest.mark.parametrize(
    ("given", "state", "more"),
    [
        ({}, "Revoked", {}),
        ({"invitation": "i"}, "Invited", {}),
        ({"joining": "j", "joined": 3, "expires": 6}, "Joined", {"serialNumber": "07", "joined": 3, "expires": 6}),
        ({"joining": "j", "joined": 3, "expires": 5}, "Expired", {"serialNumber": "07", "joined": 3, "expires": 5}),
    ],
)
def test_the_state_of_a_host(given, state, more):
    row = host(**given)
    assert hosts._to_api(row, 5) == {"name": "web-1", "state": state, "roleArn": "arn", **more}
    if state == "Joined":
        with pytest.raises(HostJoinedException):
            hosts._refuse_joined(row, 5)
    else:
        hosts._refuse_joined(row, 5)
    hosts._refuse_joined(None, 5)


@pytest.mark.parametrize(("now", "good"), [(9, True), (10, False)])
def test_an_invitation_ends_at_its_time(monkeypatch, now, good):
    monkeypatch.setattr(hosts, "open_token", lambda *_, most: ("1", "r", "web-1", "i", 10))
    app: Any = SimpleNamespace(sealer=None)
    if good:
        assert hosts._opened(app, "token", now) == ("1", "r", "web-1", "i")
        return
    with pytest.raises(InvalidInvitationException, match=r"has expired at 1970-01-01T00:00:00.*web-1"):
        hosts._opened(app, "token", now)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (None, hosts._DELETED),
        (host(invitation="i", key="k"), ""),
        (host(invitation="i", key=""), ""),
        (host(invitation="i", key="other"), "was used already, with another key than this host has"),
        (host(invitation="newer"), "was followed by a newer one"),
        (host(joining="i"), "was revoked"),
    ],
)
def test_why_an_invitation_lets_nobody_in(row, said):
    assert hosts._void(row, "i", "k") == said


def test_a_session_takes_ten_policies_and_each_once():
    ten = [f"arn:{number}" for number in range(10)]
    assert profiles._policy_arns([*ten, *ten]) == ten
    with pytest.raises(ValidationException, match="^A session takes at most 10 managed policies"):
        profiles._policy_arns([*ten, "arn:more"])


@pytest.mark.parametrize("arn", ["", "other/x", "profile/x", "a:b:c:d:profile/x", "arn:aws:rolesanywhere:r:1:other/x"])
async def test_what_is_no_resource_has_no_tags(arn):
    assert await operations.tags_of(None, arn) == {}  # type: ignore[arg-type] - nothing is looked for


@pytest.mark.parametrize("locked", [True, False])
def test_a_row_is_locked_when_it_is_to_be_changed(locked):
    asked: list[Any] = []
    conn: Any = SimpleNamespace(execute=lambda query: asked.append(query) or SimpleNamespace(first=lambda: None))
    assert records.find(conn, records.anchors, ("1", "r"), "id", locked=locked) is None
    assert str(asked[0].compile(dialect=postgresql.dialect())).endswith(" FOR UPDATE") is locked


async def test_whose_certificate_ends_now_holds_no_former_one(store: Store):
    def tx(conn: Any) -> list[int]:
        for number, expires in enumerate((4, 5, 6)):
            more = {"key": "", "invitation": "", "joining": "j", "serial": "1", "created": 1, "joined": 1}
            conn.execute(records.hosts.insert().values(account="1", region="r", name=f"web-{number}", role="arn", expires=expires, **more))  # fmt: skip
        return [records.of_former_authority(conn, ("1", "r"), "ab", now) for now in (3, 4, 5, 6)]

    assert await store.write(tx) == [3, 2, 1, 0]
