"""A reference implementation of BEATs from its description, in float64 with plain loops.

Each step stores its result in the dict `steps` under the name of its module.
"""

import math
from collections.abc import Mapping

import numpy as np

State = Mapping[str, np.ndarray]


def fbank(wave: np.ndarray, n_mels: int = 128, rate: int = 16000) -> np.ndarray:
    """Kaldi's log-mel filter bank of one wave, by the definition of each step: (frame, mel)."""

    def mel(hz: float) -> float:
        return 1127.0 * math.log(1 + hz / 700.0)

    window = [(0.5 - 0.5 * math.cos(2 * math.pi * i / 399)) ** 0.85 for i in range(400)]
    low, step = mel(20.0), (mel(rate / 2) - mel(20.0)) / (n_mels + 1)
    times = np.arange(512)
    rows = []
    for start in range(0, len(wave) - 399, 160):
        frame = wave[start : start + 400].astype(np.float64)
        frame = frame - frame.mean()
        emphasised = [frame[0] - 0.97 * frame[0]] + [frame[i] - 0.97 * frame[i - 1] for i in range(1, 400)]
        padded = np.zeros(512)
        padded[:400] = np.array(emphasised) * window
        angle = -2 * np.pi * times / 512
        power = [np.dot(padded, np.cos(k * angle)) ** 2 + np.dot(padded, np.sin(k * angle)) ** 2 for k in range(256)]
        row = []
        for m in range(n_mels):
            left, centre, right = low + m * step, low + (m + 1) * step, low + (m + 2) * step
            energy = 0.0
            for k in range(256):
                at = mel(k * rate / 512)
                if left < at < right:
                    energy += power[k] * min((at - left) / (centre - left), (right - at) / (right - centre))
            row.append(math.log(max(energy, float(np.finfo(np.float32).eps))))
        rows.append(row)
    return np.array(rows)


def gelu(x: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))))(x)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def norm(x: np.ndarray, state: State, name: str) -> np.ndarray:
    rows = [(row - row.mean()) / math.sqrt(((row - row.mean()) ** 2).mean() + 1e-5) for row in x]
    return np.array(rows) * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(x: np.ndarray, state: State, name: str) -> np.ndarray:
    return np.array([state[f"{name}.weight"] @ row + state[f"{name}.bias"] for row in x])


def patches(S: np.ndarray, state: State, size: int) -> np.ndarray:
    """Tokens (token, embed), in which frequency varies fastest."""
    kernel = state["patch_embedding.weight"]
    tokens = []
    for t in range(len(S) // size):
        for f in range(S.shape[1] // size):
            patch = S[t * size : (t + 1) * size, f * size : (f + 1) * size]
            tokens.append([(kernel[c, 0] * patch).sum() for c in range(len(kernel))])
    return np.array(tokens)


def positions(x: np.ndarray, state: State, groups: int) -> np.ndarray:
    """Grouped convolution along the tokens with weights normalised per tap, then GELU."""
    g, v = state["encoder.pos_conv.0.weight_g"], state["encoder.pos_conv.0.weight_v"]
    dim, width, taps = v.shape
    weight = np.empty_like(v)
    for tap in range(taps):
        weight[:, :, tap] = g[0, 0, tap] * v[:, :, tap] / math.sqrt((v[:, :, tap] ** 2).sum())
    out = np.tile(state["encoder.pos_conv.0.bias"], (len(x), 1))
    for token in range(len(x)):
        for tap in range(taps):
            source = token + tap - taps // 2
            if not 0 <= source < len(x):
                continue
            for channel in range(dim):
                first = channel // (dim // groups) * width
                out[token, channel] += weight[channel, :, tap] @ x[source, first : first + width]
    return gelu(out)


def bucket(step: int, n_buckets: int, max_distance: int) -> int:
    """Bucket of a key `step` tokens after its query."""
    half = n_buckets // 2
    exact = half // 2
    offset = half if step > 0 else 0
    distance = abs(step)
    if distance < exact:
        return offset + distance
    share = math.log(distance / exact) / math.log(max_distance / exact)
    return offset + min(half - 1, exact + int(share * (half - exact)))


def attention(x: np.ndarray, state: State, cfg: Mapping, layer: int, steps: dict) -> np.ndarray:
    name = f"encoder.layers.{layer}.self_attn"
    q, k, v = (linear(x, state, f"{name}.{kind}_proj") for kind in "qkv")
    steps |= {f"{name}.q_proj": q, f"{name}.k_proj": k, f"{name}.v_proj": v}
    heads, n = cfg["encoder_attention_heads"], len(x)
    width = x.shape[1] // heads
    mixed = np.zeros_like(x)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for i in range(n):
            factor = 0.0
            if cfg["relative_position_embedding"]:
                factor = 1.0
            if cfg["gru_rel_pos"]:
                eight = state[f"{name}.grep_linear.weight"] @ q[i, part] + state[f"{name}.grep_linear.bias"]
                gate_a, gate_b = sigmoid(eight[:4].sum()), sigmoid(eight[4:].sum())
                factor = gate_a * (gate_b * state[f"{name}.grep_a"][0, head, 0, 0] - 1) + 2
                steps.setdefault(f"{name}.grep_linear", np.zeros((heads, n, 8)))[head, i] = eight
                steps.setdefault(f"{name}.gate", np.zeros((heads, n)))[head, i] = factor
            logits = np.empty(n)
            for j in range(n):
                logits[j] = q[i, part] @ k[j, part] / math.sqrt(width)
                if factor:
                    table = state["encoder.layers.0.self_attn.relative_attention_bias.weight"]
                    bias = table[bucket(j - i, cfg["num_buckets"], cfg["max_distance"]), head]
                    steps.setdefault("position bias", np.zeros((heads, n, n)))[head, i, j] = bias
                    logits[j] += factor * bias
            weights = np.exp(logits - logits.max())
            weights /= weights.sum()
            mixed[i, part] = sum(weights[j] * v[j, part] for j in range(n))
    steps[f"{name}.out_proj input"] = mixed
    steps[f"{name}.out_proj"] = linear(mixed, state, f"{name}.out_proj")
    return steps[f"{name}.out_proj"]


def transformer_layer(x: np.ndarray, state: State, cfg: Mapping, layer: int, steps: dict) -> np.ndarray:
    name = f"encoder.layers.{layer}"
    scale = (2 * cfg["encoder_layers"]) ** 0.25 if cfg["deep_norm"] else 1.0

    def keep(key: str, value: np.ndarray) -> np.ndarray:
        steps[f"{name}.{key}"] = value
        return value

    def feed_forward(y: np.ndarray) -> np.ndarray:
        inner = keep("fc1", linear(y, state, f"{name}.fc1"))
        return keep("fc2", linear(keep("fc2 input", gelu(inner)), state, f"{name}.fc2"))

    if cfg["layer_norm_first"]:
        first = keep("self_attn_layer_norm", norm(x, state, f"{name}.self_attn_layer_norm"))
        x = x + keep("self_attn", attention(first, state, cfg, layer, steps))
        return x + feed_forward(keep("final_layer_norm", norm(x, state, f"{name}.final_layer_norm")))
    x = x * scale + keep("self_attn", attention(x, state, cfg, layer, steps))
    x = keep("self_attn_layer_norm", norm(x, state, f"{name}.self_attn_layer_norm"))
    x = x * scale + feed_forward(x)
    return keep("final_layer_norm", norm(x, state, f"{name}.final_layer_norm"))


def beats(wave: np.ndarray, state: State, cfg: Mapping) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Hidden states of one wave, input of the first layer first, and all intermediate results by module name."""
    steps: dict[str, np.ndarray] = {}
    S = steps["front_end"] = (fbank(wave * 2.0**15) - 15.41663) / (2 * 6.55582)
    x = steps["patch_embedding"] = patches(S, state, cfg["input_patch_size"])
    x = steps["layer_norm"] = norm(x, state, "layer_norm")
    if "post_extract_proj.weight" in state:
        x = steps["post_extract_proj"] = linear(x, state, "post_extract_proj")
    steps["encoder.pos_conv"] = positions(x, state, cfg["conv_pos_groups"])
    x = x + steps["encoder.pos_conv"]
    if not cfg["layer_norm_first"]:
        x = steps["encoder.layer_norm"] = norm(x, state, "encoder.layer_norm")
    states = [x]
    for layer in range(cfg["encoder_layers"]):
        x = transformer_layer(x, state, cfg, layer, steps)
        steps[f"encoder.layers.{layer}"] = x
        states.append(x)
    if cfg["layer_norm_first"]:
        states[-1] = steps["encoder.layer_norm"] = norm(x, state, "encoder.layer_norm")
    return states, steps
