"""A verdict as JSON and in words."""

import json

from ensemble.deviation.region import Region
from ensemble.scoring.verdict import Verdict

REGION = Region(3.2, 4.1, 2000, 4000, 9, 5)


def verdict(**changes: object) -> Verdict:
    values = {
        "machine": "fan",
        "section": "00",
        "start_s": 0.0,
        "end_s": 10.0,
        "score": 0.9,
        "percentile": 0.95,
        "p_value": 0.05,
        "threshold": 0.8,
        "anomaly": True,
        "target_probability": None,
        "nearest": "fan/train/0.wav",
        "nearest_distance": 0.1,
        "members": {"logmel@mean knn": 0.9},
        "where": (REGION, REGION),
    }
    return Verdict(**{**values, **changes})  # type: ignore[arg-type]


def test_the_sentence_names_every_region() -> None:
    assert verdict().sentence == f"{REGION}; {REGION}"
    assert verdict(where=()).sentence == ""


def test_json_holds_every_value() -> None:
    raw = json.loads(json.dumps(verdict().as_json()))
    assert raw["where"] == [REGION.as_json()] * 2
    assert raw["sentence"] == verdict().sentence
    assert raw["members"] == {"logmel@mean knn": 0.9}
    assert raw["target_probability"] is None
    assert raw["anomaly"] is True
