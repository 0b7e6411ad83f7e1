"""Which certificates are trusted: each attack on the way from a certificate to a trust anchor."""

import base64
import itertools
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from penstock_certificates import CLIENT, DAY, NOW, Holder, authority, name_of, usage

from penstock.certificates.authority import requested_key
from penstock.certificates.chains import Untrusted, revocation_list, revoked, roots_of, trusted_path
from penstock.wire.certified import certificate_of
from penstock.wire.errors import IncompleteSignature

MS = int(NOW.timestamp() * 1000)
ROOT, OTHER = authority("Root"), authority("Other")
MIDDLE = ROOT.issue("Middle", authority=True)
HOST = x509.BasicConstraints(ca=False, path_length=None)
CA = x509.BasicConstraints(ca=True, path_length=None)
SIGNS = (usage(digital_signature=True), True)
SMALL = rsa.generate_private_key(65537, 1024)
IMPOSTOR = authority("Root")  # the same name, another key
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
NARROW = x509.NameConstraints([x509.DNSName("example.com")], None)


def path(leaf: Holder, *chain: Holder, roots: tuple[Holder, ...] = (ROOT,), now: int = MS) -> list[str]:
    found = trusted_path(
        leaf.certificate, [one.certificate for one in chain], [one.certificate for one in roots], now=now
    )
    return [one.subject.rfc4514_string() for one in found]


@pytest.mark.parametrize(
    ("leaf", "chain", "expected"),
    [
        (ROOT.issue(), (), ["CN=web-1", "CN=Root"]),
        (MIDDLE.issue(), (MIDDLE,), ["CN=web-1", "CN=Middle", "CN=Root"]),
        (MIDDLE.issue(), (OTHER, ROOT, MIDDLE), ["CN=web-1", "CN=Middle", "CN=Root"]),
        (ROOT.issue(extensions=(SIGNS, (CLIENT, True))), (), ["CN=web-1", "CN=Root"]),
        (ROOT.issue(key=rsa.generate_private_key(65537, 2048)), (), ["CN=web-1", "CN=Root"]),
        (ROOT.issue(key=ec.generate_private_key(ec.SECP521R1())), (IMPOSTOR,), ["CN=web-1", "CN=Root"]),
    ],
)  # fmt: skip
def test_what_leads_to_an_anchor_is_trusted(leaf, chain, expected):
    assert path(leaf, *chain) == expected


NO_ROOM = authority("Root", path_length=0)
UNDER_NO_ROOM = NO_ROOM.issue("Under", authority=True)
ATTACKS = {
    "another authority": (OTHER.issue(), (), "leads to none"),
    "an authority of the same name": (IMPOSTOR.issue(), (), "leads to none"),
    "an impostor in the chain": (IMPOSTOR.issue(), (IMPOSTOR,), "leads to none"),
    "no chain": (MIDDLE.issue(), (), "chain"),
    "a chain that ends elsewhere": (OTHER.issue(), (OTHER,), "leads to none"),
    "signed by itself": (authority("web-1", extensions=(SIGNS,)), (), "leads to none"),
    "expired": (ROOT.issue(after=NOW - DAY / 2), (), "has expired"),
    "not valid yet": (ROOT.issue(before=NOW + DAY / 2), (), "is not valid before"),
    "an expired authority": (
        (old := ROOT.issue("Old", authority=True, after=NOW - DAY / 2)).issue(), (old,), "CN=Old has expired",
    ),
    "the anchor itself": (ROOT, (), "is that of an authority"),
    "an authority as a host": (MIDDLE, (), "is that of an authority"),
    "a host as an authority": ((host := ROOT.issue("Host")).issue(), (host,), "not that of an authority"),
    "no digitalSignature": (ROOT.issue(extensions=((HOST, True), (usage(key_agreement=True), True))), (), "digitalSignature"),
    "no key usage": (ROOT.issue(extensions=((HOST, True),)), (), "digitalSignature"),
    "a server's certificate": (
        ROOT.issue(extensions=(SIGNS, (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False))), (), "clientAuth",
    ),
    "an authority for servers": (
        (web := ROOT.issue("Web", extensions=((CA, True), (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)))).issue(),
        (web,), "clientAuth",
    ),
    "an authority that may not sign": (
        (mute := ROOT.issue("Mute", extensions=((CA, True), (usage(crl_sign=True), True)))).issue(), (mute,), "keyCertSign",
    ),
    "a short key": (ROOT.issue(key=SMALL), (), "too weak"),
    "a key that cannot sign requests but issue": (
        (weak := ROOT.issue("Weak", key=SMALL, authority=True)).issue(), (weak,), "too weak",
    ),
    "an extension that must be understood": (ROOT.issue(extensions=(SIGNS, (UNKNOWN, True))), (), "1.2.3.4"),
    "name constraints": (
        (tied := ROOT.issue("Tied", extensions=((CA, True), (NARROW, True)))).issue(), (tied,), "2.5.29.30",
    ),
    "not critical name constraints": (
        (tied2 := ROOT.issue("Tied", extensions=((CA, True), (NARROW, False)))).issue(), (tied2,), "2.5.29.30",
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_does_not_is_refused_with_the_reason(attack):
    leaf, chain, reason = ATTACKS[attack]
    with pytest.raises(Untrusted, match=reason):
        path(leaf, *chain)


def test_an_authority_has_as_many_beneath_it_as_it_says():
    assert len(path(NO_ROOM.issue(), roots=(NO_ROOM,))) == 2
    with pytest.raises(Untrusted, match="path length"):
        path(UNDER_NO_ROOM.issue(), UNDER_NO_ROOM, roots=(NO_ROOM,))


def test_an_expired_anchor_trusts_nobody():
    gone = authority("Gone", after=NOW - DAY / 2)
    with pytest.raises(Untrusted, match="CN=Gone has expired"):
        path(gone.issue(), roots=(gone,))


def test_authorities_that_sign_each_other_end():
    first, second = authority("A"), authority("B")
    crossed = [first.issue("B", key=second.key, authority=True), second.issue("A", key=first.key, authority=True)]
    with pytest.raises(Untrusted, match="leads to none"):
        path(second.issue(), *crossed, *crossed)
    # The one that leads on is found behind one that does not.
    known = ROOT.issue("B", key=second.key, authority=True)
    assert path(second.issue(), *crossed, known) == ["CN=web-1", "CN=B", "CN=Root"]


def test_a_chain_in_which_all_have_the_same_name_costs_little():
    key = ec.generate_private_key(ec.SECP521R1())
    evil = authority("Root", key=key)
    chain = [evil.issue("Root", key=key, authority=True) for _ in range(5)]
    with pytest.raises(Untrusted, match="have the same name"):
        path(evil.issue(), *chain, roots=(ROOT, IMPOSTOR, authority("Root")))
    # Rolled keys: ten roots of one name, and the last one has signed.
    roots = [authority("Root") for _ in range(10)]
    assert len(path(roots[-1].issue(), *chain, roots=tuple(roots))) == 2


def test_a_weak_digest_is_refused(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    root = authority(
        "Root", key=key, extensions=((CA, True), (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
    )
    (tmp_path / "root.pem").write_text(root.pem)
    for name, key in (("root.key", root.key), ("host.key", ec.generate_private_key(ec.SECP256R1()))):
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / name).write_bytes(text)
    (tmp_path / "none.cnf").write_text("[req]\ndistinguished_name=dn\n[dn]\n")
    command = "openssl req -config none.cnf -x509 -sha1 -CA root.pem -CAkey root.key -key host.key -subj /CN=web-1 -outform DER"
    made = subprocess.run(
        [*command.split(), "-addext", "keyUsage=digitalSignature"], cwd=tmp_path, capture_output=True, check=True
    )
    leaf = Holder(x509.load_der_x509_certificate(made.stdout), None)
    with pytest.raises(Untrusted, match="sha1, which is too weak"):
        path(leaf, roots=(root,), now=int(leaf.certificate.not_valid_before_utc.timestamp()) * 1000)


def test_authorities_may_sign_with_ed25519():
    key = ed25519.Ed25519PrivateKey.generate()
    builder = x509.CertificateBuilder().subject_name(name_of("web-1")).issuer_name(name_of("Ed"))
    root = (
        x509.CertificateBuilder().subject_name(name_of("Ed")).issuer_name(name_of("Ed")).public_key(key.public_key())
        .serial_number(5).not_valid_before(NOW - DAY).not_valid_after(NOW + DAY).add_extension(CA, True).sign(key, None)
    )  # fmt: skip
    leaf = (
        builder.public_key(ROOT.key.public_key()).serial_number(6).not_valid_before(NOW - DAY).not_valid_after(NOW + DAY)
        .add_extension(SIGNS[0], True).sign(key, None)
    )  # fmt: skip
    assert len(trusted_path(leaf, [], [root], now=MS)) == 2


def test_anchors_are_authorities_in_pem():
    assert [len(roots_of(text)) for text in (ROOT.pem, ROOT.pem + OTHER.pem)] == [1, 2]
    for text, reason in (
        ("", "not one or more"), ("x", "not one or more"), (ROOT.issue().pem, "not that of an authority"),
        ("".join(itertools.repeat(ROOT.pem, 11)), "more than 10"),
    ):  # fmt: skip
        with pytest.raises(Untrusted, match=reason):
            roots_of(text)


def spoilt(der, old, new):
    assert (old in der, len(old)) == (True, len(new))
    return der.replace(old, new)


def armoured(der, kind):
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(der).decode()}-----END {kind}-----\n"


V3, V9 = b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09"
NAMED, UNTEXT, BITS = (
    b"\x0c\x04Root",
    b"\x0c\x04\xff\xff\xff\xff",
    b"\x03\x04\x00oot",
)  # UTF8String, no UTF-8, BIT STRING


@pytest.mark.parametrize(("old", "new"), [(V3, V9), (NAMED, UNTEXT), (NAMED, BITS)], ids=["version", "no text", "bits"])
def test_what_cannot_be_read_is_refused_wherever_it_is(old, new):
    """A version that there is not, and names that are no text, which are read only when somebody asks for them."""
    root = spoilt(ROOT.certificate.public_bytes(Encoding.DER), old, new)
    with pytest.raises(Untrusted, match="not one or more"):
        roots_of(armoured(root, "CERTIFICATE"))
    with pytest.raises(IncompleteSignature, match="holds no X.509"):
        certificate_of(base64.b64encode(spoilt(ROOT.issue().certificate.public_bytes(Encoding.DER), old, new)).decode())
    listed = x509.load_pem_x509_crl(ROOT.revoke()).public_bytes(Encoding.DER)
    # A list says its version as a plain number, before the algorithm of its signature.
    data = spoilt(listed, b"\x02\x01\x01\x30", b"\x02\x01\x09\x30") if old == V3 else spoilt(listed, old, new)
    for form in (data, armoured(data, "X509 CRL").encode()):
        with pytest.raises(Untrusted, match="is not a certificate revocation list"):
            revocation_list(form, [ROOT.certificate])
    key = ec.generate_private_key(ec.SECP256R1())
    asked = x509.CertificateSigningRequestBuilder().subject_name(name_of("Root")).sign(key, hashes.SHA256())
    request = asked.public_bytes(Encoding.DER)
    data = spoilt(request, b"\x02\x01\x00\x30", b"\x02\x01\x09\x30") if old == V3 else spoilt(request, old, new)
    assert requested_key(armoured(data, "CERTIFICATE REQUEST")) is None


def test_a_list_revokes_a_certificate_and_what_hangs_on_it():
    leaf, other = MIDDLE.issue(), MIDDLE.issue()
    found = trusted_path(leaf.certificate, [MIDDLE.certificate], [ROOT.certificate], now=MS)
    assert revoked(found, [MIDDLE.revoke(leaf.certificate)])
    assert revoked(found, [ROOT.revoke(MIDDLE.certificate)])
    assert not revoked(found, [MIDDLE.revoke(other.certificate), ROOT.revoke(leaf.certificate), MIDDLE.revoke()])
    # Signed by somebody else.
    assert not revoked(found, [Holder(MIDDLE.certificate, OTHER.key).revoke(leaf.certificate)])


def test_a_list_is_taken_only_from_an_authority_of_the_anchor():
    good = ROOT.revoke(ROOT.issue().certificate)
    assert revocation_list(good, [OTHER.certificate, ROOT.certificate]) == good
    for data, reason in ((b"x", "is not a"), (OTHER.revoke(), "none of"), (IMPOSTOR.revoke(), "none of")):
        with pytest.raises(Untrusted, match=reason):
            revocation_list(data, [ROOT.certificate])
