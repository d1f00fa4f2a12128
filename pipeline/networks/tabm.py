"""TabM: K networks in one (the package `tabm`)."""

import tabm
from torch import Tensor, nn

from pipeline.model_config import Tabm
from pipeline.networks.inputs import Inputs
from pipeline.types import Features


class TabM(nn.Module):
    """Inputs, K views of them, an MLP of shared weights with cheap factors a member, an output layer a member."""

    def __init__(self, config: Tabm, features: Features) -> None:
        super().__init__()
        self.inputs, self.n_members = Inputs(config, features), config.n_members
        self.view = tabm.EnsembleView(k=config.n_members)
        self.backbone = tabm.make_tabm_backbone(
            d_in=self.inputs.width,
            n_blocks=config.n_blocks,
            d_block=config.d_block,
            dropout=config.dropout,
            k=config.n_members,
            arch_type=config.variant,
            start_scaling_init="random-signs" if self.inputs.numbers is None else "normal",  # as the package advises
            start_scaling_init_chunks=self.inputs.widths,
        )
        self.output = tabm.LinearEnsemble(config.d_block, features.n_outputs, k=config.n_members)

    def forward(self, num: Tensor, cat: Tensor) -> Tensor:
        """num (B, n_num) and cat (B, n_cat) to outputs (B, K, C)."""
        out: Tensor = self.output(self.backbone(self.view(self.inputs(num, cat))))
        return out
