"""FT-Transformer (the package `rtdl_revisiting_models`)."""

from collections.abc import Iterator

import rtdl_revisiting_models
from torch import Tensor, nn

from pipeline.groups import Group
from pipeline.model_config import FtTransformer
from pipeline.types import Features


class FTTransformer(nn.Module):
    """A token a column, then attention between them (Gorishniy et al. 2021, section 3.3)."""

    def __init__(self, config: FtTransformer, features: Features) -> None:
        super().__init__()
        self.has_num, self.has_cat = features.n_num > 0, bool(features.cardinalities)
        self.transformer = rtdl_revisiting_models.FTTransformer(
            n_cont_features=features.n_num,
            cat_cardinalities=list(features.cardinalities),
            d_out=features.n_outputs,
            n_blocks=config.n_blocks,
            d_block=config.d_block,
            attention_n_heads=config.n_heads,
            attention_dropout=config.attention_dropout,
            ffn_d_hidden=None,
            ffn_d_hidden_multiplier=config.ffn_factor,
            ffn_dropout=config.dropout,
            residual_dropout=config.residual_dropout,
        )

    def forward(self, num: Tensor, cat: Tensor) -> Tensor:
        """num (B, n_num) and cat (B, n_cat) to outputs (B, 1, C)."""
        out: Tensor = self.transformer(num if self.has_num else None, cat if self.has_cat else None)
        return out.unsqueeze(1)

    def parameter_groups(self) -> Iterator[Group]:
        """As the package has them: embeddings, norms and biases do not decay."""
        for group in self.transformer.make_parameter_groups():
            yield Group(list(group["params"]), decays=group.get("weight_decay") != 0)
