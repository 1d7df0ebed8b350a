"""The tutorial for DCASE researchers stays true: its blocks are run, and print what it shows."""

from pathlib import Path

import pytest
from places import ROOT
from script import load_script

readme_output = load_script("readme_output")
PAGE = (ROOT / "docs" / "tutorials" / "dcase_researcher.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_block_runs_and_prints_what_is_shown(tmp_path: Path) -> None:
    different = [
        f"line {block.line}: $ {step.command[-1]}\nshown:\n{step.shown}printed:\n{printed}"
        for block, step, printed in readme_output.run(PAGE, tmp_path)
        if not readme_output.agrees(step.shown, printed)
    ]
    assert different == [], "\n".join([*different, "`python scripts/readme_output.py PAGE --write` puts them there"])


def test_only_the_download_is_not_run() -> None:
    blocks = list(readme_output.blocks(PAGE))
    assert [block.not_run for block in blocks if block.not_run] == ["needs the network"]
    assert len(blocks) == PAGE.count("\n```console\n") + PAGE.count("\n```python\n")
