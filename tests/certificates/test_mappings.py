"""Which names of a certificate are tags of its sessions, and what its holder is known as."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from penstock_certificates import authority, name_of, usage

from penstock.certificates.errors import AccessDeniedException, ValidationException
from penstock.certificates.mappings import DEFAULT, checked, session_tags, to_api
from penstock.certificates.subjects import source_identity


def named(*pairs):
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs])


ROOT = authority("Root")
OU, ID = NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.ORGANIZATION_IDENTIFIER
SUBJECT = named(
    (NameOID.COMMON_NAME, "alice"), (OU, "Security"), (OU, "Engineering"), (ID, "X-1"), (NameOID.USER_ID, "u")
)
SAN = x509.SubjectAlternativeName(
    [
        x509.DNSName("a.example"), x509.DNSName("b.example"), x509.UniformResourceIdentifier("spiffe://a/b"),
        x509.DirectoryName(named((NameOID.COMMON_NAME, "n"), (OU, "x"), (OU, "y"))), x509.DirectoryName(name_of("other")),
        x509.RFC822Name("a@b.example"),
    ]
)  # fmt: skip
ALICE = ROOT.issue(subject=SUBJECT, extensions=((usage(digital_signature=True), True), (SAN, False))).certificate
OF_SUBJECT = {"x509Subject/CN": "alice", "x509Subject/OU": "Security/Engineering", "x509Subject/UID": "u"}
OF_SAN = {
    "x509SAN/DNS": "a.example", "x509SAN/DNS/2": "b.example", "x509SAN/URI": "spiffe://a/b",
    "x509SAN/Name/CN": "n", "x509SAN/Name/OU": "x/y",
}  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (DEFAULT, {**OF_SUBJECT, **OF_SAN, "x509Issuer/CN": "Root"}),
        ({}, {}),
        ({"x509Subject": ["OU", "C"]}, {"x509Subject/OU": "Security/Engineering"}),
        ({"x509Subject": ["2.5.4.97", "2.5.4.3"]}, {"x509Subject/2.5.4.97": "X-1", "x509Subject/2.5.4.3": "alice"}),
        ({"x509Issuer": ["CN"]}, {"x509Issuer/CN": "Root"}),
        ({"x509SAN": ["URI", "Name/OU"]}, {"x509SAN/URI": "spiffe://a/b", "x509SAN/Name/OU": "x/y"}),
        ({"x509SAN": ["DNS"]}, {"x509SAN/DNS": "a.example", "x509SAN/DNS/2": "b.example"}),
    ],
)
def test_what_is_mapped(rules, expected):
    assert session_tags(ALICE, "r", rules) == expected


def test_what_no_tag_can_say_is_refused_where_it_is_mapped():
    long = ROOT.issue(subject=named(*[(OU, "x" * 60)] * 5, (NameOID.COMMON_NAME, "a;b"))).certificate
    with pytest.raises(AccessDeniedException, match=r"Issuer: \[  \]; Subject: \[ OU, CN \]; SAN: \[  \]"):
        session_tags(long, "r", DEFAULT)
    assert session_tags(long, "r", {"x509Subject": ["C"]}) == {}


def test_how_specifiers_are_spelt():
    assert checked("x509SAN", ["Name", "Name/", "DNS", "Name/*", "Name/CN"]) == ["Name/*", "DNS", "Name/CN"]
    assert checked("x509Subject", ["CN", "OU", "CN", "*", "1.2.3"]) == ["CN", "OU", "*", "1.2.3"]
    for field, bad in (
        ("x509Subject", "cn"), ("x509Subject", ""), ("x509Subject", "DNS"), ("x509Issuer", "Name/*"), ("x509SAN", "*"),
        ("x509SAN", "CN"), ("x509SAN", "Name/DNS"), ("x509SAN", "Names"), ("x509Subject", "2.5.4."), ("x509Subject", "2.05"),
    ):  # fmt: skip
        with pytest.raises(ValidationException, match="is not a specifier of x509"):
            checked(field, [bad])
    assert len(checked("x509Subject", (f"2.5.{n}" for n in range(50)))) == 50
    with pytest.raises(ValidationException, match="at most 50 mapping rules"):
        checked("x509Subject", (f"2.5.{n}" for n in range(51)))
    assert to_api({"x509SAN": ["URI"], "x509Issuer": ["O", "CN"]}) == [
        {"certificateField": "x509Issuer", "mappingRules": [{"specifier": "O"}, {"specifier": "CN"}]},
        {"certificateField": "x509SAN", "mappingRules": [{"specifier": "URI"}]},
    ]


@pytest.mark.parametrize(
    ("subject", "serial", "expected"),
    [
        (name_of("web-1"), 1, "CN=web-1"), (name_of("x"), 1, "CN=x"), (name_of("x" * 61), 1, f"CN={'x' * 61}"),
        (name_of("x" * 62), 1, "x" * 62), (named((OU, "Shop")), 0x123, "ID=0123"), (named((OU, "Shop")), 0x4567, "ID=4567"),
        (named((NameOID.COMMON_NAME, "a+=,.@-_"), (NameOID.COMMON_NAME, "second")), 1, "CN=a+=,.@-_"), (name_of("x" * 64), 1, "x" * 64),
    ],
)  # fmt: skip
def test_the_source_identity(subject, serial, expected):
    assert source_identity(ROOT.issue(subject=subject, serial=serial).certificate) == expected


def test_a_common_name_that_is_no_source_identity():
    for name in ("Web Server", "a/b", "ä", "x" * 60 + ";"):
        with pytest.raises(AccessDeniedException, match="cannot be the source identity"):
            source_identity(ROOT.issue(name).certificate)
