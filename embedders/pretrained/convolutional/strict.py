"""Weights of a published network into ours, strictly: names, shapes, types and finite values."""

from collections.abc import Mapping

from torch import Tensor, nn

from embedders.pretrained.weight_files import SHOWN, refuse_misfits


def load_strictly(network: nn.Module, tensors: Mapping[str, Tensor], kind: str) -> None:
    """Assign tensors to a network on the meta device, for inference; ValueError says what does not fit `kind`."""
    advice = f"Damaged, or not {kind}; fetch it again"
    expected = network.state_dict()
    try:
        refuse_misfits(tensors, expected, within="the checkpoint", shapes=kind)
    except ValueError as error:
        raise ValueError(f"{error}. {advice}") from error
    problems = {
        "of another type": [
            name for name, tensor in tensors.items() if tensor.is_floating_point() != expected[name].is_floating_point()
        ],
        "with NaN or infinite values": [name for name, tensor in tensors.items() if not tensor.isfinite().all()],
        "with negative variances": [
            name for name, tensor in tensors.items() if name.endswith("running_var") and (tensor < 0).any()
        ],
    }
    for problem, names in problems.items():
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            raise ValueError(f"tensors of the checkpoint {problem}: {', '.join(names[:SHOWN])}{more}. {advice}")
    network.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}, assign=True)
    network.eval().requires_grad_(False)
