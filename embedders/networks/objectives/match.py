"""A network that cleans a noisy pair of channels: its tokens are trained to match those of the clean near sound."""

import torch
from torch import Tensor

from embedders.networks.objectives.names import Features
from embedders.networks.objectives.objective import Objective


class Match(Objective):
    """A network trained by the squared difference between corrected tokens and tokens of the clean sound.

    Besides `front` and `forward`, which gives embeddings, the network has three methods. `render(waves)` turns clean
    waves (batch, time) into a noisy pair (batch, 2, time) and its clean near wave (batch, time). `tokens(pair)` and
    `clean_tokens(wave)` compute the tokens that are compared.
    """

    def objective(self, features: Features, target: Tensor, first: Tensor) -> Tensor:
        """Mean squared error over all tokens of clean waves, rendered anew; labels are not used."""
        with torch.no_grad():
            pair, clean = self.network.render(*features)
            expected = self.network.clean_tokens(clean)
        difference: Tensor = self.network.tokens(pair).float() - expected.float()
        return difference.square().mean()

    def vectors(self, features: Features, output: str) -> Tensor:
        """Embeddings (batch, columns) or (batch, views, columns) of recorded pairs."""
        embeddings: Tensor = self.network(*features)
        return embeddings
