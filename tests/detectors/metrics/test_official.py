"""Official metrics from scores: the clips that each year compares, and errors."""

from dataclasses import replace

import numpy as np
import pytest

from detectors.metrics.auc import auc
from detectors.metrics.labels import Labels
from detectors.metrics.official import RULES, evaluate, rule_of
from detectors.metrics.scores import ScoreTable
from featstore.clip import Clip
from featstore.table import ClipTable


def labels_of(names, machine="fan", section="00"):
    """Labels read from names such as "source anomaly 3"."""
    parts = [name.split() for name in names]
    return Labels(
        tuple(names),
        np.full(len(names), machine),
        np.full(len(names), section),
        np.array([part[0] for part in parts]),
        np.array([part[1] == "anomaly" for part in parts], dtype=bool),
    )


NAMES = [f"{domain} {label} {i}" for domain in ("source", "target") for label in ("normal", "anomaly") for i in (0, 1)]
HAND = dict(zip(NAMES, [1.0, 2, 3, 0, 5, 6, 4, 7], strict=True))


def tabled(scores=HAND, name="hand"):
    return ScoreTable(name, tuple(scores), np.array(list(scores.values())))


def test_the_clips_that_each_year_compares():
    labels = labels_of(NAMES)
    values = {year: evaluate(tabled(), labels, year).rows[0].values for year in (2020, 2021, 2022)}
    assert values[2022]["auc_source"] == 6 / 8  # normals 1 2 against 3 0 4 7
    assert values[2022]["auc_target"] == 2 / 8  # normals 5 6 against 3 0 4 7
    assert values[2022]["auc"] == values[2020]["auc"] == 8 / 16
    assert values[2021]["auc_source"] == 2 / 4  # normals 1 2 against 3 0
    assert values[2021]["auc_target"] == 2 / 4  # normals 5 6 against 4 7
    assert set(values[2020]) == {"auc", "pauc"}
    assert set(values[2021]) == {"auc_source", "auc_target", "pauc_source", "pauc_target"}


def test_every_year_has_a_rule_that_scores_its_own_metrics():
    assert sorted(RULES) == list(range(2020, 2027))
    for year, rule in RULES.items():
        assert set(rule.scored) <= set(rule.metrics)
        assert 0 < evaluate(tabled(), labels_of(NAMES), year).score < 1
    with pytest.raises(ValueError, match="no official rule for 2019; choose from 2020"):
        rule_of(2019)


def test_counts_and_row_order():
    rng = np.random.default_rng(3)
    labels = labels_of(NAMES)
    order = rng.permutation(len(NAMES))
    shuffled = labels_of([NAMES[i] for i in order])
    first, second = evaluate(tabled(), labels, 2023), evaluate(tabled(), shuffled, 2023)
    assert first == second
    assert first.rows[0].counts == {
        "source normal": 2,
        "source anomaly": 2,
        "target normal": 2,
        "target anomaly": 2,
    }


def test_auc_of_all_clips_is_the_weighted_mean_of_both_domains():
    rng = np.random.default_rng(4)
    for n_source, n_target in ((7, 3), (49, 52), (1, 20)):
        names = [f"source normal {i}" for i in range(n_source)] + [f"target normal {i}" for i in range(n_target)]
        names += [f"source anomaly {i}" for i in range(5)] + [f"target anomaly {i}" for i in range(4)]
        scores = ScoreTable("random", tuple(names), rng.integers(0, 9, len(names)).astype(float))
        values = evaluate(scores, labels_of(names), 2022).rows[0].values
        mean = (n_source * values["auc_source"] + n_target * values["auc_target"]) / (n_source + n_target)
        assert values["auc"] == pytest.approx(mean, abs=1e-12)


def test_clips_and_scores_must_match_by_name():
    labels = labels_of(NAMES)
    fewer = {name: score for name, score in HAND.items() if name != "target anomaly 1"}
    with pytest.raises(ValueError, match="no score for 'target anomaly 1'"):
        evaluate(tabled(fewer), labels, 2022)
    with pytest.raises(ValueError, match="no expected clip, first 'stranger'"):
        evaluate(tabled({**HAND, "stranger": 1.0}), labels, 2022)
    with pytest.raises(ValueError, match="no score for 'source normal 0'"):
        evaluate(tabled({f"wrong {name}": score for name, score in HAND.items()}), labels, 2022)


@pytest.mark.parametrize(
    ("year", "without", "message"),
    [
        (2022, "target normal", "fan section 00: no normal clips of the target domain among 6"),
        (2021, "source anomaly", "fan section 00: no anomaly clips of the source domain among 6"),
        (2020, "anomaly", "fan section 00: no anomaly clips among 4 test clips"),
    ],
)
def test_a_missing_class_is_named_with_its_section(year, without, message):
    names = [name for name in NAMES if without not in name]
    with pytest.raises(ValueError, match=message):
        evaluate(tabled({name: HAND[name] for name in names}), labels_of(names), year)


def test_anomalies_of_one_domain_are_enough_from_2022_on():
    names = [name for name in NAMES if "target anomaly" not in name]
    values = evaluate(tabled({name: HAND[name] for name in names}), labels_of(names), 2022).rows[0].values
    assert values["auc_source"] == 2 / 4


def test_a_zero_is_raised_to_the_machine_epsilon_and_reported():
    inverted = {name: -1.0 if "anomaly" in name else 1.0 for name in NAMES}
    evaluation = evaluate(tabled(inverted), labels_of(NAMES), 2022)
    assert 0 < evaluation.score < 1e-14
    assert evaluation.warnings == tuple(
        f"fan section 00: {name} is 0, and the harmonic mean counts it as 2.2e-16 (as the official evaluators do)"
        for name in ("auc_source", "auc_target")
    )
    assert evaluate(tabled(), labels_of(NAMES), 2022).warnings == ()
    assert evaluate(tabled(inverted), labels_of(NAMES), 2020).warnings == ()  # an arithmetic mean takes a zero


def test_pooled_sections_2020():
    first, second = labels_of(NAMES, section="id_01"), labels_of([f"{name}b" for name in NAMES], section="id_03")
    joined = Labels(
        first.keys + second.keys,
        *(
            np.concatenate([getattr(first, c), getattr(second, c)])
            for c in ("machine", "section", "domain", "is_anomaly")
        ),
    )
    scores = tabled({**HAND, **{f"{name}b": score + 100 for name, score in HAND.items()}})
    assert evaluate(scores, joined, 2020).mean("auc") == 0.5
    pooled = evaluate(scores, joined.pooled(), 2020)
    values = np.concatenate([scores.scores])
    assert pooled.mean("auc") == auc(values[~joined.is_anomaly], values[joined.is_anomaly])
    assert len(pooled.rows) == 1


def test_labels_of_clips():
    clips = [Clip("fan/test/a.wav", "fan", "00", "test", "source", "normal")]
    clips += [Clip("fan/test/b.wav", "fan", "00", "test", "target", "anomaly")]
    labels = Labels.of(ClipTable.from_clips(clips))
    assert labels.keys == ("fan/test/a.wav", "fan/test/b.wav")
    np.testing.assert_array_equal(labels.is_anomaly, [False, True])
    unknown = ClipTable.from_clips([*clips, Clip("fan/test/c.wav", "fan", "00", "test")])
    with pytest.raises(ValueError, match=r"1 of 3 clips have no label, first 'fan/test/c\.wav'"):
        Labels.of(unknown)


def test_labels_check_their_columns():
    labels = labels_of(NAMES)
    with pytest.raises(ValueError, match="8 clips need as many values of domain"):
        replace(labels, domain=labels.domain[:3])
    with pytest.raises(ValueError, match="is_anomaly must be boolean"):
        replace(labels, is_anomaly=labels.is_anomaly.astype(int))


def test_unknown_metrics_machines_and_means_are_named():
    evaluation = evaluate(tabled(), labels_of(NAMES), 2020)
    with pytest.raises(ValueError, match="unknown metrics of 2020: got auc_source; choose from auc, pauc"):
        evaluation.mean("auc_source")
    with pytest.raises(ValueError, match="no metrics of machine 'pump'; choose from fan"):
        evaluation.mean("auc", machine="pump")
    with pytest.raises(ValueError, match="unknown mean 'median'; choose from arithmetic, harmonic"):
        evaluation.mean("auc", kind="median")
    with pytest.raises(ValueError, match="hand: no labelled test clips"):
        evaluate(ScoreTable("hand", (), np.empty(0)), labels_of([]), 2020)
