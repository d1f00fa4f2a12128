"""The fully connected network, layer by layer."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.groups import groups_of
from pipeline.model_config import Mlp
from pipeline.networks import count_parameters
from pipeline.networks.mlp import MLP, BatchNorm
from pipeline.types import Features

FEATURES = Features("multiclass", n_num=4, cardinalities=(), n_outputs=3)
PLAIN: dict[str, Any] = {
    "name": "mlp",
    "hidden": (5, 6),
    "activation": "relu",
    "init": "auto",
    "init_std": None,
    "dropout": 0.0,
    "batch_norm": False,
    "chosen": None,
    "d_embedding": None,
    "num_embedding": "none",
    "d_num_embedding": None,
    "frequency_scale": None,
    "parametric_activation": False,
    "input_scale": False,
    "parametrization": "standard",
    "clamp_output": False,
    "scale_lr_factor": 1,
    "bias_lr_factor": 1,
    "activation_lr_factor": 1,
    "num_embedding_lr_factor": 1,
}


def network(**settings: Any) -> MLP:
    torch.manual_seed(0)
    return MLP(Mlp(**(PLAIN | settings)), FEATURES)


def kinds(net: MLP) -> list[str]:
    return [type(layer).__name__ for layer in net.layers]


def test_layer_is_linear_norm_activation_dropout_then_a_linear_output() -> None:
    net = network(hidden=(5,), dropout=0.25, batch_norm=True)
    assert kinds(net) == ["Linear", "BatchNorm", "ReLU", "Dropout", "Linear"]
    assert isinstance(net.layers[3], nn.Dropout)
    assert net.layers[3].p == 0.25


def test_lists_give_each_layer_its_own() -> None:
    net = network(activation=("tanh", "gelu"), dropout=(0.0, 0.5), batch_norm=(True, False))
    assert kinds(net) == ["Linear", "BatchNorm", "Tanh", "Linear", "GELU", "Dropout", "Linear"]


def test_init_list_has_the_output_layer_last() -> None:
    net = network(init=("zeros", "ones", "normal"), init_std=9.0)
    first, second, output = (parameter for parameter in net.parameters() if parameter.ndim == 2)
    assert (first == 0).all()
    assert (second == 1).all()
    assert output.std().item() == pytest.approx(9, rel=0.5)


def test_without_hidden_layers_it_is_a_linear_model() -> None:
    net = network(hidden=(), activation=(), init=("ones",))
    assert kinds(net) == ["Linear"]
    num = torch.randn(7, 4)
    torch.testing.assert_close(net(num, torch.empty(7, 0))[:, 0], num.sum(dim=1, keepdim=True).expand(7, 3))


def test_outputs_are_the_formulas() -> None:
    net = network(activation="tanh", init="default")
    w = {name: value.double().numpy() for name, value in net.state_dict().items()}
    x = np.random.default_rng(0).normal(size=(9, 4))
    hidden = np.tanh(x @ w["layers.0.weight"].T + w["layers.0.bias"])
    hidden = np.tanh(hidden @ w["layers.2.weight"].T + w["layers.2.bias"])
    expected = hidden @ w["layers.4.weight"].T + w["layers.4.bias"]
    outputs = net.double()(torch.from_numpy(x), torch.empty(9, 0))
    np.testing.assert_allclose(outputs[:, 0].detach().numpy(), expected, atol=1e-12)


def test_dropout_is_inverted_and_off_in_evaluation() -> None:
    net = network(hidden=(2000,), dropout=0.4, init=("ones", "ones"), activation="identity")
    num, cat = torch.ones(1, 4), torch.empty(1, 0)
    hidden = net.train().layers[:3](num)
    assert sorted(hidden.unique().tolist()) == pytest.approx([0, 4 / 0.6])
    assert float((hidden == 0).float().mean()) == pytest.approx(0.4, abs=0.04)
    assert float(net.eval()(num, cat)[0, 0, 0].detach()) == 8000


def test_parameters_are_counted() -> None:
    assert count_parameters(network(batch_norm=True)) == 4 * 5 + 2 * 5 + 5 * 6 + 2 * 6 + (
        6 * 3 + 3
    )  # norms bring biases
    net = network()
    net.layers[0].requires_grad_(False)
    assert count_parameters(net) == (5 * 6 + 6) + (6 * 3 + 3)


def test_batch_norm_is_torchs_but_for_the_count() -> None:
    theirs, ours = nn.BatchNorm1d(3), BatchNorm(3)
    for training in (True, True, False):
        x = torch.randn(8, 3) * 2 + 1
        theirs.train(training)
        ours.train(training)
        assert torch.equal(theirs(x), ours(x))
    assert {name: value.tolist() for name, value in theirs.state_dict().items() if name != "num_batches_tracked"} == {
        name: value.tolist() for name, value in ours.state_dict().items() if name != "num_batches_tracked"
    }
    assert ours.num_batches_tracked == 0


@pytest.mark.parametrize("batch_norm", [True, False, (False, True)])
def test_initial_weights_from_data_fit_what_layers_see_in_training(batch_norm: bool | tuple[bool, ...]) -> None:
    made = network(init="data", batch_norm=batch_norm)
    num, cat = 300 * torch.randn(200, 4) + 1000, torch.zeros(200, 0, dtype=torch.long)
    made.begin(num, cat)
    assert {float(kept.sum()) for name, kept in made.named_buffers() if name.endswith("mean")} <= {0.0}
    variance = made.train()(num, cat).var(dim=0, correction=0)
    torch.testing.assert_close(variance, torch.ones_like(variance), rtol=1e-3, atol=0)


def test_each_kind_of_weight_may_have_a_rate_of_its_own_and_matrices_alone_decay() -> None:
    parts = {"input_scale": True, "parametric_activation": True, "num_embedding": "pbld", "batch_norm": True}
    factors = {f"{kind}_lr_factor": factor for kind, factor in (
        ("scale", 2), ("bias", 3), ("activation", 4), ("num_embedding", 5))}  # fmt: skip
    torch.manual_seed(0)
    mlp = MLP(Mlp(**(PLAIN | parts | factors)), Features("multiclass", 4, (3,), 3, edges=((0.0, 1.0),) * 4))
    names = {parameter: name for name, parameter in mlp.named_parameters()}
    given = {names[weight]: group for group in groups_of(mlp) for weight in group.parameters}
    assert {name for name, group in given.items() if group.decays} == {
        name for name, weight in mlp.named_parameters() if weight.ndim >= 2
    }
    expected = {"factor": 2.0, "share": 4.0, "bias": 3.0}
    norms = {f"layers.{place}" for place, layer in enumerate(mlp.layers) if isinstance(layer, BatchNorm)}
    for name, group in given.items():
        module, _, kind = name.rpartition(".")
        of_numbers = name.startswith("inputs.numbers.")
        assert group.lr_factor == (5 if of_numbers else 1 if module in norms else expected.get(kind, 1)), name
    assert {group.lr_factor for group in given.values()} == {1, 2, 3, 4, 5}
