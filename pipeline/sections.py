"""What the config's sections are made of: the base of each, and the kinds of value that many of them have."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict

NOT_TYPED = ("name", "chosen")  # fields of a choice that it has with it, or that are told of it
Whole = Annotated[int, Strict()]  # strict: true is not read as 1
Number = Annotated[float, Strict()]
Name = Annotated[str, Field(min_length=1)]
FOLDER = r"^[^/\\]*[^/\\.][^/\\]*$"  # of one folder below another
FolderName = Annotated[str, Field(pattern=FOLDER)]
Names = tuple[Name, ...]
Target = Name | Annotated[Names, Field(min_length=1)]
Rate = Annotated[Number, Field(gt=0)]
Decay = Annotated[Number, Field(ge=0, description="weight decay (L2 penalty); biases and norms are left out")]
LearningRate = Annotated[
    Annotated[Number, Field(gt=0)] | Literal["auto"],
    Field(description="learning rate; auto: found by a range test of at most 100 steps (Smith 2017)"),
]
Batch = Annotated[
    Annotated[Whole, Field(ge=2, lt=2**31)] | Literal["auto"],
    Field(
        description="rows a step (a process); auto: 32 to 1024, by the rows that the network learns from "
        "(Gorishniy et al. 2024)"
    ),
]
Fraction = Annotated[Number, Field(gt=0, lt=1)]
Probability = Annotated[Number, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A frozen part of the config that refuses fields it does not know.

    What a validator raises begins with the field's name; `compose.validate` puts the section's before it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False)
