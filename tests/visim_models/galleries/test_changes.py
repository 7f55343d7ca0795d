"""Which pictures of the next gallery are new, changed, renamed or gone, by content alone."""

from typing import Any

import pytest

from visim_models.galleries.sources import Row, plan

OLD = {"a": "1", "b": "2", "c": "3"}


@pytest.mark.parametrize(
    ("found", "options", "expected"),
    [
        (OLD, {}, {"is_nothing": True, "to_embed": [], "rows": {"a": Row(0, 0), "b": Row(1, 1), "c": Row(2, 2)}}),
        (
            {"a": "9", "b": "2", "d": "8"},
            {"removed": ["c"]},
            {
                "added": ["d"], "changed": ["a"], "removed": ["c"], "renamed": {}, "to_embed": ["a", "d"],
                "rows": {"a": Row(None, 0), "b": Row(1, 1), "d": Row(None, None)},
            },
        ),
        (  # a renamed file keeps its embedding and its description
            {"a": "1", "b": "2", "z": "3"},
            {"removed": ["c"]},
            {"renamed": {"z": "c"}, "added": [], "removed": [], "to_embed": []},
        ),
        ({**OLD, "copy": "1"}, {}, {"added": ["copy"], "to_embed": []}),  # a copy keeps the embedding alone
        (  # two files that change names keep their own embeddings
            {"a": "2", "b": "1", "c": "3"},
            {},
            {"rows": {"a": Row(1, 0), "b": Row(0, 1), "c": Row(2, 2)}, "to_embed": []},
        ),
        ({"a": "9", "d": "8"}, {"replaces": False}, {"differing": ["a"], "to_embed": ["d"]}),
        ({"a": "1"}, {"removed": ["a"], "replaces": False}, {"is_nothing": True}),
        ({"a": "9"}, {"removed": ["a"], "replaces": False}, {"added": ["a"], "removed": ["a"], "to_embed": ["a"]}),
    ],
)  # fmt: skip
def test_changes(found: dict[str, str], options: dict[str, Any], expected: dict[str, Any]) -> None:
    changes = plan(OLD, found, **{"replaces": True, **options})
    assert {key: getattr(changes, key) for key in expected} == expected


def test_of_two_files_of_one_content_each_is_renamed_once() -> None:
    changes = plan({"a": "1", "b": "1"}, {"x": "1", "y": "1", "z": "1"}, removed=["a", "b"], replaces=True)
    assert (changes.renamed, changes.added, changes.to_embed) == ({"x": "a", "y": "b"}, ["z"], [])


def test_a_picture_that_cannot_be_embedded_leaves_the_old_one() -> None:
    changes = plan(OLD, {"a": "9", "b": "2", "c": "3", "d": "8"}, replaces=True).without(["a", "d"], list(OLD))
    assert changes.is_nothing
    assert changes.rows == {"a": Row(0, 0), "b": Row(1, 1), "c": Row(2, 2)}
