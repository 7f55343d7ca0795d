"""plan.csv: what is written is read back, edits by hand are taken as they are meant, and bad ones change nothing."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visim_models import DataError
from visim_models.cleaning import Plan, PlanRow
from visim_models.errors import ImageSourceError
from visim_models.sources.file_names import check_file_name

SHA256 = "ab" * 32


def is_file_name(name: str) -> bool:
    try:
        check_file_name(name)
    except ImageSourceError:
        return False
    return True


def row(name: str, action: str = "remove", **others: object) -> PlanRow:
    values: dict[str, object] = {"root": "photos", "find": "duplicates", "sha256": SHA256, **others}
    return PlanRow(file_name=name, action=action, **values)  # type: ignore[arg-type]


def read(text: str, folder: Path) -> Plan:
    path = folder / "edited.csv"
    path.write_text(text, encoding="utf-8")
    return Plan.read(path)


HOSTILE = [
    "=HYPERLINK(1)",
    "+1",
    "-2+3",
    "@SUM(A1)",
    'a"b,c;d.png',
    "<script>alert(1)</script>",
    "Ünïcode ß.jpg",
    "'x",
    "a b",
]


def test_hostile_names_come_back_and_are_no_formulas(tmp_path: Path) -> None:
    plan = Plan(
        tuple(row(name, reason=f"{name}\nline", group=3, score=-0.25, bytes=7, size="1 x 2") for name in HOSTILE)
    )
    plan.write(tmp_path / "plan.csv")
    found = Plan.read(tmp_path / "plan.csv")
    assert [each.file_name for each in found.rows] == HOSTILE
    assert {(each.group, each.score, each.bytes, each.size) for each in found.rows} == {(3, -0.25, 7, "1 x 2")}
    for cells in csv.reader(io.StringIO(plan.to_text())):
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "\t"))]


@given(st.lists(st.text(min_size=1).filter(is_file_name), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_every_file_name_comes_back(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    text = Plan(tuple(row(name) for name in names)).to_text()
    path = tmp_path_factory.getbasetemp() / "property.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert [each.file_name for each in Plan.read(path).rows] == names


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_plan_that_a_spreadsheet_has_saved(delimiter: str, tmp_path: Path) -> None:
    head = delimiter.join(["\ufeffaction", "file", "score", "sha256", "root"])
    lines = [head, delimiter.join([" Remove ", "a/b.png", '"0,9123"', SHA256.upper(), "photos"]), delimiter * 4, ""]
    (found,) = read("\r\n".join(lines), tmp_path).rows
    assert (found.file_name, found.action, found.score, found.sha256) == ("a/b.png", "remove", 0.9123, SHA256)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks the column"),
        ("file,action,root\nx.png,remove,photos\n", "lacks the column sha256"),
        (f"action,file,sha256,root\ndelete,x.png,{SHA256},photos\n", "row 2: the action is 'delete'"),
        (f"action,file,sha256,root\nremove,../x.png,{SHA256},photos\n", "leaves the image root"),
        (f"action,file,sha256,root\nremove,/x.png,{SHA256},photos\n", "leaves the image root"),
        ("action,file,sha256,root\nremove,x.png,123,photos\n", "no SHA-256"),
        ('action,file,sha256,root\nremove,"x.png', "cannot be read as CSV"),
    ],
)
def test_a_bad_plan_is_refused_as_a_whole(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(text, tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_plan_in_the_encodings_of_spreadsheets(encoding: str, tmp_path: Path) -> None:
    text = Plan((row("Grüße/Ätna.jpg", reason="für später"),)).to_text()
    assert text[0] == "\ufeff"  # by which Excel knows UTF-8
    (tmp_path / "plan.csv").write_bytes(text[1:].encode(encoding))
    (found,) = Plan.read(tmp_path / "plan.csv").rows
    assert (found.file_name, found.reason) == ("Grüße/Ätna.jpg", "für später")


def test_a_look_decides_nothing() -> None:
    plan = Plan((row("a.png"), row("a.png", "look", find="strange"), row("b.png", "look")))
    assert [each.file_name for each in plan.removed] == ["a.png"]
    assert plan.disputed == []


def test_no_plan(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        Plan.read(tmp_path / "nothing.csv")


def test_a_disagreement_keeps_the_file() -> None:
    plan = Plan((row("a.png"), row("b.png"), row("b.png", "keep", find="like"), row("c.png", "keep"), row("a.png")))
    assert [each.file_name for each in plan.removed] == ["a.png"]
    assert [each.file_name for each in plan.disputed] == ["b.png"]


def test_an_existing_plan_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "plan.csv").write_text("edited by hand")
    with pytest.raises(FileExistsError):
        Plan((row("a.png"),)).write(tmp_path / "plan.csv")
