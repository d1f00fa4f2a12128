"""ResNet for tables (the package `rtdl_revisiting_models`)."""

import rtdl_revisiting_models
from torch import Tensor, nn

from pipeline.model_config import ResNet as ResNetConfig
from pipeline.networks.dropout import with_own_dropout
from pipeline.networks.inputs import Inputs
from pipeline.types import Features


class ResNet(nn.Module):
    """Inputs as one vector, then residual blocks (Gorishniy et al. 2021, section 3.2)."""

    def __init__(self, config: ResNetConfig, features: Features) -> None:
        super().__init__()
        self.inputs = Inputs(config, features)
        blocks = rtdl_revisiting_models.ResNet(
            d_in=self.inputs.width,
            d_out=features.n_outputs,
            n_blocks=config.n_blocks,
            d_block=config.d_block,
            d_hidden_multiplier=config.hidden_factor,
            dropout1=config.dropout,
            dropout2=config.residual_dropout,
        )
        self.blocks = with_own_dropout(blocks)

    def forward(self, num: Tensor, cat: Tensor) -> Tensor:
        """num (B, n_num) and cat (B, n_cat) to outputs (B, 1, C)."""
        out: Tensor = self.blocks(self.inputs(num, cat))
        return out.unsqueeze(1)
