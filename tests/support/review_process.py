"""`detect review ...` with a session of a title alone: python review_process.py ARGUMENTS. For tests of the process."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any


def stand_in(title: str = "plant") -> ModuleType:
    """A module in the place of `ensemble.review.opening`."""

    def open_session(store: Any, results: Any, **options: Any) -> SimpleNamespace:
        return SimpleNamespace(
            scored=SimpleNamespace(title=title, bounded=True, metrics={}), notes=("one clip is new",)
        )

    module = ModuleType("ensemble.review.opening")
    vars(module).update(open_session=open_session, run_ensemble=None)
    return module


if __name__ == "__main__":
    from ensemble.cli import main

    sys.modules["ensemble.review.opening"] = stand_in()
    main(["review", *sys.argv[1:]])
