"""Files of PyTorch (.pt, .pth): tensors and plain lists, read by the package of embedders."""

from functools import partial

import numpy as np

from featstore import registry
from featstore.errors import DataError
from featstore.exchange.kinds.content import Content, Source, check_expanded
from featstore.exchange.kinds.named import Named, content_of


def read_torch(source: Source) -> Content:
    """The embeddings of a file of torch.save, by its reader that runs no code; lists of texts describe the rows."""
    try:
        read = registry.tensor_reader()
    except ImportError as error:
        raise DataError(f"{source.path}: needs PyTorch ({error}); or save the array with np.save") from error
    values = read(source.path, partial(check_expanded, source.path))
    return content_of(
        source,
        {name: Named(value.shape, value.dtype.kind, partial(np.asarray, value)) for name, value in values.items()},
    )
