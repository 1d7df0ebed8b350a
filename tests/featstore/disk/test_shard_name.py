"""A name says which manifest it was written for, and for which content."""

import pytest
from sample_store import INFO

from featstore.disk.manifest import MAX_NUMBER, SHARD_NAME
from featstore.disk.shard_name import names_content, new_name, number_of, place_of

PLACE = f"{'a' * 16}-00000012-01"


@pytest.mark.parametrize("number", [7, 100_000_000, MAX_NUMBER])
def test_a_name_holds_its_number_and_its_place(number):
    name = new_name(INFO, number, PLACE, "a" * 64)
    assert SHARD_NAME.fullmatch(name)
    assert number_of(name) == number
    assert place_of(name) == f"{PLACE}.h5"
    assert names_content(name)


def test_other_content_has_another_name():
    assert new_name(INFO, 7, PLACE, "a" * 64) != new_name(INFO, 7, PLACE, "b" * 64)


def test_names_of_earlier_programs_are_read():
    name = f"{'f' * 16}-00000007-{PLACE}.h5"
    assert (number_of(name), place_of(name), names_content(name)) == (7, f"{PLACE}.h5", False)


@pytest.mark.parametrize("name", ["a.h5", "a-00000007-0000.h5", f"{'f' * 16}-7-0000.h5", f"{'f' * 16}-00000007-0.tmp"])
def test_other_names_have_no_number(name):
    assert number_of(name) == 0
    assert not names_content(name)
