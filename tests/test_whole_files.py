"""A file is there whole or not at all."""

import pytest

from chinchilla_jax._util.atomic_write import written_whole


def test_the_name_is_taken_at_the_end_and_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "table"
    with written_whole(path) as aside:
        aside.write_text("old")
        assert not path.exists()
    with pytest.raises(OSError, match="full"), written_whole(path) as aside:
        aside.write_text("ne")
        raise OSError("full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
