"""What sessions get from the names of a certificate, at the limits of what tags and source identities can say."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from penstock_certificates import authority, name_of, usage

from penstock.certificates.errors import AccessDeniedException
from penstock.certificates.mappings import DEFAULT, session_tags
from penstock.certificates.subjects import serial_of

ROOT = authority("Root")
SIGNS = (usage(digital_signature=True), True)
ROLE = "arn:aws:iam::111111111111:role/r"


def named(*attributes, alternatives=(), serial=0):
    subject = x509.Name([x509.NameAttribute(getattr(NameOID, kind), value) for kind, value in attributes])
    extensions = (SIGNS, (x509.SubjectAlternativeName(alternatives), False)) if alternatives else (SIGNS,)
    return ROOT.issue(subject=subject, extensions=extensions, serial=serial).certificate


def test_every_kind_of_name_is_a_tag_and_repeated_ones_are_one():
    certificate = named(
        ("COMMON_NAME", "web-1"), ("ORGANIZATIONAL_UNIT_NAME", "a"), ("ORGANIZATIONAL_UNIT_NAME", "b"), ("ORGANIZATIONAL_UNIT_NAME", "c"),
        ("COUNTRY_NAME", "CH"), ("ORGANIZATION_NAME", "o"), ("STATE_OR_PROVINCE_NAME", "st"), ("LOCALITY_NAME", "l"), ("SERIAL_NUMBER", "7"),
        ("DOMAIN_COMPONENT", "dc"), ("TITLE", "t"), ("SURNAME", "sn"), ("GIVEN_NAME", "gn"), ("DN_QUALIFIER", "q"), ("PSEUDONYM", "nobody"),
        alternatives=(
            x509.DNSName("a.example"), x509.UniformResourceIdentifier("spiffe://a"), x509.DNSName("b.example"), x509.RFC822Name("a@example"),
            x509.DirectoryName(name_of("in-1", ORGANIZATION_NAME="in")), x509.DirectoryName(name_of("in-2")),
        ),
    )  # fmt: skip
    subject = {
        "CN": "web-1", "OU": "a/b/c", "C": "CH", "O": "o", "ST": "st", "L": "l", "serialNumber": "7", "DC": "dc",
        "title": "t", "SN": "sn", "GN": "gn", "dnQualifier": "q",
    }  # fmt: skip
    others = {
        "DNS": "a.example",
        "DNS/2": "b.example",
        "URI": "spiffe://a",
        "Name/CN": "in-1",
        "Name/O": "in",
    }
    assert session_tags(certificate, ROLE, DEFAULT) == {
        **{f"x509Subject/{name}": value for name, value in subject.items()},
        "x509Issuer/CN": "Root",
        **{f"x509SAN/{name}": value for name, value in others.items()},
    }


def test_what_no_tag_can_say_is_named_and_refused():
    assert session_tags(named(("TITLE", "x" * 64)), ROLE, DEFAULT)["x509Subject/title"] == "x" * 64
    path = x509.UniformResourceIdentifier("a:" + "x" * 254)
    assert session_tags(named(alternatives=(path,)), ROLE, DEFAULT)["x509SAN/URI"] == path.value
    longer = x509.UniformResourceIdentifier("a:" + "x" * 255)
    with pytest.raises(AccessDeniedException) as caught:
        session_tags(named(("TITLE", "a"), ("TITLE", "a;b"), alternatives=(longer,)), ROLE, DEFAULT)
    assert caught.value.message == (
        f"Unable to assume role for {ROLE}. Some attributes failed to be mapped into session tags."
        " Issuer: [  ]; Subject: [ title ]; SAN: [ URI ]"
    )


def test_a_serial_number_has_two_digits_for_each_byte():
    assert [serial_of(named(serial=number)) for number in (0xF, 0x10, 0xABC, 0xABCD)] == ["0f", "10", "0abc", "abcd"]
