#!/usr/bin/env python3
"""What confirmed faults add to a selection by generated anomalies (`detect select --faults`).

    python scripts/bench_faults.py DATA [DATA ...] --work DIR [--counts 5,20,100] [--draws 10] [--ranker]

DATA and DIR as for bench_selection.py. Faults and a fifth as many normal clips are drawn from the test clips, as if a
person had confirmed them; every choice is scored on the other test clips. Printed: the mean official score of the
choice from generated anomalies alone, its gain with the confirmed clips, and with them but without any generated
anomaly, each with the standard deviation over the draws; all without the correction for domains. With --ranker also
that of a LightGBM ranker with the 20 best candidates, trained on the same clips and on the confirmed ones only.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from bench_selection import build
from real_metrics import Real, real_scores

from ensemble.decision.calibrate import PlacedScores, calibrate
from ensemble.decision.fuse import combine
from ensemble.defaults import default_recipe
from ensemble.recipe import Recipe
from ensemble.selection.candidates import default_candidates
from ensemble.selection.choose import Problem, duplicates, positions
from ensemble.selection.ranker import trained_ranker
from ensemble.selection.scoring.cache import ScoreCache
from ensemble.selection.scoring.confirmed import ENOUGH_FAULTS, confirmed_part, joined
from ensemble.selection.scoring.score_candidates import Scored, score_candidates
from ensemble.selection.scoring.validation import Validation, plan_validation
from ensemble.selection.select import Options, canonical, decide
from featstore.console import table
from featstore.store import FeatureStore

NORMAL_SHARE = 5
MOST = 0.75
"""Share of the faults that may be confirmed; the others are scored."""

OPTIONS = Options(replicates=60)


@dataclass
class Case:
    """A store with its candidates' scores: of the validation, of every test clip by a fold's bank, and of a detection.

    placed: positions (candidates, m) of the test clips, as `detect` has them.
    """

    store: FeatureStore
    default: Recipe
    validation: Validation
    scored: Scored
    test: dict[str, np.ndarray]
    real: Real
    placed: np.ndarray

    @classmethod
    def of(cls, store: FeatureStore, cache: ScoreCache) -> "Case":
        """Score all candidates; the labels of the test clips reach the real metrics and the draws only."""
        members = default_candidates(store)
        default = canonical(default_recipe(store), store)
        members = list({member.name: member for member in [*members, *default.members]}.values())
        base = members[0].embedding
        clips, facts = store.clips(base), store.facts(base)
        validation = plan_validation(clips, facts)
        scored = score_candidates(store, members, validation, cache)
        real = real_scores(store, scored.members, cache)
        part = confirmed_part(validation, clips, facts, dict.fromkeys(real.labels.keys, True))
        last = np.arange(len(part)) >= len(part) - part.confirmed
        of_part = score_candidates(store, scored.members, part, cache, part=last).scores
        sides = zip(real.test, real.reference, strict=True)
        test, train = real.placed
        placed = np.array([calibrate(PlacedScores(a, *test), PlacedScores(b, *train)) for a, b in sides])
        scores = {key: of_part[:, i] for i, key in enumerate(part.keys) if last[i]}
        return cls(store, default, validation, scored, scores, real, placed)

    def with_labels(self, faults: dict[str, bool], *, generated: bool) -> tuple[Validation, Scored]:
        """The validation and scores with confirmed clips, as `ensemble.selection.faults.with_confirmed` has them."""
        base = self.scored.members[0].embedding
        part = confirmed_part(self.validation, self.store.clips(base), self.store.facts(base), faults)
        keys = part.keys[len(part) - part.confirmed :]
        added = np.stack([self.test[key] for key in keys], axis=1)
        if generated:
            scores = np.concatenate([self.scored.scores, added], axis=1)
            return joined(self.validation, part), replace(self.scored, scores=scores)
        scores = np.concatenate([self.scored.scores[:, self.validation.training], added], axis=1)
        return part, replace(self.scored, scores=scores)

    def choice(self, validation: Validation, scored: Scored) -> tuple[str, np.ndarray]:
        """What a selection chooses, and its fused scores of the test clips (m,)."""
        names = [member.name for member in scored.members]
        chosen = decide(scored, validation, self.default, names, OPTIONS)
        rows = self.placed[[names.index(member.name) for member in chosen.recipe.members]]
        weights = [member.weight for member in chosen.recipe.members]
        return chosen.chosen, combine(
            chosen.recipe.fusion, rows, weights if "weighted" in chosen.recipe.fusion else None
        )


def draw(real: Real, count: int, rng: np.random.Generator) -> tuple[dict[str, bool], np.ndarray]:
    """Confirmed clips, `count` faults and a share of that many normal ones, and the mask (m,) of the other clips."""
    anomalous = real.labels.is_anomaly
    faults = rng.permutation(np.flatnonzero(anomalous))[:count]
    normal = rng.permutation(np.flatnonzero(~anomalous))[: max(1, count // NORMAL_SHARE)]
    others = np.ones(len(anomalous), dtype=bool)
    others[faults] = others[normal] = False
    keys = real.labels.keys
    return {keys[i]: True for i in faults} | {keys[i]: False for i in normal}, others


def ranked(case: Case, validation: Validation, scored: Scored) -> Iterator[tuple[str, np.ndarray]]:
    """Scores of the test clips by rankers trained on all generated and confirmed clips, and on the confirmed only."""
    placed = positions(scored.scores, validation)
    kept = ~duplicates(placed)
    problem = Problem(validation, placed[kept])
    evidence = problem.evidence()
    only = replace(evidence, pair_weights=problem.confirmed.astype(np.float64))
    for name, used in (("ranker", evidence), ("ranker, faults only", only)):
        trees, members = trained_ranker(problem, used, members=evidence.order[:20])
        yield name, np.asarray(trees.predict(case.placed[kept][members].T), dtype=np.float64)


def bench(case: Case, counts: list[int], draws: int, *, ranker: bool) -> str:
    """The table of one store."""
    alone, scores = case.choice(case.validation, case.scored)
    rows = []
    for count in counts:
        if count > MOST * np.count_nonzero(case.real.labels.is_anomaly):
            rows.append([f"{count}: too many of the faults", "", "", ""])
            continue
        results: dict[str, list[float]] = {}
        names: dict[str, list[str]] = {}
        for number in range(draws):
            faults, others = draw(case.real, count, np.random.default_rng([count, number]))
            results.setdefault("generated alone", []).append(case.real.score(scores, others))
            for name in ("with faults", "faults only")[: 1 + (count >= ENOUGH_FAULTS)]:
                chosen, fused = case.choice(*case.with_labels(faults, generated=name == "with faults"))
                names.setdefault(name, []).append(chosen)
                results.setdefault(name, []).append(case.real.score(fused, others))
            if ranker:
                for name, fused in ranked(case, *case.with_labels(faults, generated=True)):
                    results.setdefault(name, []).append(case.real.score(fused, others))
        reference = np.array(results.pop("generated alone"))
        rows.append([f"{count}", "generated alone", f"{100 * reference.mean():.1f}", alone])
        for name, values in results.items():
            gain = 100 * (np.array(values) - reference)
            chosen = names.get(name, [])
            what = ", ".join(f"{chosen.count(each)} {each}" for each in dict.fromkeys(chosen))
            rows.append(["", name, f"{gain.mean():+.1f} (sd {gain.std():.1f})", what])
    return table(["faults", "choice by", "official score, gain", "chosen"], rows)


def main() -> None:
    """Parse, bench, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="folder of scores [cache in --work]")
    parser.add_argument("--counts", default="5,20,40,100")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--ranker", action="store_true")
    args = parser.parse_args()
    for data in args.data:
        path = args.work / f"{data.name}.store"
        if not path.exists():
            build(data, path, None)
        case = Case.of(FeatureStore.open(path), ScoreCache(args.cache or args.work / "cache"))
        counts = [int(count) for count in args.counts.split(",")]
        print(f"\n== {data.name}\n{bench(case, counts, args.draws, ranker=args.ranker)}", flush=True)


if __name__ == "__main__":
    main()
