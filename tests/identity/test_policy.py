"""Policy evaluation against a naive evaluator, and what is refused when a document is put."""

import fnmatch
import json
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_examples import examples

from penstock.identity import wildcards
from penstock.identity.document_texts import size
from penstock.identity.documents import check_managed, identity_policy, resource_policy, trust_policy
from penstock.identity.errors import MalformedPolicyDocumentException
from penstock.identity.policy import Caller, Decision, Named, Verdict, decide, grant, matching, weigh
from penstock.identity.wildcards import arn_wildcard, wildcard


def document(*statements, version="2012-10-17"):
    return json.dumps({"Version": version, "Statement": list(statements)})


def naive_glob(pattern: str, text: str) -> bool:
    return (
        re.fullmatch("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern), text, re.DOTALL) is not None
    )


def naive_arn(pattern: str, text: str) -> bool:
    if pattern == "*":
        return True
    segments = pattern.split(":", 5)
    pieces = text.split(":", len(segments) - 1)
    return len(pieces) == len(segments) and all(map(naive_glob, segments, pieces))


@settings(max_examples=400)
@given(st.text("abA*?:", max_size=12), st.text("abA:*", max_size=12))
def test_glob_is_what_a_regular_expression_says(pattern, text):
    assert wildcard(pattern)(text) is naive_glob(pattern, text)


def steps(pattern: str, text: str) -> int:
    """Lines of the matcher that are run to compare a text."""
    compare, count = wildcard(pattern), 0

    def trace(frame, _event, _argument):
        nonlocal count
        count += frame.f_code.co_filename == wildcards.__file__
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        compare(text)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("unit", ["*a", "*?a", "*a?", "?*a", "a*", "*ab?b", "*a?a?a", "?"])
def test_steps_grow_with_the_pattern_and_not_with_pattern_times_text(unit):
    for end in ("", "b"):
        pattern, text = unit * 100 + end, "a" * 2000
        assert steps(pattern, text) <= 30 * (len(pattern) + len(text))


def test_many_patterns_go_through_a_text_once():
    """A third of a second was spent on the longest policies of a user, each time a name was new."""
    text = "arn:aws:s3:::bench/" + "a" * 1000
    patterns = [f"arn:aws:s3:::*?{number}*?b*" for number in range(300)]
    assert sum(steps(pattern, text) for pattern in patterns) <= 30 * (sum(map(len, patterns)) + len(text))


@pytest.mark.parametrize(
    ("pattern", "text", "covers"),
    [
        ("a*b", "ab", True), ("a*b", "a", False), ("ab*ab", "ab", False), ("ab*ab", "abab", True), ("*a*", "a", True), ("a*b*c", "abc", True),
        ("a*b*c", "ac", False), ("*b?d*", "aaaaaaabcd", True), ("*b?d*", "aaaaaaabc", False), ("*?*", "", False), ("*?*", "a", True),
        ("*x?*x?*", "x1aaaaaax2", True), ("*x?*x?*", "x1aaaaaaax", False), ("?", "a", True), ("?", "ab", False), ("", "", True), ("a*", "a", True),
    ],
)  # fmt: skip
def test_what_a_pattern_covers(pattern, text, covers):
    assert wildcard(pattern)(text) is covers


segment = st.text("ab*?", max_size=3)
pattern_arn = st.one_of(
    st.just("*"),
    st.builds(lambda a, b, c, d: f"arn:aws:{a}:{b}:{c}:{d}", segment, segment, segment, st.text("ab*?:/", max_size=6)),
    st.builds(lambda a: f"arn:aws:{a}*", segment),
)
plain = st.text("ab", max_size=3)
real_arn = st.one_of(
    st.just("*"),
    st.builds(lambda a, b, c, d: f"arn:aws:{a}:{b}:{c}:{d}", plain, plain, plain, st.text("ab:/", max_size=6)),
)


@given(pattern_arn, real_arn)
def test_arn_wildcards_stay_in_their_segment_but_for_the_last(pattern, text):
    assert arn_wildcard(pattern)(text) is naive_arn(pattern, text)


action_pattern = st.sampled_from(["*", "s3:*", "s3:Get*", "S3:getobject", "s3:?etObject", "iam:*", "codepipeline:Put*"])
statement = st.fixed_dictionaries(
    {"Effect": st.sampled_from(["Allow", "Deny"])},
    optional={},
).flatmap(
    lambda s: st.builds(
        lambda an, a, rn, r: {**s, an: a, rn: r},
        st.sampled_from(["Action", "NotAction"]),
        st.one_of(action_pattern, st.lists(action_pattern, min_size=1, max_size=3)),
        st.sampled_from(["Resource", "NotResource"]),
        st.one_of(pattern_arn, st.lists(pattern_arn, min_size=1, max_size=3)),
    )
)


def naive_decide(documents, action, resource):
    found = set()
    for doc in documents:
        for s in doc["Statement"]:
            listed = lambda v: [v] if isinstance(v, str) else v  # noqa: E731
            acts = listed(s.get("Action", s.get("NotAction")))
            on = any(fnmatch.fnmatchcase(action.lower(), a.lower()) for a in acts) != ("NotAction" in s)
            rs = listed(s.get("Resource", s.get("NotResource")))
            where = any(naive_arn(r, resource) for r in rs) != ("NotResource" in s)
            if on and where:
                found.add(s["Effect"])
    if "Deny" in found:
        return Verdict.DENIED
    return Verdict.ALLOWED if "Allow" in found else Verdict.SILENT


@settings(max_examples=examples(100))
@given(
    st.lists(st.lists(statement, min_size=1, max_size=4), max_size=3),
    st.sampled_from(["s3:GetObject", "s3:PutObject", "iam:GetUser", "codepipeline:PutJobSuccessResult"]),
    real_arn,
)
def test_decide_agrees_with_the_naive_evaluator(groups, action, resource):
    documents = [{"Version": "2012-10-17", "Statement": g} for g in groups]
    policies = [identity_policy(json.dumps(d)) for d in documents]
    assert decide(policies, action, resource) is naive_decide(documents, action, resource)
    assert decide(reversed(policies), action, resource) is naive_decide(documents, action, resource)


def test_nothing_is_allowed_by_default():
    assert decide([], "s3:GetObject", "*") is Verdict.SILENT


def test_every_action_of_every_service_may_be_written_out():
    assert decide([identity_policy(document({**ALLOW, "Action": "*:*"}))], "s3:GetObject", "*") is Verdict.ALLOWED


def test_an_explicit_deny_wins_wherever_it_stands():
    allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    deny = {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::secret/*"}
    for order in ([allow, deny], [deny, allow]):
        policy = identity_policy(document(*order))
        assert decide([policy], "s3:GetObject", "arn:aws:s3:::secret/a:b/c") is Verdict.DENIED
        assert decide([policy], "s3:GetObject", "arn:aws:s3:::open/a") is Verdict.ALLOWED


ME = Caller(account="111111111111", itself=frozenset({"arn:aws:iam::111111111111:user/ann"}))
PIPELINE = Caller(account="111111111111", services=frozenset({"codepipeline.amazonaws.com"}))


def trusting(principal, effect="Allow", action="sts:AssumeRole"):
    return {"Effect": effect, "Principal": principal, "Action": action}


@pytest.mark.parametrize(
    ("principal", "caller", "expected"),
    [
        ({"AWS": "arn:aws:iam::111111111111:user/ann"}, ME, Named.ITSELF),
        ({"AWS": ["arn:aws:iam::222222222222:root", "arn:aws:iam::111111111111:user/ann"]}, ME, Named.ITSELF),
        ({"AWS": "arn:aws:iam::111111111111:user/bob"}, ME, Named.SILENT),
        ({"AWS": "arn:aws:iam::111111111111:root"}, ME, Named.ACCOUNT),
        ({"AWS": "111111111111"}, ME, Named.ACCOUNT),
        ({"AWS": "222222222222"}, ME, Named.SILENT),
        ("*", ME, Named.ITSELF),
        ({"AWS": "*"}, ME, Named.ITSELF),
        ({"AWS": "*"}, PIPELINE, Named.SILENT),
        ({"AWS": "111111111111"}, PIPELINE, Named.SILENT),
        ({"Service": "codepipeline.amazonaws.com"}, PIPELINE, Named.ITSELF),
        ({"Service": ["codebuild.amazonaws.com", "codedeploy.amazonaws.com"]}, PIPELINE, Named.SILENT),
        ({"Service": "codepipeline.amazonaws.com"}, ME, Named.SILENT),
    ],
)
def test_trust(principal, caller, expected):
    assert grant([trust_policy(document(trusting(principal)))], "sts:AssumeRole", "*", caller) is expected


def test_trust_denies_before_it_allows_and_speaks_of_its_actions_only():
    both = trust_policy(document(trusting("*"), trusting({"AWS": "arn:aws:iam::111111111111:user/ann"}, effect="Deny")))
    assert grant([both], "sts:AssumeRole", "*", ME) is Named.DENIED
    web = trust_policy(document(trusting("*", action="sts:AssumeRoleWithWebIdentity")))
    assert grant([web], "sts:AssumeRole", "*", ME) is Named.SILENT


ALLOW = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Syntax errors"),
        ("{", "Syntax errors"),
        ("[]", "Syntax errors"),
        ("NaN", "Syntax errors"),
        ("[" * 100_000, "Syntax errors"),
        ('{"Statement": [' + '{"Condition":' * 30_000, "Syntax errors"),
        (" " * 200_000, "Syntax errors"),
        ('{"Version":"2012-10-17","Statement":[]}', "Syntax errors"),
        ('{"Version":"2012-10-17","Statement":[3]}', "Syntax errors"),
        ('{"Version":"2012-10-17","Version":"2012-10-17","Statement":[]}', "Syntax errors"),
        (document(ALLOW, version="2020-01-01"), "Syntax errors"),
        (document({**ALLOW, "Colour": "red"}), "Syntax errors"),
        (document({**ALLOW, "Effect": "allow"}), "The policy failed legacy parsing"),
        (document({**ALLOW, "Effect": "denY"}), "The policy failed legacy parsing"),
        (document({**ALLOW, "Effect": "Perhaps"}), "Syntax errors"),
        (document({"Action": "s3:*", "Resource": "*"}), "Syntax errors"),
        (document({"Effect": "Allow", "Action": "x", "Resource": "y"}), "must be in ARN format"),
        (document({"Effect": "Allow"}), "must contain actions"),
        (document({"Effect": "Allow", "Resource": "*"}), "must contain actions"),
        (document({"Effect": "Allow", "Action": "s3:*"}), "must contain resources"),
        (document({**ALLOW, "Action": []}), "must contain actions"),
        (document({**ALLOW, "Resource": []}), "must contain resources"),
        (document({**ALLOW, "NotAction": "s3:Get*"}), "Syntax errors"),
        (document({**ALLOW, "Action": [1]}), "Syntax errors"),
        (document({**ALLOW, "Action": "GetObject"}), "prefaced by a vendor"),
        (document({**ALLOW, "Action": "s3:Get:Object"}), "one colon"),
        (document({**ALLOW, "Action": "s*:GetObject"}), "Vendor s* is not valid"),
        (document({**ALLOW, "Resource": "bucket"}), 'Resource bucket must be in ARN format or "*".'),
        (
            document({**ALLOW, "Resource": "arn:aws"}),
            "Resource vendor must be fully qualified and cannot contain regexes.",
        ),
        (document({**ALLOW, "Resource": "arn:aws:s3::b"}), "The policy failed legacy parsing"),
        (document({**ALLOW, "Resource": "arn:b"}), 'Partition "b" is not valid for resource "arn:b:*:*:*:*".'),
        (
            document({**ALLOW, "Resource": "arn:aws:s3:us-east-1::b"}),
            "Resource arn:aws:s3:us-east-1::b can not contain region",
        ),
        (
            document({**ALLOW, "Resource": "arn:aws:iam:us-east-1::user/x"}),
            "IAM resource arn:aws:iam:us-east-1::user/x cannot",
        ),
        (document({**ALLOW, "Resource": "arn:aws:iam::1:users/x"}), "IAM resource path must either be"),
        (document({**ALLOW, "Resource": "arn:other:s3:::b"}), 'Partition "other" is not valid'),
        (document({**ALLOW, "Condition": {"NumericLessThan": {"s3:max-keys": "many"}}}), "failed legacy parsing"),
        (document({**ALLOW, "Condition": {"NumericLessThan": {"s3:max-keys": "NaN"}}}), "failed legacy parsing"),
        (document({**ALLOW, "Condition": {"NumericLessThan": {"s3:max-keys": "1" * 100}}}), "failed legacy parsing"),
        (document({**ALLOW, "Condition": {"BinaryEquals": {"a:b": "no base64"}}}), "failed legacy parsing"),
        (document({**ALLOW, "Condition": {"StringMatches": {"aws:username": "3"}}}), "Syntax errors"),
        (document({**ALLOW, "Condition": {"ForSomeValues:StringLike": {"aws:username": "3"}}}), "Syntax errors"),
        (document({**ALLOW, "Resource": "arn:aws:s3:::${x}"}, {**ALLOW, "Resource": "arn:aws:${a}"}), "legacy parsing"),
        (document({**ALLOW, "Resource": "arn:aws:iam::${aws:PrincipalAccount}:role/x"}), "failed legacy parsing"),
        (document({**ALLOW, "Condition": {"ForAnyValue::StringLike": {"aws:username": "3"}}}), "Syntax errors"),
        (document({**ALLOW, "Condition": {"NullIfExists": {"aws:username": "true"}}}), "Syntax errors"),
        (document({**ALLOW, "Condition": {"Null": {"aws:username": "maybe"}}}), "failed legacy parsing"),
        (document({**ALLOW, "Condition": {"StringEquals": {"aws:username": [{}]}}}), "Syntax errors"),
        (document({**ALLOW, "Condition": {"StringEquals": "x"}}), "Syntax errors"),
        (document({**ALLOW, "Condition": ["x"]}), "Syntax errors"),
        (document({**ALLOW, "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/99"}}}), "failed legacy parsing"),
        (document({**ALLOW, "Condition": {"DateLessThan": {"aws:CurrentTime": "soon"}}}), "failed legacy parsing"),
        (document({**ALLOW, "Condition": {"DateLessThan": {"aws:CurrentTime": "9" * 30}}}), "failed legacy parsing"),
        (document({**ALLOW, "Condition": {"Bool": {"aws:SecureTransport": "yes"}}}), "failed legacy parsing"),
        (document({**ALLOW, "NotPrincipal": "*"}), "should not specify a principal"),
        (document({**ALLOW, "Principal": "*"}), "should not specify a principal"),
        (document({**ALLOW, "Sid": "a b"}), "alpha-numeric"),
        (document({**ALLOW, "Sid": "a"}, {**ALLOW, "Sid": "a"}), "must be unique"),
    ],
)
def test_identity_documents_refused(text, reason):
    with pytest.raises(MalformedPolicyDocumentException, match=re.escape(reason)):
        identity_policy(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (document({"Effect": "Allow", "Action": "sts:AssumeRole"}), "Missing required field Principal"),
        (document({**trusting("*"), "Resource": "*"}), "prohibited field Resource"),
        (document(trusting("*", action="s3:GetObject")), "may only specify STS AssumeRole actions"),
        (document(trusting("*", action="*")), "may only specify STS AssumeRole actions"),
        (document(trusting({"AWS": "ann"})), 'Invalid principal in policy: "AWS":"ann"'),
        (document(trusting({"AWS": "arn:aws:iam::111111111111:user/*"})), "Invalid principal"),
        (document(trusting({"Service": "*"})), 'Invalid principal in policy: "SERVICE":"*"'),
        (document(trusting({"Service": "example.com"})), "Invalid principal"),
        (document(trusting({"Federated": "example.com"})), 'Invalid principal in policy: "FEDERATED":"example.com"'),
        (
            document({"Effect": "Allow", "NotPrincipal": "*", "Action": "sts:AssumeRole"}),
            "prohibited field NotPrincipal",
        ),
        (document(trusting({})), "Syntax errors"),
        (document({**trusting("*"), "Effect": "allow"}), "The policy failed legacy parsing"),
        (document({**trusting("*"), "Sid": "a b"}), "alpha-numeric"),
        (document({**trusting("*"), "Sid": "a"}, {**trusting("*"), "Sid": "a"}), "must be unique"),
        (document(trusting("*", action="sts:Assume:Role")), "only one colon"),
        (document(trusting("*", action=["sts:AssumeRole", "s3:Get"])), "may only specify STS AssumeRole actions"),
        (document({"Effect": "Allow", "Principal": "*", "NotAction": "sts:AssumeRole"}), "may only specify STS"),
        (document({"Effect": "Allow", "Principal": "*"}), "Missing required field Action"),
        (document({**trusting("*"), "NotResource": "*"}), "prohibited field NotResource"),
        (document({**trusting("*"), "Condition": {"Odd": {"a": "b"}}}), "Syntax errors"),
        (document(trusting("ann")), "Syntax errors"),
    ],
)
def test_trust_documents_refused(text, reason):
    with pytest.raises(MalformedPolicyDocumentException, match=re.escape(reason)):
        trust_policy(text)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["Allow", "*", "s3:*", "2012-10-17"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Version", "Statement", "Effect", "Action", "Resource", "Principal", "AWS", "Sid", "Condition"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=examples(300))
@given(json_values)
def test_any_document_compiles_or_refused_with_a_reason(value):
    for compile_document in (identity_policy, trust_policy):
        message = "It compiles."
        try:
            compile_document(json.dumps(value))
        except MalformedPolicyDocumentException as refused:
            message = refused.message
        assert re.fullmatch(r"[A-Z].*\.", message, re.DOTALL), message
        assert not re.search(r"Error\b|Traceback|object at 0x|<class|NoneType", message), message


def test_a_document_may_have_every_element_that_there_is():
    policy = identity_policy(json.dumps({"Version": "2012-10-17", "Id": "all", "Statement": ALLOW}))
    assert decide([policy], "s3:GetObject", "arn:aws:s3:::x") is Verdict.ALLOWED


OWN_FOLDER = {
    **ALLOW,
    "Resource": ["arn:aws:s3:::home/${aws:username}/*", "arn:aws:s3:::${aws:PrincipalTag/team, 'all'}"],
}


@pytest.mark.parametrize(
    ("resource", "context", "expected"),
    [
        ("arn:aws:s3:::home/ann/x/y", {"aws:username": "ann"}, Verdict.ALLOWED),
        ("arn:aws:s3:::home/bob/x", {"aws:username": "ann"}, Verdict.SILENT),
        ("arn:aws:s3:::home/bob/x", {"aws:username": "*"}, Verdict.SILENT),  # a name is no wildcard
        ("arn:aws:s3:::home/*/x", {"aws:username": "*"}, Verdict.ALLOWED),
        ("arn:aws:s3:::home//x", {}, Verdict.SILENT),
        ("arn:aws:s3:::all", {}, Verdict.ALLOWED),
        ("arn:aws:s3:::red", {"aws:principaltag/team": "red"}, Verdict.ALLOWED),
        ("arn:aws:s3:::all", {"aws:principaltag/team": "red"}, Verdict.SILENT),
    ],
)
def test_variables_in_a_resource_stand_for_what_the_request_has(resource, context, expected):
    policy = identity_policy(document(OWN_FOLDER))
    assert policy.conditional
    assert policy.keys == {"aws:username", "aws:principaltag/team"}
    assert decide([policy], "s3:GetObject", resource, context) is expected


def test_a_resource_with_a_variable_that_has_no_value_is_nobodys_and_everything_else_is_not_that_one():
    none = identity_policy(document({"Effect": "Deny", "Action": "*", "NotResource": "arn:aws:s3:::${aws:username}"}))
    assert decide([none], "s3:GetObject", "arn:aws:s3:::ann") is Verdict.DENIED
    assert decide([none], "s3:GetObject", "arn:aws:s3:::ann", {"aws:username": "ann"}) is Verdict.SILENT


def test_an_old_document_takes_dollar_braces_as_text():
    policy = identity_policy(document({**ALLOW, "Resource": "arn:aws:s3:::${x}"}, version="2008-10-17"))
    assert decide([policy], "s3:GetObject", "arn:aws:s3:::${x}") is Verdict.ALLOWED


def test_size_counts_no_white_space():
    assert size(' { "a" :\n\t1 } ') == len('{"a":1}')


@pytest.mark.parametrize(
    "statement",
    [
        {**ALLOW, "Action": "iam: asdf "}, {**ALLOW, "Action": "s3.s:X"}, {**ALLOW, "Action": "some-thing:Get-It"},
        {**ALLOW, "Resource": "arn:aws:fdsasf"}, {**ALLOW, "Resource": "arn:aws:iam::111111111111:root"},
        {**ALLOW, "Condition": {}}, {**ALLOW, "Condition": {"StringEquals": {}}}, {**ALLOW, "Condition": {"a": {}}},
        {**ALLOW, "Condition": {"DateGreaterThan": {"a": []}}}, {**ALLOW, "Condition": {"DateLessThan": {"a": "01T"}}},
        {**ALLOW, "Condition": {"DateEquals": {"a": "-292275054"}}}, {"Effect": "Deny", "NotAction": "s3:*", "NotResource": "*"},
        {**ALLOW, "Condition": {"ForAllValues:StringEqualsIfExists": {"aws:PrincipalOrgPaths": ["o-1/*"]}}},
    ],
)  # fmt: skip
def test_identity_documents_accepted(statement):
    identity_policy(document(statement))


def test_a_short_resource_stands_for_all_below_it():
    policy = [identity_policy(document({**ALLOW, "Action": "*", "Resource": "arn:aws:s3"}))]
    assert decide(policy, "s3:GetObject", "arn:aws:s3:::b/k") is Verdict.ALLOWED
    assert decide(policy, "s3:GetObject", "arn:aws:sns:::b") is Verdict.SILENT


def test_a_document_has_131072_characters_at_most():
    for compile_document, text in (
        (identity_policy, document(ALLOW)),
        (trust_policy, document(trusting("*"))),
        (resource_policy, document(granting("*"))),
    ):
        compile_document(text.ljust(131_072))
        with pytest.raises(MalformedPolicyDocumentException):
            compile_document(text.ljust(131_073))


def test_a_managed_policy_says_its_version():
    for version in ("2008-10-17", None):
        text = json.dumps({"Statement": ALLOW} | ({"Version": version} if version else {}))
        identity_policy(text)
        with pytest.raises(MalformedPolicyDocumentException, match=r"must be version 2012-10-17 or greater\."):
            check_managed(text)
    check_managed(document(ALLOW))


def test_a_trust_policy_that_is_no_json():
    for text in ("", "{", "x"):
        with pytest.raises(MalformedPolicyDocumentException, match="This policy contains invalid Json"):
            trust_policy(text)


BUCKET = "arn:aws:s3:::b"


def granting(principal, *, effect="Allow", negated=False, action="s3:GetObject"):
    return {
        "Effect": effect,
        "NotPrincipal" if negated else "Principal": principal,
        "Action": action,
        "Resource": BUCKET,
    }


ROLE, ROLE_SESSION = "arn:aws:iam::111111111111:role/team/r", "arn:aws:sts::111111111111:assumed-role/r/s"
SESSION = Caller(account="111111111111", itself=frozenset({ROLE_SESSION}), behind=frozenset({ROLE}))
STRANGER = Caller(account="222222222222", itself=frozenset({"arn:aws:iam::222222222222:user/eve"}))
ANYBODY = Caller(account="")


ACTIONS = "Policy statement must contain actions."
RESOURCES = "Policy statement must contain resources."


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"Principal": None}, "Missing required field Principal"),
        ({"Action": None}, ACTIONS),
        ({"Action": []}, ACTIONS),
        ({"Action": "GetObject"}, "prefaced by a vendor"),
        ({"Resource": None}, RESOURCES),
        ({"Resource": "bucket"}, 'must be in ARN format or "*".'),
        ({"Principal": {"AWS": []}}, "Syntax errors"),
        ({"Principal": {"AWS": [1]}}, "Syntax errors"),
        ({"Principal": {"AWS": 1}}, "Syntax errors"),
        ({"Principal": []}, "Syntax errors"),
        ({"Principal": {"CanonicalUser": "x"}}, 'Invalid principal in policy: "CANONICALUSER":"x"'),
        ({"Principal": {"AWS": "1" * 11}}, 'Invalid principal in policy: "AWS":"11111111111"'),
        ({"NotPrincipal": "*"}, "Syntax errors"),
        ({"NotResource": "*"}, "Syntax errors"),
        ({"Effect": "allow"}, "The policy failed legacy parsing"),
        ({"Condition": {"Odd": {}}}, None),
        ({"Condition": {"Odd": {"a": "b"}}}, "Syntax errors"),
        ({"Sid": 1}, "Syntax errors"),
        ({"Sid": "any text - at all"}, None),
        ({"Principal": {"AWS": "*", "Service": "s3.amazonaws.com"}}, None),
        ({"Principal": {"Federated": "arn:aws:iam::111111111111:oidc-provider/x"}}, None),
    ],
)
def test_resource_documents(change, says):
    statement = {name: value for name, value in {**granting("*"), **change}.items() if value is not None}
    if says is None:
        (kept,) = resource_policy(document(statement)).statements
        assert (kept.allow, kept.number, kept.sid) == (True, 0, change.get("Sid", ""))
    else:
        with pytest.raises(MalformedPolicyDocumentException, match=re.escape(says)):
            resource_policy(document(statement))


def test_sids_of_a_resource_policy_are_unique_and_statements_numbered():
    first, second = {**granting("*"), "Sid": "a b"}, {**granting("*", effect="Deny"), "Sid": "c"}
    kept = resource_policy(document(first, second)).statements
    assert [(one.number, one.sid, one.allow) for one in kept] == [(0, "a b", True), (1, "c", False)]
    resource_policy(document(granting("*"), {**granting("*"), "Sid": ""}, {**granting("*"), "Sid": ""}))
    with pytest.raises(MalformedPolicyDocumentException, match="must be unique"):
        resource_policy(document(first, {**second, "Sid": "a b"}))


def test_which_statements_speak_of_a_request():
    """What a simulation shows: those that deny first, each with the number of its policy."""
    policies = [
        identity_policy(document(ALLOW, {**ALLOW, "Effect": "Deny", "Sid": "no"})),
        identity_policy(
            document({**ALLOW, "Action": "iam:*"}, {**ALLOW, "Resource": "arn:aws:s3:::other", "Sid": "x"})
        ),
        identity_policy(document({**ALLOW, "Sid": "ann", "Condition": {"StringEquals": {"aws:username": "ann"}}})),
    ]
    found = [(at, one.number, one.sid) for at, one in matching(policies, "S3:GetObject", "arn:aws:s3:::b", {})]
    assert found == [(0, 1, "no"), (0, 0, "")]
    context = {"aws:username": "ann"}
    found = [(at, one.number, one.sid) for at, one in matching(policies, "s3:PutObject", "arn:aws:s3:::other", context)]
    assert found == [(0, 1, "no"), (0, 0, ""), (1, 1, "x"), (2, 0, "ann")]


def test_what_depends_on_the_request_and_the_keys_that_it_asks_for():
    plain = identity_policy(document(ALLOW))
    assert (plain.conditional, plain.keys) == (False, frozenset())
    asks = identity_policy(document(ALLOW, {**ALLOW, "Condition": {"StringLike": {"S3:Prefix": "${aws:userid}*"}}}))
    assert (asks.conditional, asks.keys) == (True, {"s3:prefix", "aws:userid"})
    trusts = trust_policy(
        document({**trusting({"AWS": [ROLE, "111111111111"]}), "Condition": {"Bool": {"a:B": "true"}}})
    )
    assert (trusts.conditional, trusts.keys) == (True, {"a:b"})
    assert trusts.named_principals() == {ROLE}
    assert plain.named_principals() == frozenset()
    assert not trust_policy(document(trusting("*"))).conditional


def test_a_policy_forgets_actions_and_answers_as_before():
    policy = identity_policy(document({**ALLOW, "Action": "s3:Get*"}, {**ALLOW, "Effect": "Deny", "Action": "s3:GetA"}))
    for _ in range(2):
        for number in range(300):
            assert decide([policy], f"s3:Get{number}", "*") is Verdict.ALLOWED
        assert decide([policy], "s3:GetA", "*") is Verdict.DENIED
        assert decide([policy], "s3:Put", "*") is Verdict.SILENT
    assert len(policy._covering) <= 128


EVERY_NAME = Caller(
    account="111111111111", itself=frozenset({ROLE_SESSION}), behind=frozenset({ROLE}), federated=frozenset({"arn:aws:iam::111111111111:oidc-provider/x"})
)  # fmt: skip


@pytest.mark.parametrize(
    ("principal", "caller", "named"),
    [
        ({"Federated": "arn:aws:iam::111111111111:oidc-provider/x"}, EVERY_NAME, Named.ITSELF),
        ({"Federated": "arn:aws:iam::111111111111:oidc-provider/y"}, EVERY_NAME, Named.SILENT),
        ({"Federated": "arn:aws:iam::111111111111:oidc-provider/x"}, SESSION, Named.SILENT),
        ({"AWS": "arn:aws-cn:iam::111111111111:root"}, SESSION, Named.ACCOUNT),
        ({"AWS": ["*", ROLE]}, SESSION, Named.ITSELF),
        ({"AWS": ["111111111111", ROLE]}, SESSION, Named.BEHIND),
        ({"AWS": ["111111111111"], "Service": "codepipeline.amazonaws.com"}, PIPELINE, Named.ITSELF),
        ({"Service": ["s3.amazonaws.com", "codepipeline.amazonaws.com.cn"]}, PIPELINE, Named.SILENT),
    ],
)
def test_the_names_of_a_caller(principal, caller, named):
    assert grant([resource_policy(document(granting(principal)))], "s3:getobject", BUCKET, caller) is named


def test_a_policy_of_a_resource_that_names_nobody_grants_nothing():
    assert grant([identity_policy(document(ALLOW))], "s3:GetObject", BUCKET, ME) is Named.SILENT
    assert grant([], "s3:GetObject", BUCKET, ME) is Named.SILENT


@pytest.mark.parametrize(
    ("statement", "caller", "expected"),
    [
        (granting({"AWS": ROLE}), SESSION, Named.BEHIND),
        (granting({"AWS": [ROLE, ROLE_SESSION]}), SESSION, Named.ITSELF),
        (granting({"AWS": "111111111111"}), SESSION, Named.ACCOUNT),
        (granting("*"), SESSION, Named.ITSELF),
        (granting("*"), ANYBODY, Named.ITSELF),
        (granting({"AWS": "111111111111"}), ANYBODY, Named.SILENT),
        (granting({"AWS": "111111111111"}), STRANGER, Named.SILENT),
        (granting("*", effect="Deny"), SESSION, Named.DENIED),
        (granting({"AWS": "111111111111"}, effect="Deny"), SESSION, Named.DENIED),
        (granting("*", action="s3:PutObject"), SESSION, Named.SILENT),
        (granting({"Service": "codepipeline.amazonaws.com"}), PIPELINE, Named.ITSELF),
        # Whoever is to be left out of a Deny is listed by every name that it has.
        (granting({"AWS": [ROLE, ROLE_SESSION, "111111111111"]}, effect="Deny", negated=True), SESSION, Named.SILENT),
        (granting({"AWS": [ROLE, "111111111111"]}, effect="Deny", negated=True), SESSION, Named.DENIED),
        (granting({"AWS": [ROLE, ROLE_SESSION]}, effect="Deny", negated=True), SESSION, Named.DENIED),
        (granting({"AWS": "111111111111"}, effect="Deny", negated=True), ANYBODY, Named.DENIED),
        (granting({"Service": "codepipeline.amazonaws.com"}, effect="Deny", negated=True), PIPELINE, Named.SILENT),
        (granting({"Service": "codepipeline.amazonaws.com"}, effect="Deny", negated=True), ME, Named.DENIED),
        (granting("*", effect="Deny", negated=True), ANYBODY, Named.SILENT),
    ],
)
def test_how_the_policy_of_a_resource_names_a_caller(statement, caller, expected):
    assert grant([resource_policy(document(statement))], "s3:GetObject", BUCKET, caller) is expected


def test_the_policy_of_a_resource_speaks_of_the_resources_that_it_names():
    policy = resource_policy(document(granting("*")))
    assert grant([policy], "s3:GetObject", f"{BUCKET}/key", ME) is Named.SILENT


def test_a_later_statement_may_name_a_caller_better_and_a_deny_ends_it():
    account, itself = granting({"AWS": "111111111111"}), granting("*")
    for order in ([account, itself], [itself, account]):
        assert grant([resource_policy(document(*order))], "s3:GetObject", BUCKET, SESSION) is Named.ITSELF
        assert (
            grant([resource_policy(document(*order, granting("*", effect="Deny")))], "s3:GetObject", BUCKET, SESSION)
            is Named.DENIED
        )


YES, NO, QUIET = Verdict.ALLOWED, Verdict.DENIED, Verdict.SILENT


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # One account. (AWS: IAM User Guide, "Policy evaluation logic".)
        ({"identity": YES}, Decision(True)),
        ({"identity": QUIET}, Decision(False, False, "identity-based policy")),
        ({"identity": YES, "boundary": QUIET}, Decision(False, False, "permissions boundary")),
        ({"identity": YES, "boundary": YES, "session": QUIET}, Decision(False, False, "session policy")),
        ({"identity": YES, "boundary": YES, "session": YES}, Decision(True)),
        ({"identity": QUIET, "resource": Named.ACCOUNT}, Decision(False, False, "identity-based policy")),
        ({"identity": YES, "resource": Named.SILENT}, Decision(True)),
        ({"identity": QUIET, "boundary": QUIET, "resource": Named.ITSELF}, Decision(True)),
        ({"identity": QUIET, "session": QUIET, "resource": Named.ITSELF}, Decision(True)),
        ({"identity": QUIET, "resource": Named.BEHIND}, Decision(True)),
        ({"identity": QUIET, "boundary": QUIET, "resource": Named.BEHIND}, Decision(False, False, "permissions boundary")),
        ({"identity": QUIET, "session": QUIET, "resource": Named.BEHIND}, Decision(False, False, "session policy")),
        # An explicit Deny ends it, wherever it stands.
        ({"identity": NO, "resource": Named.ITSELF}, Decision(False, True, "identity-based policy")),
        ({"identity": YES, "boundary": NO}, Decision(False, True, "permissions boundary")),
        ({"identity": YES, "session": NO}, Decision(False, True, "session policy")),
        ({"identity": YES, "resource": Named.DENIED}, Decision(False, True, "resource-based policy")),
        # Two accounts: both sides must allow.
        ({"identity": YES, "same_account": False}, Decision(False, False, "resource-based policy")),
        ({"identity": YES, "resource": Named.ACCOUNT, "same_account": False}, Decision(True)),
        (
            {"identity": QUIET, "resource": Named.ITSELF, "same_account": False},
            Decision(False, False, "identity-based policy"),
        ),
        (
            {"identity": YES, "boundary": QUIET, "resource": Named.ITSELF, "same_account": False},
            Decision(False, False, "permissions boundary"),
        ),
        # Roles and keys: their own policy has to allow.
        ({"identity": YES, "resource": Named.SILENT, "resource_must": True}, Decision(False, False, "resource-based policy")),
        ({"identity": YES, "resource": Named.ACCOUNT, "resource_must": True}, Decision(True)),
        (
            {"identity": QUIET, "resource": Named.ACCOUNT, "resource_must": True},
            Decision(False, False, "identity-based policy"),
        ),
        ({"identity": QUIET, "resource": Named.ITSELF, "resource_must": True}, Decision(True)),
    ],
)  # fmt: skip
def test_one_decision_of_what_every_kind_of_policy_says(said, expected):
    assert weigh(**said) == expected


verdicts = st.sampled_from(Verdict)
kinds = st.fixed_dictionaries(
    {
        "identity": verdicts,
        "boundary": st.none() | verdicts,
        "session": st.none() | verdicts,
        "resource": st.none() | st.sampled_from(Named),
        "same_account": st.booleans(),
        "resource_must": st.booleans(),
    }
)


@given(kinds)
def test_a_deny_always_wins_and_an_allow_never_takes_away(said):
    decision = weigh(**said)
    if NO in said.values() or said["resource"] is Named.DENIED:
        assert not decision.allowed
        assert decision.explicit
    for kind in ("identity", "boundary", "session"):
        if said[kind] is QUIET:
            assert weigh(**{**said, kind: YES}).allowed >= decision.allowed
        if said[kind] is not None:
            assert not weigh(**{**said, kind: NO}).allowed
    if said["resource"] not in (None, Named.DENIED):
        for better in range(said["resource"], Named.ITSELF + 1):
            assert weigh(**{**said, "resource": Named(better)}).allowed >= decision.allowed


@settings(max_examples=examples(100))
@given(st.lists(st.lists(statement, min_size=1, max_size=4), max_size=3), statement, real_arn)
def test_adding_a_statement_adds_what_it_says_and_nothing_else(groups, added, resource):
    policies = [identity_policy(document(*group)) for group in groups]
    before, after = (
        decide(found, "s3:GetObject", resource) for found in (policies, [*policies, identity_policy(document(added))])
    )
    if added["Effect"] == "Allow":
        assert (before is YES) <= (after is YES)
        assert (before is NO) == (after is NO)
    else:
        assert (after is YES) <= (before is YES)
