"""The README stays true: its blocks are run, one after the other in one folder, and print what it shows."""

import pytest
from places import ROOT
from script import load_script

readme_output = load_script("readme_output")
PAGE = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_block_runs_and_prints_what_is_shown(tmp_path):
    pytest.importorskip("pyarrow")  # results of archives are Parquet
    different = [
        f"README.md, line {block.line}: $ {step.command[-1]}\nshown:\n{step.shown}printed:\n{printed}"
        for block, step, printed in readme_output.run(PAGE, tmp_path)
        if not readme_output.agrees(step.shown, printed)
    ]
    assert different == [], "\n".join([*different, "`python scripts/readme_output.py --write` puts the outputs there"])


def test_only_what_needs_minutes_or_the_network_is_not_run():
    blocks = list(readme_output.blocks(PAGE))
    assert [block.not_run for block in blocks if block.not_run] == [
        "the first command makes an environment, and both take minutes",
        "needs the network",
        "the page is served until Ctrl-C",
    ]
    assert len(blocks) == PAGE.count("\n```console\n") + PAGE.count("\n```python\n")
    commands = [step.command[-1] for block in blocks for step in block.steps]
    assert sum(command.startswith(("featstore ", "detect ")) for command in commands) == PAGE.count(
        "\n$ featstore "
    ) + (PAGE.count("\n$ detect "))


def test_the_readme_is_short():
    assert len(PAGE.splitlines()) <= 160


EXAMPLE = """\
<!-- first: echo prepared > file -->
```console
$ cat file    # what was prepared
prepared
$ echo 1/2 clips ETA 0:01; seq 4; echo 0.52 s >&2
1
...
0.61   s
```

<!-- not run: takes years -->
```console
$ false
```

```python
from pathlib import Path
print(len(Path("file").read_text()))  # 9
```
"""


def test_blocks_share_a_folder_and_are_compared_but_for_progress_decimals_and_spaces(tmp_path):
    done = list(readme_output.run(EXAMPLE, tmp_path))
    assert [(block.line, printed) for block, _, printed in done] == [
        (2, "prepared\n"),
        (2, "1\n2\n3\n4\n0.52 s\n"),
        (16, "9\n"),
    ]
    assert all(readme_output.agrees(step.shown, printed) for _, step, printed in done)
    step = done[1][1]
    assert readme_output.refreshed(step.shown, done[1][2]) == "1\n...\n0.52 s\n"
    assert EXAMPLE[slice(*step.span)] == step.shown == "1\n...\n0.61   s\n"


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("", "anything\n", True),
        ("2 rows\n", "2 rows\n", True),
        ("2 rows\n", "3 rows\n", False),
        ("a\n", "a\nb\n", False),
        ("a\n...\n", "a\nb\n", True),
        ("...\nb\n", "a\nb\nc\n", False),
        ("size 1.5 MB\n-----\n", "size 2.25 MB\n-------\n", True),
    ],
)
def test_what_agrees(shown, printed, expected):
    assert readme_output.agrees(shown, printed) is expected


FILES = """\
```python
# part.py
print("a file is not run")
```

```python
a = 2
```

```python
print(a + 1, __import__("part"))
```

```text
a file is not run
...
```

```toml
# part.toml
b = 3
```

```console
$ cat part.toml
# part.toml
b = 3
```
"""


def test_a_block_can_be_a_file_and_has_the_names_of_those_above(tmp_path):
    (_, first, nothing), (_, second, printed), (_, third, shown) = readme_output.run(FILES, tmp_path)
    assert (nothing, printed.splitlines()[0], printed.splitlines()[1][:2], shown) == (
        "",
        "a file is not run",
        "3 ",
        third.shown,
    )
    assert readme_output.agrees(second.shown, printed)
    assert FILES[slice(*second.span)] == second.shown == "a file is not run\n...\n"
    assert first.shown == ""


def test_a_command_that_fails_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="ends with exit code 3:\nno"):
        list(readme_output.run("```console\n$ echo no; exit 3\n```\n", tmp_path))
