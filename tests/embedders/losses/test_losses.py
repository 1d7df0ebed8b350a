"""Losses: each against a plain formula or a case computed by hand, and one contract for all."""

import math

import numpy as np
import pytest
import torch

from embedders.losses.adacos import next_scale
from embedders.losses.base import log_odds, surprise, unit
from embedders.losses.contrastive import contrast, same_class
from embedders.losses.margin import with_margin
from embedders.losses.selective import geometric_median
from embedders.losses.table import LOSSES, make_loss

CLASSES, DIM, BATCH = 4, 6, 8
REQUIRED = {"ustc": {"n_attributes": 5}, "hmic": {"n_groups": 3}, "subspace": {"branches": 2}}
OF_EMBEDDINGS = [name for name in LOSSES if name != "own"]
CLASSIFIERS = [name for name in OF_EMBEDDINGS if name not in ("supcon", "triplet", "scan", "ntxent")]
VIEW_OF = torch.arange(BATCH) % (BATCH // 2)


def build(name, **params):
    torch.manual_seed(0)
    return make_loss(name, CLASSES, DIM, **REQUIRED.get(name, {}), **params).double()


def soft(rng, n=BATCH, classes=CLASSES):
    return torch.from_numpy(rng.dirichlet(np.ones(classes), n))


def hard(label, classes=CLASSES):
    return torch.eye(classes, dtype=torch.float64)[torch.as_tensor(label)]


def embeddings(rng, n=BATCH, dim=DIM):
    return torch.from_numpy(rng.normal(size=(n, dim)))


def extras(rng):
    return {
        "attribute": soft(rng, classes=5),
        "group": soft(rng, classes=3),
        "view_of": VIEW_OF,
        "exchanged": embeddings(rng),
        "exchanged_target": soft(rng, classes=9 * CLASSES),
    }


def rows(X):
    X = X.detach().numpy()
    return X / np.linalg.norm(X, axis=-1, keepdims=True)


def plain_cross_entropy(logits, target):
    return np.mean([-sum(t * (f - math.log(np.exp(row).sum())) for t, f in zip(ts, row, strict=True))
                    for row, ts in zip(logits, target.numpy(), strict=True)])  # fmt: skip


# ---- contract over the table


@pytest.mark.parametrize("name", OF_EMBEDDINGS)
def test_scalar_with_finite_gradients_and_row_order_does_not_matter(name, rng):
    loss, z, target, extra = build(name), embeddings(rng).requires_grad_(), soft(rng), extras(rng)
    order = torch.from_numpy(rng.permutation(BATCH))
    state = {key: value.clone() for key, value in loss.state_dict().items()}
    value = loss(z, target, extra)
    value.backward()
    assert value.shape == ()
    assert torch.isfinite(z.grad).all()
    assert z.grad.abs().sum() > 0
    assert all(torch.isfinite(p.grad).all() for p in loss.parameters() if p.grad is not None)
    loss.load_state_dict(state)  # undo the update of a dynamic scale
    again = loss(z[order], target[order], {key: extra[key][order] for key in extra})
    torch.testing.assert_close(again, value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", OF_EMBEDDINGS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite_at_cosines_of_one(name, dtype, rng):
    loss = build(name).float()
    z = torch.ones(BATCH, DIM, dtype=torch.float64)
    z[BATCH // 2 :] *= -1  # all pairs at cosine 1 or -1
    if isinstance(getattr(loss, "centres", None), torch.nn.Parameter):
        with torch.no_grad():
            loss.centres.fill_(1.0)
    z = z.to(dtype).requires_grad_()
    extra = {key: value if key == "view_of" else value.float() for key, value in extras(rng).items()}
    extra["exchanged"] = z
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(z, hard([0, 1, 2, 3] * 2).float(), extra)
    value.backward()
    assert torch.isfinite(value)
    assert z.grad.dtype == dtype
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_posterior_is_a_distribution_and_the_scores_follow_from_it(name, rng):
    loss, z = build(name).eval(), embeddings(rng)
    claimed = torch.from_numpy(rng.integers(CLASSES, size=BATCH))
    p = loss.posterior(z)
    torch.testing.assert_close(p.sum(1), torch.ones(BATCH, dtype=torch.float64))
    own = p.gather(1, claimed[:, None])[:, 0]
    torch.testing.assert_close(surprise(loss.logits(z), claimed), -own.log())
    torch.testing.assert_close(log_odds(loss.logits(z), claimed), ((1 - own) / own).log())


@pytest.mark.parametrize("name", ["cross_entropy", "arcmix", "scadacos", "adacos", "adaproj", "subspace"])
def test_the_loss_of_mixed_labels_is_the_mix_of_losses(name, rng):
    loss, z, a, b = build(name).eval(), embeddings(rng), hard([0, 1, 2, 3] * 2), hard([1, 2, 3, 0] * 2)
    torch.testing.assert_close(loss(z, 0.3 * a + 0.7 * b), 0.3 * loss(z, a) + 0.7 * loss(z, b))


@pytest.mark.parametrize("name", OF_EMBEDDINGS)
def test_training_lowers_the_loss(name, rng):
    loss, z = build(name, **({"rank": 2} if name == "adaproj" else {})), torch.nn.Parameter(embeddings(rng))
    target = hard([0, 1, 2, 3] * 2)
    extra = {"attribute": hard([0, 1, 2, 3] * 2, 5), "group": hard([0, 1, 2, 0] * 2, 3)}
    extra |= {"view_of": VIEW_OF, "exchanged": z, "exchanged_target": hard([0, 1, 2, 3] * 2, 9 * CLASSES)}
    step = torch.optim.Adam([z, *[p for p in loss.parameters() if p.requires_grad]], lr=0.05)
    values = []
    for _ in range(40):
        step.zero_grad()
        value = loss(z, target, extra)
        value.backward()
        step.step()
        values.append(value.item())
    assert values[-1] < 0.9 * values[0]


def test_unknown_names_and_parameters_name_the_nearest():
    with pytest.raises(ValueError, match="did you mean arcface"):
        make_loss("arcfase", 3, 4)
    with pytest.raises(ValueError, match="did you mean clusters"):
        make_loss("scadacos", 3, 4, cluster=2)
    with pytest.raises(ValueError, match="needs a value for n_groups"):
        make_loss("hmic", 3, 4)
    with pytest.raises(ValueError, match="at least 2 classes"):
        make_loss("arcface", 1, 4)
    with pytest.raises(ValueError, match=r"expected embeddings \(batch, 4\)"):
        make_loss("arcface", 3, 4)(torch.zeros(2, 5), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="AttributeTriplet needs attribute"):
        make_loss("ustc", 3, 4, n_attributes=2)(torch.zeros(2, 4), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="does not classify"):
        make_loss("hmic", 3, 4, n_groups=2, base="supcon")


# ---- margins


def test_arcface_without_margin_is_scaled_cosine_cross_entropy(rng):
    loss, z, target = build("arcface", m=0.0, s=7.0), embeddings(rng), soft(rng)
    expected = plain_cross_entropy(7.0 * rows(z) @ rows(loss.centres).T, target)
    assert float(loss(z, target).detach()) == pytest.approx(expected, rel=1e-9)


def arc_logits(cosines, label, m, s):
    """The published rule by angles, one row."""
    logits = s * cosines.copy()
    theta = math.acos(cosines[label])
    logits[label] = s * (math.cos(theta + m) if theta + m < math.pi else math.cos(theta) - m * math.sin(math.pi - m))
    return logits


def test_arcmix_puts_the_margin_on_both_classes_and_noisy_arcmix_on_the_first(rng):
    z, a, b, share = embeddings(rng), [0, 1, 2, 3] * 2, [1, 2, 3, 0] * 2, 0.2
    target = share * hard(a) + (1 - share) * hard(b)
    arcmix, noisy = build("arcmix"), build("noisy_arcmix")
    cosines = rows(z) @ rows(arcmix.centres).T
    both, first = [], []
    for row, x, y in zip(cosines, a, b, strict=True):
        on_a, on_b = arc_logits(row, x, 0.7, 30.0), arc_logits(row, y, 0.7, 30.0)
        ce = [f[k] - math.log(np.exp(f).sum()) for f, k in ((on_a, x), (on_b, y), (on_a, y))]
        both.append(-share * ce[0] - (1 - share) * ce[1])
        first.append(-share * ce[0] - (1 - share) * ce[2])
    assert float(arcmix(z, target).detach()) == pytest.approx(np.mean(both), rel=1e-9)
    assert float(noisy(z, target, {"first": torch.tensor(a)}).detach()) == pytest.approx(np.mean(first), rel=1e-9)


def test_the_logit_keeps_falling_where_the_margin_exceeds_pi():
    cosines = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    shifted = with_margin(cosines, 0.7)
    assert float(shifted[0]) == pytest.approx(-1 - 0.7 * math.sin(0.7), abs=1e-3)
    below = cosines <= -math.cos(0.7)
    assert (shifted[below].diff() > 0).all()
    assert (shifted[~below].diff() > 0).all()


def test_margin_gradients_are_finite_at_cosines_of_one():
    cosines = torch.tensor([-1.0, 1.0], requires_grad=True)
    with_margin(cosines, 0.7).sum().backward()
    assert torch.isfinite(cosines.grad).all()


def test_an_embedding_of_zero_gets_no_gradient():
    z = torch.zeros(2, DIM, dtype=torch.float16, requires_grad=True)
    build("arcface").float()(z, hard([0, 1]).float()).backward()
    assert not z.grad.any()


# ---- adaptive scales


@pytest.mark.parametrize("count_own", [False, True])
def test_adacos_scale_by_hand(count_own):
    loss = build("adacos", trainable=False, count_own=count_own)
    with torch.no_grad():
        loss.centres.copy_(torch.eye(CLASSES, DIM)[:, None])
    start = math.sqrt(2) * math.log(CLASSES - 1)
    assert float(loss.scale) == pytest.approx(start, rel=1e-6)
    z = torch.zeros(3, DIM, dtype=torch.float64)
    for i, degrees in enumerate((10, 20, 60)):  # between centres 0 and 1: the median angle to class 0 is 20 degrees
        z[i, 0], z[i, 1] = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    start = float(loss.scale)
    cosines = z[:, :CLASSES].numpy() * ([1, 1, 1, 1] if count_own else [0, 1, 1, 1])
    sums = [np.exp(start * row).sum() for row in cosines]
    expected = math.log(np.mean(sums)) / math.cos(math.radians(20))
    loss(z, hard([0, 0, 0]))
    assert float(loss.scale) == pytest.approx(expected, rel=1e-9)
    loss.eval()(z, hard([1, 1, 1]))
    assert float(loss.scale) == pytest.approx(expected, rel=1e-9)  # evaluation does not change it


def test_the_median_angle_counts_as_at_most_45_degrees():
    logits = torch.zeros(2, 5, dtype=torch.float64)
    far, limit = (next_scale(logits, torch.full((2,), angle).double()) for angle in (1.5, math.pi / 4))
    assert float(far) == pytest.approx(float(limit))
    assert float(far) == pytest.approx(math.log(5) * math.sqrt(2))


def test_one_cluster_is_adacos_and_clusters_add_their_probabilities(rng):
    z, target = embeddings(rng), soft(rng)
    assert torch.equal(build("scadacos", clusters=1)(z, target), build("adacos")(z, target))
    loss = build("scadacos", clusters=3, dynamic=False)
    s = math.sqrt(2) * math.log(3 * CLASSES - 1)
    weight = np.exp(s * np.einsum("bd,ckd->bck", rows(z), rows(loss.centres)))
    p = weight.sum(2) / weight.sum((1, 2))[:, None]
    np.testing.assert_allclose(loss.posterior(z).detach(), p, rtol=1e-6)
    assert float(loss(z, target).detach()) == pytest.approx(-(target.numpy() * np.log(p)).sum(1).mean(), rel=1e-6)


def test_scale_stays_in_bounds_when_hard_labels_are_learnt():
    z, target = torch.eye(CLASSES, DIM, dtype=torch.float64), hard(range(CLASSES))
    scales = []
    for count_own in (False, True):
        loss = build("adacos", trainable=False, count_own=count_own)
        with torch.no_grad():
            loss.centres.copy_(torch.eye(CLASSES, DIM)[:, None])
        start = float(loss.scale)
        for step in range(50):
            loss(z + 0.1 * step / 50, target)
        scales.append(float(loss.scale) / start)
    assert scales[0] < 2 < scales[1]


def test_fixed_centres_get_no_gradient_and_checkpoints_hold_scales(rng):
    loss = build("scadacos", clusters=2, trainable=False)
    loss(embeddings(rng).requires_grad_(), soft(rng)).backward()
    assert loss.centres.grad is None
    other = build("scadacos", clusters=2)
    other.load_state_dict(loss.state_dict())
    assert float(other.scale) == float(loss.scale) != pytest.approx(math.sqrt(2) * math.log(7))


def test_adaproj_against_an_explicit_projection(rng):
    loss, z = build("adaproj", rank=3), embeddings(rng)
    x, axes = rows(z), rows(loss.centres)
    for c in range(CLASSES):
        projected = x @ (axes[c].T @ axes[c])
        cosine = (x * projected).sum(1) / np.linalg.norm(projected, axis=1)
        np.testing.assert_allclose(loss.cosines(z)[:, c].detach(), cosine, rtol=1e-9)


def test_adaproj_counts_own_classes_as_zero_in_the_scale(rng):
    loss, z, target = build("adaproj", rank=2), embeddings(rng), hard([0, 1, 2, 3] * 2)
    cosines, start = loss.cosines(z).numpy(), float(loss.scale)
    logits = np.where(target.numpy() > 0, 0.0, start * cosines)
    angle = np.median(np.arccos(cosines[target.numpy() > 0]))
    loss(z, target)
    expected = math.log(np.exp(logits).sum(1).mean()) / math.cos(min(angle, math.pi / 4))
    assert float(loss.scale) == pytest.approx(expected, rel=1e-9)


# ---- contrastive losses


@pytest.mark.parametrize("include_self", [False, True])
def test_supervised_contrastive_loss_against_a_double_loop(include_self, rng):
    z, label, tau = embeddings(rng), [0, 0, 1, 1, 1, 2, 3, 3], 0.1
    u, losses = rows(z), []
    for i in range(BATCH):
        partners = [p for p in range(BATCH) if p != i and label[p] == label[i]]
        total = sum(math.exp(u[i] @ u[a] / tau) for a in range(BATCH) if include_self or a != i)
        if partners:
            losses.append(-np.mean([math.log(math.exp(u[i] @ u[p] / tau) / total) for p in partners]))
    assert len(losses) == BATCH - 1  # the clip without a positive is left out
    value = build("supcon", include_self=include_self)(z, hard(label))
    assert float(value) == pytest.approx(np.mean(losses), rel=1e-9)


def test_views_are_contrasted_with_all_other_rows_by_hand(rng):
    z, tau = embeddings(rng), 0.2
    u, losses = rows(z), []
    for i in range(BATCH):
        total = sum(math.exp(u[i] @ u[a] / tau) for a in range(BATCH) if a != i)
        losses.append(-math.log(math.exp(u[i] @ u[(i + BATCH // 2) % BATCH] / tau) / total))
    loss = build("ntxent", temperature=tau, projector=False)
    assert float(loss(z, soft(rng), {"view_of": VIEW_OF})) == pytest.approx(np.mean(losses), rel=1e-9)
    equal = loss(torch.ones(BATCH, DIM, dtype=torch.float64), soft(rng), {"view_of": VIEW_OF})
    assert float(equal) == pytest.approx(math.log(BATCH - 1))  # views that tell nothing are a guess among the others
    projected = build("ntxent", temperature=tau)
    torch.testing.assert_close(
        projected(z, soft(rng), {"view_of": VIEW_OF}), loss(projected.projector(z), soft(rng), {"view_of": VIEW_OF})
    )
    assert torch.equal(projected.embed(z), z)


def test_one_stage_is_the_sum_of_contrastive_loss_and_noisy_arcmix_on_the_head(rng):
    loss, z, target, first = build("os_scl").eval(), embeddings(rng), soft(rng), torch.tensor([0, 0, 1, 1, 1, 2, 3, 3])
    h = loss.head(z)
    contrastive = contrast(h, same_class(first), 0.02).sum() / BATCH * (0.02 / 0.07)  # no positive counts as 0
    expected = contrastive + loss.arcface(h, target, {"first": first})
    torch.testing.assert_close(loss(z, target, {"first": first}), expected)
    assert loss.arcface.m == 0.4


def test_fine_tuning_continues_from_the_projectors_first_layer(rng):
    pretrained, tuned, z = build("supcon", projector=True).eval(), build("clp_scf").eval(), embeddings(rng)
    tuned.head.load_state_dict(pretrained.head.state_dict())
    torch.testing.assert_close(tuned.embed(z), pretrained.embed(z))
    torch.testing.assert_close(tuned.logits(z), 30.0 * unit(tuned.embed(z)) @ unit(tuned.centres).T)


def test_batch_hard_triplets_by_brute_force(rng):
    z, label = embeddings(rng), [0, 0, 1, 1, 1, 2, 3, 3]
    u, losses = rows(z), []
    for i in range(BATCH):
        distance = [float(np.linalg.norm(u[i] - v)) for v in u]
        positive = [distance[j] for j in range(BATCH) if j != i and label[j] == label[i]]
        negative = [distance[j] for j in range(BATCH) if label[j] != label[i]]
        if positive:
            losses.append(max(0.3 + max(positive) - min(negative), 0))
    assert float(build("triplet")(z, hard(label))) == pytest.approx(np.mean(losses), rel=1e-9)


def test_losses_of_pairs_are_zero_without_any_pair(rng):
    z = embeddings(rng, n=CLASSES)
    for name in ("supcon", "triplet", "scan"):
        assert float(build(name)(z, hard(range(CLASSES)))) == 0.0


# ---- selective contrastive loss


def test_geometric_median_by_hand():
    square = torch.tensor([[0.0, 0], [2, 0], [0, 2], [2, 2], [1, 1]]).double()
    torch.testing.assert_close(geometric_median(square), torch.ones(2).double())
    line = torch.tensor([[0.0], [1], [100]]).double()  # the median, where the mean is 33.7
    assert float(geometric_median(line)) == pytest.approx(1.0, abs=0.05)


def test_selection_trusts_clips_inside_the_growing_bound(rng):
    loss, Z = build("scan", warmup=1), embeddings(rng, n=400)
    assert loss.bound() == math.inf
    loss.update(Z)
    assert loss.bound() == math.inf  # epoch 0 is warm-up
    bounds = []
    for _ in range(30):
        loss.update(Z)
        bounds.append(loss.bound())
    assert np.all(np.diff(bounds) > 0)
    quantile = 12.591587  # of chi squared with 6 degrees of freedom at 0.95, from tables
    assert bounds[-1] == pytest.approx(quantile * (1 - 1 / math.log(30 + math.e)), rel=1e-6)
    inside = loss.confident(Z).double().mean()
    offset = Z.numpy() - loss.centre.numpy()
    squared = np.einsum("bi,ij,bj->b", offset, np.linalg.inv(offset.T @ offset / len(Z)), offset)
    assert float(inside) == pytest.approx(np.mean(squared <= bounds[-1]), abs=0.01)
    assert not loss.confident(Z.mean(0) + 50.0 * torch.ones(1, DIM).double()).any()


def test_distrusted_clips_form_no_positive_pairs(rng):
    loss, Z = build("scan", warmup=0), embeddings(rng, n=400)
    for _ in range(60):
        loss.update(Z)
    z = 0.3 * embeddings(rng)
    z[0] += 100.0
    target = hard([0, 0, 0, 1, 1, 1, 2, 2])
    expected = [0, 1, 1, 1, 1, 1, 1, 1]
    assert loss.confident(z).long().tolist() == expected
    positive = same_class(target.argmax(1)) & torch.tensor(expected).bool()[:, None] & torch.tensor(expected).bool()
    torch.testing.assert_close(loss(z, target), contrast(z, positive, 0.07).sum() / 7)


# ---- combinations


def test_combined_losses_are_their_sums(rng):
    z, target, extra = embeddings(rng), soft(rng), extras(rng)
    ustc = build("ustc")
    attribute = plain_cross_entropy(ustc.attribute(z).detach().numpy(), extra["attribute"])
    section = plain_cross_entropy(ustc.logits(z).detach().numpy(), target)
    assert float(ustc(z, target, extra).detach()) == pytest.approx(section + float(ustc.triplet(z, target)) + attribute)
    hmic = build("hmic", weight=0.25)
    expected = 0.25 * hmic.section(z, target) + 0.75 * hmic.group(z, extra["group"])
    torch.testing.assert_close(hmic(z, target, extra), expected)
    subspace = build("subspace", weight=0.5)
    parts = subspace.parts[0](z[:, :3], target) + subspace.parts[1](z[:, 3:], target)
    torch.testing.assert_close(subspace(z, target), subspace.whole(z, target) + 0.5 * parts)
    featex = build("featex").eval()
    pseudo = featex.pseudo(extra["exchanged"], extra["exchanged_target"])
    torch.testing.assert_close(featex(z, target, extra), featex.classes(z, target) + pseudo)


@pytest.mark.parametrize("base", ["cross_entropy", "arcface", "scadacos"])
def test_unknown_attributes_count_for_nothing(base, rng):
    loss, z, group = build("hmic", weight=0.0, base=base).eval(), embeddings(rng), soft(rng, classes=3)
    group[3:] = 0
    known = loss.group(z[:3], group[:3])
    torch.testing.assert_close(loss(z, soft(rng), {"group": group}), 0.0 * known + known)
