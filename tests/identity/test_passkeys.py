"""Passkeys: added in a session, asked for in the second step and in place of the password, and every answer that is not the right one."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from penstock_authenticator import BACKED_UP, ELIGIBLE, EXTENDED, PRESENT, Authenticator, encode_cbor, number, text_of
from penstock_identity_harness import ACCOUNT, REGION, allow, document, refused

import penstock.fleet
from penstock.identity import ceremonies, sign_in_records
from penstock.pools import PASSKEYS
from penstock.wire.call import Origin
from penstock.wire.errors import AccessDenied, ServiceError, Throttled

PASSWORD = "correct horse"
ORIGIN = "http://localhost:8470"
NOT_TAKEN = "This passkey was not taken"
GONE = "No user here has this passkey any more"
SERIAL = f"arn:aws:iam::{ACCOUNT}:u2f/user/ann/"

# What either database may do differently is tested on both; the others take the quicker one.
SQLITE = pytest.mark.parametrize("any_url", ["sqlite"], indirect=True)


@pytest.fixture
def components():
    return (penstock.fleet.component,)


@pytest.fixture
def harness(either):
    either.app.public_url = "http://127.0.0.1:8470"
    return either


@pytest.fixture
async def ann(harness):
    await harness.user("ann", allow("iam:ListUsers"))
    await harness.iam("CreateLoginProfile", UserName="ann", Password=PASSWORD)
    return harness


async def password(harness, name="ann"):
    return await harness.app.identity.sign_in(account=ACCOUNT, user_name=name, password=PASSWORD, address="192.0.2.1")


async def session(harness, user):
    """The session of the console that begins for a user; its id, and what calls are made with."""
    id_ = await harness.app.identity.begin_session(user, address="192.0.2.1", agent="")
    return id_, (await harness.app.identity.session_user(id_, active=True)).session


async def ours(harness, operation, by, via="console", **input):
    return await harness.app.invoke(
        by, "penstock", operation, {"userName": "ann", **input}, region=REGION, origin=Origin(via=via)
    )


async def asked(harness, by, **input):
    return await ours(harness, "CreatePasskeyChallenge", by, **input)


async def register(harness, by, begun, answer, name="phone"):
    given = {"token": begun["token"], "credential": json.dumps(answer), "name": name}
    return (await ours(harness, "RegisterPasskey", by, **given))["serialNumber"]


async def added(harness, by, name="phone", **more) -> Authenticator:
    """A passkey of ann's, added in a session."""
    begun, made = await asked(harness, by), Authenticator(ORIGIN, **more)
    await register(harness, by, begun, made.make(begun["options"]), name)
    return made


@pytest.fixture
async def here(ann):
    """A session of ann's, signed in by password."""
    return (await session(ann, await password(ann)))[1]


async def sign_in(harness, key: Authenticator, *, step="", **changed):
    begun = await harness.app.identity.passkeys.begin(step)
    return await harness.app.identity.passkeys.show(begun.token, json.dumps(key.show(begun.options, **changed)), step)


async def why(awaitable) -> str:
    with pytest.raises(AccessDenied) as caught:
        await awaitable
    return caught.value.message


async def message(awaitable) -> str:
    """What is said of an answer that is refused; "" of one that is taken."""
    try:
        await awaitable
    except (AccessDenied, ServiceError) as refusal:
        return refusal.message
    return ""


@SQLITE
@pytest.mark.parametrize("algorithm", [-8, -257])
async def test_keys_of_other_algorithms_sign_in_too(ann, here, algorithm):
    assert (await sign_in(ann, await added(ann, here, algorithm=algorithm))).user_name == "ann"


async def test_a_passkey_signs_in_without_a_password_and_after_it(ann, here, clock):
    key = await added(ann, here)
    clock.advance(1000)
    user = await sign_in(ann, key)
    assert (user.user_name, user.session.mfa, user.device.startswith(SERIAL + "phone-")) == ("ann", clock.now(), True)
    _, by = await session(ann, user)
    assert by.mfa == clock.now()
    half = await password(ann)
    assert half.factors == ("passkey",)
    with pytest.raises(AccessDenied, match="second factor"):
        await session(ann, half)
    step = ann.app.identity.second_step(half)
    assert (await sign_in(ann, key, step=step)).session.mfa == clock.now()
    (row,) = (await ours(ann, "ListPasskeys", by))["passkeys"]
    assert (row["name"], row["relyingParty"], row["lastUsedTime"]) == ("phone", "localhost", clock.now())
    assert row["suspectedTime"] is None


@SQLITE
async def test_what_the_browser_is_asked_for(ann, here):
    made = json.loads((await asked(ann, here))["options"])
    assert made["rp"] == {"id": "localhost", "name": "Penstock"}
    assert [one["alg"] for one in made["pubKeyCredParams"]] == [-7, -8, -257]
    assert (made["attestation"], made["excludeCredentials"], made["user"]["name"]) == ("none", [], f"ann@{ACCOUNT}")
    assert made["authenticatorSelection"] == {
        "residentKey": "required", "requireResidentKey": True, "userVerification": "required",
    }  # fmt: skip
    key = await added(ann, here)
    again = json.loads((await asked(ann, here))["options"])
    assert [one["id"] for one in again["excludeCredentials"]] == [text_of(key.id)]
    assert again["challenge"] != made["challenge"]
    anybody = json.loads((await ann.app.identity.passkeys.begin()).options)
    assert (anybody["rpId"], anybody["userVerification"], anybody["allowCredentials"]) == ("localhost", "required", [])
    step = ann.app.identity.second_step(await password(ann))
    one = json.loads((await ann.app.identity.passkeys.begin(step)).options)
    assert [allowed["id"] for allowed in one["allowCredentials"]] == [text_of(key.id)]


@SQLITE
async def test_a_passkey_is_a_device_of_iam(ann, here, clock):
    await added(ann, here)
    await added(ann, here, "laptop")
    devices = (await ann.iam("ListMFADevices", UserName="ann"))["MFADevices"]
    assert [one["SerialNumber"].removeprefix(SERIAL)[:6] for one in devices] == ["laptop", "phone-"]
    page = await ann.iam("ListMFADevices", UserName="ann", MaxItems=1)
    rest = await ann.iam("ListMFADevices", UserName="ann", MaxItems=1, Marker=page["Marker"])
    assert page["MFADevices"] + rest["MFADevices"] == devices
    assert not rest["IsTruncated"]
    phone = devices[1]["SerialNumber"]
    for more in ({}, {"UserName": "ANN"}):
        assert await ann.iam("GetMFADevice", SerialNumber=phone, **more) == devices[1]
    assert (await ann.iam("ListVirtualMFADevices"))["VirtualMFADevices"] == []
    summary = (await ann.iam("GetAccountSummary"))["SummaryMap"]
    assert (summary["MFADevices"], summary["MFADevicesInUse"]) == (2, 2)
    await ann.iam("GenerateCredentialReport")
    report = bytes((await ann.iam("GetCredentialReport"))["Content"]).decode().splitlines()
    column = report[0].split(",").index("mfa_active")
    assert [line.split(",")[column] for line in report if line.startswith("ann,")] == ["true"]
    await ann.user("bob")
    gone = f"MFA Device with serial number {phone} does not exist."
    for operation in ("DeactivateMFADevice", "GetMFADevice"):
        assert await refused(ann.iam(operation, UserName="bob", SerialNumber=phone)) == ("NoSuchEntity", gone)
    assert (await refused(ann.iam("DeleteVirtualMFADevice", SerialNumber=phone)))[0] == "NoSuchEntity"
    codes = {"AuthenticationCode1": "000000", "AuthenticationCode2": "000000"}
    for operation in ("ResyncMFADevice", "EnableMFADevice"):
        assert (await refused(ann.iam(operation, UserName="ann", SerialNumber=phone, **codes)))[0] == "NoSuchEntity"
    await ann.iam("DeleteLoginProfile", UserName="ann")
    (access,) = (await ann.iam("ListAccessKeys", UserName="ann"))["AccessKeyMetadata"]
    await ann.iam("DeleteAccessKey", UserName="ann", AccessKeyId=access["AccessKeyId"])
    assert (await refused(ann.iam("DeleteUser", UserName="ann")))[
        1
    ] == "Cannot delete entity, must delete MFA device first."
    for one in devices:
        await ann.iam("DeactivateMFADevice", UserName="ann", SerialNumber=one["SerialNumber"])
    assert (await refused(ann.iam("GetMFADevice", SerialNumber=phone)))[0] == "NoSuchEntity"
    await ann.iam("UpdateUser", UserName="ann", NewUserName="anna")


@SQLITE
async def test_a_user_who_is_renamed_keeps_passkeys(ann, here):
    key = await added(ann, here)
    await ann.iam("UpdateUser", UserName="ann", NewUserName="anna")
    (device,) = (await ann.iam("ListMFADevices", UserName="anna"))["MFADevices"]
    assert ":u2f/user/anna/phone-" in device["SerialNumber"]
    assert (await sign_in(ann, key)).user_name == "anna"


@SQLITE
async def test_sessions_end_when_a_passkey_comes_or_goes_but_for_the_one_that_does_it(ann, here, clock):
    identity = ann.app.identity
    there, _ = await session(ann, await password(ann))
    await added(ann, here)
    assert await identity.session_user(there, active=True) is None
    other, _ = await session(ann, await sign_in(ann, await added(ann, here, "laptop")))
    (first, second) = (await ours(ann, "ListPasskeys", here))["passkeys"]
    for one in (first, second):
        device = {"UserName": "ann", "SerialNumber": one["serialNumber"]}
        await ann.app.invoke(here, "iam", "DeactivateMFADevice", device, region=REGION, origin=Origin(via="console"))
    assert await identity.session_user(other, active=True) is None
    assert (await password(ann)).factors == ()


@SQLITE
async def test_recovery_codes_go_with_the_last_factor_whatever_it_is(ann, here):
    await added(ann, here)
    await added(ann, here, "laptop")
    await ours(ann, "CreateRecoveryCodes", here)
    left = sa.select(sa.func.count()).select_from(sign_in_records.recovery_codes)
    counts = []
    for one in (await ours(ann, "ListPasskeys", here))["passkeys"]:
        await ann.iam("DeactivateMFADevice", UserName="ann", SerialNumber=one["serialNumber"])
        counts.append(await ann.app.store.read(lambda conn: conn.execute(left).scalar()))
    assert counts == [10, 0]


@SQLITE
async def test_a_passkey_that_was_removed_signs_in_nobody(ann, here):
    key = await added(ann, here)
    step = ann.app.identity.second_step(await password(ann))
    (device,) = (await ann.iam("ListMFADevices", UserName="ann"))["MFADevices"]
    await ann.iam("DeactivateMFADevice", UserName="ann", SerialNumber=device["SerialNumber"])
    assert GONE in await why(sign_in(ann, key))
    assert GONE in await why(sign_in(ann, key, step=step))


@SQLITE
async def test_a_passkey_of_somebody_else_is_no_second_factor(ann, here, clock):
    await added(ann, here)
    await ann.user("bob", allow("*"))
    await ann.iam("CreateLoginProfile", UserName="bob", Password=PASSWORD)
    _, by = await session(ann, await password(ann, "bob"))
    begun, his = await asked(ann, by, userName="bob"), Authenticator(ORIGIN)
    given = {
        "token": begun["token"],
        "credential": json.dumps(his.make(begun["options"])),
        "name": "b",
        "userName": "bob",
    }
    await ours(ann, "RegisterPasskey", by, **given)
    step = ann.app.identity.second_step(await password(ann))
    assert GONE in await why(sign_in(ann, his, step=step))
    assert (await sign_in(ann, his)).user_name == "bob"
    for said in (text_of(b"AIDANOBODY").encode(), his.user[:-1]):  # the authenticator says that it is somebody else's
        assert GONE in await why(sign_in(ann, his, userHandle=said))
    begun = await ann.app.identity.passkeys.begin()
    answer = his.show(begun.options)
    del answer["response"]["userHandle"]  # without a user name it must say whose it is
    assert GONE in await why(ann.app.identity.passkeys.show(begun.token, json.dumps(answer)))


async def test_an_answer_is_good_once(ann, here):
    key, identity = await added(ann, here, counts=False), ann.app.identity
    begun = await identity.passkeys.begin()
    answer = json.dumps(key.show(begun.options))
    answers = await asyncio.gather(
        *(identity.passkeys.show(begun.token, answer) for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in answers) == ["AccessDenied"] * 3 + ["SignedIn"]
    assert "given before" in await why(identity.passkeys.show(begun.token, answer))
    new = await asked(ann, here)
    other = Authenticator(ORIGIN)
    made = other.make(new["options"])
    await register(ann, here, new, made, "one")
    (device,) = [
        one for one in (await ann.iam("ListMFADevices", UserName="ann"))["MFADevices"] if "/one-" in one["SerialNumber"]
    ]
    await ann.iam("DeactivateMFADevice", UserName="ann", SerialNumber=device["SerialNumber"])
    assert "given before" in await why(register(ann, here, new, made, "two"))


@SQLITE
async def test_a_challenge_is_for_one_purpose_and_for_somebody_and_ends(ann, here, clock):
    identity = ann.app.identity
    key = await added(ann, here)
    step, other_step = [identity.second_step(await password(ann)) for _ in range(2)]
    anybody, factor, new = await identity.passkeys.begin(), await identity.passkeys.begin(step), await asked(ann, here)
    late = "took too long, or was started elsewhere"
    for token, options, by_step in (
        (factor.token, factor.options, ""), (factor.token, factor.options, other_step), (anybody.token, anybody.options, step),
        (new["token"], anybody.options, ""), ("", anybody.options, ""), ("x" * 5000, anybody.options, ""), ("\ud800", anybody.options, ""),
    ):  # fmt: skip
        assert late in await why(identity.passkeys.show(token, json.dumps(key.show(options)), by_step))
    # A challenge of another token, which is sealed for the right purpose.
    other = await identity.passkeys.begin()
    assert NOT_TAKEN in await why(identity.passkeys.show(other.token, json.dumps(key.show(anybody.options))))
    _, there = await session(
        ann, await identity.passkeys.show(factor.token, json.dumps(key.show(factor.options)), step)
    )
    assert late in await why(register(ann, there, new, Authenticator(ORIGIN).make(new["options"])))
    assert late in await why(register(ann, here, {"token": anybody.token}, Authenticator(ORIGIN).make(new["options"])))
    clock.advance(ceremonies.LASTS_MS)
    assert late in await why(identity.passkeys.show(anybody.token, json.dumps(key.show(anybody.options))))
    assert "took too long" in await why(
        identity.passkeys.show(factor.token, json.dumps(key.show(factor.options)), step)
    )


@SQLITE
async def test_what_was_met_is_forgotten_when_its_challenge_has_ended(ann, here, clock):
    key = await added(ann, here)
    for _ in range(3):
        clock.advance(ceremonies.LASTS_MS + 1)
        await sign_in(ann, key)
    left = sa.select(sa.func.count()).select_from(sign_in_records.spent_challenges)
    assert await ann.app.store.read(lambda conn: conn.execute(left).scalar()) == 1


async def test_a_count_that_goes_back_is_refused_and_kept_on_record(ann, here, clock):
    key = await added(ann, here)
    for _ in range(3):
        await sign_in(ann, key)
    key.count = 1  # as that of a copy which was made then; it says 2 now
    clock.advance(5000)
    begun = await ann.app.identity.passkeys.begin()
    with pytest.raises(AccessDenied, match="signed more often than it says now") as copied:
        await ann.app.identity.passkeys.show(begun.token, json.dumps(key.show(begun.options)))
    known = copied.value.values
    assert (known["account"], known["why"]) == (ACCOUNT, "The passkey may have been copied: its count went back.")
    assert known["device"].startswith(SERIAL)
    (row,) = (await ours(ann, "ListPasskeys", here))["passkeys"]
    assert row["suspectedTime"] == clock.now()
    key.count, key.counts = 0, False  # neither is one that counts no more
    assert "signed more often" in await why(sign_in(ann, key))
    key.count, key.counts = 3, True
    assert await sign_in(ann, key)


@SQLITE
async def test_a_passkey_that_does_not_count_signs_in_again_and_again(ann, here):
    key = await added(ann, here, counts=False)
    for _ in range(3):
        assert (await sign_in(ann, key)).user_name == "ann"


def big(bits: int, exponent: int = 65537) -> dict[int, bytes | int]:
    numbers = rsa.generate_private_key(65537, bits).public_key().public_numbers()
    return {1: 3, 3: -257, -1: number(numbers.n), -2: number(exponent)}


def on(curve: ec.EllipticCurve, number_of_curve: int, size: int) -> dict[int, bytes | int]:
    numbers = ec.generate_private_key(curve).public_key().public_numbers()
    return {1: 2, 3: -7, -1: number_of_curve, -2: numbers.x.to_bytes(size), -3: numbers.y.to_bytes(size)}


POINT = on(ec.SECP256R1(), 1, 32)
KEYS = {
    "not a map": encode_cbor([1, 2]), "the number 4": b"\x04", "nothing": b"", "cut off": encode_cbor(POINT)[:-1],
    "a map that lies": b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff", "deep": b"\x81" * 3000, "a pattern": b"\xd8\x23\x67(((a{9})",
    "a key twice": b"\xa2\x01\x02\x01\x02", "no algorithm": encode_cbor({1: 2}), "a text as key": encode_cbor({"1": 2, 1: 2}),
    "not on the curve": encode_cbor({**POINT, -2: bytes(32)}), "another curve": encode_cbor(on(ec.SECP384R1(), 2, 48)),
    "ES512": encode_cbor({**POINT, 3: -36}), "RSA as ES256": encode_cbor({**big(2048), 3: -7}), "ES256 as RSA": encode_cbor({**POINT, 3: -257}),
    "RS1": encode_cbor({**big(2048), 3: -65535}), "RSA of 1024 bits": encode_cbor(big(1024)), "another exponent": encode_cbor(big(2048, 3)),
    "huge RSA": encode_cbor({1: 3, 3: -257, -1: b"\xff" * 1024, -2: b"\x01\x00\x01"}), "none of RSA": encode_cbor({1: 3, 3: -257, -1: b"", -2: b""}),
    "Ed25519 too short": encode_cbor({1: 1, 3: -8, -1: 6, -2: bytes(31)}), "X25519": encode_cbor({1: 1, 3: -8, -1: 4, -2: bytes(32)}),
    "texts for numbers": encode_cbor({1: "2", 3: "-7"}), "lists": encode_cbor({1: 2, 3: -7, -1: 1, -2: [], -3: []}),
    "bytes behind it": encode_cbor(POINT) + b"\x00",
}  # fmt: skip

TOO_MUCH = encode_cbor({"x": bytes(4096)})  # an extension that nothing else is wrong with


def wrong_to_make(key: Authenticator, options: str) -> dict[str, object]:
    """Every answer that makes no passkey, by what is wrong with it."""
    asked = json.loads(options)
    whole = key.make(options)
    response = whole["response"]

    def saying(**client):
        return key.make(options, client=client)

    def with_response(**changed):
        return {**whole, "response": {**response, **changed}}

    other = Authenticator("http://evil.example")
    long, absent = "x" * ceremonies.MAX_ANSWER, Authenticator(ORIGIN)
    absent.flags = 0
    unverified, alone = Authenticator(ORIGIN), Authenticator(ORIGIN)
    unverified.flags, alone.flags = PRESENT, alone.flags | BACKED_UP
    extended = encode_cbor({"x": 1})
    return {
        "nothing": None, "a list": [], "a number": 7, "a text": "x", "no members": {}, "no response": {"id": "x", "rawId": "eA"},
        "a response of a list": {**whole, "response": []}, "an empty response": {**whole, "response": {}},
        "an id that is no text": {**whole, "rawId": 7}, "an empty id": {**whole, "rawId": "", "id": ""},
        "an id that is too long": {**whole, "rawId": text_of(bytes(1024)), "id": text_of(bytes(1024))},
        "an id of no alphabet": {**whole, "rawId": "!!!!", "id": "!!!!"}, "two ids": {**whole, "id": "eA"},
        "another id than the data's": {**whole, "rawId": "eA", "id": "eA"},
        "another type": {**whole, "type": "password"}, "too long": {**whole, "more": long},
        "another origin": other.make(options), "a port more": saying(origin="http://localhost:8471"),
        "a name that begins alike": saying(origin=ORIGIN + ".evil.example"), "no origin": saying(origin=None),
        "origins": saying(origin=[ORIGIN]), "another name": key.make(options, data=Authenticator("http://evil.example").attested()),
        "for signing in": saying(type="webauthn.get"), "another challenge": saying(challenge=text_of(bytes(32))),
        "a challenge of a number": saying(challenge=7), "no challenge": saying(challenge=""), "in a frame": saying(crossOrigin=True),
        "client data cut off": with_response(clientDataJSON=text_of(b"{")), "client data of a list": with_response(clientDataJSON=text_of(b"[]")),
        "client data not UTF-8": with_response(clientDataJSON=text_of(b'{"a":"\xff"}')), "client data of no text": with_response(clientDataJSON=None),
        "no attestation": with_response(attestationObject=None), "attestation of nothing": with_response(attestationObject=""),
        "attestation of a list": with_response(attestationObject=text_of(encode_cbor([]))),
        "attestation without data": with_response(attestationObject=text_of(encode_cbor({"fmt": "none", "attStmt": {}}))),
        "data of a text": key.make(options, data="x"), "data too short": key.make(options, data=bytes(36)),
        "data too long": key.make(options, data=key.data(key.attested()[37:] + TOO_MUCH, 0x40 | EXTENDED)), "data without a key": key.make(options, data=key.data()),
        "a length that lies": key.make(options, data=key.data(bytes(16) + b"\xff\xff" + key.id, 0x40)),
        "an empty id in the data": key.make(options, data=key.attested(id_=b"")),
        "extensions that are missing": key.make(options, data=key.data(key.attested()[37:], 0x40 | EXTENDED)),
        "bytes behind extensions": key.make(options, data=key.data(key.attested()[37:] + extended + b"x", 0x40 | EXTENDED)),
        "nobody was there": absent.make(options), "nobody was verified": unverified.make(options),
        "a backup of what has none": alone.make(options),
        "transports of a number": with_response(transports=7), "transports of lists": with_response(transports=[[]]),
        **{f"a key: {name}": key.make(options, data=key.attested(raw)) for name, raw in KEYS.items()},
        "a challenge of bytes": saying(challenge=asked["challenge"] + "=\n="),
    }  # fmt: skip


@SQLITE
async def test_answers_that_make_no_passkey(ann, here):
    begun = await asked(ann, here)
    wrong = wrong_to_make(Authenticator(ORIGIN), begun["options"])
    said = {name: await message(register(ann, here, begun, answer, "x")) for name, answer in wrong.items()}
    assert "less than or equal to 8192" in said.pop("too long")
    assert {name: text for name, text in said.items() if NOT_TAKEN not in text} == {}
    assert (await ours(ann, "ListPasskeys", here))["passkeys"] == []
    key = Authenticator(ORIGIN)
    await register(ann, here, begun, key.make(begun["options"]))  # which none of those has spent


@SQLITE
async def test_what_an_authenticator_says_of_its_maker_is_not_read(ann, here):
    begun, key = await asked(ann, here), Authenticator(ORIGIN)
    key.flags |= ELIGIBLE | BACKED_UP
    statement = {"alg": -7, "sig": b"x", "x5c": [b"no certificate"]}
    data = key.data(key.attested()[37:] + encode_cbor({"credProtect": 2}), 0x40 | EXTENDED)
    answer = key.make(begun["options"], fmt="tpm", attStmt=statement, data=data)
    answer["response"]["transports"] = ["internal", "telepathy", "hybrid"]
    await register(ann, here, begun, answer)
    (allowed,) = json.loads((await asked(ann, here))["options"])["excludeCredentials"]
    assert allowed["transports"] == ["hybrid", "internal"]
    assert (await sign_in(ann, key)).user_name == "ann"
    key.flags &= ~(ELIGIBLE | BACKED_UP)
    assert NOT_TAKEN in await why(sign_in(ann, key))


def wrong_to_show(key: Authenticator, options: str) -> dict[str, object]:
    """Every answer that shows no passkey."""
    whole = key.show(options)
    response = whole["response"]

    def with_response(**changed):
        return {**whole, "response": {**response, **changed}}

    def saying(**client):
        return key.show(options, client=client)

    def flagged(flags):
        other = Authenticator(ORIGIN)
        other.flags, other.count = flags, 99
        return key.show(options, data=other.data())

    evil = Authenticator("http://evil.example")
    return {
        "a signature of nobody": with_response(signature=text_of(bytes(70))), "no signature": with_response(signature=""),
        "a signature of nothing": with_response(signature=None), "other data": with_response(authenticatorData=text_of(key.data()[:-1] + b"c")),
        "no data": with_response(authenticatorData=""), "data of no text": with_response(authenticatorData=[]),
        "too much data": key.show(options, data=key.data(TOO_MUCH, EXTENDED)), "another name": key.show(options, data=evil.data()),
        "another origin": saying(origin="http://evil.example"), "for another port": saying(origin="http://localhost:1"),
        "in a frame": saying(crossOrigin=True), "for making one": saying(type="webauthn.create"),
        "another challenge": saying(challenge=text_of(bytes(32))), "nobody was there": flagged(0), "nobody was verified": flagged(PRESENT),
        "extensions that are missing": key.show(options, data=key.data(flags=EXTENDED)),
        "a key that is missing": key.show(options, data=key.data(flags=0x40)), "deep": key.show(options, data=key.data(b"\x81" * 3000, EXTENDED)),
        "another type": {**whole, "type": "password"}, "an id of bytes": {**whole, "id": 7},
    }  # fmt: skip


@SQLITE
async def test_answers_that_show_no_passkey(ann, here):
    key, identity = await added(ann, here), ann.app.identity
    begun = await identity.passkeys.begin()
    wrong = {name: json.dumps(answer) for name, answer in wrong_to_show(key, begun.options).items()}
    wrong |= {text[:9]: text for text in ("", "{", "[]", "null", '{"rawId": "\ud800"}', "[" * 100_000, "1" * 20_000)}
    said = {name: await message(identity.passkeys.show(begun.token, text)) for name, text in wrong.items()}
    assert {name: text for name, text in said.items() if NOT_TAKEN not in text} == {}
    stranger = Authenticator(ORIGIN)
    stranger.user = key.user
    assert GONE in await why(identity.passkeys.show(begun.token, json.dumps(stranger.show(begun.options))))
    stranger.id = key.id  # who knows the id of another's
    assert NOT_TAKEN in await why(identity.passkeys.show(begun.token, json.dumps(stranger.show(begun.options))))
    assert await identity.passkeys.show(begun.token, json.dumps(key.show(begun.options)))


@SQLITE
async def test_names_and_numbers_of_passkeys(ann, here):
    for at in range(8):
        key = await added(ann, here, f"k{at}")
    begun = await asked(ann, here)
    other = Authenticator(ORIGIN)
    answer = other.make(begun["options"])
    assert "8 second factors at most" in (await refused(register(ann, here, begun, answer, "k8")))[1]
    made = (await ann.iam("CreateVirtualMFADevice", VirtualMFADeviceName="x"))["VirtualMFADevice"]
    codes = {"AuthenticationCode1": "000000", "AuthenticationCode2": "000000"}
    assert await refused(ann.iam("EnableMFADevice", UserName="ann", SerialNumber=made["SerialNumber"], **codes)) == (
        "LimitExceeded", "Cannot exceed quota for MFADevicesPerUser: 8",
    )  # fmt: skip
    (first, *_rest) = (await ours(ann, "ListPasskeys", here))["passkeys"]
    await ann.iam("DeactivateMFADevice", UserName="ann", SerialNumber=first["serialNumber"])
    assert "a passkey k1 already" in (await refused(register(ann, here, begun, answer, "k1")))[1]
    other.id = key.id
    assert "registered already" in (await refused(register(ann, here, begun, other.make(begun["options"]), "k8")))[1]
    for name in ("", "a b", "x" * 65, "<b>"):
        assert (await refused(register(ann, here, begun, answer, name)))[0] == "ValidationException"


@SQLITE
async def test_passkeys_are_added_by_their_own_user_in_the_console(ann, here, clock):
    """An access key may be stolen, and an administrator may not become somebody else unseen."""
    admin = await ann.administrator()
    only = "in the console only, by their own user"
    for by in (admin, replace(here, console="")):
        assert only in await why(asked(ann, by))
    await ann.user("bob", allow("*"))
    await ann.iam("CreateLoginProfile", UserName="bob", Password=PASSWORD)
    _, bob = await session(ann, await password(ann, "bob"))
    assert only in await why(asked(ann, bob))
    begun = await asked(ann, here)
    assert only in await why(register(ann, bob, begun, Authenticator(ORIGIN).make(begun["options"])))
    assert "no user nobody" in (await refused(asked(ann, bob, userName="nobody")))[1]


@SQLITE
async def test_a_policy_that_denies_devices_denies_passkeys(ann, here):
    deny = document({"Effect": "Deny", "Action": ["iam:EnableMFADevice", "iam:ListMFADevices"], "Resource": "*"})
    await ann.iam("PutUserPolicy", UserName="ann", PolicyName="no", PolicyDocument=deny)
    for operation in ("CreatePasskeyChallenge", "ListPasskeys"):
        assert "explicit deny" in await why(ours(ann, operation, here))
    given = {"token": "x", "credential": "{}", "name": "x"}
    assert "explicit deny" in await why(ours(ann, "RegisterPasskey", here, **given))


@SQLITE
async def test_who_has_no_login_profile_or_an_expired_password_is_not_signed_in_by_a_passkey(ann, here, clock):
    key = await added(ann, here)
    await ann.iam("UpdateAccountPasswordPolicy", MaxPasswordAge=1, HardExpiry=True, MinimumPasswordLength=8)
    clock.advance(2 * 86_400_000)
    assert "has expired" in await why(sign_in(ann, key))
    await ann.iam("UpdateAccountPasswordPolicy", MaxPasswordAge=1, MinimumPasswordLength=8)
    user = await sign_in(ann, key)
    with pytest.raises(AccessDenied, match="expired"):
        await session(ann, user)
    assert await ann.app.identity.expired(user)  # who chooses another first
    await ann.iam("DeleteLoginProfile", UserName="ann")
    assert "no login profile" in await why(sign_in(ann, key))


@SQLITE
async def test_more_than_the_queue_takes_is_refused_at_once(ann, here, monkeypatch):
    async def full(*_, **__):
        raise Throttled

    key = await added(ann, here)
    monkeypatch.setattr(PASSKEYS, "run", full)
    with pytest.raises(Throttled):
        await sign_in(ann, key)


HTTPS = "Browsers allow passkeys over https only, and this console's address is"


@pytest.mark.parametrize(
    ("public", "name", "origin"),
    [
        ("http://127.0.0.1:8470", "localhost", "http://localhost:8470"),
        ("https://[::1]:8470", "localhost", "https://localhost:8470"),
        ("http://localhost", "localhost", "http://localhost"),
        ("http://cd.localhost:1", "cd.localhost", "http://cd.localhost:1"),
        ("https://CD.example.com", "cd.example.com", "https://cd.example.com"),
        ("https://cd.example.com:443", "cd.example.com", "https://cd.example.com"),
        ("https://cd:8470", "cd", "https://cd:8470"),
        ("https://192.0.2.7", "", "Passkeys belong to a name, and this console's address is 192.0.2.7."),
        ("https://[2001:db8::1]", "", "Passkeys belong to a name"),
        ("http://cd.example.com", "", HTTPS),
        ("http://localhost.example.com", "", HTTPS),
        ("", "", HTTPS),
    ],
)
def test_for_whom_passkeys_are(public, name, origin):
    if name:
        assert ceremonies.party_of(public) == ceremonies.Party(name, origin)
        return
    with pytest.raises(AccessDenied) as caught:
        ceremonies.party_of(public)
    assert origin in caught.value.message


@SQLITE
async def test_passkeys_of_another_name_still_are_factors_and_work_at_that_name_only(ann, here):
    """The address of an installation may change: nobody's second factor falls away by that."""
    key = await added(ann, here)
    ann.app.public_url = "https://cd.example.com"
    assert (await password(ann)).factors == ("passkey",)
    assert NOT_TAKEN in await why(sign_in(ann, key))
    ann.app.public_url = "http://192.0.2.7"
    assert "belong to a name" in await why(ann.app.identity.passkeys.begin())
