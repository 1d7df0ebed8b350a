"""A file of scripts/ as a module, for tests that call its functions."""

import importlib.util
import sys
from types import ModuleType

from places import ROOT


def load_script(name: str) -> ModuleType:
    """The module of `scripts/NAME.py`, which can import its neighbours as when it is run."""
    if str(ROOT / "scripts") not in sys.path:
        sys.path.append(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
