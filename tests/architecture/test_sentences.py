"""README and the tutorials are written in short sentences, and the count of them is honest."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "sentences.py"
spec = importlib.util.spec_from_file_location("sentences", SCRIPT)
assert spec and spec.loader
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

PAGE = """# A heading is not counted

One two three. Four five
six seven, see [eight nine](page.md#ten)! Version 0.1 of `a b c` is here.

- An item of a list
  that goes on.
- Another, e.g. this.

| a table | is not |
| --- | --- |

<!-- a comment
is not -->

```python
code = "is not. At all."
```
"""


def run(*names: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *names], capture_output=True, text=True)


def test_readme_and_tutorials_are_at_most_18_words_in_the_middle() -> None:
    result = run()
    assert result.returncode == 0, result.stdout + result.stderr
    assert "README.md" in result.stdout
    assert "docs/quickstart.md" in result.stdout
    assert result.stdout.count("docs/tutorials/") == 5


def test_sentences_are_counted_as_a_reader_would() -> None:
    assert tool.lengths(PAGE) == [3, 7, 6, 8, 3]
    assert tool.sentences("One. [Two](a.md) words!\n\n```\ncode. here.\n```\n- three 3.5 m\n") == [
        "One.",
        "Two words!",
        "three 3.5 m",
    ]


def test_a_page_of_long_sentences_fails(tmp_path: Path) -> None:
    page = tmp_path / "long.md"
    page.write_text("word " * 18 + "word.\n")
    assert run(str(page)).returncode == 1
    page.write_text("word " * 17 + "word.\n")
    assert run(str(page)).returncode == 0
