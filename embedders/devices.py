"""Where embedders compute: the processor, or an accelerator where torch sees one."""

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
