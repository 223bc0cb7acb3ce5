"""Flags that several commands share, each said once."""

from pathlib import Path
from typing import Annotated

import typer

PICTURES, MODEL, ATTACK, RUN, TRAINING = "Pictures", "Model", "Attack", "Run", "Training"

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="RUN|FILE.py:FACTORY|NAME",
        help="A folder that `train` wrote, your own FILE.py:FACTORY, or an architecture with --weights.",
        rich_help_panel=MODEL,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="A .safetensors, .pt or .pth file of tensors, for FILE.py:FACTORY or an architecture.",
        rich_help_panel=MODEL,
    ),
]
ModelSet = Annotated[
    list[str] | None,
    typer.Option(
        "--model-set",
        metavar="NAME=VALUE",
        help="An option of the architecture; may be repeated. See `holdfast list models`.",
        rich_help_panel=MODEL,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda",
        help="Where to compute: auto takes a GPU if there is one.",
        rich_help_panel=MODEL,
    ),
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        "-d",
        metavar="NAME|FOLDER",
        help="A data set (see `holdfast list data`), or a folder with a sub-folder of pictures a class.",
        rich_help_panel=PICTURES,
    ),
]
SomeData = Annotated[
    str | None,
    typer.Option(
        "--data",
        "-d",
        metavar="NAME|FOLDER",
        help="A data set (see `holdfast list data`), or a folder with a sub-folder of pictures a class.",
        rich_help_panel=PICTURES,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Where data sets lie or are fetched to; else HOLDFAST_DATA, else a cache.",
        rich_help_panel=PICTURES,
    ),
]
Split = Annotated[
    str, typer.Option("--split", metavar="train|validation|test", help="Which part.", rich_help_panel=PICTURES)
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", "-n", metavar="N", help="Only the first N pictures.", rich_help_panel=PICTURES),
]
Resize = Annotated[
    str | None,
    typer.Option("--resize", metavar="SIDE|HxW", help="Resize the pictures of a folder.", rich_help_panel=PICTURES),
]
Threat = Annotated[
    str,
    typer.Option(
        "--threat",
        "--norm",
        metavar="NAME",
        help="What may be done to a picture: linf, l2, l1, l0, pixels, patch, rotation, ...; `holdfast list threats`.",
        rich_help_panel=ATTACK,
    ),
]
SomeThreat = Annotated[
    str | None,
    typer.Option(
        "--threat",
        "--norm",
        metavar="NAME",
        help="What the attack may do to a picture: linf, the usual one, l2, ...; `holdfast list threats`.",
        rich_help_panel=ATTACK,
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="NAME[:OPTION=VALUE,...]",
        help="What is made of adversarial pictures, such as trades:beta=6; see `holdfast list methods`.",
        rich_help_panel=ATTACK,
    ),
]
Loss = Annotated[
    str | None,
    typer.Option(
        "--loss",
        metavar="NAME[:OPTION=VALUE,...]",
        help="Of a picture, such as cross-entropy:smoothing=0.1; see `holdfast list training`.",
        rich_help_panel=TRAINING,
    ),
]
Augment = Annotated[
    list[str] | None,
    typer.Option(
        "--augment",
        metavar="NAME[:OPTION=VALUE,...]",
        help="A random change of the pictures, such as crop:pad=4; may be repeated. See `holdfast list augmentations`.",
        rich_help_panel=TRAINING,
    ),
]
Mixup = Annotated[
    str | None,
    typer.Option(
        "--mixup",
        metavar="OPTION=VALUE,...",
        help="Superimpose pictures, such as alpha=1 or alpha=0.2,form=usual.",
        rich_help_panel=TRAINING,
    ),
]
Awp = Annotated[
    str | None,
    typer.Option(
        "--awp",
        metavar="OPTION=VALUE,...",
        help="Descend where the worst small move of the weights leads, such as gamma=0.005.",
        rich_help_panel=ATTACK,
    ),
]
TrainPenalty = Annotated[
    list[str] | None,
    typer.Option(
        "--penalty",
        metavar="NAME[:OPTION=VALUE,...]",
        help="What is added to the loss, such as tv:eps=0.01; may be repeated. See `holdfast list penalties`.",
        rich_help_panel=TRAINING,
    ),
]
ThreatSet = Annotated[
    list[str] | None,
    typer.Option(
        "--threat-set",
        metavar="NAME=VALUE",
        help="An option of the threat; may be repeated. See `holdfast list threats`.",
        rich_help_panel=ATTACK,
    ),
]
Low = Annotated[
    float, typer.Option("--low", help="Smallest value of a pixel that an attack may use.", rich_help_panel=ATTACK)
]
High = Annotated[
    float, typer.Option("--high", help="Largest value of a pixel that an attack may use.", rich_help_panel=ATTACK)
]
SomeLow = Annotated[
    float | None,
    typer.Option("--low", help="Smallest value of a pixel that an attack may use; 0.", rich_help_panel=ATTACK),
]
SomeHigh = Annotated[
    float | None,
    typer.Option("--high", help="Largest value of a pixel that an attack may use; 1.", rich_help_panel=ATTACK),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="NAME=VALUE",
        help="An option of the attack, such as steps=100; may be repeated. See `holdfast list attacks`.",
        rich_help_panel=ATTACK,
    ),
]
EoT = Annotated[
    int | None,
    typer.Option(
        "--eot",
        metavar="N",
        help="For a model that answers at random: average every question over N answers.",
        rich_help_panel=ATTACK,
    ),
]
Source = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="RUN|FILE.py:FACTORY",
        help="Transfer: make the pictures on this model, and show them to the model under attack.",
        rich_help_panel=ATTACK,
    ),
]
Transform = Annotated[
    list[str] | None,
    typer.Option(
        "--transform",
        metavar="NAME=RANGE",
        help="Average over random views of the picture, such as rotation=15 or light=0.2; may be repeated. --eot N "
        "takes N - 1 of them and the picture itself. See `holdfast list views`.",
        rich_help_panel=ATTACK,
    ),
]
Penalty = Annotated[
    list[str] | None,
    typer.Option(
        "--penalty",
        metavar="NAME=VALUE",
        help="A price on rough or unprintable patterns: tv=WEIGHT, nps=WEIGHT, palette=FILE; may be repeated.",
        rich_help_panel=ATTACK,
    ),
]
Eps = Annotated[str, typer.Option("--eps", metavar="NUMBER", help="Radius, such as 8/255.", rich_help_panel=ATTACK)]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="CLASS",
        help="Name or number of the class to be reached, instead of any wrong one.",
        rich_help_panel=ATTACK,
    ),
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Times all pictures are seen.", rich_help_panel=TRAINING)]
TrainSet = Annotated[
    list[str] | None,
    typer.Option(
        "--train-set",
        metavar="NAME=VALUE",
        help="Any option of training; may be repeated. See `holdfast list training`.",
        rich_help_panel=TRAINING,
    ),
]
Batch = Annotated[
    int, typer.Option("--batch", min=1, metavar="N", help="Pictures a call of a model.", rich_help_panel=RUN)
]
Seed = Annotated[int, typer.Option("--seed", help="Of all random numbers.", rich_help_panel=RUN)]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="DIR", help="A new folder; by default one in runs/.", rich_help_panel=RUN),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.", rich_help_panel=RUN)]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        metavar="N",
        help="Threads of the processor; by default PyTorch's choice.",
        rich_help_panel=RUN,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.", rich_help_panel=RUN)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.", rich_help_panel=RUN)]

AtLeast = Annotated[
    str | None,
    typer.Option(
        "--at-least",
        metavar="RATE",
        help="Exit with 1 if the interval of robust accuracy begins below RATE, such as 0.45, or a check failed.",
        rich_help_panel=RUN,
    ),
]
JUnit = Annotated[
    Path | None,
    typer.Option(
        "--junit",
        metavar="FILE",
        help="Write JUnit XML too: a test case for the rate at each radius and for each check.",
        rich_help_panel=RUN,
    ),
]
