"""Selection: what is chosen, when the default is kept, and which scores are read from the cache."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from selection_store import labelled, members_of, recordings, selection_store, variants
from view_store import listed, patterned, with_views

from detectors.metrics.labels import Labels
from detectors.metrics.official import evaluate
from ensemble.cli import main
from ensemble.decision.fuse import combine
from ensemble.defaults import default_recipe
from ensemble.output import score_table
from ensemble.recipe import Member, Recipe, read_recipe
from ensemble.run import detect
from ensemble.selection.choose import (
    STRATEGIES,
    Evidence,
    Problem,
    Strategy,
    bootstrap_weights,
    duplicates,
    nested_scores,
    positions,
)
from ensemble.selection.indicators import domain_gap
from ensemble.selection.informative import by_agreement, by_average, by_best, mean_rank, spearman
from ensemble.selection.quality import Evaluator, official_score
from ensemble.selection.ranker import ranker_scores, trained_ranker
from ensemble.selection.scoring.cache import ScoreCache
from ensemble.selection.scoring.perturb_design import PerturbDesign
from ensemble.selection.scoring.score_candidates import Scored
from ensemble.selection.scoring.validation import Pair, Validation
from ensemble.selection.select import Options, Selection, _sources, decide, select
from ensemble.selection.standings import DEFAULT
from ensemble.selection.summary import selection_json, selection_text
from featstore.errors import DataError
from featstore.store import FeatureStore

FAST = Options(replicates=40, workers=0)
HALF = "best 10 and the default"


@pytest.fixture(scope="module")
def selection(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> Selection:
    return select(store, members_of(store), ScoreCache(tmp_path_factory.mktemp("cache")), FAST)


def test_the_view_that_shows_anomalies_is_chosen(selection: Selection) -> None:
    assert selection.chosen in STRATEGIES
    assert sum(member.view == "good" for member in selection.recipe.members) >= 3
    assert {candidate.member.view for candidate in selection.candidates[:3]} == {"good"}


def test_pairs_that_no_candidate_detects_have_weight_0(selection: Selection) -> None:
    weights = dict(selection.pairs)
    assert weights["shuffled@-10"] == weights["shuffled@0"] == 0
    assert min(weights["leak@0"], weights["squeal@0"]) > 0
    assert sum(weights.values()) == pytest.approx(1)


def test_the_choice_holds_on_labelled_test_clips(store: FeatureStore, selection: Selection) -> None:
    def real(recipe: Recipe) -> float:
        detection = detect(store, recipe)
        return evaluate(score_table(detection), Labels.of(detection.clips), 2023).score

    assert real(selection.recipe) > real(default_recipe(store)) + 0.05


def test_labels_and_test_clips_do_not_affect_the_choice(
    store: FeatureStore, selection: Selection, tmp_path: Path
) -> None:
    blind = selection_store(tmp_path / "store", [*recordings(), *variants(recordings())])
    same = select(blind, members_of(blind), ScoreCache(tmp_path / "cache"), FAST)
    assert same.recipe == selection.recipe
    assert same.standings == selection.standings


def simulated(plan: Validation, shifts: list[float], rng: np.random.Generator) -> Scored:
    """Candidates whose scores of anomalies are those of normal clips plus a shift; all miss `shuffled`."""
    shown = ~plan.normal & np.array([pair.transform != "shuffled" for pair in plan.pairs])[plan.pair]
    scores = rng.normal(size=(len(shifts), len(plan))) + np.outer(shifts, shown)
    return Scored([Member("emb", f"knn:k={i + 1}") for i in range(len(shifts))], scores)


def decided(plan: Validation, scored: Scored, default: int = -1) -> Selection:
    names = [member.name for member in scored.members]
    return decide(scored, plan, Recipe((scored.members[default],)), names, FAST)


def test_the_default_is_kept_where_candidates_do_not_differ(plan: Validation) -> None:
    noise = decided(plan, simulated(plan, [0.0] * 12, np.random.default_rng(0)))
    assert noise.chosen == DEFAULT
    assert len(noise.recipe.members) == 1


def test_the_weights_of_the_default_count_in_its_standing(plan: Validation) -> None:
    scored = simulated(plan, [2.0, 1.0, 0.0, 0.5], np.random.default_rng(0))
    names = [member.name for member in scored.members]

    def standing(weights: list[float]) -> float:
        members = [replace(member, weight=weight) for member, weight in zip(scored.members, weights, strict=True)]
        default = Recipe(tuple(members[::-1]), fusion="weighted_fisher")  # in another order than the scores
        selection = decide(scored, plan, default, names, FAST)
        assert all(candidate.member.weight == 1 for candidate in selection.candidates)
        return next(standing.score for standing in selection.standings if standing.name == DEFAULT)

    alone = decide(scored, plan, Recipe((scored.members[2],), fusion="fisher"), names, FAST)
    expected = next(standing.score for standing in alone.standings if standing.name == DEFAULT)
    assert standing([0, 0, 1, 0]) == pytest.approx(expected)
    assert standing([1, 0, 0, 0]) > standing([0, 0, 1, 0])


def test_the_default_is_kept_where_candidates_differ_by_chance_only(plan: Validation) -> None:
    scored = simulated(plan, [0.7] * 11 + [0.0], np.random.default_rng(4))
    names = [member.name for member in scored.members[:-1]]
    options = replace(FAST, rule="average")
    result = decide(scored, plan, Recipe((scored.members[-1],)), names, options)
    assert result.chosen == DEFAULT
    assert "too little to choose by" in result.reason


def test_the_default_is_kept_where_the_anomalies_are_too_easy(plan: Validation) -> None:
    result = decided(plan, simulated(plan, [8.0 + i / 100 for i in range(8)] + [0.0], np.random.default_rng(1)))
    assert result.chosen == DEFAULT
    assert any("too easy" in text for text in result.warnings) or "no anomaly type" in result.reason


def test_a_default_that_is_the_best_candidate_is_kept(plan: Validation) -> None:
    result = decided(plan, simulated(plan, [0.2] * 8 + [2.5], np.random.default_rng(2)))
    assert result.chosen == DEFAULT
    assert "within the uncertainty: the fixed default is kept" in result.reason


def test_an_embedding_without_generated_anomalies_is_left_out_and_named(tmp_path: Path) -> None:
    selection_store(tmp_path / "store")
    store = selection_store(tmp_path / "store", [*recordings(), *labelled()], name="bare")
    members = [Member("bare", "knn", "good"), *members_of(store)]
    selection = select(store, members, ScoreCache(tmp_path / "cache"), FAST)
    assert {candidate.member.embedding for candidate in selection.candidates} == {"emb"}
    assert {member.embedding for member in selection.recipe.members} == {"emb"}
    assert "bare has no generated anomalies and is left out" in selection.warnings[0]
    assert not selection.failed


def test_a_score_file_cannot_be_selected_by_perturbed_embeddings(store: FeatureStore, tmp_path: Path) -> None:
    members = [*members_of(store), Member("", "scores:theirs.csv")]
    with pytest.raises(DataError, match=r"theirs\.csv: a score file has no scores of perturbed embeddings"):
        select(store, members, ScoreCache(tmp_path), replace(FAST, perturbed=PerturbDesign()))


def test_candidates_that_repeat_another_are_found(rng: np.random.Generator) -> None:
    first, second = rng.uniform(size=(2, 50))
    placed = np.array([first, second, first + 5e-4, second[::-1], first, second + 2e-3])
    assert duplicates(placed).tolist() == [False, False, True, False, True, False]


def test_a_candidate_given_twice_counts_once(plan: Validation) -> None:
    scored = simulated(plan, [2.0, 1.5, 1.0, 0.5, 0.3, 0.0], np.random.default_rng(6))
    scores = np.concatenate([scored.scores, scored.scores[:2]])
    members = [*scored.members, Member("other", "knn:k=1"), Member("other", "knn:k=2")]
    once, twice = (decided(plan, each, default=5) for each in (scored, Scored(members, scores)))
    assert [candidate.member for candidate in once.candidates] == [candidate.member for candidate in twice.candidates]
    assert once.recipe == twice.recipe
    assert twice.notes == ("2 candidates left out: same order of clips as another",)
    assert "\n\nnote: 2 candidates left out: same order of clips as another\n\n" in selection_text(twice)
    assert not once.notes


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds processes in /proc")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_no_scoring_process_outlives_the_command(tmp_path: Path, end: signal.Signals) -> None:
    store = selection_store(tmp_path / "store")
    words = ["select", str(store.path), "-o", str(tmp_path / "recipe.toml"), "--workers", "2"]
    command = subprocess.Popen([sys.executable, "-m", "ensemble.cli", *words], stderr=subprocess.DEVNULL)
    try:
        workers = _within(60, lambda: found if len(found := _children(command.pid)) > 2 else None)
        assert workers
        command.send_signal(end)
        command.wait(20)
        assert command.returncode == (130 if end == signal.SIGINT else -signal.SIGKILL)
        assert _within(20, lambda: not any(map(_lives, workers)))
    finally:
        command.kill()
        command.wait()


def _children(pid: int) -> list[int]:
    """Workers, and the one process that Python keeps beside them."""
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _lives(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _within(seconds: float, found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return value


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_uses_nothing_but_its_evidence(plan: Validation, name: str) -> None:
    """Scores of the other half, and of hidden pairs, do not change the choice."""
    rng = np.random.default_rng(5)
    placed = positions(simulated(plan, rng.uniform(0, 2, 15).tolist(), rng).scores, plan)
    unseen = np.array([pair.transform == plan.pairs[0].transform for pair in plan.pairs])
    hidden = ~plan.half(0) | (~plan.normal & unseen[plan.pair])
    other = placed.copy()
    other[:, hidden] = rng.uniform(size=(len(placed), int(hidden.sum())))
    chosen = []
    for scores in (placed, other):
        problem = Problem(plan, scores)
        weights = np.where(unseen, 0, 1 / len(unseen))
        evidence = Evidence(problem.evaluators[0], problem.metrics[0], weights)
        chosen.append(STRATEGIES[name].choose(problem, evidence))
    np.testing.assert_allclose(chosen[0], chosen[1], rtol=1e-9)
    assert chosen[0].min() >= 0
    assert chosen[0].any()


def test_weights_do_not_depend_on_the_numbers_of_sections_and_pairs(plan: Validation) -> None:
    """Section 1 with pair 12 is not the stratum of section 11 with pair 2."""
    many, pairs = 12, 13
    section, pair = (part.ravel() for part in np.meshgrid(np.arange(many), np.arange(-1, pairs), indexing="ij"))
    twice = np.repeat(np.stack([section, pair]), np.where((section == 1) & (pair == 12), 5, 2), axis=1)
    section, pair = twice
    n = len(section)
    wide = replace(
        plan,
        rows=np.arange(n),
        keys=tuple(f"{i:03d}" for i in range(n)),
        section=section,
        domain=np.full(n, "source"),
        pair=pair,
        source=np.arange(n),
        fold=np.arange(n) % 5,
        sections=tuple(("fan", f"{i:02d}") for i in range(many)),
        pairs=tuple(Pair("leak", float(i)) for i in range(pairs)),
    )
    renumbered = replace(wide, section=many - 1 - section)
    placed = np.random.default_rng(8).uniform(size=(4, n)) + 0.0
    weights = []
    for validation in (wide, renumbered):
        problem = Problem(validation, placed)
        evidence = Evidence(problem.evaluators[2], problem.metrics[2], np.full(pairs, 1 / pairs))
        weights.append(STRATEGIES["non-negative, fisher"].choose(problem, evidence))
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-9)


def test_a_nested_score_does_not_include_the_gain_by_chance(plan: Validation) -> None:
    """Of 100 equal candidates, the one with the best score is no better on other clips and pairs."""
    scored = simulated(plan, [0.7] * 100, np.random.default_rng(3))
    problem = Problem(plan, positions(scored.scores, plan), rule="average")
    weights = bootstrap_weights(problem, 1, np.random.default_rng(0))
    strategy = STRATEGIES["best single"]

    def fused(evidence: Evidence) -> np.ndarray:
        return strategy.fused(problem, strategy.choose(problem, evidence))

    nested = float(nested_scores(problem, fused, weights)[0])
    scores = official_score(problem.metrics[2], problem.pair_weights)
    best, typical = float(scores.max()), float(np.median(scores))
    assert best > typical + 0.03
    assert abs(nested - typical) < (best - typical) / 2


def test_greedy_takes_complementary_members(plan: Validation) -> None:
    """Two candidates that detect different transforms are better together than each alone."""
    rng = np.random.default_rng(4)
    first = ~plan.normal & np.array([pair.transform == "leak" for pair in plan.pairs])[plan.pair]
    second = ~plan.normal & np.array([pair.transform == "squeal" for pair in plan.pairs])[plan.pair]
    scores = rng.normal(size=(6, len(plan)))
    scores[0] += 5 * first
    scores[1] += 5 * second
    problem = Problem(plan, positions(scores, plan))
    used = np.array([float(pair.transform in ("leak", "squeal")) for pair in plan.pairs])
    weights = STRATEGIES["greedy, fisher"].choose(problem, Evidence(problem.evaluators[2], problem.metrics[2], used))
    assert weights[0] > 0
    assert weights[1] > 0
    assert weights.sum() >= 2


def test_positions_are_those_of_a_detection(plan: Validation) -> None:
    """Normal clips at position i / n among the others, anomalies at i / (n + 1) and beyond all below 1."""
    scores = np.arange(len(plan), dtype=np.float64)[None]
    placed = positions(scores, plan)[0]
    normal = plan.normal & (plan.section == 0)
    assert placed[normal][np.argsort(scores[0, normal])[10]] == pytest.approx(0.5, abs=0.03)
    assert (placed < 1).all()
    assert (placed > 0).all()


def test_agreement_gives_low_weight_to_unreliable_missed_and_contrary_pairs() -> None:
    rng = np.random.default_rng(5)
    quality = np.linspace(0.4, 0.95, 40)
    good = [quality + rng.normal(scale=0.02, size=40) for _ in range(6)]
    noise = [0.7 + rng.normal(scale=0.1, size=40) for _ in range(2)]
    missed, opposed = [0.3 + quality / 10], [1.2 - quality]
    values = np.stack([*good, *noise, *missed, *opposed], axis=1)
    halves = [values + rng.normal(scale=0.01, size=values.shape) for _ in range(2)]
    halves[0][:, 6:8] = rng.normal(size=(40, 2))
    weights = by_agreement(values, (halves[0], halves[1]))
    assert weights[:6].min() > 0.8
    assert weights[6:].max() < 0.2
    np.testing.assert_array_equal(by_average(values, (values, values))[[0, 8]], [1, 0])
    np.testing.assert_array_equal(by_best(values, (values, values))[[0, 8]], [1, 0])


def test_ranks_and_correlations() -> None:
    assert spearman(np.array([[1.0], [2], [9]]), np.array([[3.0], [5], [6]]))[0] == pytest.approx(1)
    assert spearman(np.ones((3, 1)), np.arange(3.0)[:, None])[0] == 0
    rank = mean_rank(np.array([[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]]), np.array([1.0, 0.0]))
    np.testing.assert_allclose(rank, [0, 0.5, 1])


def test_domain_gap_is_the_kolmogorov_distance() -> None:
    scores = np.array([[0.0, 1, 2, 10, 11, 12], [0, 2, 4, 1, 3, 5]])
    domain = np.array(["source"] * 3 + ["target"] * 3)
    np.testing.assert_allclose(domain_gap(scores, np.zeros(6), domain), [1, 1 / 3])
    assert np.isnan(domain_gap(scores, np.zeros(6), np.full(6, "source"))).all()


def test_a_candidate_that_fails_is_named_and_left_out(store: FeatureStore, tmp_path: Path) -> None:
    members = [*members_of(store), Member("emb", "knn:k=500", "good")]
    result = select(store, members, ScoreCache(tmp_path), FAST)
    assert list(result.failed) == ["emb@good knn:k=500"]
    assert "could not be scored: emb@good knn:k=500" in selection_text(result)


def test_a_choice_among_some_views_is_compared_with_the_default_of_the_same_views(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def listed(store: FeatureStore, sources: tuple[str, ...]) -> Recipe:
        asked.append(sources)
        return default_recipe(store, sources)

    monkeypatch.setattr("ensemble.selection.select.default_recipe", listed)
    members = members_of(store)
    select(store, [member for member in members if member.view in {"good", "blind"}], ScoreCache(tmp_path), FAST)
    select(store, members, ScoreCache(tmp_path), FAST)
    assert asked == [("emb@good", "emb@blind"), ("emb",)]


def test_a_named_view_of_an_unused_mix_is_in_the_default_beside_its_embedding(tmp_path: Path) -> None:
    clips = listed()
    views = {view: patterned(len(clips), seed=i) for i, view in enumerate(["0/a", "0/b", "0-1/a", "0-1/b"])}
    store = with_views(tmp_path / "s", clips, views, channel="0,0-1")
    members = [Member("v", "knn", view) for view in ("0/a", "0/b", "0-1/b")]
    assert _sources(store, members[:2]) == ("v",)
    assert _sources(store, members) == ("v", "v@0-1/b")


def test_an_unknown_rule_lists_the_known() -> None:
    with pytest.raises(DataError, match="agreement, average, best"):
        Options(rule="magic")


def test_the_report_is_plain_json(selection: Selection) -> None:
    report = json.loads(json.dumps(selection_json(selection), allow_nan=False))
    assert report["chosen"] == selection.chosen
    rows = report["candidates"]
    assert [row["name"] for row in rows] == [candidate.member.name for candidate in selection.candidates]
    assert set(rows[0]) == {"name", "figure", "score", "domain_gap", "agreement", "instability"}
    assert rows[0]["figure"] == selection.candidates[0].rank
    fixed = {DEFAULT, "rank mean of all", "minimum of z-scores"}
    assert {row["name"] for row in report["standings"]} == {*STRATEGIES} | fixed


def test_the_text_says_what_separates_the_candidates(selection: Selection) -> None:
    text = selection_text(selection)
    weighted = sum(weight > 0 for _, weight in selection.pairs)
    assert f"\n\n{weighted} of 8 pairs of an anomaly type and a strength separate the candidates: " in text
    assert "; all candidates were scored on all clips\n" in text
    assert "; a race on a fifth of the clips left out 7\n" in selection_text(replace(selection, raced_out=7))
    assert "; a race on a fifth of the clips left out none\n" in selection_text(replace(selection, raced_out=0))
    assert f"\n\nchosen: {selection.chosen}: +" in text
    assert "] against the fixed default, better in " in text


def halved(plan: Validation, default: Recipe, scored: Scored) -> Selection:
    names = [member.name for member in scored.members]
    return decide(scored, plan, default, names[:12], FAST)


@pytest.fixture
def half_only(monkeypatch: pytest.MonkeyPatch) -> Strategy:
    """The strategy of which the default is half, and no other is offered."""
    only = {HALF: STRATEGIES[HALF]}
    monkeypatch.setattr("ensemble.selection.select.strategies", lambda validation: only)
    return only[HALF]


def test_the_best_and_the_default_have_half_of_the_weight_each(plan: Validation, half_only: Strategy) -> None:
    scored = simulated(plan, [0.3 * i for i in range(12)] + [0.5, 0.5], np.random.default_rng(0))
    both, *own = [scored.members[i] for i in (11, 12, 13)]
    default = Recipe(tuple(replace(m, weight=w) for m, w in zip([both, *own], (1.0, 2.0, 5.0), strict=True)))
    chosen = halved(plan, replace(default, fusion="weighted_fisher"), scored)
    weight = {member.name: member.weight for member in chosen.recipe.members}
    best = {f"emb knn:k={i + 1}": 1 / 10 for i in range(2, 12)}
    halves = {both.name: 1 / 10 + 1 / 8, own[0].name: 2 / 8, own[1].name: 5 / 8}
    assert chosen.chosen == HALF
    assert weight == pytest.approx({**best, **halves})
    assert len(chosen.recipe.members) == len(weight)


def test_it_is_judged_as_the_run_fuses_its_recipe(plan: Validation, half_only: Strategy) -> None:
    scored = simulated(plan, [0.3 * i for i in range(12)] + [0.5, 0.5], np.random.default_rng(0))
    default = Recipe(tuple(replace(scored.members[i], weight=i / 4) for i in (11, 12, 13)), fusion="weighted_fisher")
    recipe = halved(plan, default, scored).recipe
    placed = dict(zip([member.name for member in scored.members], positions(scored.scores, plan), strict=True))

    def run(members: tuple[Member, ...]) -> np.ndarray:
        return combine(recipe.fusion, np.array([placed[m.name] for m in members]), [m.weight for m in members])

    candidates = np.array([placed[member.name] for member in scored.members[:12]])
    problem = Problem(plan, candidates, default=run(default.members))
    judged = half_only.fused(problem, half_only.choose(problem, problem.evidence()))
    np.testing.assert_allclose(judged, run(recipe.members), rtol=1e-9)


def test_a_member_of_the_default_without_scores_is_not_in_the_recipe(plan: Validation, half_only: Strategy) -> None:
    scored = simulated(plan, [0.3 * i for i in range(12)] + [0.5], np.random.default_rng(0))
    lost = Member("emb", "lof:k=900")
    selection = halved(plan, Recipe((scored.members[12], lost), fusion="weighted_fisher"), scored)
    weight = {member.name: member.weight for member in selection.recipe.members}
    assert lost.name not in weight
    assert weight[scored.members[12].name] == pytest.approx(1)


def test_a_default_of_many_equal_members_keeps_them(plan: Validation, half_only: Strategy) -> None:
    """Each of 60 has less than the least share of the weight."""
    scored = simulated(plan, [0.3 * i for i in range(12)] + [0.5] * 60, np.random.default_rng(0))
    default = Recipe(tuple(scored.members[12:]), fusion="weighted_fisher")
    weight = {member.name: member.weight for member in halved(plan, default, scored).recipe.members}
    assert [weight[member.name] for member in default.members] == pytest.approx([1 / 60] * 60)


def test_members_of_small_weight_are_left_out_of_the_half(plan: Validation, half_only: Strategy) -> None:
    scored = simulated(plan, [0.3 * i for i in range(12)] + [0.5] * 3, np.random.default_rng(0))
    weighted = zip(scored.members[12:], (1.0, 0.03, 0.01), strict=True)
    default = Recipe(tuple(replace(member, weight=weight) for member, weight in weighted), fusion="weighted_fisher")
    names = {member.name for member in halved(plan, default, scored).recipe.members}
    assert [member.name in names for member in default.members] == [True, True, False]


def test_the_command_writes_a_recipe_that_detect_runs(store: FeatureStore, tmp_path: Path) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text(
        '[[detector]]\nname = "mahalanobis"\ncovariance = ["oas", "ledoit_wolf"]\nstandardize = [true, false]\n'
    )
    out = tmp_path / "out" / "recipe.toml"
    command = ["select", str(store.path), "-o", str(out), "--grid", str(grid), "--workers", "0", "--replicates", "40"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "chosen: " in result.output
    assert read_recipe(out).name == "selected"
    assert json.loads(out.with_name("selection.json").read_text())["fusion"] == read_recipe(out).fusion
    run = CliRunner().invoke(main, [str(store.path), "--recipe", str(out), "-o", str(tmp_path / "results")])
    assert run.exit_code == 0, run.output


def test_the_ranker_learns_from_the_members_and_never_lowers_a_score(plan: Validation) -> None:
    scored = simulated(plan, [0.0, 0.0, 1.5], np.random.default_rng(6))
    problem = Problem(plan, positions(scored.scores, plan))
    trees, members = trained_ranker(problem, problem.evidence(0))
    unseen = plan.half(1)
    of_ranker = official_score(
        Evaluator(plan, unseen).metrics(ranker_scores(problem, problem.evidence(0))), problem.pair_weights
    )
    of_noise = official_score(Evaluator(plan, unseen).metrics(problem.placed[0]), problem.pair_weights)
    assert of_ranker > of_noise + 0.1
    low, high = trees.predict(np.full((1, len(members)), 0.3)), trees.predict(np.full((1, len(members)), 0.9))
    assert high > low
