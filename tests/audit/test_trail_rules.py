"""When a trail takes records, which, and under what names their files lie: each rule by itself."""

import gzip
from types import SimpleNamespace

import pytest

from penstock.audit import trail_names, trail_rules
from penstock.wire.errors import ServiceError

HOME = "111111111111"


def trail(**changes):
    given = {
        "id": "t", "account": HOME, "region": "us-east-1", "prefix": "", "periods": [[10, 20], [30, None]], "everywhere": False,
        "nowhere": False, "selectors": trail_rules.EVERYTHING,
    }  # fmt: skip
    return SimpleNamespace(**given | changes)


def record(**changes):
    given = {"eventSource": "s3.amazonaws.com", "recipientAccountId": HOME, "awsRegion": "us-east-1", "readOnly": False}
    return given | changes


def test_a_trail_begins_and_ends():
    begun = trail_rules.started([], 5)
    assert begun == [[5, None]]
    assert trail_rules.started(begun, 7) == begun
    ended = trail_rules.stopped(begun, 8)
    assert ended == trail_rules.stopped(ended, 9) == [[5, 8]]
    assert [trail_rules.is_logging(periods) for periods in ([], begun, ended)] == [False, True, False]
    assert trail_rules.started(ended, 9) == [[5, 8], [9, None]]
    many = [[number, number] for number in range(100)]
    assert trail_rules.started(many, 100) == [[0, 1], *many[2:], [100, None]]  # what lay nearest is one period now
    assert len(trail_rules.started(many[:99], 100)) == 100
    apart = [[10 * number, 10 * number + (8 if number == 50 else 5)] for number in range(100)]
    assert trail_rules.started(apart, 1000) == [*apart[:50], [500, 515], *apart[52:], [1000, None]]


@pytest.mark.parametrize(
    ("first", "last", "overlaps"),
    [(0, 9, False), (0, 10, True), (20, 25, True), (21, 29, False), (21, 30, True), (40, 50, True)],
)
def test_whether_a_trail_took_anything_meanwhile(first, last, overlaps):
    assert trail_rules.overlaps(trail(), first, last) is overlaps


ONLY_READS = [{"ReadWriteType": "ReadOnly", "ExcludeManagementEventSources": []}]
ONLY_WRITES = [{"ReadWriteType": "WriteOnly", "ExcludeManagementEventSources": []}]
NO_KEYS = [{"ReadWriteType": "All", "ExcludeManagementEventSources": ["kms.amazonaws.com"]}]


@pytest.mark.parametrize(
    ("of_trail", "of_record", "at", "taken"),
    [
        ({}, {}, 15, True), ({}, {}, 25, False), ({}, {}, 35, True),
        ({}, {"recipientAccountId": "2"}, 15, False),
        ({}, {"awsRegion": "eu-west-1"}, 15, False), ({"everywhere": True}, {"awsRegion": "eu-west-1"}, 15, True),
        ({"everywhere": True}, {"eventSource": "iam.amazonaws.com"}, 15, False),
        ({"nowhere": True}, {"eventSource": "iam.amazonaws.com", "awsRegion": "eu-west-1"}, 15, True),
        ({"nowhere": True}, {"eventSource": "organizations.amazonaws.com"}, 15, True),
        ({"selectors": ONLY_READS}, {}, 15, False), ({"selectors": ONLY_READS}, {"readOnly": True}, 15, True),
        ({"selectors": ONLY_WRITES}, {}, 15, True), ({"selectors": ONLY_WRITES}, {"readOnly": True}, 15, False),
        ({"selectors": NO_KEYS}, {"eventSource": "kms.amazonaws.com"}, 15, False), ({"selectors": NO_KEYS}, {}, 15, True),
        ({"selectors": [*NO_KEYS, *ONLY_WRITES]}, {"eventSource": "kms.amazonaws.com"}, 15, True),
    ],
)  # fmt: skip
def test_which_records_a_trail_takes(of_trail, of_record, at, taken):
    assert trail_rules.takes(trail(**of_trail), record(**of_record), at) is taken


def test_where_the_files_of_a_trail_lie():
    assert trail_rules.folder(trail()) == f"AWSLogs/{HOME}/CloudTrail/"
    assert trail_rules.folder(trail(prefix="a/b")) == f"a/b/AWSLogs/{HOME}/CloudTrail/"
    key = trail_rules.file_key(trail(prefix="p"), "eu-west-1", "c/0/9", 1_800_000_000_999)
    place = f"p/AWSLogs/{HOME}/CloudTrail/eu-west-1/2027/01/15/{HOME}_CloudTrail_eu-west-1_20270115T0800Z_"
    assert key.startswith(place)
    assert key.endswith(".json.gz")
    assert len(key) == len(place) + 16 + len(".json.gz")
    others = [
        trail_rules.file_key(trail(prefix="p"), "eu-west-1", "c/0/8", 1_800_000_000_999),
        trail_rules.file_key(trail(prefix="p", id="u"), "eu-west-1", "c/0/9", 1_800_000_000_999),
        trail_rules.file_key(trail(prefix="p"), "us-east-1", "c/0/9", 1_800_000_000_999),
    ]
    assert len({key, *others}) == 4
    assert key == trail_rules.file_key(trail(prefix="p"), "eu-west-1", "c/0/9", 1_800_000_000_000)


def test_a_file_has_the_same_bytes_for_the_same_records():
    file = trail_rules.packed([b'{"a":1}', b'{"b":2}'])
    assert gzip.decompress(file) == b'{"Records":[{"a":1},{"b":2}]}'
    assert file[4:8] == bytes(4)  # of no moment


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("abc", ""), ("a" * 128, ""), ("A.b-c_9", ""), ("192.168.1", ""), ("ab", "too short"), ("a" * 129, "too long"), ("a b", "can only contain"),
        ("-ab", "starts with"), ("ab.", "ends with"), ("a..b", "beside each other"), ("a-_b", "beside each other"), ("10.0.0.1", "IP address"),
    ],
)  # fmt: skip
def test_names_of_trails_at_their_bounds(name, said):
    if not said:
        assert trail_rules.check_name(name) == name
        return
    with pytest.raises(ServiceError, match=said):
        trail_rules.check_name(name)


@pytest.mark.parametrize(
    ("prefix", "kept"), [("", ""), ("a/b/", "a/b"), ("x" * 200, "x" * 200), ("x" * 201, None), ("/x", None)]
)
def test_prefixes_of_trails_at_their_bounds(prefix, kept):
    if kept is not None:
        assert trail_rules.check_prefix(prefix) == kept
        return
    with pytest.raises(ServiceError, match=f"has {len(prefix)} characters: it has 200 at most"):
        trail_rules.check_prefix(prefix)


def test_selectors_as_they_are_kept():
    assert trail_rules.checked_selectors([{}]) == trail_rules.EVERYTHING
    given = {"ReadWriteType": "ReadOnly", "IncludeManagementEvents": True, "ExcludeManagementEventSources": ["kms.amazonaws.com"] * 2, "DataResources": []}  # fmt: skip
    both = {"ExcludeManagementEventSources": ["rdsdata.amazonaws.com", "kms.amazonaws.com"]}
    assert trail_rules.checked_selectors([both]) == [trail_rules.EVERYTHING[0] | both]
    assert trail_rules.checked_selectors([given]) == [given | {"ExcludeManagementEventSources": ["kms.amazonaws.com"]}]
    assert len(trail_rules.checked_selectors([{}] * 5)) == 5
    assert trail_rules.check_prefix("a/") == "a"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("main", (HOME, "us-east-1", "main")),
        ("arn:aws:cloudtrail:eu-west-1:222222222222:trail/other", ("222222222222", "eu-west-1", "other")),
        ("arn:aws-cn:cloudtrail:eu-west-1:222222222222:trail/other", None),
        ("arn:aws:cloudtrail:eu-west-1:2222:trail/other", None),
        ("arn:aws:s3:::x", None),
        ("x", None),
    ],
)
def test_what_a_request_calls_a_trail(text, found):
    call = SimpleNamespace(account=HOME, region="us-east-1", partition="aws")
    if found is None:
        with pytest.raises(ServiceError):
            trail_names.named(call, text)
        return
    assert trail_names.named(call, text) == found
    account, region, name = found
    assert trail_names.trail_arn("Name")(call, {"Name": text}) == f"arn:aws:cloudtrail:{region}:{account}:trail/{name}"
