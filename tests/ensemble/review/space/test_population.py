"""Which rows a map shows, and their strata."""

import numpy as np

from ensemble.page.items import Items
from ensemble.review.session import Session
from ensemble.review.space.population import GENERATED, SCORED, TRAINING, item_rows, population
from featstore.clip import Clip
from featstore.table import ClipTable


def test_scored_training_and_generated_rows(page: Session) -> None:
    stored = page.store.clips("e")
    first = stored[int(np.flatnonzero(stored.where(split="train"))[0])]
    strange = [
        Clip(first.path, "fan", "00", "train", variant="hum:1:0"),
        Clip("elsewhere/a.wav", "pump", "00", "test"),
        Clip("elsewhere/a.wav", "pump", "00", "test", variant="hum:1:0"),
    ]
    clips = ClipTable.concatenate([ClipTable.from_clips(strange), stored])
    people = population(clips, page.scored)
    keys, scored = clips.keys(), page.scored.keys
    assert len(people) == len(stored) + 1, "clips of other machines, and what is generated from them, are left out"
    assert people.clips.keys() == [keys[i] for i in people.number]
    assert [people.clips.keys()[i] for i in np.flatnonzero(people.role == GENERATED)] == [strange[0].key]
    assert (people.role == SCORED).sum() == 24
    assert set(people.clips[people.role == TRAINING].keys()) == set(page.scored.train.keys())
    for row, key in zip(people.scored, people.clips.keys(), strict=True):
        assert (row < 0 and key not in scored) or scored[row] == key
    only = people.only(people.role == SCORED)
    assert (only.scored >= 0).all()


def test_strata_are_machine_section_domain_and_role(page: Session) -> None:
    people = population(page.store.clips("e"), page.scored)
    kinds = [
        (clip.machine, clip.section, clip.domain, int(role))
        for clip, role in zip(people.clips, people.role, strict=True)
    ]
    for stratum in np.unique(people.strata):
        assert len({kinds[i] for i in np.flatnonzero(people.strata == stratum)}) == 1
    assert len(np.unique(people.strata)) == len(set(kinds)) == 8


def test_windows_of_an_event_have_the_row_of_its_item(page: Session, monkeypatch) -> None:
    monkeypatch.setattr(type(page), "items", Items(page.scored, np.array([5]), {5: (3, 5, 4)}))
    assert item_rows(page)[2:7] == [2, 5, 5, 5, 6]
