"""Which pictures of the next gallery are new, changed, renamed or gone, by content alone."""

from visim_models.galleries.changes import Row, plan

OLD = {"a": "1", "b": "2", "c": "3"}


def test_nothing_changes() -> None:
    changes = plan(OLD, OLD, replaces=True)
    assert changes.is_nothing
    assert changes.rows == {"a": Row(0, 0), "b": Row(1, 1), "c": Row(2, 2)}
    assert changes.to_embed == []


def test_new_changed_and_gone() -> None:
    changes = plan(OLD, {"a": "9", "b": "2", "d": "8"}, removed=["c"], replaces=True)
    assert (changes.added, changes.changed, changes.removed, changes.renamed) == (["d"], ["a"], ["c"], {})
    assert changes.to_embed == ["a", "d"]
    assert changes.rows == {"a": Row(None, 0), "b": Row(1, 1), "d": Row(None, None)}


def test_a_renamed_file_keeps_its_embedding_and_its_description() -> None:
    changes = plan(OLD, {"a": "1", "b": "2", "z": "3"}, removed=["c"], replaces=True)
    assert changes.renamed == {"z": "c"}
    assert changes.rows["z"] == Row(2, 2)
    assert not changes.added
    assert not changes.removed
    assert not changes.to_embed


def test_a_copy_keeps_the_embedding_alone() -> None:
    changes = plan(OLD, {**OLD, "copy": "1"}, replaces=True)
    assert changes.rows["copy"] == Row(0, None)
    assert changes.added == ["copy"]


def test_two_files_that_change_names_keep_their_own_embeddings() -> None:
    changes = plan(OLD, {"a": "2", "b": "1", "c": "3"}, replaces=True)
    assert changes.rows == {"a": Row(1, 0), "b": Row(0, 1), "c": Row(2, 2)}
    assert changes.to_embed == []


def test_of_two_files_of_one_content_each_is_renamed_once() -> None:
    changes = plan({"a": "1", "b": "1"}, {"x": "1", "y": "1", "z": "1"}, removed=["a", "b"], replaces=True)
    assert changes.renamed == {"x": "a", "y": "b"}
    assert changes.added == ["z"]
    assert changes.to_embed == []


def test_without_replacing_other_content_is_only_named() -> None:
    changes = plan(OLD, {"a": "9", "d": "8"})
    assert changes.differing == ["a"]
    assert changes.rows["a"] == Row(0, 0)
    assert changes.to_embed == ["d"]


def test_removed_and_given_again() -> None:
    assert plan(OLD, {"a": "1"}, removed=["a"]).is_nothing
    changes = plan(OLD, {"a": "9"}, removed=["a"])
    assert (changes.added, changes.removed, changes.to_embed) == (["a"], ["a"], ["a"])


def test_a_picture_that_cannot_be_embedded_leaves_the_old_one() -> None:
    changes = plan(OLD, {"a": "9", "b": "2", "c": "3", "d": "8"}, replaces=True).without(["a", "d"], list(OLD))
    assert changes.is_nothing
    assert changes.rows == {"a": Row(0, 0), "b": Row(1, 1), "c": Row(2, 2)}
