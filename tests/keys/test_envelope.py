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
