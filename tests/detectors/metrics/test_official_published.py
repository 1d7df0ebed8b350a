"""The organisers' published metrics and the score files of real systems, reproduced to the printed digits."""

import csv
import gzip
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from places import SHARED_DATA

from detectors.metrics.labels import Labels
from detectors.metrics.official import Evaluation, SectionMetrics, average_rank, evaluate, harmonic_mean
from detectors.metrics.scores import ScoreTable

DATA = SHARED_DATA / "dcase_scores"


def published(year, machines, **metrics):
    """An evaluation whose metrics were printed by the organisers: one number per machine, or (machine, section)."""
    names = [name if isinstance(name, tuple) else (name, "00") for name in machines]
    rows = [
        SectionMetrics(machine, section, {metric: values[i] for metric, values in metrics.items()}, {})
        for i, (machine, section) in enumerate(names)
    ]
    return Evaluation(year, tuple(rows))


def numbers(text):
    return [float(number) for number in text.split()]


EVAL_2023 = ["bandsaw", "grinder", "shaker", "ToyDrone", "ToyNscale", "ToyTank", "Vacuum"]
EVAL_2024 = ["3DPrinter", "AirCompressor", "Scanner", "ToyCircuit", "HoveringDrone", "HairDryer", "ToothBrush"]
EVAL_2024 += ["RoboticArm", "BrushlessMotor"]
EVAL_2025 = ["AutoTrash", "HomeCamera", "ToyPet", "ToyRCCar", "BandSealer", "CoffeeGrinder", "Polisher", "ScrewFeeder"]

BASELINES = {
    "2023 Mahalanobis": (
        published(
            2023,
            EVAL_2023,
            auc_source=numbers(".836434267021059 .7409411378914575 .8476602762317048 .813 .6678 .8012 .8384"),
            auc_target=numbers(".5885844748858448 .50682261208577 .6299533799533801 .4622 .409 .4532 .9006"),
            pauc=numbers(
                ".5753594967896497 .5955291246149972 .6233307541280444 .5142105263157895 .5089473684210526 "
                ".5384210526315789 .653157894736842"
            ),
        ),
        (0.7871141310430937, 0.53090862919051, 0.5682103280865886),
        0.6105082186925268,
        0.6430834459860557,
    ),
    "2023 MSE": (
        published(
            2023,
            EVAL_2023,
            auc_source=numbers(".6667348190554078 .706837186424004 .69428983714698 .7968 .77 .7212 .8816"),
            auc_target=numbers(".48287671232876717 .5516569200779727 .5604118104118104 .561 .4716 .6468 .4532"),
            pauc=numbers(
                ".5091087658743451 .5846166760294185 .5491654428600755 .5368421052631579 .5178947368421053 "
                ".5826315789473684 .5947368421052631"
            ),
        ),
        None,
        0.5925469043549957,
        None,
    ),
    "2024 Mahalanobis": (
        published(
            2024,
            EVAL_2024,
            auc_source=numbers(".7544 .6610 .5684 .6794 .8388 .6060 .6556 .5834 .8032"),
            auc_target=numbers(".424 .555 .555 .4464 .464 .5898 .579 .425 .7338"),
            pauc=numbers(
                ".508421052631579 .6078947368421053 .4926315789473684 .4921052631578947 .58 .5510526315789473 "
                ".48368421052631577 .5178947368421053 .5905263157894737"
            ),
        ),
        (0.6718221907158789, 0.5144113485475758, 0.5324024369331867),
        0.5648933421610234,
        0.5832003898635478,
    ),
    "2024 MSE": (
        published(
            2024,
            EVAL_2024,
            auc_source=numbers(".7912 .65 .6916 .7658 .8602 .6224 .7504 .6596 .707"),
            auc_target=numbers(".4796 .4824 .5374 .5266 .4388 .4598 .6948 .4152 .6352"),
            pauc=numbers(
                ".4942105263157895 .5547368421052632 .5010526315789474 .5 .5021052631578947 .5163157894736842 "
                ".5273684210526316 .511578947368421 .5557894736842105"
            ),
        ),
        (0.7150555228086642, 0.5057977147441246, 0.5172271108149132),
        0.5650830191796572,
        0.5863391812865497,
    ),
    "2025 Mahalanobis": (
        published(
            2025,
            EVAL_2025,
            auc_source=numbers(".7726 .8616 .6982 .5586 .7638 .7498 .7042 .729"),
            auc_target=numbers(".526 .4264 .509 .5548 .3268 .4042 .5278 .7904"),
            pauc=numbers(
                ".541578947368421 .5184210526315789 .5684210526315789 .54 .49105263157894735 .5142105263157895 "
                ".5378947368421052 .7005263157894737"
            ),
        ),
        (0.719933864244911, 0.4788331261490967, 0.5459161077739156),
        0.5650558189601554,
        0.596471052631579,
    ),
    "2025 MSE": (
        published(
            2025,
            EVAL_2025,
            auc_source=numbers(".8102 .814 .677 .5284 .7198 .7304 .6686 .6486"),
            auc_target=numbers(".3436 .4976 .367 .6272 .3956 .4436 .443 .6592"),
            pauc=numbers(
                ".5421052631578948 .5284210526315789 .55 .5552631578947368 .5205263157894737 .5342105263157895 "
                ".5231578947368422 .6210526315789474"
            ),
        ),
        None,
        0.5442827820713174,
        None,
    ),
}


@pytest.mark.parametrize("name", BASELINES)
def test_published_baselines_2023_to_2025(name):
    evaluation, parts, total, arithmetic = BASELINES[name]
    assert evaluation.score == pytest.approx(total, abs=1e-12)
    if parts is not None:
        got = [evaluation.mean(metric) for metric in ("auc_source", "auc_target", "pauc")]
        np.testing.assert_allclose(got, parts, rtol=0, atol=1e-12)
        assert evaluation.mean("auc_source", "auc_target", "pauc", kind="arithmetic") == pytest.approx(arithmetic)


D2020_EVAL = {  # AUC and pAUC of each id, then the printed averages
    "fan": (
        numbers(
            ".7939877300613497 .6181788827897966 .8663687150837989 .6768597471331961 .869850950290476 .7075731309293712"
        ),
        (0.8434024651452082, 0.6675372536174548),
    ),
    "pump": (
        numbers(
            ".8455172413793103 .7014519056261344 .7973451327433627 .5891942244993014 .8474193548387097 "
            ".6394312393887945"
        ),
        (0.8300939096537941, 0.6433591231714101),
    ),
    "slider": (
        numbers(
            ".8836516853932583 .6850975753991722 .8030337078651685 .5416913069189828 .6597752808988764 "
            ".49645180366646957"
        ),
        (0.7821535580524345, 0.5744135619948748),
    ),
    "valve": (
        numbers(".57725 .5109649122807017 .5424166666666665 .5166666666666667 .551825 .49144736842105263"),
        (0.5571638888888889, 0.506359649122807),
    ),
    "ToyCar": (
        numbers(
            ".7480452830188679 .6356703078450845 .8309132075471697 .6985104270109235 .8150188679245283 .645759682224429"
        ),
        (0.7979924528301886, 0.6599801390268123),
    ),
    "ToyConveyor": (
        numbers(
            ".9368309859154929 .8021497405485545 .8444647887323944 .6209043736100816 .8399295774647887 .670126019273536"
        ),
        (0.8737417840375586, 0.6977267111440573),
    ),
}


def d2020(table):
    machines = [(machine, f"id_{i:02d}") for machine, (ids, _) in table.items() for i in range(len(ids) // 2)]
    pairs = [pair for ids, _ in table.values() for pair in zip(ids[::2], ids[1::2], strict=True)]
    return published(2020, machines, auc=[pair[0] for pair in pairs], pauc=[pair[1] for pair in pairs])


@pytest.mark.parametrize("machine", D2020_EVAL)
def test_published_averages_2020(machine):
    evaluation = d2020(D2020_EVAL)
    assert evaluation.mean("auc", machine=machine) == pytest.approx(D2020_EVAL[machine][1][0], abs=1e-12)
    assert evaluation.mean("pauc", machine=machine) == pytest.approx(D2020_EVAL[machine][1][1], abs=1e-12)


D2020_DEV = {  # AUC and pAUC of each id, then the printed averages
    "ToyCar": (
        numbers(".828474 .678514 .866307 .762236 .639396 .546659 .869477 .701461"),
        (0.800914, 0.672218),
    ),
    "ToyConveyor": (
        numbers(".793497 .650428 .64243 .564437 .744579 .60488"),
        (0.726835, 0.606582),
    ),
    "fan": (
        numbers(".539607 .492435 .721866 .554171 .622098 .527072 .72277 .529961"),
        (0.651585, 0.52591),
    ),
    "pump": (
        numbers(".670769 .57269 .609369 .58037 .8886 .676842 .734902 .570175"),
        (0.72591, 0.600019),
    ),
    "slider": (
        numbers(".963315 .818451 .78809 .628819 .946011 .739503 .702247 .490242"),
        (0.849916, 0.669254),
    ),
    "valve": (
        numbers(".687311 .51349 .674083 .512281 .744 .515351 .552833 .482895"),
        (0.664557, 0.506004),
    ),
}


def test_a_machine_with_fewer_ids_weighs_the_same_in_2020():
    evaluation = d2020(D2020_DEV)
    for machine, (_, (mean_auc, mean_pauc)) in D2020_DEV.items():
        assert evaluation.mean("auc", machine=machine) == pytest.approx(mean_auc, abs=1e-6)
        assert evaluation.mean("pauc", machine=machine) == pytest.approx(mean_pauc, abs=1e-6)
    averages = np.array([pair for _, pair in D2020_DEV.values()])
    assert evaluation.mean("auc") == pytest.approx(averages[:, 0].mean(), abs=1e-6)
    assert evaluation.score == pytest.approx(averages.mean(), abs=1e-6)
    plain = np.mean([value for ids, _ in D2020_DEV.values() for value in ids[::2]])
    assert abs(evaluation.mean("auc") - plain) > 1e-4  # ToyConveyor has three ids, the others four


def test_worst_id_2020():
    lowest = [min(ids[::2]) for ids, _ in D2020_EVAL.values()]
    assert d2020(D2020_EVAL).worst() == pytest.approx(np.mean(lowest), abs=1e-12)


def test_average_rank_2020():
    ids = [("fan", "id_01"), ("pump", "id_01")]
    systems = {
        "a": published(2020, ids, auc=[0.9, 0.6], pauc=[0.8, 0.6]),
        "b": published(2020, ids, auc=[0.8, 0.7], pauc=[0.8, 0.5]),
    }
    assert average_rank(systems) == {"a": (1 + 2 + 1.5 + 1) / 4, "b": (2 + 1 + 1.5 + 2) / 4}
    assert average_rank({}) == {}
    with pytest.raises(
        ValueError, match="b: expected an evaluation of 2020 over fan, pump, got one of 2023 over fan, pump"
    ):
        average_rank({"a": systems["a"], "b": replace(systems["b"], year=2023)})


FAN_2021 = [
    ("03", (0.6669, 0.5273684210526316), (0.5229, 0.49315789473684213)),
    ("04", (0.7014, 0.52), (0.5357, 0.5063157894736842)),
    ("05", (0.5834, 0.5352631578947369), (0.448452380952381, 0.4805764411027569)),
]
PUMP_2021 = [
    ("03", (0.7691000000000001, 0.5810526315789474), (0.5727, 0.5273684210526316)),
    ("04", (0.6904, 0.52), (0.5555, 0.521578947368421)),
    ("05", (0.6524, 0.5326315789473685), (0.6652, 0.5468421052631579)),
]


def test_published_means_2021():
    rows = [("fan", *row) for row in FAN_2021] + [("pump", *row) for row in PUMP_2021]
    evaluation = published(
        2021,
        [(machine, section) for machine, section, _, _ in rows],
        auc_source=[source[0] for *_, source, _ in rows],
        auc_target=[target[0] for *_, target in rows],
        pauc_source=[source[1] for *_, source, _ in rows],
        pauc_target=[target[1] for *_, target in rows],
    )
    aucs, paucs = ("auc_source", "auc_target"), ("pauc_source", "pauc_target")
    for machine, expected in {
        "fan": (0.5764587301587302, 0.5104469507101085, 0.5634700058286667, 0.5097204125946903),
        "pump": (0.6508833333333334, 0.5382456140350877, 0.6430137021761633, 0.5374559270729756),
    }.items():
        got = [
            evaluation.mean(*metrics, machine=machine, kind=kind)
            for kind in ("arithmetic", "harmonic")
            for metrics in (aucs, paucs)
        ]
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
    both = harmonic_mean(np.array([evaluation.mean(*aucs), evaluation.mean(*paucs)]))
    assert evaluation.score == pytest.approx(float(both), abs=1e-12)


def test_the_pauc_counts_once_in_2022():
    auc_mean, pauc_mean = 0.5301047626828244, 0.5280441052754629
    evaluation = published(2022, ["all"], auc_source=[auc_mean], auc_target=[auc_mean], pauc=[pauc_mean])
    assert evaluation.score == pytest.approx(0.5294160921841315, abs=1e-12)


@pytest.mark.parametrize(
    ("both", "source", "target"),
    [
        (0.7579, 0.8204, 0.6954),
        (0.5183, 0.6164, 0.4202),
        (0.6746, 0.8372, 0.512),
        (0.5661, 0.6338, 0.4984),
        (0.7188, 0.772, 0.6656),
        (0.5995, 0.7702, 0.4288),
    ],
)
def test_published_auc_of_all_clips_2022(both, source, target):
    assert both == pytest.approx((source + target) / 2, abs=1e-12)  # as many normal clips in both domains


def real_systems(name):
    """Scores by (system, machine, section) and the published metrics by the same."""
    path = DATA / f"{name}_scores.csv.gz"
    if not path.exists():
        pytest.skip(f"the real score files are not here: {path}")
    scores, expected = defaultdict(dict), {}
    with gzip.open(path, "rt") as file:
        for system, machine, section, clip, score in list(csv.reader(file))[1:]:
            scores[system, machine, section][clip] = float(score)
    with (DATA / f"{name}_expected.csv").open() as file:
        for row in csv.DictReader(file):
            system = row.get("run") or row["system"]
            expected[system, row["machine"], row.get("section", "00")] = [
                float(row[metric]) for metric in ("auc_source", "auc_target", "pauc")
            ]
    assert scores.keys() == expected.keys()
    return scores, expected


def labels_from_names(names, machine, section):
    parts = [name.split("_") for name in names]
    assert all(part[1] == section for part in parts)
    return Labels(
        tuple(names),
        np.full(len(names), machine),
        np.full(len(names), section),
        np.array([part[2] for part in parts]),
        np.array([part[4] == "anomaly" for part in parts]),
    )


@pytest.mark.parametrize(
    ("name", "year", "n", "scale", "tolerance"),
    [("heu_2022_dev", 2022, 903, 1, 1e-9), ("daco_2025_dev", 2025, 91, 100, 0.005 + 1e-9)],
)
def test_real_systems_are_reproduced(name, year, n, scale, tolerance):
    scores, expected = real_systems(name)
    assert len(scores) == n
    for (system, machine, section), of_clip in scores.items():
        table = ScoreTable(system, tuple(of_clip), np.array(list(of_clip.values())))
        row = evaluate(table, labels_from_names(list(of_clip), machine, section), year).rows[0]
        got = [scale * row.values[metric] for metric in ("auc_source", "auc_target", "pauc")]
        np.testing.assert_allclose(got, expected[system, machine, section], rtol=0, atol=tolerance)
        n_source, n_target = row.counts["source normal"], row.counts["target normal"]
        both = (n_source * row.values["auc_source"] + n_target * row.values["auc_target"]) / (n_source + n_target)
        assert row.values["auc"] == pytest.approx(both, abs=1e-12)
