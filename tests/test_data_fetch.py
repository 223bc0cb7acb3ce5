"""Fetching: from a server on this machine; nothing half done is left, and the way by hand is named."""

import functools
import gzip
import hashlib
import logging
import threading
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from holdfast.data import SETS, load, status
from holdfast.data.fetch import fetch
from holdfast.data.idx import MNIST
from holdfast.data.published import Download
from holdfast.errors import DataError


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder and remembers what was asked for."""

    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The address, the folder served and the paths asked for."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    asked = []
    handler = functools.partial(type("Remembering", (Handler,), {"asked": asked}), directory=str(folder))
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}/", folder, asked
    running.shutdown()
    running.server_close()
    thread.join()


def offer(server, name, content, *more_urls):
    address, folder, _ = server
    (folder / name).write_bytes(content)
    return Download(file=name, md5=hashlib.md5(content).hexdigest(), urls=(*more_urls, address + name))


def test_a_file_arrives_whole(server, tmp_path, capfd):
    fetch("some", (offer(server, "a.bin", b"content" * 1000),), tmp_path / "new" / "home")
    assert (tmp_path / "new" / "home" / "a.bin").read_bytes() == b"content" * 1000
    assert capfd.readouterr() == ("", ""), "no word without being asked"


def test_progress_is_shown_on_stderr(server, tmp_path, capfd):
    fetch("some", (offer(server, "a.bin", b"content" * 1000),), tmp_path, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "100%" in err


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"mine")
    fetch("some", (offer(server, "a.bin", b"x"), offer(server, "b.bin", b"y")), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == b"mine"
    assert server[2] == ["/b.bin"]


def test_the_next_address_is_tried(server, tmp_path):
    download = offer(server, "a.bin", b"content", server[0] + "gone.bin", "http://127.0.0.1:9/a.bin")
    fetch("some", (download,), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == b"content"
    assert server[2] == ["/gone.bin", "/a.bin"]


def test_wrong_bytes_are_not_kept(server, tmp_path):
    download = replace(offer(server, "a.bin", b"content"), md5="0" * 32)
    home = tmp_path / "home"
    with pytest.raises(DataError, match=r"not the published bytes, MD5 differs.*Put a.bin into '.*home' by hand"):
        fetch("some", (download,), home)
    assert list(home.iterdir()) == []


def test_a_failure_is_one_line_that_names_the_folder(server, tmp_path):
    lost = Download(file="a.bin", md5="0" * 32, urls=(server[0] + "gone.bin",))
    with pytest.raises(DataError) as caught:
        fetch("some", (lost, offer(server, "b.bin", b"y")), tmp_path / "home")
    text = str(caught.value)
    assert text.startswith("some: not found whole on this machine, and cannot be fetched (http://127.0.0.1")
    assert "404" in text
    assert f"Put a.bin, b.bin into {str(tmp_path / 'home')!r} by hand, or point --data-dir or HOLDFAST_DATA" in text
    assert "\n" not in text


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be fetched.*'.*file/home' by hand"):
        fetch("some", (offer(server, "a.bin", b"x"),), tmp_path / "file" / "home")


def test_the_logger_of_pooch_is_given_back(server, tmp_path, monkeypatch):
    import pooch

    monkeypatch.setattr(pooch.get_logger(), "level", logging.DEBUG)
    fetch("some", (offer(server, "a.bin", b"x"),), tmp_path)
    assert pooch.get_logger().level == logging.DEBUG


@pytest.fixture
def small_mnist(server, monkeypatch):
    """MNIST with eleven pictures a part, offered by the server."""
    address, folder, _ = server
    md5, sha256 = {}, {}
    for stem in MNIST.md5:
        images = "images" in stem
        header = bytes([0, 0, 8, 3 if images else 1, 0, 0, 0, 11]) + (bytes([0, 0, 0, 28]) * 2 if images else b"")
        content = header + bytes(11 * 28 * 28 if images else range(1, 10)) + (b"" if images else b"\0\0")
        packed = gzip.compress(content)
        (folder / f"{stem}.gz").write_bytes(packed)
        md5[stem], sha256[stem] = hashlib.md5(packed).hexdigest(), hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(SETS, "mnist", replace(MNIST, md5=md5, sha256=sha256, urls=(address,)))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    return tmp_path / "cache" / "holdfast"


def test_a_set_is_fetched_into_the_folder_named(small_mnist, server, cache, tmp_path, monkeypatch):
    option, variable = tmp_path / "option", tmp_path / "variable"
    for folder in (option, variable):
        folder.mkdir()
    monkeypatch.setenv("HOLDFAST_DATA", str(variable))
    assert len(load("mnist")) == 11
    assert sorted(p.name for p in (variable / "mnist").iterdir()) == [
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ]
    assert len(server[2]) == 2, "only the part asked for"
    assert len(load("mnist", "train", data_dir=option)) == 9
    assert sorted(p.name for p in option.rglob("*.gz")) == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]
    assert len(load("mnist", "test", data_dir=option)) == 11
    assert len(server[2]) == 4, "found in the other folder, not fetched again"
    assert not cache.exists()


def test_a_set_is_fetched_into_the_cache_when_no_folder_is_named(small_mnist, server, cache):
    assert len(load("mnist")) == 11
    assert len(load("mnist")) == 11
    assert len(server[2]) == 2
    assert len(list((cache / "mnist").iterdir())) == 2
    known = {record.name: record for record in status()}
    assert known["mnist"].path == cache / "mnist"
    assert list(known["mnist"].splits) == ["test"]


def test_a_set_that_cannot_be_fetched_says_where_to_put_it(small_mnist, server, cache, tmp_path):
    (server[1] / "t10k-labels-idx1-ubyte.gz").unlink()
    where = str(tmp_path / "mnist")
    with pytest.raises(DataError) as caught:
        load("mnist", data_dir=tmp_path)
    assert f"Put t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz into {where!r} by hand" in str(caught.value)
