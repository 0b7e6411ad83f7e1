"""Looking events up, beside a naive search."""

from __future__ import annotations

from array import array

import botocore.exceptions
import orjson
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_examples import examples
from penstock_trails import ACCOUNT, AT, lines_of, move, record

from penstock.audit import attributes as attributes_of
from penstock.audit import lookup
from penstock.audit.attributes import NAMES, attributes, has, mark, marks_of, read, resources_of, user_name
from penstock.audit.lookup import Wanted, newest
from penstock.audit.packing import pack
from penstock.store.masterkeys import new_key
from penstock.store.schema import create_all
from penstock.store.sealing import Sealer
from penstock.trail import take_apart

OTHERS = st.sampled_from(
    [{}, {"recipientAccountId": "222222222222"}, {"awsRegion": "eu-west-1"}, {"userIdentity": {"type": "Root"}}]
)
EVENTS = st.lists(st.tuples(st.integers(0, 40), OTHERS), max_size=60)


@settings(max_examples=examples(60))
@given(
    chains=st.lists(EVENTS, max_size=4),
    seed=st.randoms(use_true_random=False),
    limit=st.integers(1, 9),
    size=st.integers(1, 9),
)
def test_pages_have_what_a_search_through_everything_has(tmp_path_factory, chains, seed, limit, size):
    folder = tmp_path_factory.mktemp("lookup")
    sealer, number, every, tail = Sealer([new_key()]), 0, [], []
    engine = sa.create_engine("sqlite://")
    with engine.begin() as conn:
        create_all(conn)
        for events in chains:
            found = []
            for second, members in events:
                number += 1
                found.append((AT + second, record(number, **members)))
            chain, lines = lines_of(folder / str(number), found) if found else ("", [])
            moved = seed.randint(0, len(lines))
            if lines:
                move(conn, sealer, chain, lines[:moved], size=size)
            every += lines
            tail += lines[max(0, moved - 2) :]  # some are in both
        own = [(take_apart(line), one) for line in every if (one := read(take_apart(line).record))]
        own = [
            (line, one) for line, one in own if (one["recipientAccountId"], one["awsRegion"]) == (ACCOUNT, "us-east-1")
        ]
        values = {pair for _, one in own for pair in attributes(one)} | {("Username", "nobody"), ("", "")}
        for name, value in seed.sample(sorted(values), min(6, len(values))):
            begin, end = AT + seed.randint(0, 20), AT + seed.randint(15, 41)
            expected = sorted(
                (line.at, one["eventID"])
                for line, one in own
                if begin <= line.at <= end and (not name or (name, value) in attributes(one))
            )[::-1]
            got, before = [], None
            while True:
                wanted = Wanted(
                    account=ACCOUNT, region="us-east-1", name=name, value=value, begin=begin, end=end, before=before
                )
                page = newest(conn, wanted, tail, limit)
                got += [event.place for event in page]
                if len(page) < limit:
                    break
                before = page[-1].place
            assert got == expected
    engine.dispose()


@pytest.mark.parametrize(
    ("limit", "last", "read"),
    [(1, 2, 1), (3, 2, 1), (4, 2, 1), (5, 2, 2), (8, 2, 2), (9, 2, 3), (1, 3, 1), (2, 3, 2)],
)
def test_no_more_blocks_are_read_than_a_page_needs(tmp_path, monkeypatch, limit, last, read):
    """Of three blocks the newest has four events. The last of the block behind it may be as late as most of them."""
    engine, asked = sa.create_engine("sqlite://"), []
    content = lookup._content
    monkeypatch.setattr(lookup, "_content", lambda conn, *block: asked.append(block) or content(conn, *block))
    with engine.begin() as conn:
        create_all(conn)
        for number, seconds in enumerate(([0, 1, 1, 1], [2, 2, 2, last], [3, 3, 3, 4])):
            found = [(AT + at, record(10 * number + index)) for index, at in enumerate(seconds)]
            chain, lines = lines_of(tmp_path / str(number), found)
            move(conn, Sealer([new_key()]), chain, lines)
        wanted = Wanted(account=ACCOUNT, region="us-east-1", name="", value="", begin=AT, end=AT + 9, before=None)
        assert len(newest(conn, wanted, [], limit)) == limit
    engine.dispose()
    assert len(asked) == read


def test_every_attribute_is_marked():
    one = record(1, userIdentity={"type": "AssumedRole", "principalId": "AROA1:run", "accessKeyId": "ASIA1"})
    assert {name for name, _ in attributes(orjson.loads(one))} == NAMES


@pytest.mark.parametrize("wanted", [0, 3, 7, 1 << 31, (1 << 32) - 1])
def test_a_mark_is_found_wherever_it_stands(wanted):
    """At the beginning, in the middle and at the end, and not where two others make it up."""
    lower, higher = (
        [one for one in (1, 5) if one < wanted],
        [one for one in (9, 1 << 24, (1 << 32) - 2) if one > wanted],
    )

    def marks(*numbers):
        return array("I", numbers).tobytes()

    for around in ([], lower, higher, lower + higher):
        assert has(marks(*sorted([*around, wanted])), wanted)
        assert not has(marks(*around), wanted)
    four = marks(wanted)
    assert not has(b"\1" + four + b"\1\1\1", wanted)
    assert has(b"\1" + four + b"\1\1\1" + four, wanted)


def test_a_call_has_the_marks_that_its_record_has_whatever_the_order_of_its_members(live, monkeypatch):
    """The records of a server, marked by their beginnings, beside the same records as documents."""
    iam = live.client("iam")
    iam.create_user(UserName="marked")
    iam.list_users()
    with pytest.raises(botocore.exceptions.ClientError):
        iam.get_user(UserName='"resources":[{"ARN":"x"}],"requestParameters":')
    lines = live.run(_lines(live))
    assert len(lines) >= 3
    for line in lines:
        record = take_apart(line).record
        other = line[:64] + b" 5 " + orjson.dumps(orjson.loads(record), option=orjson.OPT_SORT_KEYS)
        with monkeypatch.context() as quick:
            quick.setattr(attributes_of, "_marks_of_any", None)  # its document is not read
            marks = marks_of(pack([line]).records)
        assert marks == marks_of(pack([other]).records), record


async def _lines(live):
    live.app.records.trail.write()
    return live.app.records.trail.path.read_bytes().split(b"\n")[:-1]


def test_a_line_that_somebody_damaged_is_marked_with_nothing():
    damaged = [
        b"no line",
        b"0" * 64 + b" 5 {}",
        b"1" * 64 + b" 5 {",
        b"1" * 64 + b' 5 {"end":true}',
        b"\xff" * 70 + b" 1 {}",
    ]
    damaged.append(b"1" * 64 + b' 5 {"x":1,"eventTime":"2","eventID":"3"}')
    assert marks_of(pack(damaged).records) == b""
    assert len(marks_of(pack([b"1" * 64 + b" 5 " + record(1)]).records)) >= 4
    assert mark(ACCOUNT, "us-east-1", "EventName", "x") != mark(ACCOUNT, "us-east-1", "EventName", "y")


@pytest.mark.parametrize(
    ("service", "resource", "type_", "name"),
    [
        ("iam", "role/path/deployer", "AWS::IAM::Role", "deployer"),
        ("iam", "oidc-provider/a.example/b", "AWS::IAM::OIDCProvider", "a.example/b"),
        ("organizations", "account/o-1/2", "AWS::Organizations::Account", "2"),
        ("s3", "b/key", "AWS::S3::Bucket", "b"),
        ("ssm", "parameter/a/b", "AWS::SSM::Parameter", "/a/b"),
        ("ssm", "parameter/a", "AWS::SSM::Parameter", "a"),
        ("logs", "log-group:/a/b:*", "AWS::Logs::LogGroup", "/a/b"),
        ("codebuild", "build/shop:7", "AWS::CodeBuild::Build", "shop:7"),
        ("codebuild", "project/shop", "AWS::CodeBuild::Project", "project/shop"),
        ("codepipeline", "webhook:w", "AWS::CodePipeline::Webhook", "w"),
        ("codepipeline", "shop", "AWS::CodePipeline::Pipeline", "shop"),
        ("kms", "alias/a/b", "AWS::KMS::Alias", "a/b"),
    ],
)
def test_resources_are_named_as_cloudtrail_names_them(service, resource, type_, name):
    arn = f"arn:aws:{service}:us-east-1:{ACCOUNT}:{resource}"
    assert resources_of(arn) == ((type_, name), (type_, arn))


def test_what_has_no_type_is_named_by_its_arn():
    assert resources_of("*") == ()
    assert resources_of("arn:aws:unknown:x:y:z") == (("", "arn:aws:unknown:x:y:z"),)
    assert resources_of("arn:aws:kms:x:y:other/z") == (("", "arn:aws:kms:x:y:other/z"),)


@pytest.mark.parametrize(
    ("who", "name"),
    [
        ({"type": "Root", "userName": "x"}, "root"),
        ({"type": "AssumedRole", "principalId": "AROA1:run:2", "userName": "x"}, "run:2"),
        ({"type": "FederatedUser", "principalId": "1:ann"}, "ann"),
        ({"type": "IAMUser", "userName": "bob", "principalId": "AIDA1"}, "bob"),
        ({"type": "AWSService"}, ""),
        (None, ""),
    ],
)
def test_who_acted(who, name):
    assert user_name({"userIdentity": who}) == name
