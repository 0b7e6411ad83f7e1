"""Looking events up, beside a naive search."""

from __future__ import annotations

import botocore.exceptions
import orjson
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_examples import examples
from penstock_trails import ACCOUNT, AT, lines_of, move, record

from penstock.audit.attributes import NAMES, attributes, mark, marks_of, read, resources_of
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


def test_every_attribute_is_marked():
    one = record(1, userIdentity={"type": "AssumedRole", "principalId": "AROA1:run", "accessKeyId": "ASIA1"})
    assert {name for name, _ in attributes(orjson.loads(one))} == NAMES


def test_a_call_has_the_marks_that_its_record_has_whatever_the_order_of_its_members(live):
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
        assert marks_of(pack([line]).records) == marks_of(pack([other]).records), record


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


def test_resources_are_named_as_cloudtrail_names_them():
    arn = f"arn:aws:iam::{ACCOUNT}:role/path/deployer"
    assert resources_of(arn) == (("AWS::IAM::Role", "deployer"), ("AWS::IAM::Role", arn))
    assert resources_of("arn:aws:s3:::b/key")[0] == ("AWS::S3::Bucket", "b")
    assert resources_of(f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/a/b")[0] == ("AWS::SSM::Parameter", "/a/b")
    assert resources_of(f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/a")[0] == ("AWS::SSM::Parameter", "a")
    assert resources_of("*") == ()
    assert resources_of("arn:aws:unknown:x:y:z") == (("", "arn:aws:unknown:x:y:z"),)
