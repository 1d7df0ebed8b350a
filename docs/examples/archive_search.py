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
# # Searching an archive from Python
#
# Which stored recordings sound most like this one? Which of an archive sound least like anything normal? Both are
# searches for nearest neighbours. The engine of this package is **exact**: it returns the rows that distances in
# float64 give, ties ordered by row, on every route (numpy, compiled loops with 8-bit codes, or a GPU).
#
# Three levels, from arrays to whole stores:
#
# 1. `nearest(queries, bank, k)` on numpy arrays,
# 2. `neighbours(store, recording, ...)`: the most similar recordings of a store,
# 3. `search_archive(...)`: every clip of an archive against the normal clips, in bounded memory (`detect archive`).

# %%
import os
from pathlib import Path
from time import perf_counter

import numpy as np

from detectors.search.neighbours import Bank, nearest
from embedders import create
from ensemble.archive.request import ArchiveRequest, search_archive
from ensemble.scoring.neighbours import Search, neighbours
from ensemble.tables.results import read_table
from featstore import registry
from featstore.build import BuildOptions, Request, build
from featstore.exchange.embeddings import import_matrix
from featstore.layouts.recognise import find_clips
from featstore.plant.plan import Plant
from featstore.plant.simulate import simulate
from featstore.store import FeatureStore
from featstore.table import ClipTable

CLIPS = int(os.environ.get("CLIPS", "240"))  # the test of this page runs it with fewer clips and rows
ROWS = int(os.environ.get("ROWS", "200000"))
QUERIES = int(os.environ.get("QUERIES", "500"))
FOLDER = Path("archive_example")
FOLDER.mkdir(exist_ok=True)

simulate(FOLDER / "plant", Plant(clips=CLIPS, machines=("fan", "valve"), seconds=4), workers=0)
listing = find_clips(FOLDER / "plant")
logmel = Request("logmel", registry.factory(create, "logmel"))
build(listing.root, listing.clips, FOLDER / "store", [logmel], BuildOptions(workers=0))
store = FeatureStore.open(FOLDER / "store")
mean = store.matrix("logmel")[:, store.info("logmel").views.index("mean")]
print(f"{mean.shape[0]} recordings, {mean.shape[1]} dimensions")

# %% [markdown]
# ## 1. Arrays
#
# An archive of this size would take hours to simulate, so its rows are those of the recordings with noise added: each
# row is a "recording" that resembles one of the plant.

# %%
rng = np.random.default_rng(0)
source = rng.integers(len(mean), size=ROWS)
archive = (mean[source] + 0.5 * rng.standard_normal((ROWS, mean.shape[1]))).astype(np.float32)
queries = mean[rng.integers(len(mean), size=QUERIES)]

# %% [markdown]
# `nearest` returns distances (rising) and row numbers, both (queries, k). The distance is the cosine distance, or
# half the squared Euclidean distance with `metric="euclidean"`. A `Bank` prepares the rows once, for any number of
# searches. The first large search of a process also loads the compiled loops, so time the second.

# %%
bank = Bank.of(archive)
distance, row = nearest(queries, bank, k=5)
started = perf_counter()
distance, row = nearest(queries, bank, k=5)
print(f"{QUERIES} queries in {ROWS:,} rows: {perf_counter() - started:.2f} s")
print(distance[0].round(4), row[0])

# %% [markdown]
# Exact means: the same rows as a plain search in float64. Here for twenty queries:

# %%
unit = archive / np.linalg.norm(archive.astype(np.float64), axis=1, keepdims=True)
plain = queries[:20] / np.linalg.norm(queries[:20].astype(np.float64), axis=1, keepdims=True)
expected = np.argsort(1 - plain @ unit.T, axis=1, kind="stable")[:, :5]
print("equal to the plain search:", np.array_equal(row[:20], expected))

# %% [markdown]
# A search within one set must not find each row itself: `exclude` names one row per query that is skipped.

# %%
own = np.arange(20)
distance, row = nearest(archive[:20], bank, k=1, exclude=own)
print("no row is its own neighbour:", not (row[:, 0] == own).any())

# %% [markdown]
# ## 2. The most similar recordings
#
# `neighbours` takes a clip of the store, or a file, which is embedded first. A clip is not compared with itself,
# nor with copies of it. Windows of long recordings are compared one by one, and the best pair counts.

# %%
clip = next(clip for clip in store.clips("logmel") if clip.split == "test" and clip.machine == "fan")
print(clip.path)
for similar in neighbours(store, clip.path, Search(embedding="logmel@mean", k=3, split="train")):
    print(f"  {similar.distance:.4f}  {similar.clip.path}")

# %% [markdown]
# ## 3. An archive against the normal clips
#
# Stores hold archives of any size. Here the rows above become one, with a path for each; a real archive comes from
# `featstore build` or `featstore import`. Three clips are replaced by something else, to have something to find.

# %%
strange = rng.choice(ROWS, size=3, replace=False)
archive[strange] = mean.mean(axis=0)[::-1]
columns = store.clips("logmel")[source].columns
paths = np.array([f"archive/{i:07d}.wav" for i in range(ROWS)], dtype="S32")
split = np.full(ROWS, b"test")
if not (FOLDER / "archive").exists():
    import_matrix(FOLDER / "archive", "sound", archive, ClipTable({**columns, "path": paths, "split": split}))
    import_matrix(FOLDER / "reference", "sound", mean, store.clips("logmel"))
print(FeatureStore.open(FOLDER / "archive").clips("sound"))

# %% [markdown]
# Every clip is compared with the normal training clips of its machine and section. Results are Parquet files, written
# while the search runs; the same request again resumes after an interruption. `top.csv` lists the most anomalous clips.

# %%
request = ArchiveRequest(
    reference=FOLDER / "reference", archive=FOLDER / "archive", out=FOLDER / "result", embedding="sound"
)
outcome = search_archive(request)
print(f"{outcome.summary['clips']:,} clips in {outcome.summary['seconds']:.1f} s, {outcome.files} files of results")
top = read_table(FOLDER / "result" / "top.csv")
print(top[["clip", "machine", "section", "score", "percentile"]].head(5).to_string(index=False))
print("the three strange clips lead:", set(top["clip"][:3]) == {f"archive/{i:07d}.wav" for i in strange})
