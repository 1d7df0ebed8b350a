"""Which clips a metric counts: none that chose a system, and for a submission those of the evaluation data."""

from dataclasses import replace
from pathlib import Path

import pytest
from compared import both_domains, compared_store
from fitted_plant import KNN, store_of

from ensemble.evaluation import measured  # pytest would collect `scorable_clips`
from ensemble.recipe import Member, Recipe

RECIPE = Recipe((Member("h", KNN),))


def test_no_clip_counts_that_chose_any_of_several_systems(tmp_path: Path) -> None:
    store = compared_store(tmp_path / "s")
    every = measured.scorable_clips(store, None, [], None)
    fault, normal = (every[every.where(label=label)].keys()[0] for label in ("anomaly", "normal"))
    recipes = [replace(RECIPE, confirmed_faults=(fault,)), RECIPE, replace(RECIPE, confirmed_normal=(normal,))]
    result = measured.Measured.of(store, every, year=None, recipes=recipes)
    assert set(every.keys()) - set(result.clips.keys()) == {fault, normal}
    assert result.left_out[0] == "2 clips that chose a system"
    assert len(measured.Measured.of(store, every, year=None, recipes=[RECIPE]).clips) == len(every)


@pytest.mark.parametrize(("machines", "expected"), [(["pump"], {"pump"}), (["fan", "pump"], {"fan", "pump"})])
def test_a_submission_is_about_the_evaluation_data_unless_it_has_files_of_others(
    tmp_path: Path, machines: list[str], expected: set[str]
) -> None:
    stage = {"fan": "dev_data", "pump": "eval_data"}
    store = store_of(tmp_path / "s", [replace(c, path=f"{stage[c.machine]}/{c.path}") for c in both_domains()])
    for machine in machines:
        (tmp_path / f"anomaly_score_{machine}_section_00_test.csv").touch()
    of_folder = measured.scorable_clips(store, None, [tmp_path], 2023)
    assert {clip.machine for clip in of_folder} == expected
    assert {clip.machine for clip in measured.scorable_clips(store, None, [tmp_path / "a.csv"], 2023)} == {
        "fan",
        "pump",
    }
