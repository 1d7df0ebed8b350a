"""Sections with too few clips for the components of a nearest-neighbour detector are named, and no others."""

import numpy as np

from ensemble.fitting.few_clips import few_clips_notes
from ensemble.recipe import Member, Recipe
from ensemble.run import detect
from featstore.clip import Clip
from featstore.exchange.embeddings import import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable


def clips(*counts: int) -> ClipTable:
    return ClipTable.from_clips(
        [
            Clip(f"{section}/{i}.wav", "fan", f"{section:02d}", "train")
            for section, count in enumerate(counts)
            for i in range(count)
        ]
    )


def notes(*detectors: str, counts: tuple[int, ...] = (15, 16), **options: bool) -> tuple[str, ...]:
    return few_clips_notes(Recipe(tuple(Member("e", text) for text in detectors), **options), clips(*counts))


def test_a_section_with_fewer_than_two_clips_per_component_is_named() -> None:
    (note,) = notes("mahalanobis", "ldn:pca=8,standardize=true", "knn:pca=4")
    assert note == (
        "pca=8 of a nearest-neighbour detector needs 16 training clips for the stated false-alarm rate; fan section 00 "
        "has fewer, and the real rate may be higher there"
    )
    assert "fan section 00, fan section 01 have fewer" in notes("lof:pca=9")[0]


def test_other_detectors_enough_clips_and_pooled_sections_have_no_note() -> None:
    assert notes("mahalanobis:pca=20", "knn", "gmm:pca=20") == ()
    assert notes("knn:pca=7") == ()
    assert notes("knn:pca=15", pool_sections=True) == ()


def test_a_detection_says_so(tmp_path, rng: np.random.Generator) -> None:
    table = ClipTable.from_clips([*clips(15), Clip("new.wav", "fan", "00", "test")])
    import_matrix(tmp_path / "s", "e", rng.normal(size=(16, 12)).astype(np.float32), table)
    found = detect(FeatureStore.open(tmp_path / "s"), Recipe((Member("e", "knn:pca=8"),)))
    assert any("needs 16 training clips" in note for note in found.notes)
