"""Tables about pictures are joined by file name, and said to be wrong where they are."""

from pathlib import Path

import pytest

from visim_models import DataError
from visim_models.galleries import MetadataTable

CSV = "file_name,price,url\na.jpg,3,https://x\nb.jpg,,\n"
JSON_LINES = '{"file_name": "a.jpg", "price": 3, "url": "https://x"}\n\n{"file_name": "b.jpg", "price": null}\n'


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"), [("t.csv", CSV), ("t.csv", b"\xef\xbb\xbf" + CSV.encode()), ("t.jsonl", JSON_LINES)]
)
def test_both_forms_say_the_same(name: str, text: str | bytes, tmp_path: Path) -> None:
    table = MetadataTable.read(write(tmp_path / name, text))
    assert list(table.columns) == ["price", "url"]
    assert {key: list(row) for key, row in table.rows.items()} == {"a.jpg": ["3", "https://x"], "b.jpg": ["", ""]}


def test_values_are_joined_by_name(tmp_path: Path) -> None:
    table = MetadataTable.read(write(tmp_path / "t.csv", CSV))
    assert table.column("price", ["b.jpg", "c.jpg", "a.jpg"]) == ["", "", "3"]
    assert table.column("price", ["c.jpg", "a.jpg"], ["old", "old"]) == ["old", "3"]
    assert table.notes(["a.jpg", "b.jpg"]) == []
    assert table.notes(["a.jpg", "c.jpg"]) == [
        "records of t.csv that name no picture: 1, b.jpg", "pictures without a record in t.csv: 1, c.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "name,price\na.jpg,3\n", "file_name"),
        ("t.csv", "", "file_name"),
        ("t.csv", "file_name,price,price\n", "twice"),
        ("t.csv", "file_name,price\na.jpg,3,4\n", "row 2"),
        ("t.csv", "file_name,price\na.jpg,3\na.jpg,4\n", "twice"),
        ("t.csv", "file_name,\na.jpg,3\n", "without a name"),
        ("t.csv", "file_name,price\n,3\n", "record 1 has no file_name"),
        ("t.csv", b"file_name,price\n\xff\xfe,3\n", "is not UTF-8"),
        ("t.jsonl", "[1]\n", "line 1 holds no object"),
        ("t.jsonl", "{\n", "cannot be used"),
        ("t.jsonl", '{"file_name": "a.jpg", "x": [1]}\n', "line 1"),
        ("t.jsonl", '{"file_name": "a.jpg", "x": 1, "x": 2}\n', "twice"),
        ("t.jsonl", '{"x": 1}\n', "no file_name"),
    ],
)
def test_tables_that_cannot_be_used(name: str, text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        MetadataTable.read(write(tmp_path / name, text))


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file"):
        MetadataTable.read(tmp_path / "none.csv")
    with pytest.raises(DataError, match="regular file"):
        MetadataTable.read(tmp_path)


def test_a_table_of_excel_with_semicolons_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file_name;price\na.jpg;1,50\n", encoding="utf-8-sig")
    assert MetadataTable.read(tmp_path / "t.csv").rows == {"a.jpg": ["1,50"]}
    (tmp_path / "latin.csv").write_bytes("file_name,maker\na.jpg,Möbel\n".encode("latin-1"))
    with pytest.raises(DataError, match="save it as CSV UTF-8"):
        MetadataTable.read(tmp_path / "latin.csv")
