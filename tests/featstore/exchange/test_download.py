"""Fetching and unpacking from a local server that drops connections, states wrong sizes and serves hostile zips."""

import hashlib
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result
from local_server import running_server, zipped

from featstore.cli import main
from featstore.errors import DataError, ResourceError
from featstore.exchange import download, fetch
from featstore.exchange.download import RECORDS, find_parts
from featstore.exchange.fetch import FAILURES, Remote, unpack

CONTENT = bytes(range(256)) * 2000


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with running_server() as running:
        yield running


def get(remote, target):
    fetch.fetch(remote, target, pause_s=0.001)


@pytest.mark.parametrize("trick", ["", "drops", "busy twice", "no ranges"])
def test_the_file_arrives_whole(server, tmp_path, trick):
    get(server.add("/a", CONTENT, trick), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_dropped_connections_are_resumed_not_repeated(server, tmp_path):
    get(server.add("/a", CONTENT, "drops"), tmp_path / "a")
    third = len(CONTENT) // 3 + 1
    assert [span for _, span in server.requests] == ["", f"bytes={third}-", f"bytes={2 * third}-"]


@pytest.mark.parametrize("trick", ["", "no ranges"])
def test_an_earlier_try_is_continued_where_it_is_right(server, tmp_path, trick):
    (tmp_path / "a.part").write_bytes(CONTENT[:5000])
    get(server.add("/a", CONTENT, trick), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.requests == [("/a", "bytes=5000-")]


@pytest.mark.parametrize("rest", [b"wrong" * 1000, CONTENT + b"too long"])
def test_wrong_bytes_of_an_earlier_try_are_discarded(server, tmp_path, rest):
    (tmp_path / "a.part").write_bytes(rest)
    get(server.add("/a", CONTENT), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("trick", "message"),
    [
        ("claims more", r"expected 512,000 bytes, the server states 512,007"),
        ("sends more", r"expected 512,000 bytes, the server sends more"),
        ("stops early", rf"closed early, {FAILURES} times in a row|IncompleteRead.* times in a row"),
        ("busy", "HTTP 503.* times in a row; run the same command again to resume"),
    ],
)
def test_wrong_answers_of_the_server_are_errors(server, tmp_path, trick, message):
    with pytest.raises(DataError, match=message):
        get(server.add("/a", CONTENT, trick), tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= len(CONTENT)


def test_another_part_than_requested_is_refused(server, tmp_path):
    (tmp_path / "a.part").write_bytes(CONTENT[:5000])
    with pytest.raises(DataError, match="requested bytes from 5000, got Content-Range 'bytes 5001-"):
        get(server.add("/a", CONTENT, "wrong part"), tmp_path / "a")


def test_wrong_content_never_gets_the_name(server, tmp_path):
    remote = server.add("/a", CONTENT)
    server.files["/a"] = CONTENT[::-1]
    with pytest.raises(DataError, match=f"whose md5 is not {remote.md5}"):
        get(remote, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_known_sha256_is_checked_instead_of_the_md5(server, tmp_path):
    remote = server.add("/a", CONTENT)
    right, wrong = hashlib.sha256(CONTENT).hexdigest(), hashlib.sha256(b"other").hexdigest()
    get(replace(remote, md5="", sha256=right), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    with pytest.raises(DataError, match=f"whose sha256 is not {wrong}"):
        get(replace(remote, sha256=wrong), tmp_path / "b")
    assert not (tmp_path / "b").exists()
    with pytest.raises(DataError, match="exists with other content"):
        get(replace(remote, sha256=wrong), tmp_path / "a")


def test_an_existing_file_is_checked_and_kept(server, tmp_path):
    remote = server.add("/a", CONTENT)
    (tmp_path / "a").write_bytes(CONTENT)
    get(remote, tmp_path / "a")
    assert server.requests == []
    (tmp_path / "a").write_bytes(b"my own notes")
    with pytest.raises(DataError, match=r"exists with other content.*move it away"):
        get(remote, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"my own notes"


def test_missing_files_are_not_requested_again(server, tmp_path):
    with pytest.raises(DataError, match="HTTP 404"):
        get(Remote(server.url("/none"), 3, "0" * 32), tmp_path / "a")
    assert len(server.requests) == 1


def test_local_addresses_are_refused(tmp_path):
    with pytest.raises(DataError, match="expected an http or https address"):
        get(Remote("file:///etc/passwd", 3, "0" * 32), tmp_path / "a")


def test_free_space_is_checked_first(server, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=fetch.RESERVE_BYTES + 100))
    with pytest.raises(ResourceError, match="needs 512,000 bytes"):
        get(server.add("/a", CONTENT), tmp_path / "a")
    assert server.requests == []


def unpack_bytes(content: bytes, tmp_path) -> int:
    (tmp_path / "x.zip").write_bytes(content)
    return unpack(tmp_path / "x.zip", tmp_path / "out")


def test_unpacking_is_repeatable(tmp_path):
    content = zipped(("fan/train/a.wav", b"one"), ("fan/test/b.wav", b"two"))
    assert unpack_bytes(content, tmp_path) == 2
    assert (tmp_path / "out/fan/test/b.wav").read_bytes() == b"two"
    (tmp_path / "out/fan/test/b.wav").unlink()
    assert unpack_bytes(content, tmp_path) == 2
    assert len(list((tmp_path / "out").rglob("*.wav"))) == 2
    (tmp_path / "out/fan/train/a.wav").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"a\.wav: exists with other content"):
        unpack_bytes(content, tmp_path)
    assert (tmp_path / "out/fan/train/a.wav").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["../evil", "fan/../../evil", "/evil", "..\\evil", "C:evil", "fan/..", ".", ""])
def test_names_outside_the_folder_unpack_nothing(tmp_path, name):
    with pytest.raises(DataError, match=r"leads outside .*out; nothing was unpacked"):
        unpack_bytes(zipped(("fan/good.wav", b"good"), (name, b"evil")), tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["x.zip"]


def test_links_are_refused(tmp_path):
    with pytest.raises(DataError, match="is a link"):
        unpack_bytes(zipped(("fan", b"/etc"), link=True), tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out/fan").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="leads outside"):
        unpack_bytes(zipped(("fan/a.wav", b"x")), tmp_path)


def in_directory(content: bytes, at: int, value: bytes) -> bytes:
    """The zip with other bytes in what its directory says of the first file."""
    start = content.find(b"PK\x01\x02") + at
    return content[:start] + value + content[start + len(value) :]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda z: z[: len(z) // 2],
        lambda z: z.replace(b"sound", b"noise"),
        lambda z: b"",
        lambda z: in_directory(z, 24, (1000).to_bytes(4, "little")),
        lambda z: in_directory(z, 8, b"\1").replace(b"PK\3\4\x14\0\0", b"PK\3\4\x14\0\1"),
    ],
    ids=["cut", "changed", "empty", "claims another size", "encrypted"],
)
def test_damaged_archives_leave_no_named_file(tmp_path, spoil):
    with pytest.raises(DataError, match=r"x\.zip: cannot be unpacked"):
        unpack_bytes(spoil(zipped(("fan/a.wav", b"sound"))), tmp_path)
    assert not list(tmp_path.rglob("*.wav"))


def test_archives_larger_than_the_disk_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=fetch.RESERVE_BYTES + 100))
    with pytest.raises(ResourceError, match=r"unpacking x\.zip needs 101 bytes"):
        unpack_bytes(zipped(("fan/a.wav", b"x" * 101)), tmp_path)


@pytest.fixture
def zenodo(server, monkeypatch):
    """Three records of 2023 with a fan and a valve, described as Zenodo does."""
    monkeypatch.setattr(download, "ZENODO", server.url("/api/records"))
    for record, subset in zip(RECORDS["dcase2023"], ("dev", "eval_train", "eval_test"), strict=True):
        contents = {
            f"{subset}_{machine}.zip": zipped(
                (f"{machine}/{subset}/a.wav", machine.encode()), (f"{machine}/{subset}/b.wav", b"b")
            )
            for machine in ("fan", "valve")
        }
        server.add_record(record, contents)
    return server


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_a_dataset_lands_where_build_expects_it(zenodo, tmp_path):
    done = run("download", "dcase2023", "--dest", tmp_path / "d")
    assert done.exit_code == 0, done.output
    assert "12 files of dcase2023" in done.stdout
    found = {str(path.relative_to(tmp_path / "d")) for path in (tmp_path / "d").rglob("*.wav")}
    assert "dev_data/raw/fan/dev/a.wav" in found
    assert {"eval_data/raw/valve/eval_train/b.wav", "eval_data/raw/valve/eval_test/a.wav"} < found
    assert not list((tmp_path / "d").rglob("*.zip"))
    zenodo.requests.clear()
    assert "12 files" in run("download", "dcase2023", "--dest", tmp_path / "d").stdout
    assert all(path.startswith("/api/") for path, _ in zenodo.requests), "what is unpacked is not fetched again"


def test_only_the_chosen_sets_and_machines(zenodo, tmp_path):
    dry = run("download", "dcase2023", "--set", "dev", "--machine", "fan", "--dest", tmp_path / "d", "--dry-run")
    assert "dev_fan.zip" in dry.stdout
    assert "valve" not in dry.stdout
    assert not (tmp_path / "d").exists()
    wrong = run("download", "dcase2023", "--set", "dev", "--machine", "van", "--dest", tmp_path / "d")
    assert wrong.exit_code == 1
    assert (
        "--machine van: none of the files of dcase2023 is for this machine (dev_fan.zip, dev_valve.zip)" in wrong.stderr
    )


@pytest.mark.parametrize(
    "change",
    [{"key": "../a.zip"}, {"key": {}}, {"checksum": "md5:no"}, {"size": None}, {"size": float("inf")}, {"links": {}}],
)
def test_records_that_are_not_as_expected(zenodo, change):
    path = f"/api/records/{RECORDS['dcase2023'][0]}"
    record = json.loads(zenodo.files[path])
    record["files"][0] |= change
    zenodo.add(path, json.dumps(record).encode())
    with pytest.raises(DataError, match=r"expected files with key|expected a plain file name"):
        find_parts("dcase2023", ["dev"])


def test_no_connection_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(download, "ZENODO", "http://127.0.0.1:9/api/records")
    result = run("download", "dcase2024", "--dest", tmp_path)
    assert result.exit_code == 1
    assert "no connection (" in result.stderr
    assert "unknown dataset 'dcase2019'" in run("download", "dcase2019", "--dest", tmp_path).stderr
