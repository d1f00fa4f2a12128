"""RealMLP: the fully connected network with rates of their own for its parts."""

from collections.abc import Iterator

from torch import nn

from pipeline.groups import Group
from pipeline.model_config import RealMlp
from pipeline.networks.activations import Parametric
from pipeline.networks.mlp import MLP, Scale
from pipeline.types import Features


class RealMLP(MLP):
    """The MLP of the recipe (Holzmüller et al. 2024)."""

    def __init__(self, config: RealMlp, features: Features) -> None:
        chosen = "mish" if features.task == "regression" else "selu"
        activation = chosen if config.activation == "auto" else config.activation
        super().__init__(config.model_copy(update={"activation": activation}), features)
        self.config, self.rate = config, config.regression_lr_factor if features.task == "regression" else 1.0

    def parameter_groups(self) -> Iterator[Group]:
        """The weights by rate; all but the biases of layers decay."""
        for module in self.modules():
            own = dict(module.named_parameters(recurse=False))
            if isinstance(module, nn.Linear):
                yield Group([own.pop("weight")], self.rate)
                yield Group(list(own.values()), self.rate * self.config.bias_lr_factor, decays=False)
            elif own:
                yield Group(list(own.values()), self.rate * self._factor(module))

    def _factor(self, module: nn.Module) -> float:
        if isinstance(module, Scale):
            return self.config.scale_lr_factor
        if isinstance(module, Parametric):
            return self.config.activation_lr_factor
        of_numbers = self.inputs.numbers.modules() if self.inputs.numbers else ()
        return self.config.num_embedding_lr_factor if module in of_numbers else 1.0
