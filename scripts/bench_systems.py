"""Train and score published systems on labelled folders, and print one Markdown table.

    python scripts/bench_systems.py DATA --work DIR [--only NAME ...] [--small] [--set KEY=VALUE ...] [--record FILE]
    python scripts/bench_systems.py 20dev=DIR 23dev=DIR 23eval=DIR ... --years --work DIR [--only NAME ...] [--seeds N]
    python scripts/bench_systems.py 20dev=DIR 23dev=DIR ... --years --work DIR -e beats=BEATs_iter3.pt -d knn

Systems are the recipes of `detect recipes`, by name or file (all of them without --only and -e), or embedders by one
detector (-e SPEC[@VIEW] -d DETECTOR). Recipes run by their own commands, which are printed to stderr. Normal training
clips train, held-out normal clips select the epoch, and labels of test clips are used for the metrics only. DIR holds
checkpoints and stores: a finished training with the same settings is not repeated, an interrupted one is resumed.

--small gives every kind of network small settings (systems_small.py), `--epochs` and `--set` replace settings of every
trained recipe. `--backend` scores every trained embedding by another detector too. `--seeds N` trains with the seeds 0
to N-1: the table shows the mean, the standard deviation, and the 95 % interval for the clips with the first seed.
`--record FILE` appends the rows to a CSV (systems_measured.py).

Without --years, the last rows are embeddings without training. `loss` is that of the first and the last epoch, `held
out` the same of the held-out clips. `ids` is the share of training clips, and of normal test clips, whose machine and
section is predicted correctly: by the network if the recipe stores a column per section (posteriors, or the fit under
every section of glow and idcaf), otherwise by a logistic regression on the embedding. It shows whether a classifier can
learn anything from these data. Seconds are those of the clock on a
GPU; on a CPU they are processor time of all threads, which other programs disturb less.

With --years, there is a column for every data set: its official score (2020: arithmetic mean of AUC and pAUC of every
machine id; later: harmonic mean). Hmean and Amean are the harmonic and the arithmetic mean of the columns. A second
table has the sets of 2020 in both averages that papers use: per machine id, and pooled over the ids of a machine type.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from systems_jobs import Job, Result, attempt, embedder_job, measured_rows, recipe_job, untrained
from systems_measured import FACTS, Measured, append_measured, cells, facts, header, line, rule_line
from systems_runs import Work
from systems_years import BOTH, both_averages, data_sets, table, years_header, years_row

from ensemble.systems.catalogue import names
from featstore.building.memory import keep_freed_memory
from featstore.errors import AsdError

RMIS_DETECTOR = "knn"

Record = Callable[[Result, Work], list[Measured]]
"""Makes the rows of a result, and appends them to the file of --record."""


def one_table(jobs: dict[str, Job], work: Work, *, with_untrained: bool, record: Record) -> None:
    """Print the rows of each system when it is done."""
    head = ["system", *header(work.data.rule), *FACTS]
    print(f"{line(head)}\n{rule_line(len(head))}", flush=True)
    for name, job in jobs.items():
        result = attempt(job, work)
        if result is None:
            show([name, "not run", *[""] * (len(head) - 2)])
        else:
            show_result(result, work, record)
    for result in untrained(work) if with_untrained else ():
        show_result(result, work, record)


def show_result(result: Result, work: Work, record: Record) -> None:
    """Print and record the rows of a result; a second detector, or that of an embedder, is named."""
    for i, row in enumerate(record(result, work)):
        show([result.label(row.detector), *cells(row), *(facts(row) if i == 0 else [""] * len(FACTS))])


def show(row: Sequence[str]) -> None:
    """Print a line of the table."""
    print(line(row), flush=True)


def years_table(jobs: dict[str, Job], works: Sequence[Work], *, record: Record) -> None:
    """Print the official scores of every system on all data sets, then those of 2020 in both averages."""
    sets = [work.data for work in works]
    head = years_header(sets)
    both: list[list[str]] = []
    print(f"{line(head)}\n{rule_line(len(head))}", flush=True)
    for name, job in jobs.items():
        results = {work.data.name: result for work in works if (result := attempt(job, work)) is not None}
        for work in works:
            if work.data.name in results:
                record(results[work.data.name], work)
        if not results:
            show(years_row(name, {}, sets))
            continue
        first = next(iter(results.values()))
        for detector in first.runs:
            runs = {of: result.runs[detector] for of, result in results.items()}
            show(years_row(first.label(detector), runs, sets))
            both += both_averages(first.label(detector), runs)
    if both:
        print(f"\n{table(BOTH, both)}", flush=True)


def shown_command(args: argparse.Namespace, words: Sequence[str]) -> str:
    """The command line without the folders of this machine."""
    shown, skipped = [], iter(words)
    for word in skipped:
        if word in ("--record", "--device", "--ground-truth"):
            next(skipped)
        else:
            shown.append("DIR" if word == str(args.work) else _without_folder(word) if word in args.data else word)
    return shlex.join(["python", "scripts/bench_systems.py", *shown])


def _without_folder(place: str) -> str:
    name, equals, _ = place.partition("=")
    return f"{name}=DATA" if equals else "DATA"


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="[NAME=]DATA")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR")
    parser.add_argument("--years", action="store_true", help="a column for every data set")
    parser.add_argument("--ground-truth", action="append", default=[], metavar="NAME=DIR", help="labels of a data set")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("-e", "--embedder", action="append", default=[], metavar="SPEC[@VIEW]")
    parser.add_argument("-d", "--detector", default=RMIS_DETECTOR, help="of the embedders [knn: cosine, k = 1]")
    parser.add_argument("--seeds", type=int, default=1, metavar="N")
    parser.add_argument("--small", action="store_true", help="small settings for every kind of network")
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--backend", action="append", default=[], metavar="DETECTOR")
    parser.add_argument("--record", type=Path, metavar="FILE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    if len(args.data) > 1 and not args.years:
        parser.error("several data sets need --years")
    if args.seeds < 1:
        parser.error(f"--seeds {args.seeds}: expected 1 or more")
    return args


def works_of(args: argparse.Namespace) -> Iterator[Work]:
    """A Work for every data set, with a folder of its own where --years asks for several."""
    truths = {name: Path(folder) for name, _, folder in (text.partition("=") for text in args.ground_truth)}
    for data in data_sets(args.data, truths):
        folder = args.work / data.name if args.years else args.work
        folder.mkdir(parents=True, exist_ok=True)
        yield Work(data, folder, args.device, args.threads, tuple(args.settings), args.epochs, args.small)


def main() -> None:
    """Run the systems one after another."""
    args = parse()
    keep_freed_memory()  # as in a training, so that speeds do not depend on whether one ran before
    try:
        works = list(works_of(args))
    except AsdError as error:
        raise SystemExit(str(error)) from None
    with_facts = not args.years or args.record is not None
    recipes = args.only or ([] if args.embedder else names())
    jobs = {name: recipe_job(name, args.backend, args.seeds, facts=with_facts) for name in recipes}
    jobs |= {spec: embedder_job(spec, args.detector, facts=with_facts) for spec in args.embedder}
    command = shown_command(args, sys.argv[1:])

    def record(result: Result, work: Work) -> list[Measured]:
        rows = measured_rows(result, work, command)
        if args.record:
            append_measured(args.record, rows)
        return rows

    if args.years:
        years_table(jobs, works, record=record)
    else:
        one_table(jobs, works[0], with_untrained=not args.embedder, record=record)


if __name__ == "__main__":
    main()
