"""Which bands make up the distance of a clip by the members of a model."""

from dataclasses import replace

from scored_plant import Plant

from ensemble.deviation.bands import bands_of
from ensemble.scoring.model import Model


def test_the_bands_that_were_raised_are_named(plant: Plant, model: Model) -> None:
    assert model.locator is not None
    bank = next(iter(model.fitted.detectors))
    first = next(i for i, own in enumerate(model.fitted.banks_of(model.fitted.train)) if own == bank)
    rows = {name: of_name[first : first + 1].copy() for name, of_name in model.fitted.rows.items()}
    rows["logmel"][:, :, 60:64] += 40
    low, high = (f"{hz / 1000:.2g} kHz" for hz in model.locator.edges_hz[[60, 64]])
    text = bands_of(model.fitted, model.locator, bank, rows)
    assert "of the distance in" in text
    named = [float(word) for word in text.removesuffix(" kHz").split() if word.replace(".", "").isdigit()][1:]
    assert float(low.split()[0]) - 0.2 <= named[0] <= named[-1] <= float(high.split()[0]) + 0.2


def test_members_that_see_no_mel_bands_do_not_count(plant: Plant, model: Model) -> None:
    assert model.locator is not None
    bank = next(iter(model.fitted.detectors))
    rows = {name: of_name[:1] for name, of_name in model.fitted.rows.items()}
    members = tuple(replace(member, weight=0.0) for member in model.fitted.recipe.members)
    silent = replace(model.fitted, recipe=replace(model.fitted.recipe, members=members))
    assert bands_of(silent, model.locator, bank, rows) == ""
    infos = {name: replace(info, config={**info.config, "n_mels": 7}) for name, info in model.fitted.embeddings.items()}
    assert bands_of(replace(model.fitted, embeddings=infos), model.locator, bank, rows) == ""
