"""The pages of the repository as the site's builder reads them: links lead to places of the site, lists stay lists."""

from pathlib import Path

import pytest
from script import load_script

site_markdown = load_script("site_markdown")

PLACES = {"README.md": "index.md", "docs/a.md": "a.md", "docs/howto/b.md": "howto/b.md", "pkg/F.md": "reference/f.md"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "read.py").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("README.md", "[a](docs/a.md#x)", "[a](a.md#x)"),
        ("README.md", "[![p](docs/a.md)](docs/howto/b.md)", "[![p](a.md)](howto/b.md)"),
        ("docs/howto/b.md", "[a](../a.md), [home](../../README.md)", "[a](../a.md), [home](../index.md)"),
        ("pkg/F.md", "[a](../docs/a.md)", "[a](../a.md)"),
        ("docs/a.md", "[f](../pkg/F.md)", "[f](reference/f.md)"),
        ("docs/a.md", "[here](#x), [far](https://example.org/a)", "[here](#x), [far](https://example.org/a)"),
        ("docs/a.md", "[`read.py`](../pkg/read.py#L3)", "`pkg/read.py`"),
        ("docs/a.md", "[which\nones](../pkg/read.py)", "which\nones (`pkg/read.py`)"),
        ("docs/a.md", "[the folder](../pkg/)", "the folder (`pkg`)"),
        ("pkg/F.md", "[`read.py`](read.py)", "`pkg/read.py`"),
        ("docs/a.md", "[x](../gone.md)", "[x](../gone.md)"),
        ("docs/a.md", "`[a](b)` and ``[`c`](d)``", "`[a](b)` and ``[`c`](d)``"),
        ("docs/a.md", "```text\n[a](b)\n```", "```text\n[a](b)\n```"),
        ("README.md", '<img src="docs/a.md">', '<img src="a.md">'),
    ],
)
def test_a_link_leads_to_the_place_on_the_site_or_becomes_text(root, source, text, expected):
    link = site_markdown.site_address(source, PLACES[source], PLACES, root)
    assert site_markdown.for_site(text, link) == expected + "\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text:\n- a\n- b", "text:\n\n- a\n- b"),
        ("- a\n  more\n  - b\n- c", "- a\n    more\n    - b\n- c"),
        ("1) a\n\n   b\n\ntext", "1. a\n\n    b\n\ntext"),
        ("- a\n\n  ```text\n  x\n    y\n  ```\ntext", "- a\n\n    ```text\n    x\n      y\n    ```\n    text"),
        ("- a\n\n      code\n        more", "- a\n\n        code\n          more"),
        ("in the year\n2020. It was", "in the year\n2020. It was"),
        ("    - code\n\ntext", "    - code\n\ntext"),
        ("```text\nx\n- a\n```", "```text\nx\n- a\n```"),
        ("# a\n- b\n## c\n- d", "# a\n\n- b\n## c\n\n- d"),
    ],
)
def test_lists_get_a_blank_line_and_four_spaces(text, expected):
    assert site_markdown.for_site(text) == expected + "\n"


def test_comments_go_bars_in_code_lose_their_backslash_and_details_hold_markdown():
    text = "a\n<!-- b\n-->\n| `c\\|d` |\n\n<details>\n```text\n<!-- kept -->\n```\n"
    expected = 'a\n| `c|d` |\n\n<details markdown="1">\n```text\n<!-- kept -->\n```\n'
    assert site_markdown.for_site(text) == expected


def test_a_drawing_becomes_a_table():
    drawing = "```mermaid\nflowchart TD\n  subgraph a\n  end\n  a.b --> c\n  a.b --> d.e\n  c --> d.e\n```\n"
    expected = "\n| folder | imports |\n|---|---|\n| `a.b` | `c`, `d.e` |\n| `c` | `d.e` |\n"
    assert site_markdown.for_site(drawing) == expected
