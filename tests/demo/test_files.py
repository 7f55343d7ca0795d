"""Files made for a visitor lie where Gradio looks for them when their time is over, and may be made meanwhile."""

from pathlib import Path

import gradio as gr
from gradio.route_utils import delete_files_created_by_app

from demo.files import VisitorFiles
from tests.demo.conftest import drawn_picture
from visim_models import decode_image


def test_files_are_kept_and_deleted_in_time() -> None:
    with gr.Blocks() as page:
        files = VisitorFiles(page)
    table = Path(files.keep(b"rank,name", "table.csv"))
    picture = Path(files.keep_picture(drawn_picture(1)))
    small = Path(files.keep_enlarged(drawn_picture(2).resize((8, 8))))
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
