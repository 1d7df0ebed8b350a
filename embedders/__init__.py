"""Waveforms to vectors: the table of embedders, and how to make one from a line of text (see `featstore.spec`).

Importing this package loads no heavy library; making an embedder does.
"""

import hashlib
import inspect
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from featstore import registry
from featstore.errors import DataError
from featstore.spec import kinds_of, unknown

if TYPE_CHECKING:
    from featstore.building.work import Embedder

EMBEDDERS = {
    "logmel": "embedders.statistics.logmel:LogMel",
    "twfr": "embedders.statistics.twfr:TWFR",
    "descriptors": "embedders.statistics.descriptors:Descriptors",
    "beats": "embedders.pretrained.beats:BEATs",
    "wav2vec2": "embedders.pretrained.encoder:Wav2Vec2",
    "hubert": "embedders.pretrained.encoder:HuBERT",
    "wavlm": "embedders.pretrained.encoder:WavLM",
    "ast": "embedders.pretrained.encoder:AST",
    "encoder": "embedders.pretrained.encoder:Encoder",
    "mn04": "embedders.pretrained.convolutional.mn04:MN04",
    "crepe": "embedders.pretrained.convolutional.crepe:Crepe",
    "stgram": "embedders.networks.classifiers.stgram:STgram",
    "two_branch": "embedders.networks.classifiers.two_branch:TwoBranch",
    "multires": "embedders.networks.classifiers.two_branch:MultiRes",
    "tdnn": "embedders.networks.classifiers.tdnn:TDNN",
    "sw_wavenet": "embedders.networks.classifiers.wavenet:SWWaveNet",
    "fte_net": "embedders.networks.classifiers.fte_net:FTENet",
    "estm": "embedders.networks.classifiers.estm:ESTM",
    "ae": "embedders.networks.reconstruction.dense:AE",
    "idnn": "embedders.networks.reconstruction.dense:IDNN",
    "transae": "embedders.networks.reconstruction.transae:TransAE",
    "idcaf": "embedders.networks.reconstruction.idcaf:IDCAF",
    "anp": "embedders.networks.reconstruction.anp:ANP",
    "made": "embedders.networks.density.made:MADE",
    "glow": "embedders.networks.density.glow:Glow",
    "aegan": "embedders.networks.reconstruction.aegan:AEGAN",
    "dp_mae": "embedders.networks.reconstruction.dp_mae:DPMAE",
    "stargan": "embedders.networks.translation.stargan:StarGAN",
    "mobilenetv2": "embedders.networks.classifiers.mobilenetv2:MobileNetV2",
    "finetune": "embedders.networks.finetuned.finetune:FineTune",
    "na_beats": "embedders.networks.finetuned.na_beats:NABeats",
}

DEVICE = "device"
"""Parameter of embedders that compute on an accelerator; set by --device, never by a line of text."""

PROTOCOL = ("name", "fingerprint", "sample_rate_hz", "shape", "views", "config", "min_samples", "embed")
"""What every embedder has, see `featstore.building.work.Embedder`."""


def create(spec: str, device: str = "cpu") -> "Embedder":
    """Embedder from its line of text; `registry.factory(create, spec, device)` can be sent to a worker process."""
    name, params = parse_embedder(spec)
    return make_embedder(name, **params, device=device)


def make_embedder(name: str, **params: Any) -> "Embedder":
    """Embedder by name; ValueError lists the known names, or its parameters, with the nearest first."""
    cls = registry.find("embedder", name)
    kinds = kinds_of(cls)
    device = params.pop(DEVICE, None)
    for key in params:
        if key not in kinds:
            raise ValueError(unknown(f"parameter of {name}", key, [kind for kind in kinds if kind != DEVICE]))
    if device is not None and DEVICE in kinds:
        params[DEVICE] = device
    absent = [key for key, p in inspect.signature(cls).parameters.items() if p.default is p.empty and key not in params]
    if absent:
        raise ValueError(f"{absent[0]} must be given, as {name}:{absent[0]}=VALUE")
    embedder: Embedder = cls(**params)
    missing = [attribute for attribute in PROTOCOL if not hasattr(embedder, attribute)]
    if missing and name not in EMBEDDERS:
        raise DataError(f"embedder {name} lacks {', '.join(missing)}; featstore.testing.check_embedder explains each")
    return embedder


def parse_embedder(spec: str) -> tuple[str, dict[str, Any]]:
    """Name and typed parameters of a line of text; ValueError says what does not fit."""
    return registry.parse("embedder", spec, reserved=(DEVICE,))


def fingerprint(kind: str, config: Mapping[str, object], weights: bytes = b"") -> str:
    """The sha256 (hex) over class name, config and weights: equal exactly if two embedders give the same numbers."""
    text = json.dumps([kind, dict(config)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode() + b"\0" + weights).hexdigest()
