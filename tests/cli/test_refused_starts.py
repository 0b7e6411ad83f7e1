"""A server that cannot start says why in one line, and leaves everything as it was."""

from __future__ import annotations

import socket

import pytest
from penstock_starter import PENSTOCK, run

from penstock.store.masterkeys import new_key, write_key_file


def up(tmp_path, *options, data="data", key="master.key"):
    files = ("--data-dir", str(tmp_path / data), "--master-key-file", str(tmp_path / key))
    done = run(PENSTOCK, "up", *files, *(options or ("--port", "0")))
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(said) == 1
    assert said[0].startswith("penstock: ")
    return said[0]


def test_a_data_dir_that_is_a_file(tmp_path):
    (tmp_path / "data").touch()
    assert "data dir" in up(tmp_path)


def test_a_data_dir_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    assert "data dir" in up(tmp_path, data="file/data")


def test_a_master_key_file_that_is_none(tmp_path):
    (tmp_path / "master.key").write_text("garbage\n")
    (tmp_path / "master.key").chmod(0o600)
    assert "not a master key file" in up(tmp_path)


def test_a_master_key_file_that_others_may_read(tmp_path):
    (tmp_path / "master.key").write_text("0" * 16)
    (tmp_path / "master.key").chmod(0o644)
    assert "chmod 600" in up(tmp_path)


def test_a_master_key_file_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    assert "cannot be made" in up(tmp_path, key="file/master.key")


def test_a_master_key_of_another_installation(live_factory):
    with live_factory(name="first") as live:
        folder = live.data_dir
    write_key_file(folder.parent / "other.key", [new_key()])
    said = up(folder.parent, data=folder.name, key="other.key")
    assert "cannot be read with the master key" in said
    assert "other.key" in said
    said = up(folder.parent, data=folder.name, key="mistyped.key")
    assert "mistyped.key: there is no such master key file" in said
    assert "--master-key-file" in said
    assert not (folder.parent / "mistyped.key").exists()


def test_a_port_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = up(tmp_path, "--port", str(taken.getsockname()[1]))
    assert "cannot listen" in said
    assert "Choose another port with --port" in said


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_does_not_keep_utf_8(postgresql, tmp_path, encoding):
    name = f"start_{encoding.lower()}"
    postgresql.sql(f"CREATE DATABASE {{}} TEMPLATE template0 LOCALE 'C' ENCODING '{encoding}'", name)
    said = up(tmp_path, "--database", postgresql.url(name), "--port", "0")
    postgresql.drop(name)
    assert f"keeps text as {encoding}, and Penstock needs UTF8" in said
    assert "createdb --encoding UTF8" in said


def test_a_certificate_that_cannot_be_used(tmp_path):
    cert, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    options = ("--tls-cert", str(cert), "--tls-key", str(key), "--port", "0")
    assert f"cannot read {cert}: No such file or directory" in up(tmp_path, *options)
    cert.write_text("no certificate")
    key.write_text("no key")
    assert "Both are PEM files" in up(tmp_path, *options)


def test_an_address_of_another_machine(tmp_path):
    said = up(tmp_path, "--host", "192.0.2.1", "--port", "0")
    assert "cannot listen on 192.0.2.1:0" in said
    assert "--host takes a name or address of this machine" in said


def test_plain_http_for_other_machines(tmp_path):
    said = up(tmp_path, "--host", "0.0.0.0", "--port", "0")
    assert "plain http on 0.0.0.0 would send passwords, keys and artifacts readably over the network" in said
    assert "--allow-plain-http" in said


def test_an_object_store_that_cannot_be_used(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = example\n")
    store = f"s3://blobs?endpoint=http://127.0.0.1:9&credentials={keys}"
    assert "The object store s3://blobs at http://127.0.0.1:9 cannot be used" in up(
        tmp_path, "--objects", store, "--port", "0"
    )


def test_an_object_store_that_is_none(tmp_path):
    done = run(PENSTOCK, "up", "--objects", "ftp://blobs", cwd=tmp_path)
    assert done.returncode == 1
    assert "'ftp://blobs' is not s3://bucket?endpoint=https://" in done.stderr
    assert not list(tmp_path.iterdir())
