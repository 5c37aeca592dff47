"""The map: one sentence for each file."""

import pytest

from scripts import check_tidy


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("a.c", "// Says what. And more.\nint a;\n", "Says what."),
        ("a.c", "// Says what,\n// and goes on. And more.\nint a;\n", "Says what, and goes on."),
        ("a.c", "// Says what\nint a;\n", "Says what"),
        ("a.h", "// Says 1.5 of it\n//\n// Not this.\n", "Says 1.5 of it"),
        ("a.py", '"""Says what."""\nx = "."\n', "Says what."),
        ("a.py", '"""Says what\nin two lines.\n\nMore.\n"""\n', "Says what in two lines."),
        ("a.sh", "#!/bin/sh\n# Says what,\n# and how.\n", "Says what, and how."),
        ("a.c", "/* Says what,\n * and how. */\nint a;\n", "Says what, and how."),
        ("a.c", "/* Says what */\nint a;\n", "Says what"),
        ("a.md", "# The title\n\nThe text.\n", "The title"),
        ("a.c", "int a;\n", ""),
    ],
)
def test_a_file_is_one_sentence(path: str, text: str, said: str) -> None:
    assert check_tidy.first_sentence(path, text) == said
