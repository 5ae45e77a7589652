"""Files appear whole, or a sentence says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from emolib.errors import StorageError
from emolib.files import write_text


def test_a_text_is_written_with_its_folders(tmp_path: Path):
    write_text(tmp_path / "new" / "a.txt", "é\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"\xc3\xa9\n"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"], "no temporary file stays"


@pytest.mark.parametrize("place", ["/proc/none/a.txt", "{folder}/" + "a" * 300, "{folder}/file/a.txt", "{folder}"])
def test_a_place_that_takes_no_file_is_named(place: str, tmp_path: Path):
    (tmp_path / "file").touch()
    path = Path(place.format(folder=tmp_path))
    with pytest.raises(StorageError, match="cannot write") as failure:
        write_text(path, "a")
    assert str(path) in str(failure.value)
