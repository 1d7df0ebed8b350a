"""Mutation testing: which small changes of a module do its tests not notice?

    python scripts/mutate.py MODULE_OR_FOLDER ... [--tests PATH ...] [--sample N] [--seed 0] [--jobs 1]

Every mutant is one small change of one file, tried in a temporary copy of the checkout with the tests that mirror the
file (`tests/detectors/test_knn.py` for `detectors/knn.py`; those of the folder where there is no such file) and those
of --tests. Killed: a test fails, or the tests take too long. A survivor is a missing test or a change without effect.
--sample takes N mutants of each file at random by --seed.

Why no library: mutmut 3.8 is faster, because it forks one process, but it changes only bodies of undecorated functions
(no constants, tables, fields, properties or compiled kernels) and removes no statement (a lost `os.fsync(f)` becomes
`os.fsync(None)`, which fails at once); it cannot sample. cosmic-ray 8.7 edits the checkout itself, one mutant at a
time, also annotations, and knows neither removed statements nor keywords, slices or swapped arguments.
"""

import argparse
import ast
import contextlib
import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from featstore.console import table

LEAST_S, TIMES = 20.0, 4.0
"""A mutant may take LEAST_S seconds and TIMES as long as the tests take without a change."""


def _both_ways(*pairs: str) -> dict[str, str]:
    return {a: b for pair in pairs for a, b in (pair.split(), reversed(pair.split()))}


OPERATORS = {"FloorDiv": "Div", "Pow": "Mult", "Mod": "Mult", "MatMult": "Add"} | _both_ways(
    "Lt LtE", "Gt GtE", "Eq NotEq", "Is IsNot", "In NotIn", "Add Sub", "Mult Div", "BitAnd BitOr", "And Or"
)
NAMES = _both_ways("min max", "any all", "argmin argmax", "floor ceil", "minimum maximum", "zeros ones", "log1p expm1")
UNTOUCHED = {"annotation", "returns", "decorator_list", "bases", "pattern", "cause"}
REMOVED = (ast.Raise, ast.Return, ast.Break, ast.Continue, ast.Delete, ast.AugAssign)


@dataclass(frozen=True)
class Mutant:
    """A changed file: path relative to the checkout, line, what changed before and after, and the whole new text."""

    path: Path
    line: int
    old: str
    new: str
    text: str


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of a node, one change each."""

    def changed(field: str, value: object) -> ast.AST:
        twin = copy.copy(node)
        setattr(twin, field, value)
        return twin

    def swapped(operator: ast.AST) -> ast.AST:
        return getattr(ast, OPERATORS[type(operator).__name__])()  # type: ignore[no-any-return]

    match node:
        case ast.Compare(ops=ops):
            yield from (changed("ops", [*ops[:i], swapped(op), *ops[i + 1 :]]) for i, op in enumerate(ops))
        case ast.BinOp() | ast.AugAssign() | ast.BoolOp() if type(node.op).__name__ in OPERATORS:
            yield changed("op", swapped(node.op))
        case ast.UnaryOp():
            yield node.operand
        case ast.Constant(value=bool() | int() | float()):
            value = node.value
            yield ast.Constant(
                not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else 2 * value or 1.0
            )
        case ast.Slice():
            yield from (changed(side, None) for side in ("lower", "upper", "step") if getattr(node, side))
        case ast.Call(args=args, keywords=named):
            dropped = [i for i, keyword in enumerate(named) if keyword.arg not in (None, "strict")]
            yield from (changed("keywords", named[:i] + named[i + 1 :]) for i in dropped)
            commutes = ast.unparse(node.func).rpartition(".")[2] in NAMES  # the order of maximum(a, b) is nothing
            if len(args) > 1 and not commutes and not any(isinstance(arg, ast.Starred) for arg in args[:2]):
                yield changed("args", [args[1], args[0], *args[2:]])
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in NAMES and isinstance(node.ctx, ast.Load):
            yield changed("id" if isinstance(node, ast.Name) else "attr", NAMES[name])
        case ast.If() | ast.While() | ast.IfExp() if not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield changed("test", ast.UnaryOp(ast.Not(), node.test))
    stored = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript)
    called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    if stored or called or isinstance(node, REMOVED):
        yield ast.Pass()


def places(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below `node` that may change: no annotations, decorators, imports, or texts of messages."""
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and field not in UNTOUCHED and not isinstance(child, ast.JoinedStr):
                yield child
                if not isinstance(child, ast.Raise):
                    yield from places(child)


def mutants_of(path: Path) -> list[Mutant]:
    """Every mutant of a file, always in the same order."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    mutants = []
    for node in places(ast.parse(source)):
        for change in changes(node):
            # Of a statement with a body only the test is replaced, so that the body keeps its lines.
            old, new = (node.test, change.test) if isinstance(node, ast.If | ast.While) else (node, change)  # type: ignore
            first, last = starts[old.lineno - 1] + old.col_offset, starts[old.end_lineno - 1] + old.end_col_offset
            after = ast.unparse(ast.fix_missing_locations(new))
            inserted = f"({after})" if isinstance(new, ast.expr) and not isinstance(new, ast.Slice) else after
            text = (source[:first] + inserted.encode() + source[last:]).decode()
            mutants.append(Mutant(path, old.lineno, ast.unparse(old), after, text))
    return mutants


def tests_of(path: Path) -> list[str]:
    """The tests that mirror a module: its own file, else files with its name in theirs, else its folder."""
    folder = Path("tests") / path.parent
    own = [folder / f"test_{path.stem}.py"]
    found = own if own[0].exists() else sorted(folder.glob(f"test_*{path.stem}*.py")) or [folder]
    return [str(test) for test in found if test.exists()]


def copied_to(folder: Path) -> Path:
    """A copy of the checkout's files, tracked or new."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and Path(name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, folder / name)
    return folder


def passes(tree: Path, tests: Sequence[str], limit_s: float | None, **environment: str) -> bool:
    """Whether the tests pass in a copy in time; nothing that they started outlives them."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    settings = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", **environment}
    process = subprocess.Popen(
        command, cwd=tree, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        return process.wait(limit_s) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def survives(mutant: Mutant, tree: Path, tests: Sequence[str], limit_s: float) -> bool:
    """Whether all tests pass with a mutant in a copy of the checkout."""
    file = tree / mutant.path
    before, stat = file.read_bytes(), file.stat()
    file.write_text(mutant.text)
    try:  # without bytecode of the mutant: the next one may have its size and second
        return passes(tree, tests, limit_s, PYTHONDONTWRITEBYTECODE="1")
    finally:
        file.write_bytes(before)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def survivors_of(mutants: Sequence[Mutant], tests: Sequence[str], trees: Sequence[Path]) -> list[Mutant]:
    """The mutants of one file that survive, as many tried at once as there are copies."""
    start = time.monotonic()
    if not tests or not passes(trees[0], tests, None):
        raise SystemExit(f"{mutants[0].path}: expected tests that pass, got {' '.join(tests) or 'none'}")
    limit_s = LEAST_S + TIMES * (time.monotonic() - start)

    def of_tree(number: int) -> list[Mutant]:
        return [one for one in mutants[number :: len(trees)] if survives(one, trees[number], tests, limit_s)]

    with ThreadPoolExecutor(len(trees)) as pool:
        return [one for survivors in pool.map(of_tree, range(len(trees))) for one in survivors]


def main() -> None:
    """Try the mutants of all files; print the survivors of each file when it is done, and then a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, metavar="MODULE_OR_FOLDER")
    parser.add_argument("--tests", nargs="+", default=[], metavar="PATH", help="tests beside the mirrored ones")
    parser.add_argument("--sample", type=int, default=sys.maxsize, metavar="N", help="mutants of each file, at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="mutants at once, each in its own copy")
    options = parser.parse_args()
    files = [file for path in options.paths for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))]
    if not files:
        parser.error(f"no modules at {' '.join(map(str, options.paths))}; give paths below the current folder")
    rows = []
    with tempfile.TemporaryDirectory(prefix="mutate-") as work:
        trees = [copied_to(Path(work) / str(number)) for number in range(options.jobs)]
        for file in files:
            mutants = mutants_of(file)
            if not mutants:
                continue
            mutants = random.Random(options.seed).sample(mutants, min(options.sample, len(mutants)))
            survivors = survivors_of(mutants, [*tests_of(file), *options.tests], trees)
            for mutant in sorted(survivors, key=lambda mutant: mutant.line):
                print(f"{mutant.path}:{mutant.line}\n- {mutant.old}\n+ {mutant.new}", flush=True)
            n, killed = len(mutants), len(mutants) - len(survivors)
            rows.append([str(file), str(n), str(killed), str(n - killed), f"{100 * killed / n:.0f} %"])
    print(table(["file", "mutants", "killed", "survived", "score"], rows))


if __name__ == "__main__":
    main()
