# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Scores in pandas, with plots
#
# From recordings to a DataFrame of scores, decisions and reasons, and what to look at first. The recordings are
# simulated: a fan and a pump, in two domains (source and target), with speed or load as an attribute.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from embedders import create
from ensemble.defaults import default_recipe
from ensemble.output import score_table, write_detection
from ensemble.run import detect
from ensemble.tables.results import read_table
from featstore import registry
from featstore.build import BuildOptions, Request, build
from featstore.layouts.recognise import find_clips
from featstore.plant.plan import Plant
from featstore.plant.simulate import simulate
from featstore.store import FeatureStore

CLIPS = int(os.environ.get("CLIPS", "240"))  # the test of this page runs it with fewer
FOLDER = Path("scores_example")
FOLDER.mkdir(exist_ok=True)

simulate(FOLDER / "plant", Plant(clips=CLIPS, machines=("fan", "pump"), seconds=4), workers=0)
listing = find_clips(FOLDER / "plant")
logmel = Request("logmel", registry.factory(create, "logmel"))
build(listing.root, listing.clips, FOLDER / "store", [logmel], BuildOptions(workers=0))
store = FeatureStore.open(FOLDER / "store")

# %% [markdown]
# ## Clips
#
# A store lists its clips. As a DataFrame, section "00" stays text, the seconds of windows are numbers (missing for
# whole recordings), and every attribute is a column `attr_...`.

# %%
clips = store.clips("logmel")
print(clips)
frame = clips.to_pandas()
print(frame.groupby(["machine", "split", "domain"]).size().unstack(fill_value=0))
print([name for name in frame if name.startswith("attr_")])

# %% [markdown]
# ## Scores
#
# `detect` scores the test clips with the default ensemble. `ScoreTable` has one score per clip; with the clips it joins
# machine, section, domain and attributes. Labels of test clips are not among the columns unless you ask for them
# (`labels=True`), so that nothing learns from them by accident.

# %%
detection = detect(store, default_recipe(store), workers=0)
scores = score_table(detection)
print(scores)
table = scores.to_pandas(clips)
print("label" in table, table.shape)
print(table.groupby(["machine", "domain"])["score"].describe()[["count", "mean", "max"]].round(3))

# %% [markdown]
# `detect STORE -o results` writes the same scores with the evidence: p-value, threshold, decision, the nearest normal
# recording, and the percentile of every member. `read_table` reads the file with the right types. A plain
# `pandas.read_csv` would turn section "00" into the number 0.

# %%
write_detection(detection, FOLDER / "results")
results = read_table(FOLDER / "results" / "scores.csv")
print(results.dtypes.head(10))
columns = ["machine", "section", "domain", "percentile", "p_value", "decision"]
print(results[columns].head(10).to_string(index=False))
print(f"{results['decision'].sum()} of {len(results)} clips are reported")

# %% [markdown]
# ## Plots
#
# Left: percentiles of the test clips among the normal clips of their machine. If all were normal, the bars would be
# level; faults are at the right. Right: two members of the ensemble. Members that compare different properties of
# the sound agree little on normal clips; a clip that is high for both is the one to hear first.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
machines = sorted(results["machine"].unique())
left.hist([results.loc[results["machine"] == name, "percentile"] for name in machines], bins=10, label=machines)
left.set_xlabel("percentile among normal clips")
left.set_ylabel("test clips")
left.legend()

members = list(results.columns[results.columns.get_loc("where") + 1 :])
first, last = members[0], members[-1]
for name in machines:
    rows = results[results["machine"] == name]
    right.scatter(rows[first], rows[last], s=12, label=name)
right.set_xlabel(first)
right.set_ylabel(last)
right.legend()
figure.savefig(FOLDER / "scores.png", dpi=120)
print(
    f"{len(members)} members, rank correlation of the two: {results[first].corr(results[last], method='spearman'):.2f}"
)

# %% [markdown]
# ## With labels
#
# To see how good the scores are, ask for the labels. This cell is for reading, not for choosing: a detector that is
# chosen by the labels of test clips looks better than it is.

# %%
labelled = scores.to_pandas(clips, labels=True)
anomaly = labelled["label"] == "anomaly"
for name, rows in labelled.groupby("machine"):
    normal, faulty = rows.loc[~anomaly[rows.index], "score"], rows.loc[anomaly[rows.index], "score"]
    higher = faulty.to_numpy()[:, None] > normal.to_numpy()[None, :]
    print(f"{name}: {len(normal)} normal and {len(faulty)} faulty clips, AUC {higher.mean():.3f}")

figure, axis = plt.subplots(figsize=(5, 4), constrained_layout=True)
for label, rows in labelled.groupby("label"):
    values = np.sort(rows["score"])
    axis.step(values, np.linspace(0, 1, len(values)), label=label)
axis.set_xlabel("score")
axis.set_ylabel("share of clips with at most this score")
axis.legend()
figure.savefig(FOLDER / "labels.png", dpi=120)

# %% [markdown]
# ## To other programs
#
# `to_arrow` gives the same table to Arrow, Polars, DuckDB and others; `detect --format parquet` writes `scores.parquet`
# beside `scores.csv`, where "00" is text.

# %%
arrow = scores.to_arrow(clips)
print(arrow.schema.field("section"), arrow.num_rows)
