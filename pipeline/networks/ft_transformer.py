"""FT-Transformer (the package `rtdl_revisiting_models`)."""

import math
from collections.abc import Iterator
from typing import cast

import rtdl_revisiting_models
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.groups import Group
from pipeline.model_config import FtTransformer
from pipeline.networks.dropout import Dropout, with_own_dropout
from pipeline.types import Features


class Attention(nn.Module):
    """The package's attention with its weights, for any number of rows: its own `len()` is a constant once exported."""

    def __init__(self, given: rtdl_revisiting_models.MultiheadAttention, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = given.W_q, given.W_k, given.W_v, given.W_out
        self.n_heads, self.dropout = n_heads, Dropout(dropout)

    def forward(self, x_q: Tensor, x_kv: Tensor) -> Tensor:
        """Queries from x_q (B, Q, d), keys and values from x_kv (B, T, d), to (B, Q, d)."""
        q, k, v = (self._heads(layer(x)) for layer, x in ((self.query, x_q), (self.key, x_kv), (self.value, x_kv)))
        if self.training and self.dropout.p > 0:  # what torch would do too, but with the layer's own random numbers
            x = self.dropout(torch.softmax(q @ k.mT / math.sqrt(q.shape[3]), dim=3)) @ v  # (B, H, Q, d/H)
        else:
            x = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.out(x.transpose(1, 2).flatten(2))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        """(B, T, d) to (B, H, T, d/H)."""
        heads: Tensor = x.unflatten(2, (self.n_heads, -1))
        return heads.transpose(1, 2)


class FTTransformer(nn.Module):
    """A token a column, then attention between them (Gorishniy et al. 2021, section 3.3)."""

    def __init__(self, config: FtTransformer, features: Features) -> None:
        super().__init__()
        self.has_num, self.has_cat = features.n_num > 0, bool(features.cardinalities)
        transformer = rtdl_revisiting_models.FTTransformer(
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
        for block in transformer.backbone.blocks:
            block["attention"] = Attention(block["attention"], config.n_heads, config.attention_dropout)
        self.transformer = cast(rtdl_revisiting_models.FTTransformer, with_own_dropout(transformer))

    def forward(self, num: Tensor, cat: Tensor) -> Tensor:
        """num (B, n_num) and cat (B, n_cat) to outputs (B, 1, C)."""
        out: Tensor = self.transformer(num if self.has_num else None, cat if self.has_cat else None)
        return out.unsqueeze(1)

    def parameter_groups(self) -> Iterator[Group]:
        """As the package has them: embeddings, norms and biases do not decay."""
        for group in self.transformer.make_parameter_groups():
            yield Group(list(group["params"]), decays=group.get("weight_decay") != 0)
