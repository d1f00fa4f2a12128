"""Choices made before a fit: device, monitored metric."""

import pytest

from pipeline.errors import ConfigError
from pipeline.fitting import build_trainer, check_monitor
from tests.conftest import quick


@pytest.mark.parametrize("monitor", ["val/loss", "val/rmse"])
def test_a_metric_of_the_task_can_be_monitored(monitor: str) -> None:
    check_monitor(quick(f"trainer.monitor={monitor}"), "regression")


def test_a_metric_of_another_task_is_refused() -> None:
    message = (
        "^trainer.monitor: val/accuracy does not fit regression; "
        "choices: val/loss, val/rmse, val/mae, val/r2, val/median_absolute_error$"
    )
    with pytest.raises(ConfigError, match=message):
        check_monitor(quick("trainer.monitor=val/accuracy"), "regression")


@pytest.mark.parametrize("override", ["trainer.devices=[0,1]", "trainer.accelerator=mps"])
def test_devices_that_are_not_there_are_one_clear_line(override: str) -> None:
    with pytest.raises(ConfigError, match=r"^trainer: .+") as refused:
        build_trainer(quick(override))
    assert "\n" not in str(refused.value)
