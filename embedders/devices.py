"""Where embedders compute: the processor, or an accelerator where torch sees one."""

from typing import Any

from featstore.errors import OptionError


def choose_device(choice: str) -> str:
    """The device for `auto`, `cpu`, `cuda`; OptionError where torch sees no such device."""
    if choice == "cpu":
        return choice
    import torch

    if torch.cuda.is_available():
        return "cuda" if choice == "auto" else choice
    if choice == "auto":
        return "cpu"
    raise OptionError(f"--device {choice}: torch sees no CUDA device here; use cpu")


def devices_seen() -> dict[str, Any]:
    """The version of torch, the GPUs that it sees with their memory in bytes, and why there are none."""
    import torch

    why, devices = "", []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            devices.append({"name": torch.cuda.get_device_name(number), "free": free, "total": total})
    elif torch.version.cuda is None and torch.version.hip is None:
        why = f"torch {torch.__version__} is built without CUDA"
    else:
        built = torch.version.cuda or torch.version.hip
        why = f"torch {torch.__version__} (built for {built}) sees no device; check the driver and CUDA_VISIBLE_DEVICES"
    return {"torch": str(torch.__version__), "devices": devices, "why": why}
