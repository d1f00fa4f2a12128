"""RealMLP: what the recipe says of rates, decay, activations and initial weights."""

import pytest
import torch
from torch import nn

from pipeline.compose import load_config
from pipeline.groups import groups_of
from pipeline.networks import build_network
from pipeline.networks.activations import Parametric
from pipeline.networks.mlp import NTKLinear, Scale
from pipeline.networks.realmlp import RealMLP
from pipeline.types import Features

CLASSES = Features("multiclass", 3, (12,), 4, (5, 5, 5, 5), edges=((0.0, 1.0),) * 2)
VALUES = Features("regression", 3, (12,), 1, edges=((0.0, 1.0),) * 2, target_range=((-1.0, 2.0),))


def built(features: Features, *overrides: str) -> RealMLP:
    torch.manual_seed(0)
    config = load_config(["model=realmlp", *overrides]).model
    network = build_network(config, features, rows(400))
    assert isinstance(network, RealMLP)
    return network


def rows(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    return 3 * torch.randn(n, 3) + 1, torch.randint(12, (n, 1))


def test_the_recipe_comes_with_the_model_and_each_part_can_be_overridden() -> None:
    config = load_config(["model=realmlp"])
    chosen = (config.preprocess.scaling, config.loss.name, config.scheduler.name, config.optimizer.name)
    assert chosen == ("robust", "auto", "coslog", "adamw")
    assert (config.optimizer.lr, config.optimizer.weight_decay) == (0.04, 0.02)
    assert (config.trainer.max_epochs, config.trainer.regularization_schedule) == (128, "flat_cos")
    other = load_config(["optimizer=sgd", "model=realmlp", "scheduler=none", "trainer.max_epochs=9"])
    assert (other.optimizer.name, other.scheduler.name, other.trainer.max_epochs) == ("sgd", "none", 9)


@pytest.mark.parametrize(("features", "rate"), [(CLASSES, 1.0), (VALUES, 5.0)])
def test_each_kind_of_weight_has_its_rate_and_biases_do_not_decay(features: Features, rate: float) -> None:
    network = built(features)
    found = {
        id(parameter): (group.lr_factor / rate, group.decays)
        for group in groups_of(network)
        for parameter in group.parameters
    }
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(module, nn.Linear):
                expected = (1.0, True) if name == "weight" else (0.1, False)
            elif isinstance(module, Scale):
                expected = (6.0, True)
            elif isinstance(module, nn.Embedding):
                expected = (1.0, True)
            else:  # parametric activations and numeric embeddings
                expected = (0.1, True)
            assert found[id(parameter)] == pytest.approx(expected), name


@pytest.mark.parametrize(("features", "kind"), [(CLASSES, nn.SELU), (VALUES, nn.Mish)])
def test_the_activation_follows_the_task(features: Features, kind: type[nn.Module]) -> None:
    for overrides, expected in (((), kind), (("model.activation=relu",), nn.ReLU)):
        parts = built(features, *overrides).modules()
        assert [type(part.activation) for part in parts if isinstance(part, Parametric)] == [expected] * 3


def test_units_vary_by_one_over_the_rows_and_cross_zero_among_them() -> None:
    torch.manual_seed(0)
    config = load_config(["model=realmlp"]).model
    given = rows(400)
    network = build_network(config, CLASSES, given).eval()
    seen: list[torch.Tensor] = []
    for module in network.modules():
        if isinstance(module, NTKLinear):
            module.register_forward_hook(lambda _, __, out: seen.append(out.detach()))
    with torch.inference_mode():
        network(*given)
    assert len(seen) == 4
    for out in seen:
        torch.testing.assert_close(out.std(dim=0, correction=0), torch.ones(out.shape[1]), atol=1e-3, rtol=0)
        assert float(((out.min(dim=0).values < 0) & (out.max(dim=0).values > 0)).float().mean()) == 1


def test_weights_are_divided_by_the_root_of_the_width_where_they_are_used() -> None:
    torch.manual_seed(0)
    layer, x = NTKLinear(9, 5), torch.randn(7, 9)
    torch.testing.assert_close(layer(x), x @ layer.weight.T / 3 + layer.bias)


def test_a_parametric_activation_mixes_with_the_identity() -> None:
    activation, x = Parametric(nn.ReLU(), 3), torch.tensor([[-2.0, -2.0, 3.0]])
    with torch.no_grad():
        activation.share.copy_(torch.tensor([1.0, 0.25, 0.5]))
    torch.testing.assert_close(activation(x), torch.tensor([[0.0, -1.5, 3.0]]))


def test_predictions_stay_within_the_training_targets() -> None:
    network = built(VALUES)
    num, cat = rows(100)
    with torch.no_grad():
        trained, answered = network.train()(1000 * num, cat), network.eval()(1000 * num, cat)
    assert float(trained.abs().max()) > 2
    assert float(answered.min()) >= -1
    assert float(answered.max()) <= 2
