"""How a network is trained, as a user may ask for it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.sections import Batch, Number, Rate, Section, Whole

Monitor = Literal[
    "val/loss", "val/accuracy", "val/balanced_accuracy", "val/macro_f1", "val/roc_auc", "val/log_loss", "val/brier",
    "val/ece", "val/rmse", "val/mae", "val/r2", "val/median_absolute_error",
]  # fmt: skip


class Trainer(Section):
    """The training loop."""

    max_epochs: Annotated[Whole, Field(ge=1)] = Field(description="epochs at most")
    patience: Annotated[Whole, Field(ge=1)] | None = Field(
        description="epochs without improvement of the monitored metric before training stops; null: never"
    )
    max_time: Rate | None = Field(
        description="seconds of training: no epoch begins that would end later, if it is as long as the last; the best "
        "one so far is kept, tested and exported; null: no limit"
    )
    monitor: Monitor = Field(description="validation metric that picks the best weights and stops early")
    seeds: Annotated[Whole, Field(ge=1, le=100)] = Field(
        description="networks trained side by side, seeded seed, seed + 1, …, whose answers are averaged "
        "(deep ensemble, Lakshminarayanan et al. 2017)"
    )
    folds: Annotated[Whole, Field(ge=1, le=100)] = Field(
        description="parts of all rows outside the test, each held out from one network (of each seed) and validating "
        "it; val/… is then out of fold (cross-validated bagging, Breiman 1996); 1: none, data.val_size validates"
    )
    batch_size: Batch
    ema_epochs: Rate | None = Field(
        description="the weights that are validated and kept are a moving average over so many epochs' steps, over a "
        "ninth of the steps where that is less (EMA; Morales-Brotons et al. 2024); null: each epoch's last"
    )
    regularization_schedule: Literal["constant", "flat_cos"] = Field(
        description="strength of dropout and weight decay; flat_cos: full for half of max_epochs, then along half a "
        "cosine to nothing (RealMLP)"
    )
    accelerator: Literal["auto", "cpu", "gpu", "mps", "tpu"] = Field(description="Lightning's accelerator")
    devices: (
        Annotated[Whole, Field(ge=1)]
        | Literal["auto"]
        | Annotated[tuple[Annotated[Whole, Field(ge=0)], ...], Field(min_length=1)]
    ) = Field(description="processes on the CPU, or how many or which GPUs")
    strategy: Literal["auto", "ddp"] = Field(description="ddp: one process a device, gradients averaged")
    precision: Literal["auto", "32-true", "64-true", "bf16-mixed"] = Field(
        description="Lightning's precision; auto: bf16-mixed where a CPU has instructions for it, else 32-true"
    )
    gradient_clip_val: Rate | None = Field(description="gradients are clipped to this size; null: not at all")
    gradient_clip_algorithm: Literal["norm", "value"] = Field(description="clip the gradient's norm or each value")
    accumulate_grad_batches: Annotated[Whole, Field(ge=1)] = Field(description="mini-batches a step of the optimizer")
    steps_per_execution: Annotated[Whole, Field(ge=1)] | Literal["auto"] = Field(
        description="mini-batches handed to Lightning at a time; changes the speed, never the result"
    )
    threads: Annotated[Whole, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        description="torch threads; auto: one for small networks, one a core for large ones"
    )
    checkpoint_seconds: Annotated[Number, Field(ge=0)] = Field(
        description="seconds between two checkpoint files, so the most that kill -9 loses; 0: every epoch"
    )

    @model_validator(mode="after")
    def _clipping_has_a_size(self) -> Self:
        if self.gradient_clip_algorithm == "value" and self.gradient_clip_val is None:
            raise ValueError("gradient_clip_algorithm: value needs the size, as trainer.gradient_clip_val=1")
        return self

    @model_validator(mode="after")
    def _networks_stay_together(self) -> Self:
        if self.n_networks > 1 and self.devices != 1:
            field, number = ("folds", self.folds) if self.folds > 1 else ("seeds", self.seeds)
            raise ValueError(f"{field}: {number} networks are trained in one process; use trainer.devices=1")
        return self

    @property
    def n_networks(self) -> int:
        """Networks trained side by side."""
        return self.seeds * self.folds
