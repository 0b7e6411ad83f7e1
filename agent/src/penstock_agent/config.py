"""The agent's configuration: one YAML file (see agent/packaging/penstock-agent.yml for every key). Mistakes in it are explained."""

from __future__ import annotations

import os
import pwd
import re
import socket
import threading
import time
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from penstock_agent import log
from penstock_agent.connection import Address
from penstock_agent.documents import DocumentInvalid, Mapping, line_of, load
from penstock_agent.failures import ConfigInvalid, reason
from penstock_agent.sigv4 import Credentials

DEFAULT_ROOT = "/var/lib/penstock-agent"
IDENTITY_KEYS = (
    "iam_user_arn",
    "iam_session_arn",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_credentials_file",
)
CREDENTIALS_REREAD_S = 1800.0


class Limits(NamedTuple):
    """What a bundle may be and how much is kept of what hooks say."""

    bundle_bytes: int = 8 << 30
    unpacked_bytes: int = 16 << 30
    entries: int = 500_000
    ratio: int = 200  # unpacked to packed, looked at beyond 64 MiB
    script_log_bytes: int = 8 << 20
    hook_event_seconds: int = 3600


class Metadata(NamedTuple):
    """Where the role's credentials are given to programs on this machine, and to whom."""

    host: str
    port: int
    users: Tuple[int, ...]  # ids of those who may ask beside root and the agent's own user
    token_file: str


class Config(NamedTuple):
    """A checked configuration; paths are absolute."""

    path: str
    endpoint: str
    s3_endpoint: str
    s3_addressing: str
    region: str
    host_identifier: str
    access_key_id: str
    secret_access_key: str
    credentials_file: str
    root_dir: str
    install_root: str
    ca_file: str
    signer_certificate: str
    log_level: str
    max_revisions: int
    max_commands: int
    stop_timeout_s: int
    strict: bool
    hook_environment: Dict[str, str]
    limits: Limits
    metadata: Optional[Metadata] = None
    joined: Any = None  # penstock_agent.identity.Joined of a host that has joined; its credentials are temporary


class KeySource:
    """The host's key pair: fixed, or from a credentials file that is read again when it changes or every half hour."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._read_at = 0.0
        self._stamp: Tuple[int, int] = (0, 0)
        self._current: Optional[Credentials] = None
        if config.access_key_id:
            self._current = Credentials(config.access_key_id, config.secret_access_key)

    def forget(self) -> None:
        """The server takes the present ones no more: the file is read again."""
        with self._lock:
            self._read_at = float("-inf")

    def __call__(self) -> Credentials:
        """The key pair to sign with now."""
        if self._config.access_key_id:
            assert self._current is not None
            return self._current
        with self._lock:
            try:
                found = os.stat(self._config.credentials_file)
                stamp = (found.st_mtime_ns, found.st_ino)
                stale = time.monotonic() - self._read_at > CREDENTIALS_REREAD_S
                if self._current is None or stamp != self._stamp or stale:
                    self._current = read_credentials(self._config.credentials_file)
                    self._stamp = stamp
                    self._read_at = time.monotonic()
            except (OSError, ConfigInvalid) as error:
                if self._current is None:
                    raise
                log.warning("credentials.unreadable", reason=error)
            return self._current


def read_credentials(path: str) -> Credentials:
    """The profile `default` of a shared-credentials file."""
    values: Dict[str, str] = {}
    section = ""
    with open(path, encoding="utf-8") as file:
        for line in file:
            text = line.strip()
            if text.startswith("[") and text.endswith("]"):
                section = text[1:-1].strip()
            elif "=" in text and not text.startswith(("#", ";")) and section == "default":
                name, _, value = text.partition("=")
                values[name.strip().lower()] = value.strip()
    if not values.get("aws_access_key_id") or not values.get("aws_secret_access_key"):
        raise ConfigInvalid("%s: the profile default has no aws_access_key_id and aws_secret_access_key" % path)
    return Credentials(
        values["aws_access_key_id"], values["aws_secret_access_key"], values.get("aws_session_token", "")
    )


class _Reader:
    """Takes typed values out of one document; what nobody asked for is an error at the end."""

    def __init__(self, path: str, values: Mapping) -> None:
        self.path = path
        self.values = values
        self.asked: List[str] = []

    def fail(self, key: str, text: str) -> ConfigInvalid:
        line = line_of(self.values.get(key)) or self.values.line
        return ConfigInvalid("%s, line %d: %s: %s" % (self.path, line, key, text))

    def text(self, key: str, default: str = "") -> str:
        self.asked.append(key)
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.fail(key, "must be text")
        return str(value)

    def place(self, key: str, default: str = "") -> str:
        """A path; relative ones are relative to the configuration file."""
        value = self.text(key, default)
        if not value:
            return ""
        return os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(self.path)), os.path.expanduser(value)))

    def number(self, key: str, default: int, low: int = 1) -> int:
        value = self.text(key, str(default))
        scale = {"k": 10, "m": 20, "g": 30, "t": 40}.get(value[-1:].lower(), 0)
        digits = value[:-1] if scale else value
        if not digits.isdecimal() or (int(digits) << scale) < low:
            raise self.fail(key, "must be a whole number of at least %d (K, M, G may follow)" % low)
        return int(digits) << scale

    def choice(self, key: str, default: str, allowed: Tuple[str, ...]) -> str:
        value = self.text(key, default)
        if value not in allowed:
            raise self.fail(key, "must be one of %s" % ", ".join(allowed))
        return value

    def names(self, key: str) -> List[str]:
        self.asked.append(key)
        value = self.values.get(key)
        found = [] if value is None else value
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise self.fail(key, "must be a list of names")
        return [str(one) for one in found]

    def mapping(self, key: str) -> Mapping:
        self.asked.append(key)
        value = self.values.get(key)
        if value is None:
            return Mapping()
        if not isinstance(value, Mapping):
            raise self.fail(key, "must be a mapping")
        return value

    def finish(self) -> None:
        for key in self.values:
            if key not in self.asked:
                raise self.fail(str(key), "is not a key of this file")


def _document(path: str) -> Mapping:
    try:
        with open(path, "rb") as file:
            value = load(file.read())
    except OSError as error:
        raise ConfigInvalid("%s cannot be read: %s" % (path, reason(error))) from None
    except DocumentInvalid as error:
        raise ConfigInvalid("%s: %s" % (path, error)) from None
    if not isinstance(value, Mapping):
        raise ConfigInvalid("%s: the file must hold a mapping of keys to values" % path)
    return value


def _nobody() -> Dict[str, str]:
    return dict.fromkeys((*IDENTITY_KEYS, "region"), "")


def _joined(reader: _Reader) -> Any:
    """The identity of a host that has joined; None without one, or where the file names another. Raises ConfigInvalid."""
    root = reader.place("root_dir", DEFAULT_ROOT)
    if any(reader.values.get(key) for key in (*IDENTITY_KEYS, "on_premises_config")):
        return None
    if not os.path.exists(os.path.join(root, "identity", "host.json")):
        return None
    from penstock_agent.identity import read_joined

    return read_joined(root)


def _identity(reader: _Reader) -> Tuple[Dict[str, str], str]:
    """The identity and the file that holds it."""
    found = {key: reader.text(key) for key in IDENTITY_KEYS}
    other = reader.place("on_premises_config")
    if other:
        if any(found.values()):
            raise reader.fail("on_premises_config", "stands beside another identity; keep one of the two")
        reader = _Reader(other, _document(other))
        found = {key: reader.text(key) for key in IDENTITY_KEYS}
        found["region"] = reader.text("region")
        if found["aws_credentials_file"]:
            found["aws_credentials_file"] = reader.place("aws_credentials_file")
    elif found["aws_credentials_file"]:
        found["aws_credentials_file"] = reader.place("aws_credentials_file")
    path = reader.path
    if found["iam_user_arn"] and found["iam_session_arn"]:
        raise ConfigInvalid(
            "%s: On Premises config cannot contain both 'iam_user_arn' and 'iam_session_arn' keys." % path
        )
    if found["iam_user_arn"]:
        needed = ("iam_user_arn", ("aws_access_key_id", "aws_secret_access_key"))
    elif found["iam_session_arn"]:
        needed = ("iam_session_arn", ("aws_credentials_file",))
    else:
        raise ConfigInvalid(
            "%s: no identity: let this host join (penstock-agent join), or give iam_user_arn, iam_session_arn or"
            " on_premises_config" % path
        )
    for key in needed[1]:
        if not found[key]:
            raise ConfigInvalid("%s: '%s' key is required when '%s' is provided." % (path, key, needed[0]))
    return found, path


def _metadata(reader: _Reader, *, handed_out: bool) -> Optional[Metadata]:
    """Where credentials are given out; None unless the file asks for it. `handed_out`: there are some. Raises ConfigInvalid."""
    given = reader.mapping("metadata")
    if not given:
        return None
    if not handed_out:
        raise reader.fail(
            "metadata",
            "only a host that has joined (penstock-agent join) gives out credentials: those of an access key never end",
        )
    own = _Reader(reader.path, given)
    host, _, port = own.text("listen", "127.0.0.1:1338").rpartition(":")
    host = host.strip("[]")
    if not _is_of_this_machine(host) or not port.isdigit() or not 0 <= int(port) < 65536:
        raise own.fail(
            "listen",
            "must be a loopback or link-local address with a port, such as 127.0.0.1:1338 or 169.254.169.254:80",
        )
    users = []
    for name in own.names("users"):
        try:
            users.append(int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid)
        except KeyError:
            raise own.fail("users", "there is no user %s" % name) from None
    found = Metadata(host, int(port), tuple(users), own.place("token_file"))
    own.finish()
    return found


def _is_of_this_machine(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            packed = socket.inet_pton(family, host)
        except OSError:
            continue
        return packed[:1] == b"\x7f" or packed[:2] == b"\xa9\xfe" or host in ("::1", "fd00:ec2::254")
    return False


def read_config(path: str, *, local: bool = False) -> Config:
    """Read and check the file. `local` asks for no identity and endpoint (deploy-local).

    Raises:
        ConfigInvalid: with the file, line and key.
    """
    reader = _Reader(path, _document(path))
    joined = _joined(reader)
    if joined is not None:
        identity, holder = _nobody(), path
        identity.update(iam_session_arn=joined.session_arn, region=joined.region)
        reader.asked += [*IDENTITY_KEYS, "on_premises_config"]
    elif local and not any(reader.values.get(key) for key in (*IDENTITY_KEYS, "on_premises_config")):
        identity, holder = _nobody(), path
        reader.asked += [*IDENTITY_KEYS, "on_premises_config"]
    else:
        identity, holder = _identity(reader)
    region = reader.text("region") or identity.get("region", "")
    if not region and not local:
        raise ConfigInvalid("%s: region is missing" % path)
    if joined is not None and region != joined.region:
        raise reader.fail("region", "this host has joined in the region %s" % joined.region)
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    endpoint = reader.text("endpoint")
    s3_endpoint = reader.text("s3_endpoint") or endpoint or "https://s3.%s.%s" % (region, domain)
    endpoint = endpoint or "https://codedeploy-commands.%s.%s" % (region, domain)
    for key, value in (("endpoint", endpoint), ("s3_endpoint", s3_endpoint)):
        try:
            Address(value)
        except ValueError as error:
            raise reader.fail(key, str(error)) from None
    environment = {}
    for name, value in reader.mapping("hook_environment").items():
        if not re.match(r"^[A-Za-z_][A-Za-z0-9_]*$", str(name)) or not isinstance(value, (str, type(None))):
            raise reader.fail("hook_environment", "%s must be a variable's name with text" % name)
        environment[str(name)] = str(value or "")
    bounds = _Reader(path, reader.mapping("limits"))
    limits = Limits(**{name: bounds.number(name, default) for name, default in Limits()._asdict().items()})
    bounds.finish()
    config = Config(
        path=os.path.abspath(path),
        endpoint=endpoint,
        s3_endpoint=s3_endpoint,
        s3_addressing=reader.choice("s3_addressing", "path", ("path", "virtual")),
        region=region,
        host_identifier=identity["iam_user_arn"] or identity["iam_session_arn"],
        access_key_id=identity["aws_access_key_id"],
        secret_access_key=identity["aws_secret_access_key"],
        credentials_file=identity["aws_credentials_file"],
        root_dir=reader.place("root_dir", DEFAULT_ROOT),
        install_root=reader.place("install_root"),
        ca_file=reader.place("ca_file"),
        signer_certificate=reader.place("signer_certificate"),
        log_level=reader.choice("log_level", "info", tuple(log.LEVELS)),
        max_revisions=reader.number("max_revisions", 5),
        max_commands=reader.number("max_commands", 16),
        stop_timeout_s=reader.number("stop_timeout", 60, 0),
        strict=reader.choice("strict", "false", ("true", "false")) == "true",
        hook_environment=environment,
        limits=limits,
        metadata=_metadata(reader, handed_out=local or joined is not None),
        joined=joined,
    )
    reader.finish()
    for key, value in (("ca_file", config.ca_file), ("signer_certificate", config.signer_certificate)):
        if value and not os.path.isfile(value):
            raise reader.fail(key, "there is no file %s" % value)
    if joined is not None and not Address(config.endpoint).private:
        raise reader.fail(
            "endpoint",
            "%s is plain HTTP to another machine: anybody on the way could read the credentials that this host gets. Give an https"
            " endpoint (with ca_file for an authority of your own)" % config.endpoint,
        )
    if not local and not config.signer_certificate and not Address(config.endpoint).private:
        raise reader.fail(
            "endpoint",
            "%s is plain HTTP to another machine: anybody on the way could have this host run what they like. Give an https "
            "endpoint (with ca_file for an authority of your own), or pin the server's signer with signer_certificate"
            % config.endpoint,
        )
    if config.secret_access_key and os.stat(holder).st_mode & 0o077:
        log.warning("config.readable_by_others", path=holder)
    return config
