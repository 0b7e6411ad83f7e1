"""What a worker does for a build, in this process and without a server: takes it or leaves it, fetches, puts, and ends it in every way."""

from __future__ import annotations

import asyncio
import hashlib
import stat
import zipfile
from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.builds import following, sources, starting, work
from penstock.builds.engine import Lost, TimePassed
from penstock.builds.errors import AccountLimitExceededException, PhaseFailed
from penstock.builds.phases import Status
from penstock.builds.sources import Fetch, Location, _Count
from penstock.builds.unpacking import Bounds, UnsafeBundle
from penstock.builds.uploads import Destination, Objects, Packed, upload, upload_all
from penstock.builds.work import Builds
from penstock.store.work import Retry
from penstock.wire.errors import AccessDenied, error_class

MISSING = error_class("NoSuchKey")


class S3:
    """The operations of S3: notes what is asked, and answers as it is told."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.settings = SimpleNamespace(source_entries=9, source_gib=1, source_ratio=400)

    async def invoke(self, session: str, service: str, operation: str, request: dict[str, Any], *, region: str) -> Any:
        assert (session, service, region) == ("the session", "s3", "us-east-1")
        noted = dict(request)
        if "Body" in request:
            noted["Body"] = b"".join([piece async for piece in request["Body"]])
        self.asked.append((operation, noted))
        answer = self.answers.pop(0) if self.answers else {}
        if isinstance(answer, Exception):
            raise answer
        if operation == "PutObject":
            digest = hashlib.sha256(noted["Body"]).digest()
            return {"ETag": '"e"', "ChecksumSHA256": b64encode(digest).decode(), **answer}
        return answer


# --- artifacts --------------------------------------------------------------------------------------------------------

KEY = "arn:aws:kms:us-east-1:111111111111:key/1"
OWN = "arn:aws:kms:us-east-1:111111111111:alias/aws/s3"


class Account(str):
    """The session, which knows its account."""

    __slots__ = ()
    account = "111111111111"


def objects(s3: S3, key: str = KEY) -> Objects:
    return Objects(s3, Account("the session"), "us-east-1", key)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("encrypted", "key", "asked"),
    [
        (True, KEY, {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": KEY}),
        (True, OWN, {"ServerSideEncryption": "aws:kms"}),
        (False, KEY, {}),
    ],
)
async def test_an_artifact_is_put_under_its_key_and_told_by_its_own_answer(tmp_path: Path, encrypted, key, asked):
    (tmp_path / "packed").write_bytes(b"zip")
    packed = Packed(identifier="", file=tmp_path / "packed", name="")
    to = Destination(identifier="", bucket="b", key="k", zipped=True, encrypted=encrypted)
    for version in ({}, {"VersionId": "v"}):
        s3 = S3(version)
        found = await upload(objects(s3, key), packed, to, build_arn="arn", say=lambda _text: None)
        assert s3.asked == [
            ("PutObject", {"Bucket": "b", "Key": "k", "Body": b"zip", "Metadata": {"codebuild-buildarn": "arn"}, "ChecksumAlgorithm": "SHA256", **asked})
        ]  # fmt: skip
        assert found == {
            "location": "arn:aws:s3:::b/k",
            "sha256sum": hashlib.sha256(b"zip").hexdigest(),
            "md5sum": hashlib.md5(b"zip", usedforsecurity=False).hexdigest(),
            "eTag": "e",
            **({"versionId": "v"} if version else {}),
        }


@pytest.mark.parametrize("folder", ["", "out"])
async def test_files_that_are_not_packed_are_put_one_by_one_and_links_are_not(tmp_path: Path, folder: str):
    with zipfile.ZipFile(tmp_path / "packed", "w") as archive:
        archive.writestr("a/b", b"1")
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, b"a")
        archive.writestr("c", b"22")
    said: list[str] = []
    s3 = S3()
    packed = Packed(identifier="", file=tmp_path / "packed", name="")
    to = Destination(identifier="", bucket="b", key=folder, zipped=False)
    assert await upload(objects(s3), packed, to, build_arn="arn", say=said.append) == {
        "location": f"arn:aws:s3:::b/{folder}"
    }
    below = f"{folder}/" if folder else ""
    assert [(request["Key"], request["Body"]) for _, request in s3.asked] == [
        (f"{below}a/b", b"1"),
        (f"{below}c", b"22"),
    ]
    assert said == ["Skipping the link link: an object cannot be one. Packaging ZIP keeps links"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MISSING("gone"), "NoSuchKey: gone (writing s3://b/k)"),
        (AccessDenied("no"), "AccessDenied: no (writing s3://b/k)"),
    ],
)
async def test_why_an_artifact_could_not_be_put(error, said):
    to = Destination(identifier="", bucket="b", key="k", zipped=True)
    with pytest.raises(PhaseFailed) as failed:
        await objects(S3(error)).put(to, "k", pieces(), {})  # type: ignore[arg-type]
    assert failed.value.message == said


@pytest.mark.parametrize(
    ("pipeline", "identifiers", "artifacts", "secondary"),
    [
        (False, ["", "two"], {"type": "S3", "location": "arn:aws:s3:::b/app"}, ["two"]),
        (False, ["two"], None, ["two"]),
        (True, ["One", "Two"], {"type": "S3", "location": "arn:aws:s3:::b/k/One"}, ["Two"]),
        (False, [], None, []),
    ],
)
async def test_what_is_known_of_a_builds_artifacts(tmp_path: Path, pipeline, identifiers, artifacts, secondary):
    (tmp_path / "packed").write_bytes(b"zip")
    outputs = [{"name": name, "location": {"bucket": "b", "key": f"k/{name}"}} for name in ("One", "Two")]
    declared = {"location": "b", "packaging": "ZIP"}
    request: Any = SimpleNamespace(
        pipeline={"outputArtifacts": outputs} if pipeline else None,
        private={"artifacts": {**declared, "name": "app"}, "secondaryArtifacts": [{**declared, "artifactIdentifier": "two", "name": "n"}]},
        document={"projectName": "app", "encryptionKey": KEY, "arn": "arn", "artifacts": {"type": "S3"}},
        key=SimpleNamespace(id="app:1", region="us-east-1"),
    )  # fmt: skip
    said: list[str] = []
    packed = [Packed(identifier=name, file=tmp_path / "packed", name="") for name in identifiers]
    found = await upload_all(S3(), request, Account("the session"), packed, said.append)  # type: ignore[arg-type]
    shown = found.get("artifacts")
    assert (None if shown is None else {name: shown[name] for name in ("type", "location")}) == artifacts
    assert [one["artifactIdentifier"] for one in found.get("secondaryArtifacts", [])] == secondary
    assert len(said) == len(identifiers)
    assert all(text.startswith("Uploading to s3://b/") for text in said)


# --- sources ----------------------------------------------------------------------------------------------------------


def fetching(s3: S3, tmp_path: Path) -> Fetch:
    made = Fetch(s3, Account("the session"), {}, "us-east-1", tmp_path)  # type: ignore[arg-type]
    made._bounds = Bounds(entries=3, size=10)
    return made


async def pieces(*content: bytes) -> Any:
    for piece in content:
        yield piece


async def test_an_object_is_the_one_that_was_pinned(tmp_path: Path, monkeypatch):
    digest = hashlib.sha256(b"onetwo").hexdigest()
    pinned = Location(bucket="b", key="k", version="v", sha256=digest, name="Source")
    s3 = S3({"Body": pieces(b"one", b"two"), "ETag": '"e"'}, {"Body": pieces(b"onetw")})
    fetch = fetching(s3, tmp_path)
    assert (await fetch.object(pinned, tmp_path / "f"))["ETag"] == '"e"'
    assert (tmp_path / "f").read_bytes() == b"onetwo"
    assert s3.asked == [("GetObject", {"Bucket": "b", "Key": "k", "VersionId": "v"})]
    with pytest.raises(
        PhaseFailed,
        match=r"^The artifact Source \(s3://b/k\) was changed since it was written, and is not used: its SHA-256 is",
    ):
        await fetch.object(pinned, tmp_path / "f")
    for bound, large in ((6, False), (5, True)):
        monkeypatch.setattr(sources, "MAX_BUNDLE", bound)
        s3.answers = [{"Body": pieces(b"onetwo")}]
        if large:
            with pytest.raises(PhaseFailed, match=r"^The source s3://b/k is larger than 0 GiB$"):
                await fetch.object(Location(bucket="b", key="k"), tmp_path / "f")
        else:
            await fetch.object(Location(bucket="b", key="k"), tmp_path / "f")
    assert s3.asked[-1] == ("GetObject", {"Bucket": "b", "Key": "k"})


@pytest.mark.parametrize(
    ("answer", "version"), [({"VersionId": "v", "ETag": '"e"'}, "v"), ({"ETag": '"e"'}, "e"), ({}, "")]
)
async def test_a_bundle_is_known_by_its_version_or_its_etag_and_does_not_stay(
    tmp_path: Path, monkeypatch, answer, version
):
    unpacked = []
    monkeypatch.setattr(
        sources, "unpack", lambda packed, target, bounds: unpacked.append((packed.read_bytes(), target, bounds))
    )
    fetch = fetching(S3({"Body": pieces(b"zip"), **answer}), tmp_path)
    assert await fetch.bundle(Location(bucket="b", key="k"), tmp_path / "target") == version
    assert unpacked == [(b"zip", tmp_path / "target", fetch._bounds)]
    assert list(tmp_path.iterdir()) == []


def listed(*keys: str, size: int = 1, token: str = "") -> dict[str, Any]:
    page: dict[str, Any] = {"Contents": [{"Key": key, "Size": size} for key in keys]}
    return page | ({"NextContinuationToken": token} if token else {})


async def test_a_folder_is_fetched_page_by_page(tmp_path: Path):
    s3 = S3(listed("p/", "p/a", token="t"), {"Body": pieces(b"1")}, listed("p/d/", "p/d/e/b"), {"Body": pieces(b"2")})
    (tmp_path / "target").mkdir(mode=0o700)
    await fetching(s3, tmp_path).folder("b", "p/", tmp_path / "target")
    assert [request for operation, request in s3.asked if operation == "ListObjectsV2"] == [
        {"Bucket": "b", "Prefix": "p/"}, {"Bucket": "b", "Prefix": "p/", "ContinuationToken": "t"},
    ]  # fmt: skip
    files = {"a": b"1", "d/e/b": b"2"}
    assert {name: (tmp_path / "target" / name).read_bytes() for name in files} == files
    modes = {
        name: stat.S_IMODE((tmp_path / "target" / name).stat().st_mode) for name in ("a", "d/e/b", "d/e", "d", ".")
    }
    assert modes == {"a": 0o644, "d/e/b": 0o644, "d/e": 0o755, "d": 0o755, ".": 0o755}


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        ([listed()], "The source folder s3://b/p/ is empty"),
        ([listed("p/", "p/d/")], "The source folder s3://b/p/ is empty"),
        ([listed("p/../x")], "The source folder s3://b/p/ holds the unsafe name '../x'"),
        ([listed("p/a//b")], "The source folder s3://b/p/ holds the unsafe name 'a//b'"),
        ([listed("p/a\0b")], "The source folder s3://b/p/ holds the unsafe name 'a\\x00b'"),
        ([listed("p/" + "n" * 300)], "File name too long (writing s3://b/p/nnn"),
        ([MISSING("gone")], "NoSuchKey: gone (reading s3://b/p/)"),
        ([listed("p/a"), MISSING("gone")], "NoSuchKey: gone (reading s3://b/p/a)"),
    ],
)
async def test_why_a_folder_could_not_be_fetched(tmp_path: Path, pages, said):
    (tmp_path / "target").mkdir()
    with pytest.raises(PhaseFailed) as failed:
        await fetching(S3(*pages), tmp_path).folder("b", "p/", tmp_path / "target")
    assert failed.value.message.startswith(said)


@pytest.mark.parametrize(
    ("keys", "size", "said"),
    [
        (["p/a", "p/b", "p/c"], 3, ""),
        (["p/a", "p/b", "p/c", "p/d"], 0, "more than 3 entries"),
        (["p/a", "p/b"], 6, "more than"),
    ],
)
async def test_a_folder_has_bounds(tmp_path: Path, keys, size, said):
    (tmp_path / "target").mkdir()
    bodies = [{"Body": pieces(b"x")} for _ in keys]
    fetch = fetching(S3(listed(*keys, size=size), *bodies), tmp_path)
    if said:
        with pytest.raises(UnsafeBundle, match=said):
            await fetch.folder("b", "p/", tmp_path / "target")
    else:
        await fetch.folder("b", "p/", tmp_path / "target")


def entry(size: str, path: bytes) -> bytes:
    return b"100644 blob %s %s\t%s\0" % (b"1" * 40, size.rjust(7).encode(), path)


@pytest.mark.parametrize(
    ("listing", "said"),
    [
        (entry("2", b"abc") + entry("2", b"abc"), ""),
        (entry("2", b"abc") + entry("3", b"abc"), "unpacks to more than|more than .* GiB"),
        (entry("-", b"a") * 3, ""),
        (entry("-", b"a") * 4, "more than 3 entries"),
    ],
)
def test_a_commit_is_counted_before_it_is_checked_out(listing, said):
    for size in (1, 7, len(listing)):
        counted = _Count(Bounds(entries=3, size=10), "The commit c of r")
        parts = [listing[at : at + size] for at in range(0, len(listing), size)]
        if said:
            with pytest.raises(UnsafeBundle, match=f"^The commit c of r.*({said})"):
                for part in parts:
                    counted.take(part)
        else:
            for part in parts:
                counted.take(part)


def test_a_path_longer_than_a_file_can_have_is_refused_at_once():
    counted = _Count(Bounds(entries=3, size=10**6), "The commit c of r")
    limit = sources.MAX_NAME + 100
    counted.take(b"x" * limit)
    with pytest.raises(UnsafeBundle):
        counted.take(b"x")


COMMIT = "c" * 40
CLONE = ["clone", "--quiet", "--no-checkout"]
NO_REFERENCE = "reference not found for primary source and source version"


@pytest.mark.parametrize(
    ("version", "depth", "failures", "ran", "said"),
    [
        ("", 0, {}, [CLONE, "rev-parse HEAD", "ls-tree", "checkout --quiet"], COMMIT),
        ("", 1, {}, [[*CLONE, "--depth=1"], "rev-parse HEAD", "ls-tree", "checkout --quiet"], COMMIT),
        ("refs/heads/main", 25, {}, [[*CLONE, "--depth=25", "--branch", "main"], "rev-parse HEAD", "ls-tree", "checkout --quiet"], COMMIT),
        ("refs/tags/v1", 26, {}, [[*CLONE, "--branch", "v1"], "rev-parse HEAD", "ls-tree", "checkout --quiet"], COMMIT),
        (COMMIT, 5, {}, [CLONE, f"rev-parse {COMMIT}", "ls-tree", f"checkout --quiet --detach {COMMIT}"], COMMIT),
        ("x", 0, {"clone": "fatal: Remote branch x not found in upstream origin"}, [[*CLONE, "--branch", "x"]], PhaseFailed(
            f"{NO_REFERENCE} x: the repository r has no such branch or tag. Name a branch, a tag, or the 40 digits of a commit")),
        ("", 0, {"clone": "Remote branch is odd"}, [CLONE], PhaseFailed("git clone of r failed: Remote branch is odd")),
        ("", 0, {"clone": "not found"}, [CLONE], PhaseFailed("git clone of r failed: not found")),
        ("", 0, {"rev-parse": "bad"}, [CLONE, "rev-parse HEAD"], PhaseFailed("The repository r has no commits")),
        (COMMIT, 0, {"rev-parse": "bad"}, [CLONE, f"rev-parse {COMMIT}"], PhaseFailed(f"{NO_REFERENCE} {COMMIT}: bad")),
        ("", 0, {"ls-tree": "bad"}, [CLONE, "rev-parse HEAD", "ls-tree"], PhaseFailed(f"The commit {COMMIT} of r could not be checked out: bad")),
        ("", 0, {"checkout": "full"}, [CLONE, "rev-parse HEAD", "ls-tree", "checkout --quiet"], PhaseFailed(
            f"The commit {COMMIT} of r could not be checked out: full")),
    ],
)  # fmt: skip
async def test_a_repository_is_cloned_and_checked_out(tmp_path: Path, monkeypatch, version, depth, failures, ran, said):
    url, target = "https://penstock.example/v1/repos/r", str(tmp_path / "src")
    known = []

    async def git(arguments, folder, _environment, take=None):
        known.append((arguments, folder))
        if take is not None and arguments[0] == "rev-parse":
            take(f"{COMMIT}\n".encode())
        return failures.get(arguments[0], "")

    monkeypatch.setattr(sources, "_git", git)
    monkeypatch.setattr(Fetch, "_git_environment", lambda *_: {})
    fetch = fetching(S3(), tmp_path)
    fetch._app.public_url = "https://penstock.example"  # type: ignore[misc]
    if isinstance(said, PhaseFailed):
        with pytest.raises(PhaseFailed) as refused:
            await fetch.repository(url, version, depth, Path(target))
        assert refused.value.message == said.message
    else:
        assert await fetch.repository(url, version, depth, Path(target)) == said
    expected = {
        "ls-tree": ["ls-tree", "-r", "-t", "-z", "--long", COMMIT],
        **{f"rev-parse {of}": ["rev-parse", "--verify", f"{of}^{{commit}}"] for of in ("HEAD", COMMIT)},
    }
    steps = [expected.get(one) or one.split() if isinstance(one, str) else [*one, "--", url, target] for one in ran]
    assert known == [(step, tmp_path if step[0] == "clone" else tmp_path / "src") for step in steps]


@pytest.mark.parametrize("path", ["", "/", "/v1/repos/a b", f"/v1/repos/{'a' * 101}", "/v1/repos/%2e"])
async def test_a_location_that_names_no_repository_is_refused(tmp_path: Path, path):
    url = f"https://penstock.example{path}"
    with pytest.raises(PhaseFailed, match=f"^The source location {url} names no repository$"):
        await fetching(S3(), tmp_path).repository(url, "", 0, tmp_path)


# --- whose build it is ------------------------------------------------------------------------------------------------


class Space:
    """A build's directory, which notes what becomes of it."""

    def __init__(self, *, elsewhere: bool | None = False, supervisor: list[int | None] | None = None) -> None:
        self.elsewhere = elsewhere
        self.supervisors = supervisor or [None]
        self.done: list[Any] = []
        self.path = SimpleNamespace(exists=lambda: True)

    def is_elsewhere(self) -> bool | None:
        return self.elsewhere

    def remove(self) -> None:
        self.done.append("remove")

    def halt(self, status: Status) -> None:
        self.done.append(status)

    def supervisor(self) -> int | None:
        return self.supervisors.pop(0) if len(self.supervisors) > 1 else self.supervisors[0]


class Worker:
    """Builds of a worker called `here`; `row` is the build's, `state` what its row says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, row: Any, space: Space) -> None:
        self.row, self.space, self.written, self.conducted = row, space, [], []
        builds: Any = object.__new__(Builds)
        builds.app = self
        builds.draining = False
        builds.node = "here"
        builds.folder = Path("/nowhere")
        builds.runtime = self.runtime
        builds.conduct = self.conduct
        self.builds = builds
        self.store = SimpleNamespace(read=self.read, write=self.write)
        self.clock = SimpleNamespace(now=lambda: 1000)
        self.now = 1000
        self.job: Any = SimpleNamespace(account="1", region="r", payload={"id": "p:u"})
        monkeypatch.setattr(work, "_workspace", lambda _builds, _key: space)
        monkeypatch.setattr(work.records, "state_of", lambda row: row.state)
        monkeypatch.setattr(work.BuildRequest, "of", lambda row, key, folder, choice: (row.node, key.id, choice))
        monkeypatch.setattr(work, "Conductor", lambda app, job, request, state, node: (request, node))

    async def read(self, *_: Any) -> Any:
        return self.row

    async def write(self, fn: Any, *arguments: Any, **more: Any) -> None:
        self.written.append((fn, arguments[2] if len(arguments) > 2 else arguments[1:], more.get("job")))

    async def runtime(self) -> str:
        return "the choice"

    async def conduct(self, conductor: Any) -> None:
        self.conducted.append(conductor)


def row(node: str = "here", *, complete: bool = False, runs_until: int | None = None) -> Any:
    return SimpleNamespace(node=node, complete=complete, state=SimpleNamespace(runs_until=runs_until))


CONDUCTED = [(("here", "p:u", "the choice"), "here")]


@pytest.mark.parametrize(
    ("given", "elsewhere", "draining", "outcome"),
    [
        (row(), False, False, "conducted"),
        (row("other"), False, False, "conducted"),  # its directory says that its processes are here
        (row(""), None, False, "conducted"),
        (row("here"), None, False, "conducted"),
        (row("other"), None, False, Retry(5000, "its run is on another worker's disk", counts=False)),
        (row("here"), True, False, Retry(5000, "its run is on another worker's disk", counts=False)),
        (row("other", runs_until=1000 - 119_999), None, False, Retry(5000, "its run is on another worker's disk", counts=False)),
        (row("other", runs_until=1000 - 120_000), None, False, "lost"),
        (row(complete=True), False, False, "removed"),
        (None, False, False, "removed"),
        (row(), False, True, Retry(500, "this worker drains", counts=False)),
    ],
)  # fmt: skip
async def test_who_takes_a_build_up(monkeypatch, given, elsewhere, draining, outcome):
    worker = Worker(monkeypatch, given, Space(elsewhere=elsewhere))
    worker.builds.draining = draining
    if isinstance(outcome, Retry):
        with pytest.raises(Retry) as again:
            await work.run(worker.builds, worker.job)
        assert vars(again.value) == vars(outcome)
        return
    await work.run(worker.builds, worker.job)
    assert [one[1] for one in worker.conducted] == (["here"] if outcome == "conducted" else [])
    assert worker.space.done == (["remove"] if outcome == "removed" else [])
    lost = [Lost(message="The worker that ran the build did not come back")]
    assert worker.written == ([(work.apply, lost, worker.job)] if outcome == "lost" else [])


@pytest.mark.parametrize(
    ("supervisors", "done", "looks"),
    [
        ([None], [Status.STOPPED, "remove"], 0),
        ([5, 5, None], [Status.STOPPED, "remove"], 2),
        ([5], [Status.STOPPED], 100),
    ],
)
async def test_a_build_that_fails_over_and_over_is_ended(monkeypatch, supervisors, done, looks):
    space = Space(supervisor=supervisors)
    worker = Worker(monkeypatch, row(), space)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(following, "asyncio", SimpleNamespace(sleep=sleep))
    await work.give_up(worker.builds, worker.job, "why")
    said = "The service failed over and over while it ran the build: the log of the server says why"
    assert worker.written == [(work.apply, [Lost(message=said)], worker.job)]
    assert space.done == done
    assert pauses == [0.1] * looks
    space.path = SimpleNamespace(exists=lambda: False)
    space.done.clear()
    await work.give_up(worker.builds, worker.job, "why")
    assert space.done == []


async def test_a_build_waits_no_longer_than_its_queue_lets_it(monkeypatch):
    worker = Worker(monkeypatch, row(), Space())
    await work.end_waiting(worker.builds, worker.job)
    assert [(fn, inputs) for fn, inputs, _ in worker.written] == [(work.apply, [TimePassed()])]


async def test_a_build_is_started_anew_when_there_is_room(monkeypatch):
    worker = Worker(monkeypatch, row(), Space())
    tried: list[Any] = []

    async def write(fn: Any, *_: Any, now: int) -> None:
        tried.append((fn, now))
        if len(tried) == 1:
            raise AccountLimitExceededException("there are enough")

    worker.store.write = write
    with pytest.raises(Retry) as again:
        await work.retry(worker.builds, worker.job)
    assert (again.value.args, again.value.counts) == (Retry(5000, "there are enough", counts=False).args, False)
    await work.retry(worker.builds, worker.job)
    assert tried == [(starting.retry, 1000)] * 2


async def test_builds_go_on_without_a_worker_that_drains():
    made: Any = object.__new__(Builds)
    made.draining, made.conducting = False, set()
    begun = asyncio.Event()

    async def run() -> None:
        begun.set()
        await asyncio.Event().wait()

    conducting = asyncio.ensure_future(made.conduct(SimpleNamespace(run=run, id="b")))
    async with asyncio.timeout(60):
        await begun.wait()
        assert len(made.conducting) == 1
        await made.drain()
        with pytest.raises(Retry) as again:
            await conducting
    assert vars(again.value) == vars(Retry(500, "left to its supervisor", counts=False))
    assert (made.draining, made.conducting) == (True, set())

    async def fail() -> None:
        raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        await made.conduct(SimpleNamespace(run=fail, id="b"))


async def test_directories_of_builds_that_are_over_are_removed(monkeypatch, tmp_path: Path):
    running, over, elsewhere, broken = (f"{number}{'0' * 35}" for number in range(4))
    removed: list[str] = []

    class Kept:
        def __init__(self, path: Path, tree: Path) -> None:
            assert tree.name == path.name
            self.path = path

        def is_elsewhere(self) -> bool:
            return self.path.name == elsewhere

        def remove(self) -> None:
            if self.path.name == broken:
                raise OSError(13, "Permission denied")
            removed.append(self.path.name)

    async def scan(fn: Any) -> list[str]:
        assert fn is work.records.unfinished
        return [f"p:{running}"]

    monkeypatch.setattr(work, "Workspace", Kept)
    monkeypatch.setattr(work, "leftovers", lambda _folder: iter([broken, running, elsewhere, over, "node"]))
    await work._clear(SimpleNamespace(store=SimpleNamespace(scan=scan)), tmp_path)  # type: ignore[arg-type]
    assert removed == [over]
