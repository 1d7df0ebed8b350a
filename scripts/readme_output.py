#!/usr/bin/env python3
"""Run the blocks of a page in an empty folder, one after the other: print what they print, or --write it there.

    python scripts/readme_output.py [PAGE] [--write]     # default: README.md

Every `$` line of a console block and every Python block is run. A Python or TOML block that begins with the comment
`# FILE` becomes this file instead. What a Python block prints stands in comments behind its calls of print, or in a
text block below it; then it also has the names of the blocks above. In a shown output, a line `...` stands for any
lines. A comment above a block may say `<!-- not run: REASON -->`, or `<!-- first: COMMANDS -->` for commands that are
run before the block and not shown.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
FENCE = re.compile(
    r"(?:^<!-- (?P<key>first|not run):(?P<value>(?:(?!-->).)*)-->\n)?"
    r"^```(?P<language>console|python|toml)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
STEP = re.compile(r"^\$ (?P<command>.*)\n(?P<output>(?:(?!\$ ).*\n)*)", re.MULTILINE)
PRINT = re.compile(r"^print\(.*\)  # (.*)$", re.MULTILINE)
OUTPUT = re.compile(r"\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([a-z_]+\.(?:py|toml))\n")
PROGRESS = re.compile(r"[\d,]+/[\d,]+ .* ETA ")
ANY_LINES = "..."


@dataclass(frozen=True)
class Step:
    """A command, or a whole Python block, with the output that the page shows and where in the page that stands."""

    command: list[str]
    shown: str
    span: tuple[int, int]


@dataclass(frozen=True)
class Block:
    """A fenced block with the line where it starts, and what the comment above it says."""

    line: int
    steps: list[Step]
    first: str = ""
    not_run: str = ""
    file: str = ""
    text: str = ""


def blocks(page: str) -> Iterator[Block]:
    """Every console and Python block of a page, in order."""
    above = ""
    for fence in FENCE.finditer(page):
        text, start = fence["text"], fence.start("text")
        file = FILE.match(text)
        steps: list[Step] = []
        if file or fence["language"] == "toml":
            pass
        elif fence["language"] == "python":
            output = OUTPUT.match(page, fence.end())
            shown, span = (output[1], output.span(1)) if output else ("\n".join(PRINT.findall(text)), (start, start))
            steps = [Step([sys.executable, "-c", _after(above, text) if output else text], shown, span)]
            above += "" if fence["key"] == "not run" else text
        else:
            steps = [
                Step(["bash", "-c", step["command"]], step["output"], (start + step.start(2), start + step.end(2)))
                for step in STEP.finditer(text)
            ]
        comment = {fence["key"]: (fence["value"] or "").strip()}
        line = page.count("\n", 0, start)
        yield Block(line, steps, comment.get("first", ""), comment.get("not run", ""), file[1] if file else "", text)


def _after(above: str, text: str) -> str:
    """A block after those above it, whose output is dropped."""
    quiet = f"import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n    exec({above!r})\n"
    return quiet + text if above else text


def run(page: str, folder: Path) -> Iterator[tuple[Block, Step, str]]:
    """Run every block that is to be run; yields each step with what it printed. RuntimeError where a command fails."""
    for block in blocks(page):
        if block.not_run:
            continue
        if block.first:
            output_of(["bash", "-euc", block.first], folder)
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        for step in block.steps:
            yield block, step, output_of(step.command, folder)


def output_of(command: list[str], folder: Path) -> str:
    """What a command prints to stdout and stderr, without progress."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[-1]}\nends with exit code {done.returncode}:\n{done.stdout}")
    return "".join(f"{line}\n" for line in done.stdout.splitlines() if not PROGRESS.match(line))


def agrees(shown: str, printed: str) -> bool:
    """Whether a shown output is the printed one, but for decimals, spaces and the lines that `...` stands for.

    Decimals depend on the processor and the clock; counts, names and words must be the same.
    """
    pattern = [r"(?:.*\n)*?" if line == ANY_LINES else re.escape(line) + r"\n" for line in _plain(shown)]
    return not pattern or re.fullmatch("".join(pattern), "".join(f"{line}\n" for line in _plain(printed))) is not None


def _plain(output: str) -> list[str]:
    lines = [re.sub(r"\d+\.\d+", "#", line) for line in output.splitlines()]
    return [re.sub(r"--+", "--", " ".join(line.split())) for line in lines if line.strip()]


def refreshed(shown: str, printed: str) -> str:
    """The printed output as the page shows it: with as many lines before and after a `...` as it has now."""
    lines, new = shown.splitlines(), printed.splitlines()
    if not lines:
        return ""
    if ANY_LINES in lines:
        head = lines.index(ANY_LINES)
        tail = len(lines) - head - 1
        new = [*new[:head], ANY_LINES, *new[len(new) - tail :]]
    return "".join(f"{line}\n" for line in new)


def main() -> None:
    """Run the blocks and print or write their outputs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, nargs="?", default=README, help="Markdown page [README.md]")
    parser.add_argument("--write", action="store_true", help="write the outputs into the page")
    arguments = parser.parse_args()
    page = new = arguments.page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        done = list(run(page, Path(folder)))
    for block, step, printed in reversed(done):
        start, stop = step.span
        if start < stop:
            new = new[:start] + refreshed(step.shown, printed) + new[stop:]
        elif not agrees(step.shown, printed):
            sys.exit(f"{arguments.page.name}, line {block.line}: shows {step.shown!r}, prints {printed!r}")
    if arguments.write:
        arguments.page.write_text(new, encoding="utf-8")
    else:
        print("\n".join(f"$ {step.command[-1]}\n{printed}" for _, step, printed in done))


if __name__ == "__main__":
    main()
