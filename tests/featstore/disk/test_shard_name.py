"""A name says which manifest it was written for, and no two files have the same."""

import pytest
from sample_store import INFO

from featstore.disk.manifest import MAX_NUMBER, SHARD_NAME
from featstore.disk.shard_name import is_unique, new_name, number_of, place_of

PLACE = f"{'a' * 16}-00000012-01"


@pytest.mark.parametrize("number", [7, 100_000_000, MAX_NUMBER])
def test_a_name_holds_its_number_and_its_place(number):
    name = new_name(INFO, number, PLACE)
    assert SHARD_NAME.fullmatch(name)
    assert number_of(name) == number
    assert place_of(name) == f"{PLACE}.h5"
    assert is_unique(name)


def test_no_two_names_are_equal():
    assert new_name(INFO, 7, PLACE) != new_name(INFO, 7, PLACE)


def test_names_of_earlier_programs_are_read():
    name = f"{'f' * 16}-00000007-{PLACE}.h5"
    assert (number_of(name), place_of(name), is_unique(name)) == (7, f"{PLACE}.h5", False)


@pytest.mark.parametrize("name", ["a.h5", "a-00000007-0000.h5", f"{'f' * 16}-7-0000.h5", f"{'f' * 16}-00000007-0.tmp"])
def test_other_names_have_no_number(name):
    assert number_of(name) == 0
    assert not is_unique(name)
