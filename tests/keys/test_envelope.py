"""Ciphertexts: those of earlier releases are opened for ever, and no others are."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from penstock.keys import envelope
from penstock.keys.records import context_of
from penstock.store.sealing import Sealer

_GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "key-ciphertexts.json").read_text())
_KEY = "3f1d6a52-9a7c-4a0e-8a39-0f6f1c9d2b11"
_CIPHER = AESGCM(bytes(32))


def test_aes_256_gcm_of_nist():
    """McGrew and Viega, "The Galois/Counter Mode of Operation", test case 16."""
    cipher = AESGCM(bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2))
    sealed = (
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )
    head, nonce = "feedfacedeadbeeffeedfacedeadbeefabaddad2", "cafebabefacedbaddecaf888"
    found = envelope.Opened("", 0, *map(bytes.fromhex, (head, nonce, sealed)))
    assert found.decrypt(cipher, {}).hex() == (
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )


@pytest.mark.parametrize("name", sorted(_GOLDEN["ciphertexts"]))
def test_ciphertexts_of_earlier_releases_are_opened(name):
    """The master key seals the key's material, which has made the ciphertext: all three formats are kept."""
    golden = _GOLDEN["ciphertexts"][name]
    sealer = Sealer([(bytes.fromhex(_GOLDEN["master_key_id"]), bytes.fromhex(_GOLDEN["master_key"]))])
    found = envelope.opened(bytes.fromhex(golden["blob"]))
    material = sealer.open(bytes.fromhex(golden["material"]), context_of(found.key_id, found.material))
    assert found.key_id == golden["key"]
    assert found.decrypt(AESGCM(material), golden["context"]).hex() == golden["plaintext"]


@given(st.binary(max_size=200))
def test_no_other_bytes_are_a_ciphertext(blob):
    with pytest.raises(envelope.BadCiphertextError):
        envelope.opened(blob).decrypt(_CIPHER, {})


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_every_byte_of_a_ciphertext_counts(where, change):
    blob = bytearray(envelope.encrypt(_KEY, 1, _CIPHER, b"plaintext", {"a": "b"}))
    blob[where % len(blob)] ^= change
    try:
        found = envelope.opened(bytes(blob))
    except envelope.BadCiphertextError:
        return
    if (found.key_id, found.material) == (_KEY, 1):  # else there is no such material
        with pytest.raises(envelope.BadCiphertextError):
            found.decrypt(_CIPHER, {"a": "b"})


@given(st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=4))
def test_no_two_contexts_are_one(context):
    blob = envelope.encrypt(_KEY, 1, _CIPHER, b"", context)
    assert envelope.opened(blob).decrypt(_CIPHER, dict(reversed(context.items()))) == b""
    for other in ({**context, "more": "x"}, {key: value + "x" for key, value in context.items()} or {"": ""}):
        with pytest.raises(envelope.BadCiphertextError):
            envelope.opened(blob).decrypt(_CIPHER, other)
