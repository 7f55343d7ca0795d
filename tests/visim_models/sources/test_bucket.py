"""Buckets, with a real client and an S3 server on the loopback interface."""

import sys
import time
from collections.abc import Iterator

import pytest

from tests.builders import flat_png
from tests.milvus_servers import need
from tests.s3_server import KEY, SECRET, S3Server, serving_s3, use_s3
from visim_models import ImageHostError, ImageProcessor, ImageSourceError, ImageStore, MissingExtraError

RED, BLUE = flat_png("red"), flat_png("blue")
WRONG_KEY = "AKIAWRONGWRONGWRONG1"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    need("pyarrow")
    with serving_s3() as running:
        use_s3(running, monkeypatch)
        running.buckets["photos"] = {
            "cars/suv/a b.png": RED,
            "cars/ü+%41?.png": BLUE,
            "other/c.png": RED,
            "d.png": BLUE,
        }
        yield running


def test_a_folder_of_a_bucket(server: S3Server) -> None:
    server.buckets["photos"] |= {"cars/notes.txt": b"text", "cars/empty/": b"", "cars/../out.png": RED}
    store = ImageStore("s3://photos/cars/")
    assert (store.is_remote, store.location) == (True, "s3://photos/cars/")
    assert store.list() == ["../out.png", "suv/a b.png", "ü+%41?.png"]
    assert (store.read("suv/a b.png"), store.read("ü+%41?.png")) == (RED, BLUE)
    assert store.read_many(["suv/a b.png", "suv/none.png", "../out.png"]) == {"suv/a b.png": RED}
    with pytest.raises(ImageSourceError, match="file name"):
        store.read("../out.png")
    with pytest.raises(ImageSourceError, match=r"There is no suv/none\.png"):
        store.read("suv/none.png")
    batches = store.decode_many(["suv/a b.png", "../out.png"], ImageProcessor(size=8), at_once=2)
    assert [isinstance(result, Exception) for batch in batches for _, result in batch] == [False, True]


def test_a_whole_bucket_is_listed_page_by_page(server: S3Server) -> None:
    server.a_page = 1
    assert len(ImageStore("s3://photos").list()) == 4
    assert server.asked.count("GET /photos") == 4


def test_a_fingerprint_changes_with_the_object(server: S3Server) -> None:
    store = ImageStore("s3://photos/cars")
    first = store.fingerprint("suv/a b.png")  # not listed yet: the server is asked
    store.list()
    server.asked.clear()
    assert store.fingerprint("suv/a b.png") == first != ""
    assert server.asked == []
    assert store.fingerprint("none.png") == ""
    server.changed["cars/suv/a b.png"] = 1_700_000_001
    store.list()
    assert store.fingerprint("suv/a b.png") != first


def test_a_bad_object_is_its_own_failure(server: S3Server) -> None:
    objects = server.buckets["photos"]
    objects |= {"cars/huge.png": RED, "cars/secret.png": RED, "cars/page.png": b"<html>", "cars/short.png": RED[:40]}
    server.sizes |= {"cars/huge.png": 16 * 2**20 + 1, "cars/short.png": len(RED)}
    server.forbidden.add("cars/secret.png")
    store = ImageStore("s3://photos/cars")
    reasons = {
        "huge.png": "larger than 16,777,216 bytes", "page.png": "is not a picture", "short.png": "is not a picture",
        "secret.png": r"refused \(ACCESS_DENIED\): check AWS_ACCESS_KEY_ID",
    }  # fmt: skip
    for name, reason in reasons.items():
        with pytest.raises(ImageSourceError, match=reason) as caught:
            store.read(name)
        assert not isinstance(caught.value, ImageHostError)
    assert "GET /photos/cars/huge.png" not in server.asked
    assert store.read("suv/a b.png") == RED


def test_keys_that_are_refused_are_no_failure_of_a_file(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    use_s3(server, monkeypatch, key=WRONG_KEY)
    store = ImageStore("s3://photos/cars")
    with pytest.raises(ImageSourceError, match=r"s3://photos/cars is refused.*check AWS_ACCESS_KEY_ID") as listing:
        store.list()
    with pytest.raises(ImageHostError, match="s3://photos/cars is refused") as reading:  # it stops a build
        store.read("suv/a b.png")
    for caught in (listing, reading):
        assert WRONG_KEY not in str(caught.value)
        assert SECRET not in str(caught.value)


def test_a_bucket_or_folder_that_is_missing(server: S3Server) -> None:
    with pytest.raises(ImageSourceError, match="There is no bucket nowhere") as caught:
        ImageStore("s3://nowhere/cars").list()
    assert KEY not in str(caught.value)
    with pytest.raises(ImageSourceError, match="There is nothing under s3://photos/planes"):
        ImageStore("s3://photos/planes").list()


def test_a_server_that_is_down_or_hangs(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = ImageStore("s3://photos/cars", timeout=0.5)
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        down = ImageStore("s3://photos/cars")
        patch.setattr("visim_models.sources.remote_readers._SECONDS_A_REQUEST", 1.0)
        patch.setenv("AWS_ENDPOINT_URL", server.address)
        hanging = ImageStore("s3://photos/cars")
    with pytest.raises(ImageHostError, match="check the network and AWS_ENDPOINT_URL"):
        down.read("suv/a b.png")
    server.hangs.set()
    start = time.monotonic()
    with pytest.raises(ImageHostError, match=r"s3://photos/cars does not answer \(NETWORK_CONNECTION\): check the"):
        hanging.list()
    assert time.monotonic() - start < 6
    start = time.monotonic()
    with pytest.raises(ImageHostError, match=r"too slow: suv/a b\.png was not complete within 0\.5 s"):
        slow.read("suv/a b.png")
    assert time.monotonic() - start < 2


def test_a_gallery_from_elsewhere_cannot_use_the_keys(server: S3Server) -> None:
    with pytest.raises(ImageSourceError, match="read with your own keys: name it with --images"):
        ImageStore("s3://photos/cars", trusted=False)
    assert server.asked == []


@pytest.mark.parametrize("root", ["s3://", "s3:///cars", f"s3://{KEY}:{SECRET}@photos/cars", "s3://photos/../cars"])
def test_a_root_that_is_no_bucket_is_refused(server: S3Server, root: str) -> None:
    with pytest.raises(ImageSourceError) as caught:
        ImageStore(root)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["ftp://host", "host:9000", f"http://{KEY}:{SECRET}@host"])
def test_an_endpoint_that_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    need("pyarrow")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(ImageSourceError, match="AWS_ENDPOINT_URL must be") as caught:
        ImageStore("s3://photos")
    assert SECRET not in str(caught.value)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    with pytest.raises(MissingExtraError, match=r"visim-models\[milvus\]"):
        ImageStore("s3://photos")


def test_objects_are_read_side_by_side(server: S3Server) -> None:
    server.delay = 0.1
    server.buckets["photos"] = {f"{number}.png": RED for number in range(24)}
    store = ImageStore("s3://photos")
    start = time.monotonic()
    list(store.decode_many(store.list(), ImageProcessor(size=8), at_once=8))
    assert time.monotonic() - start < 2.4  # one after another, they would take 4.8 s: two requests each
