"""Addresses of the page. Names of files and machines that are not UTF-8 keep their bytes in them."""

from urllib.parse import quote, urlencode


def encoded(text: str) -> str:
    """A text as a part of an address."""
    return quote(text, safe="", errors="surrogateescape")


def address(path: str, **values: str | None) -> str:
    """An address with the values that are not empty."""
    known = {name: value for name, value in values.items() if value}
    return f"{path}?{urlencode(known, quote_via=quote, safe='', errors='surrogateescape')}"
