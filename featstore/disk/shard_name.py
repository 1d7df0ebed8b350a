"""Names of shard files: `<embedding><content>-<number of the manifest>-<place>.h5`."""

import hashlib
import re

from featstore.disk.shard import EmbeddingInfo

_NAME = re.compile(r"[0-9a-f]{16}([0-9a-f]{16})?-([0-9]{8,18})-.+\.h5")


def new_name(info: EmbeddingInfo, number: int, place: str, sha256: str) -> str:
    """The name of a shard of manifest `number` with this checksum; one name never stands for two contents.

    So a writer that finds the name finds what it wrote, even beside another writer.
    """
    embedding = hashlib.sha256(f"{info.name}\0{info.fingerprint}".encode()).hexdigest()[:16]
    return f"{embedding}{sha256[:16]}-{number:08d}-{place}.h5"


def place_of(file: str) -> str:
    """The end of a name after the number, with `.h5`: of a plan's shard `<plan>-<unit>-<position>.h5`."""
    return file.split("-", 2)[-1]


def number_of(file: str) -> int:
    """Number of the manifest for which a shard was written; 0 for a name of another form."""
    match = _NAME.fullmatch(file)
    return int(match[2]) if match else 0


def names_content(file: str) -> bool:
    """Whether the name is one of `new_name`; programs that gave other names also wrote stores without a head record."""
    match = _NAME.fullmatch(file)
    return match is not None and match[1] is not None
