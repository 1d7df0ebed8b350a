"""Addresses hold any name, and only the values that there are."""

from urllib.parse import parse_qsl

from ensemble.page.addresses import address, encoded

NAME = "a\udcff/b&c#t=0,1 +é.wav"


def test_a_name_comes_back() -> None:
    assert encoded("a\udcff/&") == "a%FF%2F%26"
    path, _, query = address("/sound/audio.wav", clip=NAME, like=None, kind="").partition("?")
    assert path == "/sound/audio.wav"
    assert parse_qsl(query, errors="surrogateescape") == [("clip", NAME)]
