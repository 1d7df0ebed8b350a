"""Policies for channel and length."""

import pytest

from featstore.audio.policy import AudioPolicy, length_option
from featstore.errors import DataError


@pytest.mark.parametrize("length", ["crop", "crop:0", "crop:-1", "pad:x", "loop:3", "native:3", "crop:nan"])
def test_invalid_length_policies_are_rejected(length: str) -> None:
    with pytest.raises(DataError, match="expected native, crop:S"):
        AudioPolicy(length=length)


def test_invalid_channels_are_rejected() -> None:
    with pytest.raises(DataError, match="expected 0, 1"):
        AudioPolicy(channel="left")


@pytest.mark.parametrize(
    "length",
    [
        "window",
        "window:10",
        "window:10,",
        "window:10,11",
        "window:10,0",
        "window:10.0,5",
        "window:1,0.001",
        "window:.,1",
    ],
)
def test_invalid_windows_are_rejected(length: str) -> None:
    with pytest.raises(DataError, match="or window:W,H"):
        AudioPolicy(length=length)


def test_windows_have_one_text_and_options() -> None:
    policy = AudioPolicy(length="window:10,2.5")
    assert policy.windows == (10, 2.5)
    assert policy.windows.length == policy.length
    assert policy.fixed_seconds() == ("window", None)
    assert AudioPolicy(length="crop:3").windows is None
    assert length_option("window:10,2.5") == "--window 10 --hop 2.5"
    assert length_option("crop:3") == "--length crop:3"


def test_seconds_that_are_read() -> None:
    assert AudioPolicy().used_seconds(9) == 9
    assert AudioPolicy(length="crop:4").used_seconds(9) == 4
    assert AudioPolicy(length="pad:4").used_seconds(3) == 3
    assert AudioPolicy(length="window:4,2").used_seconds(9) == 9
