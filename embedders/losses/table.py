"""The table of losses, and how a loss is called.

A loss is a module `loss(z, target, extra=None) -> scalar`. `z` (batch, dim) is the output of the network; `target`
(batch, n_classes) float has rows that sum to 1, because augmentations mix labels. `extra` holds inputs that only some
losses use, by name; a class lists those it requires in `needs`:

    first             (batch,) int64: class of each clip before mixing; default: the class of largest weight
    attribute         (batch, n_attributes) float: attribute labels; a row of zeros means unknown
    group             (batch, n_groups) float: attribute-group labels; a row of zeros means unknown
    view_of           (batch,) int64: rows with the same number are views of one clip
    own               not given, but computed by the network: `network.own_loss(*features) -> scalar`
    exchanged         (batch, dim): embeddings after FeatEx
    exchanged_target  (batch, factor * n_classes): their labels

Losses compute in float32 or float64, even under autocast. All have `embed(z)`, the embedding to store; those that
classify also have `logits(z)` and `posterior(z)`. If `epochwise` is set, `update(Z)` must be called before every epoch
with the embeddings of the whole training set. Adaptive scales and statistics are buffers, so checkpoints hold them.
Importing this module loads no heavy library; making a loss does.
"""

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

from featstore.spec import unknown

if TYPE_CHECKING:
    from embedders.losses.base import Loss

LOSSES = {
    "cross_entropy": "embedders.losses.margin:CrossEntropy",
    "arcface": "embedders.losses.margin:ArcFace",
    "arcmix": "embedders.losses.margin:ArcFace",  # ArcFace on mixed labels is ArcMix
    "noisy_arcmix": "embedders.losses.margin:NoisyArcMix",
    "clp_scf": "embedders.losses.contrastive:FineTuned",
    "adacos": "embedders.losses.adacos:AdaCos",
    "scadacos": "embedders.losses.adacos:SubclusterAdaCos",
    "adaproj": "embedders.losses.adacos:AdaProj",
    "supcon": "embedders.losses.contrastive:SupCon",
    "os_scl": "embedders.losses.contrastive:OneStageSupCon",
    "triplet": "embedders.losses.contrastive:BatchHardTriplet",
    "scan": "embedders.losses.selective:SelectiveContrastive",
    "ntxent": "embedders.losses.contrastive:NTXent",
    "own": "embedders.losses.base:Own",
    "ustc": "embedders.losses.combined:AttributeTriplet",
    "hmic": "embedders.losses.combined:Hierarchical",
    "subspace": "embedders.losses.combined:Subspace",
    "featex": "embedders.losses.combined:Exchanged",
}


def make_loss(name: str, n_classes: int, dim: int, **params: Any) -> "Loss":
    """Loss by name; ValueError lists the known names, or its parameters, with the nearest first."""
    known = loss_parameters(name)
    for key in params:
        if key not in known:
            raise ValueError(unknown(f"parameter of loss {name}", key, known))
    for key, parameter in known.items():
        if parameter is inspect.Parameter.empty and key not in params:
            raise ValueError(f"loss {name} needs a value for {key}, such as loss.{key}=2")
    loss: Loss = _load(name)(n_classes, dim, **params)
    return loss


def loss_parameters(name: str) -> dict[str, Any]:
    """Defaults of a loss's parameters but n_classes and dim; `inspect.Parameter.empty` where a value is required."""
    signature = inspect.signature(_load(name)).parameters
    return {key: parameter.default for key, parameter in signature.items() if key not in ("n_classes", "dim")}


def loss_needs(name: str) -> tuple[str, ...]:
    """Names of the entries of `extra` that a loss requires."""
    needs: tuple[str, ...] = _load(name).needs
    return needs


def _load(name: str) -> Any:
    if name not in LOSSES:
        raise ValueError(unknown("loss", name, LOSSES))
    module, cls = LOSSES[name].split(":")
    return getattr(import_module(module), cls)
