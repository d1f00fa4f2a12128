"""What every network does, for every task, with and without categories."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from pipeline.compose import load_config
from pipeline.config import choices_of
from pipeline.groups import groups_of
from pipeline.model_config import Activation, Init, Model
from pipeline.networks import NETWORKS, build_ensemble, build_network, count_parameters, row_work
from pipeline.networks.activations import ACTIVATIONS
from pipeline.networks.initializers import INITIALIZERS
from pipeline.types import Features
from tests.conftest import small

TASKS = {
    "binary": Features("binary", 3, (), 1, (5, 5)),
    "multiclass": Features("multiclass", 3, (), 4, (5, 5, 5, 5)),
    "regression": Features("regression", 3, (), 1, target_range=((-9.0, 9.0),)),
    "two targets": Features("regression", 3, (), 2, target_range=((-9.0, 9.0), (-9.0, 9.0))),
}
EDGES = ((-2.0, -0.5, 0.0, 1.0, 2.0), (0.0, 1.0))  # of two continuous columns; a third one is 0/1
INPUTS = {"numbers": (3, ()), "flags": (3, ()), "categories": (0, (4, 30)), "both": (3, (4, 30))}


@pytest.fixture(params=NETWORKS, scope="module")
def model(request: pytest.FixtureRequest) -> Model:
    return load_config(small(request.param)).model


@pytest.fixture(params=[(t, i) for t in TASKS for i in INPUTS], ids=" with ".join)
def features(request: pytest.FixtureRequest) -> Features:
    task, inputs = request.param
    n_num, cardinalities = INPUTS[inputs]
    edges = EDGES if inputs in ("numbers", "both") else ()
    return replace(TASKS[task], n_num=n_num, cardinalities=cardinalities, edges=edges)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def rows(features: Features, n_rows: int) -> tuple[Tensor, Tensor]:
    cat = [torch.randint(levels, (n_rows,)) for levels in features.cardinalities]
    return torch.randn(n_rows, features.n_num), torch.stack(cat, 1) if cat else torch.empty(n_rows, 0, dtype=torch.long)


def test_registries_are_the_configs_choices() -> None:
    assert set(NETWORKS) == set(choices_of("model"))
    assert tuple(ACTIVATIONS) == get_args(Activation)
    assert tuple(INITIALIZERS) == get_args(Init)


def test_outputs_are_rows_by_members_by_outputs(model: Model, features: Features) -> None:
    out = build_network(model, features)(*rows(features, 6))
    assert out.shape == (6, getattr(model, "n_members", 1), features.n_outputs)
    assert torch.isfinite(out).all()


def test_one_row_is_enough_in_evaluation_and_gives_what_it_gives_among_others(model: Model, features: Features) -> None:
    network = build_network(model, features).eval()
    num, cat = rows(features, 6)
    torch.testing.assert_close(network(num[:1], cat[:1]), network(num, cat)[:1])


def test_evaluation_is_deterministic(model: Model, features: Features) -> None:
    network, given = build_network(model, features).eval(), rows(features, 6)
    assert torch.equal(network(*given), network(*given))


def test_nothing_but_dropout_modules_is_random_in_training(model: Model, features: Features) -> None:
    network, given = build_network(model, features).train(), rows(features, 6)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # as a schedule of dropout does
    assert torch.equal(network(*given), network(*given))


def test_weights_make_a_round_trip(model: Model, features: Features) -> None:
    first, second = build_network(model, features), build_network(model, features)
    given = rows(features, 6)
    first(*given)  # moves what evaluation reads beside the weights, such as a norm's averages
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.eval()(*given), second.eval()(*given))


def test_the_seed_gives_the_weights(model: Model, features: Features) -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(build_network(model, features).parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_every_weight_is_in_one_group_and_matrices_decay(model: Model, features: Features) -> None:
    network = build_network(model, features)
    groups = list(groups_of(network))
    held = [id(parameter) for group in groups for parameter in group.parameters]
    assert sorted(held) == sorted(id(parameter) for parameter in network.parameters())
    assert all(group.lr_factor > 0 for group in groups)
    decaying = {id(parameter) for group in groups if group.decays for parameter in group.parameters}
    linears = [module for module in network.modules() if isinstance(module, nn.Linear)]
    assert all(id(layer.weight) in decaying and id(layer.bias) not in decaying for layer in linears)


def test_the_section_says_what_shape_the_network_has(model: Model) -> None:
    assert model.shape


def test_a_weight_works_once_a_row_and_once_a_member_where_members_share_it(model: Model, features: Features) -> None:
    networks = [build_network(model, features) for _ in range(2)]
    work = count_parameters(networks[0]) * getattr(model, "n_members", 1)
    assert [row_work(networks[0]), row_work(build_ensemble(networks))] == [work, 2 * work]


def test_gradient_reaches_every_parameter(model: Model, features: Features) -> None:
    network = build_network(model, features).train()
    network(*rows(features, 64)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_categories_matter(model: Model) -> None:
    features = replace(TASKS["binary"], cardinalities=(4,))
    network = build_network(model, features).eval()
    num = torch.zeros(4, 3)
    assert len(network(num, torch.arange(4).unsqueeze(1)).flatten(1).unique(dim=0)) == 4
