"""Files of visitors: deleted in time; and uploads that are kept for links, found by their token alone."""

import os
import time
from pathlib import Path

import gradio as gr
import pytest
from gradio.route_utils import delete_files_created_by_app
from PIL import Image

from demo.files import VisitorFiles, enlarged
from demo.uploads import KeptUploads
from tests.demo.conftest import drawn_picture, noise
from visim_models import ImageDecodeError, decode_image


def test_files_are_kept_and_deleted_in_time() -> None:
    with gr.Blocks() as page:
        files = VisitorFiles(page)
    table = Path(files.keep(b"rank,name", "table.csv"))
    picture = Path(files.keep_picture(drawn_picture(1)))
    small = Path(files.keep_picture(enlarged(drawn_picture(2).resize((8, 8)))))
    assert (table.name, table.read_bytes()) == ("table.csv", b"rank,name")
    assert decode_image(picture).tobytes() == drawn_picture(1).tobytes()
    assert decode_image(small).size == (192, 192)
    delete_files_created_by_app(page, 3600)
    assert all(path.exists() for path in (table, picture, small))
    delete_files_created_by_app(page, 0)
    assert not any(path.exists() for path in (table, picture, small))


def test_a_file_may_be_made_while_others_are_deleted() -> None:
    with gr.Blocks() as page:
        files = VisitorFiles(page)
    made = {files.keep(bytes([number]), "a.bin") for number in range(10)}
    listed = next(paths for paths in page.temp_file_sets if made <= paths)
    for number, _ in enumerate(listed):
        files.keep(bytes([100 + number]), "a.bin")
    assert len(listed) == 20
    delete_files_created_by_app(page, None)


def test_a_kept_upload_is_found_by_its_token(tmp_path: Path) -> None:
    kept = KeptUploads(1, folder=tmp_path)
    first, second = kept.keep(noise(1)), kept.keep(noise(1))
    assert first != second
    assert len(first) == 22
    assert kept.open(first).tobytes() == noise(1).tobytes()


def test_only_the_pixels_are_kept(tmp_path: Path) -> None:
    picture = noise(2, (2100, 700))
    picture.info["comment"] = "taken at home"
    exif = picture.getexif()
    exif[0x010E] = "taken at home"
    kept = KeptUploads(1, folder=tmp_path)
    with Image.open(tmp_path / f"{kept.keep(picture)}.png") as copy:
        assert copy.size == (1024, 341)
        assert not copy.getexif()
        assert "comment" not in copy.info


@pytest.mark.parametrize("token", ["", "..", "../../etc/passwd", "a" * 22, "a" * 5000, "\x00" * 22, "/etc/hostname"])
def test_another_token_finds_nothing(token: str, tmp_path: Path) -> None:
    with pytest.raises(ImageDecodeError, match="no longer kept"):
        KeptUploads(1, folder=tmp_path).open(token)


def test_a_picture_whose_time_is_over_is_gone(tmp_path: Path) -> None:
    kept = KeptUploads(1, folder=tmp_path)
    token = kept.keep(noise(1))
    os.utime(tmp_path / f"{token}.png", (time.time() - 3700,) * 2)
    with pytest.raises(ImageDecodeError):
        kept.open(token)


def test_the_oldest_go_where_there_is_no_more_room(tmp_path: Path) -> None:
    size = len((tmp_path / f"{KeptUploads(1, folder=tmp_path).keep(noise(1))}.png").read_bytes())
    kept = KeptUploads(1, folder=tmp_path, max_bytes=3 * size)
    for number in range(6):
        token = kept.keep(noise(number))
    assert len(list(tmp_path.iterdir())) == 3
    kept.open(token)
