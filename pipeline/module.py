"""The LightningModule: built parts in, mini-batches stepped through, validation scored once an epoch."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from pipeline.averaging import Average
from pipeline.config import Config
from pipeline.data.datamodule import Batch, Block, batch_rows, epoch_seed
from pipeline.errors import TrainingError
from pipeline.networks.dropout import Dropout
from pipeline.networks.ensemble import Ensemble, count_networks
from pipeline.optim import (
    Span,
    build_optimizer,
    build_schedule,
    learning_rate,
    rate_of,
    regularization_strength,
    warmup_factor,
)
from pipeline.validation import Scorer


class TableModule(pl.LightningModule):
    """Trains a network, or several side by side, under manual optimization, a block of mini-batches a call.

    Args:
        config: optimizer, scheduler, trainer and seed are read from it.
        network: maps num (B, n_num), cat (B, n_cat) to outputs (B, K, C).
        scorer: the loss, and what outputs on the validation rows are worth.
        span: length of the training run.
        n_at_a_time: networks of an ensemble that are trained at the same time, in a thread each; 0: all are one.
    """

    def __init__(self, config: Config, network: nn.Module, scorer: Scorer, span: Span, n_at_a_time: int = 0) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.config, self.network, self.span = config, network, span
        epochs = config.trainer.ema_epochs
        self.average = None if epochs is None else Average(network, epochs * span.steps_per_epoch)
        self.loss, self.loss_unit, self.scorer = scorer.loss, scorer.unit, scorer
        self.interrupted = False  # set from outside: finish the mini-batch under way and stop
        self.n_steps = 0  # optimizer steps so far
        self._warmup_steps = round(getattr(config.scheduler, "warmup_epochs", 0) * span.steps_per_epoch)
        self.n_networks = count_networks(network)
        self.monitored: list[float] = []  # the last epoch's value of each network
        self.losses: list[Tensor] = []  # of mini-batches, means over networks
        self._rows: list[int] = []
        self._dropouts = [(layer, layer.p) for layer in network.modules() if isinstance(layer, Dropout)]
        self.n_at_a_time = n_at_a_time
        self._pool: ThreadPoolExecutor | None = None

    # ------------------------------------------------------------ optimizer and schedule
    def configure_optimizers(self) -> dict[str, Any]:  # type: ignore[override]  # Lightning's own type has no dict[str, Any]
        """The optimizer, and the schedule that `_step` and the end of an epoch move on."""
        self._optimizer = build_optimizer(self.config.optimizer, self.network)
        self._decays = [group["weight_decay"] for group in self._optimizer.param_groups]
        self._schedule = build_schedule(self.config.scheduler, self._optimizer, self.span)
        configured: dict[str, Any] = {"optimizer": self._optimizer}
        if self._schedule is not None:
            configured["lr_scheduler"] = {
                "scheduler": self._schedule.scheduler,
                "interval": self._schedule.interval,
                "monitor": self.config.trainer.monitor,
            }
        return configured

    @property
    def kept(self) -> nn.Module:
        """The network that is validated, and whose best weights are kept."""
        return self.network if self.average is None else self.average.network

    def learning_rate(self) -> float:
        """The rate of the next step, warm-up included."""
        return learning_rate(self._optimizer) * warmup_factor(self.n_steps, self._warmup_steps)

    # ------------------------------------------------------------ training
    def on_fit_start(self) -> None:
        """Find what is averaged, and start the threads of networks that are trained at the same time."""
        if self.average is not None:
            self.average.begin(self.network)
        if self.n_at_a_time > 1:
            own = partial(torch.set_num_threads, torch.get_num_threads())
            self._pool = ThreadPoolExecutor(self.n_at_a_time, initializer=own)

    def on_fit_end(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def forward(self, num: Tensor, cat: Tensor) -> Tensor:
        """Outputs (B, K, C) of the network that learns."""
        return self._outputs(self.network, num, cat)

    def _outputs(self, network: nn.Module, num: Tensor, cat: Tensor) -> Tensor:
        """A network's outputs, in the weights' precision also where its layers compute in a lower one."""
        outputs: Tensor = network(num, cat)
        return outputs.to(self.dtype)

    def on_train_epoch_start(self) -> None:
        """Seed what the epoch draws (dropout), and set how strongly it regularizes."""
        self._regularize(self.current_epoch / self.span.max_epochs)
        seed = epoch_seed(self.config.seed, self.current_epoch, 1 + self.global_rank)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed notes a stack trace for each absent accelerator
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)
        for dropout, _ in self._dropouts:
            dropout.begin()
        self.losses, self._rows = [], []

    def _regularize(self, progress: float) -> None:
        strength = regularization_strength(self.config.trainer.regularization_schedule, progress)
        for dropout, p in self._dropouts:
            dropout.p = strength * p
        for group, decay in zip(self._optimizer.param_groups, self._decays, strict=True):
            group["weight_decay"] = strength * decay

    def training_step(self, block: Block, _: int) -> None:
        """Step through the mini-batches of a block."""
        size, window = batch_rows(self.config.trainer), self.config.trainer.accumulate_grad_batches
        parts = list(zip(block.num.split(size), block.cat.split(size), block.y.split(size), strict=True))
        for step, (num, cat, y) in enumerate(parts, block.first_step):
            if self.interrupted:
                return
            opened = step - step % window  # first mini-batch of the accumulation this one belongs to
            members = min(window, self.span.batches_per_epoch - opened)
            weight = (block.last_weight if step == block.first_step + len(parts) - 1 else 1.0) / members
            learn = self._learn_apart if self.n_at_a_time else self._learn
            self.losses.append(learn(num, cat, y, weight))
            self._rows.append(len(y))
            if step == opened + members - 1:
                self._step()
        self._require_finite(block.first_step, len(parts))

    def _learn(self, num: Tensor, cat: Tensor, y: Tensor, weight: float) -> Tensor:
        """The loss of a mini-batch, whose gradients are added to the weights'; each network has those it has alone."""
        loss = self._mean_loss(self(num, cat), y)
        weight *= self.n_networks
        self._backward(loss if weight == 1 else loss * weight)
        return loss.detach()

    def _learn_apart(self, num: Tensor, cat: Tensor, y: Tensor, weight: float) -> Tensor:
        """The same, each network by itself, in a thread: torch computes without holding the interpreter's lock."""
        assert isinstance(self.network, Ensemble)
        mixed, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")  # each thread's own

        def learn(member: nn.Module, num: Tensor, cat: Tensor, y: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype, enabled=mixed):
                loss = self.loss(self._outputs(member, num, cat), y)
            self._backward(loss * weight)
            return loss.detach()

        members, shares = self.network.members, self.network.shares(num, cat)
        each = map if self._pool is None else self._pool.map
        return torch.stack(list(each(learn, members, *shares, y.unbind(1)))).mean()

    def _mean_loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The mean over M networks, whose rows differ: outputs (B, M·K, C), y (B, M) or (B, M, T)."""
        if self.n_networks == 1:
            return self.loss(outputs, y)
        if getattr(self.config.loss, "class_weight", "none") == "none":  # a mean over rows, so over all at once
            own = outputs.unflatten(1, (self.n_networks, -1)).transpose(0, 1)  # (M, B, K, C), as stacked layers compute
            return self.loss(own.flatten(0, 1), y.transpose(0, 1).flatten(0, 1))
        pairs = zip(outputs.chunk(self.n_networks, dim=1), y.unbind(1), strict=True)
        return torch.stack([self.loss(own, targets) for own, targets in pairs]).mean()

    def _backward(self, loss: Tensor) -> None:
        with torch.autocast(self.device.type, enabled=False):  # operations have the precision of the forward pass
            if self.trainer.world_size > 1:
                self.manual_backward(loss)  # has DDP average the gradients
            else:
                loss.backward()

    def _step(self) -> None:
        trainer, optimizer = self.config.trainer, self._optimizer
        if trainer.gradient_clip_val is not None:
            self._clip(trainer.gradient_clip_val)
        if self.n_steps < self._warmup_steps:
            self._warm_step()
        else:
            optimizer.step()
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None  # as optimizer.zero_grad, which takes five times as long
        self.n_steps += 1
        if self.average is not None:
            self.average.update(self.n_steps)
        if self._schedule is not None and self._schedule.interval == "step":
            self._schedule.scheduler.step()

    def _clip(self, size: float) -> None:
        if self.config.trainer.gradient_clip_algorithm == "value":
            nn.utils.clip_grad_value_(self.network.parameters(), size)
        elif isinstance(self.network, Ensemble):
            self.network.clip_norms(size)
        else:
            nn.utils.clip_grad_norm_(self.network.parameters(), size)

    def _warm_step(self) -> None:
        """A step at a part of the schedule's rate, which itself stays as it is."""
        rates = [group["lr"] for group in self._optimizer.param_groups]
        for group in self._optimizer.param_groups:
            group["lr"] *= warmup_factor(self.n_steps, self._warmup_steps)
        self._optimizer.step()
        for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def _require_finite(self, first: int, n_steps: int) -> None:
        losses = torch.stack(self.losses[-n_steps:])
        if not torch.isfinite(losses.sum()):
            step = first + int((~torch.isfinite(losses)).int().argmax())
            raise TrainingError(self._divergence(f"the training loss is {float(losses[step - first])}", step))

    def _divergence(self, what: str, step: int) -> str:
        advice = [f"a smaller optimizer.lr (it was {rate_of(self.config.optimizer):g})"]
        if self.config.trainer.gradient_clip_val is None:
            advice.append("trainer.gradient_clip_val=1")
        if self.config.preprocess.scaling == "none":
            advice.append("preprocess=standard")
        return f"{what} in epoch {self.current_epoch + 1}, step {step + 1}; try {', or '.join(advice)}"

    def train_loss(self) -> float:
        """Mean over the epoch's rows, those of all processes."""
        rows = torch.tensor(self._rows, dtype=torch.float32, device=self.device)
        sums = torch.stack([(torch.stack(self.losses) * rows).sum(), rows.sum()])
        total, n_rows = self.trainer.strategy.reduce(sums, reduce_op="sum").tolist()
        return float(self.loss_unit * total / n_rows)

    # ------------------------------------------------------------ validation
    def validate(self, parts: Sequence[Batch]) -> None:
        """Loss and metrics on all validation rows, given in parts, to where callbacks look for metrics."""
        if self.interrupted:
            return
        network = self.kept.eval()
        with torch.inference_mode(), self.trainer.precision_plugin.forward_context():
            outputs = torch.cat([self._outputs(network, batch.num, batch.cat) for batch in parts])
        self.network.train()
        # every process scores the same rows; the first one's word counts, since batch norm's averages differ
        metrics = self.trainer.strategy.broadcast(self.scorer.together(outputs))
        loss = metrics["val/loss"]
        if not math.isfinite(loss):
            raise TrainingError(self._divergence(f"the validation loss is {loss}", self.span.batches_per_epoch - 1))
        several = self.scorer.apart(outputs, self.n_networks) if self.n_networks > 1 else None
        self.monitored = several or [metrics[self.config.trainer.monitor]]
        # not log_dict: its bookkeeping takes as long as two training steps and rounds to float32
        self.trainer.callback_metrics.update(
            {name: torch.tensor(value, dtype=torch.float64) for name, value in metrics.items()}
        )

    def on_train_epoch_end(self) -> None:
        """Move a schedule that steps by the epoch."""
        if self._schedule is None or self._schedule.interval == "step" or self.interrupted:
            return
        scheduler = self._schedule.scheduler
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(float(self.trainer.callback_metrics[self.config.trainer.monitor]))
        else:
            scheduler.step()

    # ------------------------------------------------------------ checkpoint
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the step count, which warm-up goes by."""
        checkpoint["n_steps"] = self.n_steps

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the step count back."""
        self.n_steps = checkpoint["n_steps"]
