"""Charts of each machine and section: score histograms by domain with the threshold; with labels also the ROC."""

import numpy as np
from markupsafe import Markup

from detectors.metrics.auc import MAX_FPR, auc, pauc
from detectors.metrics.official import Evaluation
from ensemble.decision.banks import Bank
from ensemble.decision.conformal import surprise
from ensemble.decision.thresholds import Threshold
from ensemble.fitting.decide import bounded
from ensemble.page.charts import LINEAR, Axis, Curve, Panel, histogram_chart, nines, roc_chart
from ensemble.page.html import render
from ensemble.run import Detection
from featstore.clip import DOMAINS, LABELS
from featstore.terminal.shown import counted

Figure = tuple[Markup, list[tuple[str, str]], str]
"""A chart, its legend as (class of page.css, text), and a caption, which may be empty."""


def section_charts(detection: Detection, evaluation: Evaluation | None) -> Markup:
    """One block per machine and section with scored clips; it has an ROC if `evaluation` covers the section."""
    evaluated = {(row.machine, row.section) for row in evaluation.rows} if evaluation else set()
    blocks = []
    for machine, section in detection.clips.sections():
        rows = np.flatnonzero(detection.clips.where(machine=machine, section=section))
        roc = [_roc_figure(detection, machine, section, rows)] if (machine, section) in evaluated else []
        blocks.append((machine, section, [*roc, _histogram_figure(detection, machine, section, rows)]))
    return render("sections.html", blocks=blocks)


def _roc_figure(detection: Detection, machine: str, section: str, rows: np.ndarray) -> Figure:
    """ROC of all clips, and of the normal clips of each domain against all anomalies, as in the official AUC."""
    clips, score = detection.clips[rows], detection.score[rows]
    normal, anomaly = clips.where(label="normal"), clips.where(label="anomaly")
    curves = [Curve("all", score[normal], score[anomaly])]
    legend = [f"all clips: AUC {_auc(curves[0])}, pAUC {100 * pauc(score[normal], score[anomaly]):.1f}"]
    for domain in ("source", "target"):
        of_domain = normal & clips.where(domain=domain)
        if of_domain.any():
            curves.append(Curve(domain, score[of_domain], score[anomaly]))
            legend.append(f"{domain} normal clips: AUC {_auc(curves[-1])}")
    reported = detection.decision[rows]
    operating = (float(reported[normal].mean()), float(reported[anomaly].mean()))
    label = (
        f"ROC of {machine} section {section}, {counted(int(normal.sum()), 'normal clip')} against "
        f"{counted(int(anomaly.sum()), 'anomaly', 'anomalies')}. "
        f"At the threshold: false-alarm rate {100 * operating[0]:.0f} %, hit rate {100 * operating[1]:.0f} %."
    )
    entries = [*zip([curve.style for curve in curves], legend, strict=True)]
    entries += [("pauc", f"area of the pAUC (false-alarm rate up to {MAX_FPR:g})"), ("operating", "at the threshold")]
    return roc_chart(label, curves, operating, MAX_FPR), entries, ""


def _auc(curve: Curve) -> str:
    return f"{100 * auc(curve.normal, curve.anomaly):.1f}"


def _histogram_figure(detection: Detection, machine: str, section: str, rows: np.ndarray) -> Figure:
    clips, score = detection.clips[rows], detection.score[rows]
    domain, label = clips.column("domain"), clips.column("label")
    threshold = detection.decided.threshold[rows]
    reference, reference_domain = _reference(detection, machine, section)
    panels, styles, mixed = [], {"reference", "threshold"}, False
    for name in DOMAINS:
        shown = domain == name
        if not shown.any():
            continue
        by_label = [(style, score[shown & (label == style)]) for style in LABELS]
        groups = [(style, scores) for style, scores in by_label if len(scores)]
        styles |= {style for style, _ in groups}
        same_domain = reference_domain == name
        training = reference[same_domain] if same_domain.any() else reference
        title = "" if name == "unknown" else f"{name} domain: "
        title += ", ".join(_counted(style, len(scores)) for style, scores in groups)
        title += f"; {counted(len(training), 'training clip')}"
        title += "" if same_domain.any() or name == "unknown" else " of all domains"
        first, *more = _by_number(threshold[shown])
        mixed |= bool(more)
        panels.append(Panel(title, training, groups, first, tuple(more)))
    text = f"Score histogram of {machine} section {section}. " + ". ".join(panel.title for panel in panels)
    entries = [(style, words) for style, words in LEGEND.items() if style in styles]
    chart = histogram_chart(text, panels, SURPRISE if bounded(detection.recipe) else LINEAR)
    return chart, entries, _caption(detection, machine, section) + (f" {MIXED}" if mixed else "")


MIXED = "Clips that sound like another domain are decided by the threshold of that domain, so a panel shows both."


def _by_number(thresholds: np.ndarray) -> list[float]:
    """The different thresholds of the clips, that of most clips first."""
    values, counts = np.unique(thresholds, return_counts=True)
    return [float(values[i]) for i in np.argsort(-counts, kind="stable")]


def _counted(style: str, number: int) -> str:
    plural = LEGEND[style]
    return counted(number, {"anomaly": "anomaly", "unknown": "scored clip"}.get(style, plural), plural)


SURPRISE = Axis(surprise, nines)
"""Stretches the axis near 1, where most fused scores and the thresholds are."""

LEGEND = {
    "reference": "training clips (leave-one-out)",
    "normal": "normal",
    "anomaly": "anomalies",
    "unknown": "scored clips",
    "threshold": "threshold",
}


def _reference(detection: Detection, machine: str, section: str) -> tuple[np.ndarray, np.ndarray]:
    """Reference scores of the section's training clips, and the domains of these clips."""
    train = detection.train
    bank = train.where(machine=machine)
    if not detection.recipe.pool_sections:
        bank &= train.where(section=section)
    return detection.reference[bank], train.column("domain")[bank]


def _caption(detection: Detection, machine: str, section: str) -> str:
    """The thresholds and their expected false-alarm rates, in words."""
    bank_section = "all" if detection.recipe.pool_sections else section
    pairs = zip(detection.decided.banks, detection.decided.thresholds, strict=True)
    own = [(bank, at) for bank, at in pairs if (bank.machine, bank.section) == (machine, bank_section)]
    sentences = [_threshold_text(bank, at) for bank, at in own]
    sentences.append("Rates do not hold if the machine, its place or the background noise has changed since training.")
    return " ".join([*sentences, "Scores beyond the axis are counted in the outermost bars."])


def _threshold_text(bank: Bank, threshold: Threshold | None) -> str:
    clips = f"{bank.domain} clips" if bank.domain else "clips"
    if threshold is None:
        return f"No {clips} are reported."
    rate = f"{'about ' if bank.shifted else ''}{100 * threshold.expected:.1f} %"
    interval = f"95 % interval {100 * threshold.low:.1f} to {100 * threshold.high:.1f} %"
    worth = round(bank.independent)
    counts = f", which count as {counted(worth, 'independent clip')}" if worth < threshold.n else ""
    return (
        f"Reported: {clips} with a score above {threshold.value:.5g}. Expected false-alarm rate: {rate} of the normal "
        f"clips that resemble the {threshold.n} training clips{counts} ({interval})."
    )
