import io
from dataclasses import replace

import h5py
import numpy as np
import pytest
from sample_store import INFO, clip, rejection, rows, shard

from featstore.audio.measure import Measures
from featstore.disk.shard import FACTS, MAX_SHARD_BYTES, OPTIONAL, NewerShard, Rejection, build_image, open_image
from featstore.errors import StoreError
from featstore.table import encode


def test_a_shard_returns_the_data_it_was_built_from():
    data = shard([3, 1, 2], rejected=[7, 8])
    with open_image(build_image(data), "image") as opened:
        assert (opened.n_rows, opened.n_rejected) == (3, 2)
        assert opened.info == INFO
        assert list(opened.clips()) == [clip(3), clip(1), clip(2)]
        assert opened.rejected() == [rejection(7), rejection(8)]
        np.testing.assert_array_equal(opened.matrix(), rows([3, 1, 2]))
        assert opened.facts()["mtime_ns"].tolist() == [3, 1, 2]


def test_all_facts_are_stored():
    facts = {
        "size_bytes": np.array([2**40, 1]),
        "mtime_ns": np.array([-1, 2**62]),
        "content_hash": np.array(["a" * 64, ""]),
        "sample_rate_hz": np.array([192000, 8000]),
        "n_samples": np.array([2**35, 0]),
        "channels": np.array([16, 1]),
        "outcome": encode(["padded", ""]),
        **{name: np.array([0.5, np.nan], np.float32) for name in OPTIONAL},
    }
    assert set(facts) == set(FACTS)
    with open_image(build_image(replace(shard([1, 2]), facts=facts)), "image") as opened:
        stored = opened.facts()
    facts["content_hash"] = np.array([b"a" * 64, b""])
    assert list(stored) == list(FACTS)
    for name, values in stored.items():
        np.testing.assert_array_equal(values, facts[name], err_msg=name)


def test_measured_facts_have_the_names_of_the_measures():
    assert [name for name in FACTS if name in OPTIONAL] == list(Measures._fields)


@pytest.mark.parametrize("facts", [{}, {"peak": np.full(2, np.nan)}], ids=["none", "unknown"])
def test_a_shard_without_measured_facts_has_no_columns_for_them(facts):
    data = shard([1, 2])
    image = build_image(replace(data, facts={**data.facts, **facts}))
    with h5py.File(io.BytesIO(image)) as file:
        assert not OPTIONAL & set(file["clip"])
    with open_image(image, "image") as opened:
        assert all(np.isnan(opened.facts()[name]).all() for name in OPTIONAL)


def test_a_shard_may_hold_some_of_the_measured_facts():
    data = shard([1, 2])
    image = build_image(replace(data, facts={**data.facts, "peak": np.array([0.5, 1])}))
    with open_image(image, "image") as opened:
        assert opened.facts()["peak"].tolist() == [0.5, 1]
        assert np.isnan(opened.facts()["level_dbfs"]).all()


def test_a_shard_may_contain_rejections_only():
    with open_image(build_image(shard([], rejected=[1])), "image") as opened:
        assert opened.matrix().shape == (0, 4)
        assert len(opened.clips()) == 0
        assert opened.rejected() == [rejection(1)]


def test_plain_hdf5_tools_can_read_a_shard(tmp_path):
    path = tmp_path / "plain.h5"
    path.write_bytes(build_image(shard([1, 2])))
    with h5py.File(path) as file:
        assert file.attrs["format"] == b"featstore-shard"
        assert file.attrs["version"] == 1
        np.testing.assert_array_equal(file["embedding"], rows([1, 2]))
        assert file["clip/machine"][()].tolist() == [b"fan", b"fan"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"facts": {"mtime": np.zeros(1)}}, "unknown fact 'mtime'"),
        ({"facts": {"mtime_ns": np.zeros(2)}}, r"'mtime_ns' has shape \(2,\), expected \(1,\)"),
        ({"matrix": np.zeros((1, 5))}, r"shape \(1, 5\), expected \(1, 4\)"),
        ({"matrix": np.full((1, 4), np.inf)}, "fan/train/section_00_0001.wav' is not finite"),
        ({"info": replace(INFO, config={"text": "x" * 70000})}, "config of 'twfr' has 7"),
        ({"info": replace(INFO, config={"device": object()})}, "config of 'twfr' cannot be written as JSON"),
        ({"info": replace(INFO, config={"r": float("nan")})}, "config of 'twfr' cannot be written as JSON"),
        ({"rejected": [Rejection("p", "r" * 70000, 0, 0)]}, "'reason' has a text of 70000 bytes"),
    ],
)
def test_invalid_data_is_rejected(change, message):
    with pytest.raises(StoreError, match=message):
        build_image(replace(shard([1]), **change))


def test_the_size_of_a_shard_is_limited():
    shape = (MAX_SHARD_BYTES // 4,)
    data = replace(shard([1]), info=replace(INFO, shape=shape), matrix=np.broadcast_to(np.float32(0), (1, *shape)))
    with pytest.raises(StoreError, match="too large"):
        build_image(data)


def test_a_newer_version_is_named_in_the_error():
    buffer = io.BytesIO(build_image(shard([1])))
    with h5py.File(buffer, "r+") as file:
        file.attrs.modify("version", 3)
    with pytest.raises(NewerShard, match=r"written by a newer program: .* version 3, .* up to version 2"):
        open_image(buffer.getvalue(), "x").__enter__()
