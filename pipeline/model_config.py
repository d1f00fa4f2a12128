"""The networks that a user may ask for, a section each."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.sections import Probability, Rate, Section, Whole

Activation = Literal[
    "sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "identity"
]  # fmt: skip
Init = Literal[
    "auto", "default", "zeros", "ones", "uniform", "normal",
    "kaiming_uniform", "kaiming_normal", "xavier_uniform", "xavier_normal", "data",
]  # fmt: skip


class Network(Section):
    """What every network has."""

    chosen: str | None = Field(description="what model=auto chose this network by; null: it was named")


class ModelSection(Network):
    """Fields that the networks share which take their columns as one flat vector."""

    d_embedding: Annotated[Whole, Field(ge=1, le=1024)] | None = Field(
        description="width of an embedded categorical column; null: 1.6 · levels^0.56, at most 50 (fastai's rule)"
    )
    num_embedding: Literal["none", "pbld", "periodic", "piecewise_linear"] = Field(
        description="what a continuous column becomes: none: its value; pbld: cosines with learned frequencies and "
        "phases, mixed, beside the value (RealMLP); periodic: sines and cosines, mixed, ReLU (Gorishniy et al. 2022); "
        "piecewise_linear: its place among quantiles, mixed (the same, as in TabM)"
    )
    d_num_embedding: Annotated[Whole, Field(ge=2, le=256)] | None = Field(
        description="width of a continuous column's embedding; null: 4 for pbld, 24 for periodic, else 16"
    )
    frequency_scale: Rate | None = Field(
        description="standard deviation of the first frequencies of pbld and periodic; null: 0.1, and 0.01 for periodic"
    )

    @model_validator(mode="after")
    def _embeddings_have_their_settings(self) -> Self:
        kind = self.num_embedding
        if self.d_num_embedding is not None and kind == "none":
            raise ValueError(f"d_num_embedding: needs a model.num_embedding, got none and {self.d_num_embedding}")
        if self.frequency_scale is not None and kind not in ("pbld", "periodic"):
            raise ValueError(f"frequency_scale: applies to model.num_embedding=pbld and periodic only, got {kind}")
        return self


Hidden = Annotated[
    tuple[Annotated[Whole, Field(ge=1, le=65536)], ...],
    Field(description="units of each hidden layer; [] is a linear model"),
]


class Mlp(ModelSection):
    """Fully connected network: per hidden layer linear, batch norm, activation, dropout."""

    name: Literal["mlp"]
    hidden: Hidden
    activation: Activation | tuple[Activation, ...] = Field(
        description="one for all hidden layers, or a list of one each"
    )
    parametric_activation: bool = Field(
        description="each unit mixes the activation with the identity, by a learned share that starts at 1 (RealMLP)"
    )
    init: Init | tuple[Init, ...] = Field(
        description="initial weights, one for all layers or a list of one each with the output layer last; "
        "auto: Kaiming for the ReLU family, Xavier for sigmoid and tanh; default: torch's own; uniform: ±1/√d; "
        "data: normal, every unit scaled to variance 1 over training rows, its bias through some of them (RealMLP)"
    )
    init_std: Rate | None = Field(description="standard deviation of init=normal; null: 0.05")
    dropout: Probability | tuple[Probability, ...] = Field(
        description="share of units dropped in training (inverted dropout), one for all hidden layers or a list"
    )
    batch_norm: bool | tuple[bool, ...] = Field(
        description="batch normalisation before the activation, one for all hidden layers or a list"
    )
    input_scale: bool = Field(description="a learned factor, from 1, on every input of the first layer (RealMLP)")
    parametrization: Literal["standard", "ntk"] = Field(
        description="ntk: weights are divided by √d_in where they are used, not where they begin (Jacot et al. 2018)"
    )
    clamp_output: bool = Field(description="in regression, predictions stay within the training targets' range")
    scale_lr_factor: Rate = Field(description="factor on optimizer.lr for model.input_scale")
    bias_lr_factor: Rate = Field(description="the same for the biases of linear layers")
    activation_lr_factor: Rate = Field(description="the same for model.parametric_activation")
    num_embedding_lr_factor: Rate = Field(description="the same for model.num_embedding")

    @model_validator(mode="after")
    def _lists_match_layers(self) -> Self:
        n_hidden = len(self.hidden)
        for field, n_layers in (("activation", 0), ("init", 1), ("dropout", 0), ("batch_norm", 0)):
            value = getattr(self, field)
            if isinstance(value, tuple) and len(value) != n_hidden + n_layers:
                layers = "one a hidden layer" + (" and one for the output layer" if n_layers else "")
                raise ValueError(
                    f"{field}: must be one value or a list of {n_hidden + n_layers} ({layers}), got {len(value)}"
                )
        inits = (self.init,) if isinstance(self.init, str) else self.init
        if self.init_std is not None and "normal" not in inits:
            raise ValueError(f"init_std: applies to model.init=normal only, got {','.join(inits)}")
        return self

    @property
    def shape(self) -> str:
        """The layers in a few words."""
        return str(list(self.hidden))


class RealMlp(Mlp):
    """RealMLP (Holzmüller et al. 2024): an MLP with numeric embeddings, learned scales and tuned schedules.

    model=realmlp also chooses the recipe's optimizer, scheduler, trainer and preprocess; each can be overridden.
    """

    name: Literal["realmlp"]  # type: ignore[assignment]  # the network is an MLP, its section's name is not
    activation: Activation | Literal["auto"] | tuple[Activation, ...] = Field(  # type: ignore[assignment]  # auto is its own
        description="one for all hidden layers, or a list of one each; auto: selu for classes, mish for regression"
    )
    regression_lr_factor: Rate = Field(description="factor on optimizer.lr for every weight, in regression")


class Tabm(ModelSection):
    """TabM (Gorishniy et al. 2024): k MLPs in one, that share weights but for cheap factors of their own, averaged."""

    name: Literal["tabm"]
    n_members: Annotated[Whole, Field(ge=1, le=1024)] = Field(description="MLPs in one, K")
    n_blocks: Annotated[Whole, Field(ge=1, le=64)] = Field(description="hidden layers")
    d_block: Annotated[Whole, Field(ge=1, le=65536)] = Field(description="units of a hidden layer")
    dropout: Probability = Field(description="share of units dropped in training")
    variant: Literal["tabm", "tabm-mini"] = Field(
        description="tabm: every layer has factors a member; tabm-mini: the input only"
    )

    @property
    def shape(self) -> str:
        """The layers in a few words."""
        return f"{self.n_blocks} x {self.d_block}, {self.n_members} members"


class ResNet(ModelSection):
    """ResNet for tables (Gorishniy et al. 2021): residual blocks of batch norm, linear, ReLU, dropout, linear."""

    name: Literal["resnet"]
    n_blocks: Annotated[Whole, Field(ge=1, le=64)] = Field(description="residual blocks")
    d_block: Annotated[Whole, Field(ge=1, le=65536)] = Field(description="width between blocks")
    hidden_factor: Rate = Field(description="units inside a block, as a multiple of d_block")
    dropout: Probability = Field(description="share of units dropped inside a block")
    residual_dropout: Probability = Field(description="share of a block's outputs dropped")

    @property
    def shape(self) -> str:
        """The layers in a few words."""
        return f"{self.n_blocks} blocks of {self.d_block}"


class FtTransformer(Network):
    """FT-Transformer (Gorishniy et al. 2021): every column is a token, attention runs between columns."""

    name: Literal["ft_transformer"]
    n_blocks: Annotated[Whole, Field(ge=1, le=64)] = Field(description="transformer blocks")
    d_block: Annotated[Whole, Field(ge=1, le=8192)] = Field(description="width of a token; a multiple of n_heads")
    n_heads: Annotated[Whole, Field(ge=1, le=256)] = Field(description="attention heads")
    ffn_factor: Rate = Field(description="units of a block's feed-forward layer, as a multiple of d_block")
    attention_dropout: Probability = Field(description="share of attention weights dropped")
    dropout: Probability = Field(description="share of the feed-forward layer's units dropped")
    residual_dropout: Probability = Field(description="share of a block's outputs dropped")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.d_block % self.n_heads:
            raise ValueError(f"d_block: must be a multiple of model.n_heads={self.n_heads}, got {self.d_block}")
        return self

    @property
    def shape(self) -> str:
        """The layers in a few words."""
        return f"{self.n_blocks} blocks of {self.d_block}, {self.n_heads} heads"


Model = Annotated[Mlp | RealMlp | Tabm | ResNet | FtTransformer, Field(discriminator="name")]
