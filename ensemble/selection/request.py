"""A selection as the command line states it: candidates, how they are judged, and where the outcome is written."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ensemble.recipe import write_recipe
from ensemble.request import Say, judged_members, write_transductive
from ensemble.run import detect
from ensemble.selection.cache import ScoreCache
from ensemble.selection.candidates import default_candidates, read_grid
from ensemble.selection.perturb_design import PerturbDesign
from ensemble.selection.select import Options, Selection, select
from ensemble.selection.summary import write_selection
from featstore.store import FeatureStore


@dataclass(frozen=True, kw_only=True)
class SelectRequest:
    """The options of `detect select` under the names of the command line."""

    store: Path
    out: Path
    grid: Path | None = None
    embeddings: tuple[str, ...] = ()
    cache: Path | None = None
    rule: str = "agreement"
    external: tuple[Path, ...] = ()
    perturb: bool = False
    ranker: bool = False
    replicates: int = 300
    seed: int = 0
    workers: int | None = None


def select_to(
    request: SelectRequest, *, say: Say, progress: Callable[[int, int], None]
) -> tuple[Selection, list[Path]]:
    """Choose members and fusion; write the recipe and selection.json beside it, and return all files written."""
    store = FeatureStore.open(request.store)
    options = Options(
        rule=request.rule,
        ranker=request.ranker,
        replicates=request.replicates,
        seed=request.seed,
        workers=request.workers,
        perturbed=PerturbDesign() if request.perturb else None,
    )
    if request.grid:
        candidates = read_grid(request.grid, store, request.embeddings)
    else:
        candidates = default_candidates(store, request.embeddings)
    judged, ranked = judged_members(store, request.external, say)
    folder = request.out.parent
    folder.mkdir(parents=True, exist_ok=True)
    cache = ScoreCache(request.cache or folder / "selection-cache")
    selection = select(store, [*candidates, *judged], cache, options, progress=progress)
    files = [request.out, request.out.with_name("selection.json")]
    write_recipe(selection.recipe, files[0])
    write_selection(files[1], selection)
    if ranked:
        files += write_transductive(detect(store, selection.recipe), ranked, folder)
    return selection, files
