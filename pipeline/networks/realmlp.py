"""RealMLP: the fully connected network with an activation and a rate by the task."""

from torch import nn

from pipeline.model_config import RealMlp
from pipeline.networks.mlp import MLP
from pipeline.types import Features


class RealMLP(MLP):
    """The MLP of the recipe (Holzmüller et al. 2024)."""

    def __init__(self, config: RealMlp, features: Features) -> None:
        chosen = "mish" if features.task == "regression" else "selu"
        activation = chosen if config.activation == "auto" else config.activation
        super().__init__(config.model_copy(update={"activation": activation}), features)
        self.rate = config.regression_lr_factor if features.task == "regression" else 1.0

    def decays(self, parameter: nn.Parameter, *, is_bias: bool) -> bool:
        """All but the biases of layers."""
        return not is_bias
