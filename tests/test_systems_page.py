"""The pages of systems: every recipe, the last measurement of every system, and they are current."""

from dataclasses import replace

import pytest
from script import load_script

from ensemble.systems.catalogue import Published, System, find_system, names

page = load_script("systems_page")
TEXTS = [path.read_text(encoding="utf-8") for path in page.PAGES]
ROWS = page.read_measured(page.MEASURED)
ROW = replace(ROWS[0], dataset="d", system="ae", detector="own", score=60.0, low=50.0, high=70.0, note="", command="a")


@pytest.mark.parametrize("text", TEXTS, ids=[path.name for path in page.PAGES])
def test_the_pages_are_current(text):
    systems = [find_system(name) for name in names()]
    assert page.written(text, ROWS, systems) == text, "run `python scripts/systems_page.py --write`"
    assert len(text.splitlines()) < 350


@pytest.mark.parametrize("name", names())
def test_every_system_is_on_the_page(name):
    line = next(line for line in TEXTS[0].splitlines() if line.startswith(f"| `{name}` |"))
    cells = [cell.strip() for cell in line.strip("|").split(" | ")]
    assert len(cells) == 5
    assert all(cells)
    assert find_system(name).published.figure in line


def test_every_measured_system_exists_and_has_plausible_metrics():
    embedders = {row.system for row in ROWS} - {*names()}
    assert all("@" in name for name in embedders), embedders
    for row in ROWS:
        assert 0 <= row.low <= row.score <= row.high <= 100, row
        assert row.command.startswith("python scripts/bench_systems.py "), row


def test_a_system_by_hand():
    system = System("ae", "A|B", "e", "d", Published(2021, "AUC 1", "Who, Where"))
    rows = [ROW, replace(ROW, detector="knn", score=55.0), replace(ROW, dataset="e", note="random weights: no result")]
    assert page.systems_table([system], rows).splitlines()[2] == (
        r"| `ae` | A\|B | AUC 1 (Who, Where) | d 60.0 [50, 70]; e 60.0 [50, 70] (random weights) | nothing known |"
    )
    assert "| not yet |" in page.systems_table([system], [])


def test_the_last_measurement_is_shown_with_other_detectors_beside_it():
    again = replace(ROW, command="b --only ae", score=65.0, note="by a slower clock")
    view = replace(ROW, system="logmel@mean", detector="knn", command="b --only ae")
    table = page.measured_table([ROW, replace(ROW, detector="gmm"), again, replace(again, detector="knn"), view])
    lines = table.splitlines()
    assert lines[0].startswith("| system | h-mean | AUC_s | AUC_t | pAUC | by `gmm` | by `knn` | kept epoch |")
    assert lines[2].startswith("| ae [1] | 65.0 [50, 70] |")
    assert "|  | 65.0 [50, 70] |" in lines[2]
    assert lines[3].startswith("| `logmel@mean`, `knn` | 60.0 [50, 70] |")
    assert table.endswith("\n[1] by a slower clock.\n\nCommands:\n\n    # 1\n    b --only ae\n")


def test_only_the_best_views_are_shown():
    views = [replace(ROW, system=f"logmel@{i}", score=50.0 + i) for i in range(9)]
    shown = [line for line in page.measured_table(views).splitlines() if line.startswith("| `logmel@")]
    assert [line.split("`")[1] for line in shown] == [f"logmel@{i}" for i in (8, 7, 6, 5, 4, 3)]


def test_parts_need_their_marks():
    start, end = page.marks("systems")
    assert page.with_part(f"a\n{start}old\n{end}b\n", "systems", "new\n") == f"a\n{start}\nnew\n\n{end}b\n"
    for wrong in ("", start, f"{end}{start}", f"{start}{end}{start}{end}"):
        with pytest.raises(ValueError, match="expected one line '<!-- systems: written by"):
            page.with_part(wrong, "systems", "new\n")
    start, end = page.marks("measured x")
    assert page.written(f"a{start}{end}", [ROW], []) == f"a{start}{end}", "marks begin a line"
    assert page.written(f"{start}{end}", [ROW], []) == f"{start}\nNot measured yet.\n\n{end}"
    with pytest.raises(ValueError, match="no part 'mesured x'; choose from systems, small, measured NAME"):
        page.written("".join(page.marks("mesured x")), [ROW], [])


def test_every_measured_data_set_is_described():
    parts = page.STARTS.findall("".join(TEXTS))
    assert {f"measured {row.dataset}" for row in ROWS} <= {*parts}
    assert {"systems", "small"} <= {*parts}
