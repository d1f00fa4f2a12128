"""What a user may ask for: one frozen section a config group, closed to unknown fields.

The values live in `conf/`; here stand type, range, unit and meaning of each. Nothing in this file knows the data.
"""

from typing import Annotated, ClassVar, Literal, Self, get_args, get_origin

from pydantic import Field, model_validator

from pipeline.model_config import Model
from pipeline.sections import Decay, Fraction, LearningRate, Name, Names, Number, Rate, Section, Target, Whole
from pipeline.trainer_config import Trainer


# ---------------------------------------------------------------- data
class DataSection(Section):
    """Fields every data source has."""

    task: Literal["auto", "classification", "regression"] = Field(
        description="auto: text, boolean or few distinct whole numbers in the target mean classification"
    )
    drop: Names = Field(description="columns to leave out of the features")
    categorical: Names = Field(description="number columns to read as categories, such as postcodes")
    group: Name | None = Field(
        description="column whose equal values stay in one split (patient, customer); not used as a feature"
    )
    time: Name | None = Field(
        description="column to split by: oldest rows train, newest rows test; stays a feature unless dropped"
    )
    split: Literal["auto", "stratified", "random", "grouped", "time"] = Field(
        description="auto: grouped or time where data.group or data.time is given, else stratified for classes"
    )
    val_size: Fraction = Field(description="share of all rows for validation; trainer.folds go without")
    test_size: Fraction = Field(description="share of all rows for the test; unused with data.test_path")
    split_seed: Annotated[Whole, Field(ge=0, lt=2**32)] = Field(
        description="seed of the split alone, so that runs with different seeds are tested on the same rows"
    )

    @model_validator(mode="after")
    def _splits_fit_together(self) -> Self:
        if self.val_size + self.test_size >= 1:
            sizes = f"{self.val_size} + {self.test_size}"
            raise ValueError(f"val_size: and data.test_size must leave rows to train on, got {sizes}")
        if self.group and self.time:
            raise ValueError("group: and data.time cannot both steer the split; give one of them")
        for split, field, column in (("grouped", "group", self.group), ("time", "time", self.time)):
            if self.split == split and not column:
                raise ValueError(f"split: {split} needs the column, as data.{field}=NAME")
            if column and self.split not in ("auto", split):
                raise ValueError(f"split: {self.split} cannot be used with data.{field}={column}; leave one out")
        return self


class BreastCancer(DataSection):
    """Wisconsin breast cancer: 569 rows, 30 numbers, 2 classes; ships with scikit-learn."""

    name: Literal["breast_cancer"]


class Iris(DataSection):
    """Fisher's iris: 150 rows, 4 numbers, 3 classes; ships with scikit-learn."""

    name: Literal["iris"]


class Wine(DataSection):
    """Wine recognition: 178 rows, 13 numbers, 3 classes; ships with scikit-learn."""

    name: Literal["wine"]


class Digits(DataSection):
    """Handwritten digits: 1797 rows, 64 pixels, 10 classes; ships with scikit-learn."""

    name: Literal["digits"]


class Diabetes(DataSection):
    """Diabetes progression: 442 rows, 10 numbers, regression; ships with scikit-learn."""

    name: Literal["diabetes"]


class CaliforniaHousing(DataSection):
    """California housing: 20640 rows, 8 numbers, regression; fetched by scikit-learn once, then cached."""

    name: Literal["california_housing"]


class OpenML(DataSection):
    """A data set of openml.org by name or number; fetched by scikit-learn once, then cached."""

    name: Literal["openml"]
    dataset: Name = Field(description="name or number on openml.org, such as credit-g or 31")
    version: Annotated[Whole, Field(ge=1)] | None = Field(
        description="version of a named data set; null: the active one"
    )
    target: Target | None = Field(description="target column or columns; null: the data set's own")


class Outliers(DataSection):
    """Made: 1000 rows, 8 numbers, regression, some targets far off; to see what losses do."""

    name: Literal["outliers"]
    share: Annotated[Number, Field(ge=0, le=0.5)] = Field(description="share of the targets that are far off")


class Sparse(DataSection):
    """Made: 2000 rows, 12 columns of words of which most are rare, 2 classes; to see what optimizers do."""

    name: Literal["sparse"]


class FileSection(DataSection):
    """Fields of the sources that read a file."""

    path: Name = Field(description="table file: .csv, .csv.gz or .parquet")
    target: Target = Field(description="target column; a list of columns is a multi-output regression")
    test_path: Name | None = Field(description="file of the test rows; null: test_size of the rows of path")
    separator: Annotated[str, Field(min_length=1, max_length=1)] = Field(description="character between CSV fields")
    missing_values: Names = Field(
        description="further spellings of a missing value, beside the empty field, NA, N/A, NaN and null"
    )


class Csv(FileSection):
    """A table of your own: CSV, CSV.gz or Parquet, told by the file's suffix."""

    name: Literal["csv"]


class MobilePrice(FileSection):
    """Kaggle's Mobile Price Classification (train.csv): 2000 phones, 20 features, 4 price classes."""

    name: Literal["mobile_price"]


Data = Annotated[
    BreastCancer | Iris | Wine | Digits | Diabetes | CaliforniaHousing | OpenML | Outliers | Sparse | Csv | MobilePrice,
    Field(discriminator="name"),
]


class Preprocess(Section):
    """How columns become numbers; learned on training rows only."""

    scaling: Literal["standard", "robust", "quantile", "none"] = Field(
        description="standard: mean 0, deviation 1; robust: median and quartiles with smooth clipping "
        "(RealMLP, Holzmüller et al. 2024); quantile: ranks to a normal distribution; none: as read"
    )
    min_frequency: Annotated[Whole, Field(ge=1)] = Field(
        description="training rows a category needs to be a level of its own; rarer ones are pooled"
    )
    max_onehot: Annotated[Whole, Field(ge=0)] = Field(
        description="levels up to which a categorical column is one-hot encoded; larger ones are embedded"
    )


# ---------------------------------------------------------------- loss
Smoothing = Annotated[
    Number,
    Field(
        ge=0,
        lt=1,
        description="share of the target's probability spread over all classes (Szegedy et al. 2016)",
    ),
]
ClassWeight = Annotated[
    Literal["none", "balanced"], Field(description="balanced: rows weigh n / (classes · rows of their class)")
]


class AutoLoss(Section):
    """cross_entropy for several classes, bce for two, mse for regression."""

    name: Literal["auto"]
    label_smoothing: Smoothing
    class_weight: ClassWeight


class Smoothed(AutoLoss):
    """As auto; labels are smoothed where there are classes (RealMLP's recipe)."""

    name: Literal["smoothed"]  # type: ignore[assignment]  # a choice of its own


class CrossEntropy(Section):
    """Cross-entropy on logits, for classification; with two classes it equals bce."""

    name: Literal["cross_entropy"]
    label_smoothing: Smoothing
    class_weight: ClassWeight


class Bce(Section):
    """Binary cross-entropy on one logit, for two classes."""

    name: Literal["bce"]
    label_smoothing: Smoothing
    class_weight: ClassWeight


class Mae(Section):
    """Mean absolute error |e|, for regression; little moved by outliers."""

    name: Literal["mae"]


class Mse(Section):
    """Mean squared error e², for regression."""

    name: Literal["mse"]


class SmoothL1(Section):
    """e²/(2·beta) below beta, |e| − beta/2 above, for regression (Girshick 2015)."""

    name: Literal["smooth_l1"]
    beta: Rate = Field(
        description="error where the square ends and the line begins, in standard deviations of the target"
    )


class Huber(Section):
    """e²/2 below delta, delta·(|e| − delta/2) above, for regression (Huber 1964)."""

    name: Literal["huber"]
    delta: Rate = Field(
        description="error where the square ends and the line begins, in standard deviations of the target"
    )


Loss = Annotated[
    AutoLoss | Smoothed | CrossEntropy | Bce | Mae | Mse | SmoothL1 | Huber,
    Field(discriminator="name"),
]


# ---------------------------------------------------------------- optimizer
class Sgd(Section):
    """Stochastic gradient descent: w ← w − lr·grad."""

    name: Literal["sgd"]
    lr: LearningRate
    weight_decay: Decay


class Momentum(Section):
    """SGD with momentum (Polyak 1964): v ← momentum·v + (1 − dampening)·grad; w ← w − lr·v.

    Textbooks' moving average v ← β·v + (1 − β)·grad is momentum=β, dampening=β; torch's default, dampening 0,
    takes steps 1/(1 − β) times as long for the same lr.
    """

    name: Literal["momentum"]
    lr: LearningRate
    momentum: Fraction = Field(description="share of the last step kept, β")
    dampening: Annotated[Number, Field(ge=0, lt=1)] = Field(description="share of the gradient left out, see above")
    nesterov: bool = Field(description="take the gradient one step ahead (Nesterov 1983); needs dampening=0")
    weight_decay: Decay

    @model_validator(mode="after")
    def _nesterov_is_undamped(self) -> Self:
        if self.nesterov and self.dampening:
            raise ValueError(f"nesterov: needs optimizer.dampening=0, got {self.dampening}")
        return self


class AdaGrad(Section):
    """AdaGrad (Duchi et al. 2011): each weight's steps shrink with the sum of its squared gradients."""

    name: Literal["adagrad"]
    lr: LearningRate
    lr_decay: Annotated[Number, Field(ge=0)] = Field(description="further decay of the rate: lr / (1 + step·lr_decay)")
    eps: Rate = Field(description="added to the root in the denominator")
    weight_decay: Decay


class RmsProp(Section):
    """RMSProp (Tieleman and Hinton 2012): steps divided by a moving average of the gradient's size."""

    name: Literal["rmsprop"]
    lr: LearningRate
    alpha: Fraction = Field(description="share of the moving average kept at each step")
    momentum: Annotated[Number, Field(ge=0, lt=1)] = Field(description="share of the last step kept; 0: none")
    centered: bool = Field(description="divide by the gradient's standard deviation instead of its size")
    eps: Rate = Field(description="added to the root in the denominator")
    weight_decay: Decay


class AdamSection(Section):
    """Fields of the Adam family."""

    lr: LearningRate
    betas: tuple[Annotated[Number, Field(ge=0, lt=1)], Annotated[Number, Field(ge=0, lt=1)]] = Field(
        description="shares of the moving averages of gradient and squared gradient kept at each step"
    )
    eps: Rate = Field(description="added to the root in the denominator")
    weight_decay: Decay


class Adam(AdamSection):
    """Adam (Kingma and Ba 2015); weight decay is added to the gradient."""

    name: Literal["adam"]


class AdamW(AdamSection):
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter 2019)."""

    name: Literal["adamw"]


Optimizer = Annotated[Sgd | Momentum | AdaGrad | RmsProp | Adam | AdamW, Field(discriminator="name")]


# ---------------------------------------------------------------- scheduler
Gamma = Annotated[Number, Field(gt=0, le=1, description="factor on the learning rate")]


class WarmUp(Section):
    """Warm-up, which every schedule but one_cycle may begin with."""

    warmup_epochs: Annotated[Number, Field(ge=0)] = Field(
        description="epochs, also part of one, in which the rate rises linearly to the schedule's, step by step"
    )


class NoScheduler(WarmUp):
    """A constant learning rate."""

    name: Literal["none"]


class StepSchedule(WarmUp):
    """The rate is multiplied by gamma every step_size epochs."""

    name: Literal["step"]
    step_size: Annotated[Whole, Field(ge=1)] = Field(description="epochs between two drops")
    gamma: Gamma


class MultiStep(WarmUp):
    """The rate is multiplied by gamma at each milestone."""

    name: Literal["multi_step"]
    milestones: Annotated[tuple[Annotated[Whole, Field(ge=1)], ...], Field(min_length=1)] = Field(
        description="epochs of the drops, rising"
    )
    gamma: Gamma

    @model_validator(mode="after")
    def _milestones_rise(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones: must rise, got {list(self.milestones)}")
        return self


class Exponential(WarmUp):
    """The rate is multiplied by gamma every epoch."""

    name: Literal["exponential"]
    gamma: Gamma


class Cosine(WarmUp):
    """The rate falls along half a cosine to eta_min at max_epochs, step by step (Loshchilov and Hutter 2017)."""

    name: Literal["cosine"]
    eta_min: Annotated[Number, Field(ge=0)] = Field(description="learning rate at the end")


class CosLog(WarmUp):
    """The rate rises from 0 and falls again n_cycles times, each time twice as long (RealMLP's coslog4)."""

    name: Literal["coslog"]
    n_cycles: Annotated[Whole, Field(ge=1, le=16)] = Field(description="times that the rate goes up and down")


class OneCycle(Section):
    """The rate rises from lr / div_factor to lr and falls to next to nothing, step by step (Smith 2018)."""

    name: Literal["one_cycle"]
    pct_start: Fraction = Field(description="share of all steps in which the rate rises")
    div_factor: Annotated[Number, Field(ge=1)] = Field(description="optimizer.lr over the rate at the start")
    final_div_factor: Annotated[Number, Field(ge=1)] = Field(description="rate at the start over the rate at the end")


class Plateau(WarmUp):
    """The rate is multiplied by factor when the monitored metric has not improved for patience epochs."""

    name: Literal["plateau"]
    factor: Fraction = Field(description="factor on the learning rate")
    patience: Annotated[Whole, Field(ge=0)] = Field(description="epochs without improvement to wait")
    min_lr: Annotated[Number, Field(ge=0)] = Field(description="learning rate below which it does not fall")


Scheduler = Annotated[
    NoScheduler | StepSchedule | MultiStep | Exponential | Cosine | CosLog | OneCycle | Plateau,
    Field(discriminator="name"),
]


# ---------------------------------------------------------------- doctor
class DoctorOn(Section):
    """Gradients, updates and activations are measured while the network trains, and what is wrong is told."""

    name: Literal["on"]


class DoctorOff(Section):
    """Nothing is measured, and no finding told."""

    name: Literal["off"]


Doctor = Annotated[DoctorOn | DoctorOff, Field(discriminator="name")]


# ---------------------------------------------------------------- predict
class Predict(Section):
    """What a trained model's answers come with: sets of classes or intervals, made on the validation rows."""

    coverage: Fraction = Field(description="share of rows whose set or interval is to hold the truth")


# ---------------------------------------------------------------- serve
class Serve(Section):
    """How strict and how patient the server is."""

    unknown: Literal["reject", "impute"] = Field(
        description="missing values where training had none, categories never seen, further columns: errors, or filled "
        "in, taken as rare ones, left out"
    )
    max_megabytes: Annotated[Number, Field(gt=0)] = Field(description="size of a request, at most")
    max_rows: Annotated[Whole, Field(ge=1)] = Field(description="rows of a request, at most")
    timeout: Annotated[Number, Field(gt=0)] = Field(description="seconds for a request, at most")


# ---------------------------------------------------------------- tracking
class TrackingSection(Section):
    """Where a run writes."""

    root: Name = Field(description="folder for everything a run writes")


class Mlflow(TrackingSection):
    """Runs are tracked in MLflow: sqlite:///ROOT/mlflow.db, or the server in MLFLOW_TRACKING_URI."""

    name: Literal["mlflow"]
    experiment: Name | None = Field(description="experiment's name; null: the data set's")
    run_name: Name | None = Field(description="run's name; null: made of model, optimizer, rate and a random end")
    flush_seconds: Rate = Field(description="seconds between two batches of metrics")
    wait_seconds: Annotated[Number, Field(ge=0)] = Field(
        description="seconds to wait at the end for a server that went away, before writing to ROOT/pending"
    )


class NoTracking(TrackingSection):
    """Nothing is tracked; the checkpoint still goes under ROOT."""

    name: Literal["none"]


Tracking = Annotated[Mlflow | NoTracking, Field(discriminator="name")]


Baseline = Literal["dummy", "linear", "hist_gb", "lightgbm", "xgboost", "catboost"]


class Config(Section):
    """Everything a training run is asked to do.

    `root` is the file of `conf/` that composes it.
    """

    root: ClassVar[str] = "config"
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = Field(description="seed of weights, shuffling and dropout")
    baselines: tuple[Baseline, ...] = Field(
        description="models fitted on the same splits, which the network has to beat; lightgbm, xgboost and catboost "
        "need the extra [boosting]; []: none"
    )
    data: Data
    preprocess: Preprocess
    model: Model
    loss: Loss
    optimizer: Optimizer
    scheduler: Scheduler
    trainer: Trainer
    doctor: Doctor
    predict: Predict
    serve: Serve
    tracking: Tracking


def choices_of(group: str, kind: type[Config] = Config) -> dict[str, type[Section]]:
    """The sections a group can hold, by their `name`; a group with one section only is keyed by the group's name."""
    annotation = kind.model_fields[group].annotation
    sections: tuple[type[Section], ...] = get_args(annotation) or (annotation,)
    return {_choice(section) or group: section for section in sections if _is_section(section)}


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _choice(section: type[Section]) -> str | None:
    """The name that tells a section from the others of its group, where there are others."""
    field = section.model_fields.get("name")
    annotation = field.annotation if field else None
    return str(get_args(annotation)[0]) if get_origin(annotation) is Literal else None
