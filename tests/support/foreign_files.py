"""The same vectors of a few recordings in every kind of file that `featstore import` reads, named as in its page."""

import csv
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import datasets
import h5py
import numpy as np
import pyarrow as pa
import torch
from pyarrow.parquet import write_table
from safetensors.numpy import save_file

from featstore.clip import Clip
from featstore.exchange.embeddings import export, import_matrix
from featstore.store import FeatureStore
from featstore.table import ClipTable

WINDOWS = ((0.0, 2.0), (2.0, 4.0))
"""Windows of BirdNET and Hoplite; the vectors of the second are larger by 1."""

CLIPS = [
    Clip(f"{machine}/{split}/{number}.wav", machine, "00", split, "source", label)  # type: ignore[arg-type]
    for machine in ("fan", "pump")
    for split, label in (("train", "normal"), ("test", "anomaly"))
    for number in range(2)
]
X = np.random.default_rng(0).normal(size=(len(CLIPS), 4)).astype(np.float16).astype(np.float32)


def description() -> dict[str, list[str]]:
    """Columns of the clips, with a name of the paths that other programs use."""
    columns = {
        name: [getattr(clip, name) for clip in CLIPS] for name in ("machine", "section", "split", "domain", "label")
    }
    return {"filename": [clip.path for clip in CLIPS], **columns}


def write_all(folder: Path) -> None:
    """Every file of the page in `folder`."""
    columns = description()
    numbered = {f"dim_{i}": column for i, column in enumerate(X.T)}
    write_csv(folder / "clips.csv", {"path": columns["filename"], **columns, "filename": None})
    write_csv(folder / "wide.csv", {**columns, **{name: values.tolist() for name, values in numbered.items()}})
    write_table(pa.table({**columns, "vector": X.tolist()}), folder / "table.parquet")
    write_table(pa.table({**columns, **numbered}), folder / "wide.parquet")
    np.save(folder / "embeddings.npy", X)
    np.savez_compressed(folder / "run.npz", embeddings=X, **{name: np.array(cells) for name, cells in columns.items()})
    np.savez(folder / "vectors.npz", **dict(zip(columns["filename"], X, strict=True)))
    save_file({"embeddings": X}, folder / "run.safetensors")
    torch.save({"embeddings": torch.from_numpy(X), **columns}, folder / "run.pt")
    with h5py.File(folder / "run.h5", "w") as file:
        file.create_dataset("model/embeddings", data=X, compression="gzip")
        file["model/logits"] = X[:, :2]
        for name, cells in columns.items():
            file[f"model/{name}"] = cells
    write_exports(folder)
    write_birds(folder)
    write_asdkit(folder / "asdkit")


def write_csv(path: Path, columns: Mapping[str, list[str] | None]) -> None:
    """A table of the columns that are not None."""
    kept = {name: cells for name, cells in columns.items() if cells is not None}
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([list(kept), *zip(*kept.values(), strict=True)])


def write_exports(folder: Path) -> None:
    """An export of this program as .csv, and a folder of Hugging Face that its library wrote."""
    datasets.Dataset.from_dict({**description(), "vector": X.tolist()}).save_to_disk(folder / "rows-hf")
    import_matrix(folder / "origin", "mine", X, ClipTable.from_clips(CLIPS))
    export(FeatureStore.open(folder / "origin"), "mine", folder / "export.csv", to="csv")


def write_birds(folder: Path) -> None:
    """Windows as BirdNET-Analyzer and Hoplite write them."""
    (folder / "hoplite").mkdir()
    rows = ["file_path,start,end,embedding"]
    with closing(sqlite3.connect(folder / "hoplite" / "hoplite.sqlite")) as database:
        database.executescript(
            "CREATE TABLE hoplite_sources (id INTEGER PRIMARY KEY, dataset STRING, source STRING);"
            "CREATE TABLE hoplite_embeddings "
            "(id INTEGER PRIMARY KEY, embedding BLOB, source_idx INTEGER, offsets BLOB);"
            "CREATE TABLE hoplite_metadata (key STRING PRIMARY KEY, data STRING);"
        )
        model = json.dumps({"embedding_dim": X.shape[1], "model_config": {"window_size_s": 2.0}})
        database.execute("INSERT INTO hoplite_metadata VALUES ('model_config', ?)", [model])
        for number, (clip, vector) in enumerate(zip(CLIPS, X, strict=True)):
            database.execute("INSERT INTO hoplite_sources VALUES (?, 'plant', ?)", [number, clip.path])
            lines = []
            for shift, (start, end) in enumerate(WINDOWS):
                numbers = ",".join(map(str, (vector + shift).tolist()))
                lines.append(f"{start}\t{end}\t{numbers}\n")
                rows.append(f'/srv/plant/{clip.path},{start},{end},"{numbers}"')
                blobs = [np.asarray(values, dtype="<f2").tobytes() for values in (vector + shift, [start])]
                insert = "INSERT INTO hoplite_embeddings (embedding, source_idx, offsets) VALUES (?, ?, ?)"
                database.execute(insert, [blobs[0], number, blobs[1]])
            text = (folder / "birdnet" / clip.path).with_suffix(".birdnet.embeddings.txt")
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text("".join(lines))
            (folder / "plant" / clip.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "plant" / clip.path).touch()
        database.commit()
    (folder / "birdnet.csv").write_text("\n".join(rows))


def write_asdkit(folder: Path) -> None:
    """One extract of all machines."""
    folder.mkdir()
    arrays = {
        "path": np.array([f"/data/dcase/{clip.path}" for clip in CLIPS]),
        "section": np.zeros(len(CLIPS), dtype=int),
        "is_normal": np.array([int(clip.label == "normal") for clip in CLIPS]),
        "is_target": np.zeros(len(CLIPS), dtype=int),
    }
    np.savez(folder / "all_extract.npz", embed=X, **arrays)
