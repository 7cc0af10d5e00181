"""A file appears complete or not at all."""

import pytest

from chinchilla_jax._util.atomic_write import atomic_write


def test_the_file_appears_at_the_end_and_an_error_leaves_the_old_one(tmp_path):
    path = tmp_path / "table"
    with atomic_write(path) as temporary:
        temporary.write_text("old")
        assert not path.exists()
    with pytest.raises(OSError, match="full"), atomic_write(path) as temporary:
        temporary.write_text("ne")
        raise OSError("full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
