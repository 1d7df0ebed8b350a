"""Charts of every machine and section: ROC where labels allow it, score histograms by domain with the threshold."""

import numpy as np
from markupsafe import Markup

from detectors.metrics.auc import MAX_FPR, auc, pauc
from detectors.metrics.official import Evaluation
from ensemble.decision.conformal import Bank, surprise
from ensemble.decision.thresholds import Threshold
from ensemble.report.charts import LINEAR, Axis, Curve, Panel, histogram_chart, nines, roc_chart
from ensemble.report.page import render
from ensemble.run import Detection, bounded

DOMAINS = ("source", "target", "unknown")


Figure = tuple[Markup, list[tuple[str, str]], str]
"""A chart, its legend as (class, text), and a caption or none."""


def section_charts(detection: Detection, evaluation: Evaluation | None) -> Markup:
    """One block per machine and section that has scored clips; ROCs of the sections that `evaluation` measured."""
    measured = {(row.machine, row.section) for row in evaluation.rows} if evaluation else set()
    blocks = []
    for machine, section in detection.clips.sections():
        rows = np.flatnonzero(detection.clips.where(machine=machine, section=section))
        roc = [_roc_figure(detection, machine, section, rows)] if (machine, section) in measured else []
        blocks.append((machine, section, [*roc, _histogram_figure(detection, machine, section, rows)]))
    return render("sections.html", blocks=blocks)


def _roc_figure(detection: Detection, machine: str, section: str, rows: np.ndarray) -> Figure:
    """ROC over all clips, and of each domain's normal clips against all anomalies, as the official AUC takes them."""
    clips, score = detection.clips[rows], detection.score[rows]
    normal, anomaly = clips.where(label="normal"), clips.where(label="anomaly")
    curves = [Curve("all", score[normal], score[anomaly])]
    legend = [f"all clips: AUC {_auc(curves[0])}, pAUC {100 * pauc(score[normal], score[anomaly]):.1f}"]
    for domain in ("source", "target"):
        here = normal & clips.where(domain=domain)
        if here.any():
            curves.append(Curve(domain, score[here], score[anomaly]))
            legend.append(f"{domain} normal clips: AUC {_auc(curves[-1])}")
    reported = detection.decision[rows]
    operating = (float(reported[normal].mean()), float(reported[anomaly].mean()))
    label = (
        f"ROC of {machine} section {section}, {int(normal.sum())} normal clips against {int(anomaly.sum())} anomalies. "
        f"At the threshold {100 * operating[0]:.0f} % false alarms and {100 * operating[1]:.0f} % hits."
    )
    entries = [*zip([curve.style for curve in curves], legend, strict=True)]
    entries += [("pauc", f"region of the pAUC (up to {MAX_FPR:g})"), ("operating", "at the threshold")]
    return roc_chart(label, curves, operating, MAX_FPR), entries, ""


def _auc(curve: Curve) -> str:
    return f"{100 * auc(curve.normal, curve.anomaly):.1f}"


def _histogram_figure(detection: Detection, machine: str, section: str, rows: np.ndarray) -> Figure:
    clips, score = detection.clips[rows], detection.score[rows]
    domain, label = clips.column("domain"), clips.column("label")
    threshold = detection.decided.threshold[rows]
    reference, of_domain = _reference(detection, machine, section)
    panels, seen = [], set()
    for one in DOMAINS:
        here = domain == one
        if not here.any():
            continue
        groups = [
            (style, score[here & (label == style)])
            for style in ("normal", "anomaly", "unknown")
            if (here & (label == style)).any()
        ]
        seen |= {style for style, _ in groups}
        own = of_domain == one
        shown = reference[own] if own.any() else reference
        counts = ", ".join(f"{len(scores)} {LEGEND[style]}" for style, scores in groups)
        training = f"{len(shown)} training clips" + ("" if own.any() or one == "unknown" else " of all domains")
        heading = f"{one} domain: " if one != "unknown" else ""
        panels.append(Panel(f"{heading}{counts}; {training}", shown, groups, float(threshold[here][0])))
    text = f"Score histogram of {machine} section {section}. " + ". ".join(panel.title for panel in panels)
    entries = [(style, LEGEND[style]) for style in LEGEND if style in seen | {"reference", "threshold"}]
    chart = histogram_chart(text, panels, SURPRISE if bounded(detection.recipe) else LINEAR)
    return chart, entries, _rule(detection, machine, section)


SURPRISE = Axis(surprise, nines)
"""Fused positions crowd below 1, where thresholds lie."""

LEGEND = {
    "reference": "training clips (leave-one-out)",
    "normal": "normal",
    "anomaly": "anomalies",
    "unknown": "scored clips",
    "threshold": "threshold",
}


def _reference(detection: Detection, machine: str, section: str) -> tuple[np.ndarray, np.ndarray]:
    """Reference scores of the section's bank and their domains."""
    train = detection.train
    bank = train.where(machine=machine)
    if not detection.recipe.pool_sections:
        bank &= train.where(section=section)
    return detection.reference[bank], train.column("domain")[bank]


def _rule(detection: Detection, machine: str, section: str) -> str:
    """What the thresholds promise, in words."""
    called = "all" if detection.recipe.pool_sections else section
    said = [
        _promise(bank, one)
        for bank, one in zip(detection.decided.banks, detection.decided.thresholds, strict=True)
        if (bank.machine, bank.section) == (machine, called)
    ]
    said.append("A shift of machine, place or background voids the promise. Scores beyond the axis count at its ends.")
    return " ".join(said)


def _promise(bank: Bank, one: Threshold | None) -> str:
    whose = f"{bank.domain} clips are reported" if bank.domain else "Reported"
    if one is None:
        return f"No {bank.domain} clip is reported." if bank.domain else "No clip is reported."
    kind = "approximately " if bank.shifted else ""
    return (
        f"{whose} above {one.value:.5g}: {kind}{100 * one.expected:.1f} % false alarms are to be expected on normal "
        f"clips like the {one.n} training clips (95 % interval {100 * one.low:.1f} to {100 * one.high:.1f} %)."
    )
