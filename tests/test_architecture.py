"""The house rules of DESIGN.md, read from the source: who may import whom, how long things may be."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import pipeline

PACKAGE = Path(pipeline.__file__).parent
SOURCES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# A module imports modules of lower rank only; the exceptions are ALONGSIDE.
RANKS = {
    0: ["errors", "types", "clock", "database", "console", "lock", "memory", "threads", "doctor.finding",
        "pages.document", "pages.past"],
    1: ["sections", "model_config", "trainer_config", "config", "study_config", "comparison_config",
        "leaderboard_config", "writer", "canvas", "bundle", "graph", "rows", "streams", "tested", "groups",
        "averaging", "store", "pages.chart"],
    2: ["mistakes", "report", "runs", "distributions", "space", "scoring",
        "data.columns", "data.raw", "data.files", "data.made", "data.targets", "data.sources", "data.splits",
        "data.folds", "data.scaling", "data.preprocess", "data.cache", "data.prepared", "data.shape"],
    3: ["auto", "compose", "options",
        "losses", "optim", "metrics", "importance", "calibration",
        "networks.fast", "networks.activations", "networks.initializers", "networks.embeddings", "networks.dropout",
        "networks.numeric", "networks.inputs", "networks.mlp", "networks.realmlp", "networks.tabm", "networks.resnet",
        "networks.ft_transformer", "networks.ensemble", "networks"],
    4: ["data.datamodule", "outputs", "validation", "module", "loop", "progress", "evaluate", "export", "flavor",
        "lr_range", "pages.outcome", "pages.nested", "pages.background", "baselines", "verdict"],
    5: ["sending", "tracking", "ui", "pages.sheet"],
    6: ["record", "delivery", "fitting", "registry", "closing", "pages.archive",
        "doctor.measuring", "doctor.evidence", "doctor.inside", "doctor.results", "doctor.findings",
        "doctor.gathering", "doctor.health", "doctor.examine"],
    7: ["train", "doctor.again"],
    8: ["studies.plan", "studies.jobs", "studies.sampling", "studies.storage", "studies.recorder", "studies.worker",
        "studies.workers", "studies.search", "studies.summary", "studies.figures", "studies.winner", "studies.study",
        "studies.display", "studies.dashboard", "studies.probing"],
    9: ["serving.protocol", "serving.drift", "serving.explain", "serving.models", "serving.finding", "serving.openapi",
        "serving.app", "serving.run"],
    10: ["comparisons.plan", "comparisons.child", "comparisons.folder", "comparisons.paired", "comparisons.summary",
        "comparisons.figure", "comparisons.comparison", "comparisons.display"],
    11: ["leaderboards.plan", "leaderboards.ranking", "leaderboards.figure", "leaderboards.leaderboard",
        "leaderboards.display"],
    12: ["cli", "__main__"],
}  # fmt: skip
ALONGSIDE = {
    "lock": ["errors"],
    "study_config": ["config", "sections", "trainer_config"],
    "comparison_config": ["config", "sections", "trainer_config"],
    "leaderboard_config": ["config", "sections"],
    "compose": ["auto"],
    "options": ["auto", "compose"],
    "distributions": ["mistakes"],
    "space": ["distributions", "mistakes"],
    "tracking": ["sending"],
    "studies.storage": ["studies.plan", "studies.sampling"],
    "studies.recorder": ["studies.plan"],
    "studies.worker": ["studies.jobs"],
    "studies.workers": ["studies.jobs", "studies.worker"],
    "studies.search": [
        "studies.jobs",
        "studies.plan",
        "studies.recorder",
        "studies.sampling",
        "studies.storage",
        "studies.workers",
    ],
    "studies.summary": ["studies.plan", "studies.storage"],
    "studies.winner": ["studies.jobs", "studies.plan", "studies.workers"],
    "studies.study": [
        "studies.figures",
        "studies.jobs",
        "studies.plan",
        "studies.probing",
        "studies.recorder",
        "studies.sampling",
        "studies.search",
        "studies.storage",
        "studies.summary",
        "studies.winner",
        "studies.workers",
    ],
    "studies.display": ["studies.search"],
    "studies.probing": ["studies.jobs", "studies.workers"],
    "comparisons.folder": ["comparisons.child"],
    "comparisons.summary": ["comparisons.child", "comparisons.paired", "comparisons.plan"],
    "comparisons.figure": ["comparisons.child"],
    "comparisons.comparison": [
        "comparisons.child",
        "comparisons.figure",
        "comparisons.folder",
        "comparisons.plan",
        "comparisons.summary",
    ],
    "comparisons.display": ["comparisons.comparison", "comparisons.plan", "comparisons.summary"],
    "leaderboards.figure": ["leaderboards.ranking"],
    "leaderboards.leaderboard": ["leaderboards.figure", "leaderboards.plan", "leaderboards.ranking"],
    "leaderboards.display": ["leaderboards.leaderboard", "leaderboards.plan", "leaderboards.ranking"],
    "studies.dashboard": ["studies.plan", "studies.storage"],
    "data.raw": ["data.columns"],
    "data.files": ["data.columns"],
    "data.targets": ["data.columns"],
    "data.sources": ["data.columns", "data.files", "data.made", "data.targets"],
    "data.splits": ["data.columns"],
    "data.preprocess": ["data.columns", "data.raw", "data.scaling"],
    "data.prepared": ["data.cache", "data.files", "data.preprocess", "data.raw", "data.sources", "data.splits"],
    "networks.activations": ["networks.fast"],
    "data.shape": ["data.columns", "data.files", "data.sources"],
    "networks.inputs": ["networks.embeddings", "networks.numeric"],
    "networks.mlp": ["networks.activations", "networks.dropout", "networks.initializers", "networks.inputs"],
    "networks.ft_transformer": ["networks.dropout"],
    "networks.realmlp": ["networks.mlp"],
    "networks.resnet": ["networks.dropout", "networks.inputs"],
    "networks.tabm": ["networks.dropout", "networks.inputs"],
    "networks.ensemble": ["networks.activations", "networks.fast", "networks.mlp"],
    "networks": [
        "networks.ensemble",
        "networks.ft_transformer",
        "networks.mlp",
        "networks.realmlp",
        "networks.resnet",
        "networks.tabm",
    ],
    "model_config": ["sections"],
    "trainer_config": ["sections"],
    "config": ["model_config", "sections", "trainer_config"],
    "module": ["data.datamodule", "validation"],
    "outputs": ["data.datamodule"],
    "validation": ["data.datamodule", "outputs"],
    "loop": ["data.datamodule", "module"],
    "progress": ["loop"],
    "baselines": ["data.datamodule"],
    "evaluate": ["data.datamodule", "outputs"],
    "verdict": ["baselines", "data.datamodule", "evaluate"],
    "delivery": ["record"],
    "closing": ["record"],
    "rows": ["bundle"],
    "lr_range": ["data.datamodule"],
    "doctor.evidence": ["doctor.measuring"],
    "doctor.inside": ["doctor.evidence"],
    "doctor.results": ["doctor.evidence"],
    "doctor.findings": ["doctor.evidence", "doctor.inside", "doctor.results"],
    "doctor.gathering": ["doctor.evidence", "doctor.measuring"],
    "doctor.health": ["doctor.measuring"],
    "doctor.examine": [
        "doctor.findings",
        "doctor.gathering",
        "doctor.health",
        "doctor.measuring",
    ],
    "streams": ["rows"],
    "serving.finding": ["serving.models"],
    "serving.app": ["serving.drift", "serving.explain", "serving.models", "serving.openapi", "serving.protocol"],
    "serving.run": ["serving.app", "serving.models"],
    "ui": ["tracking"],
    "__main__": ["cli"],
}
MAX_LINES = 320
LONGER = {
    "config": 520,
    "cli": 400,
    "report": 420,
    "data.sources": 400,
    "data.preprocess": 340,
}  # a table; one noun each
RE_EXPORTS = [
    "pipeline",
    "pipeline.comparisons",
    "pipeline.data",
    "pipeline.doctor",
    "pipeline.leaderboards",
    "pipeline.pages",
    "pipeline.serving",
    "pipeline.studies",
]  # a docstring, no code
# what help and a config error need
LIGHT = [
    "auto",
    "cli",
    "comparison_config",
    "compose",
    "config",
    "distributions",
    "errors",
    "leaderboard_config",
    "mistakes",
    "options",
    "study_config",
]
HEAVY = {"torch", "pytorch_lightning", "mlflow", "optuna", "sklearn", "pandas", "numpy", "matplotlib", "pyarrow"}

RANK = {module: rank for rank, modules in RANKS.items() for module in modules}
BUILT = [name.removeprefix("pipeline.") for name in SOURCES if name not in RE_EXPORTS]


def source(module: str) -> Path:
    return SOURCES[f"pipeline.{module}"]


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of the modules imported anywhere in `tree`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "relative imports hide who imports whom"
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from [name for name in submodules if name in SOURCES] or [node.module]


def imports_on_loading(tree: ast.Module) -> set[str]:
    """Top-level packages that are imported when the module is: not in a function, not under TYPE_CHECKING."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {name.split(".")[0] for name in imports(node)}
        waiting += ast.iter_child_nodes(node)
    return found


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def test_every_module_has_a_rank() -> None:
    assert sorted(RANK) == sorted(BUILT)


@pytest.mark.parametrize("module", BUILT)
def test_a_module_imports_lower_ranks_only(module: str) -> None:
    own = [name.removeprefix("pipeline.") for name in imports(parse(source(module))) if name.startswith("pipeline")]
    too_high = [name for name in own if RANK[name] >= RANK[module] and name not in ALONGSIDE.get(module, [])]
    assert not too_high


@pytest.mark.parametrize(
    ("library", "doors"),
    [
        ("mlflow", {"registry", "runs", "sending", "tracking"}),
        (
            "optuna",
            {
                f"studies.{name}"
                for name in (
                    "sampling",
                    "storage",
                    "recorder",
                    "search",
                    "summary",
                    "figures",
                    "winner",
                    "study",
                    "display",
                )
            },
        ),
        ("onnx", {"graph"}),
        ("onnxruntime", {"bundle"}),
        ("hydra", {"compose"}),
        ("omegaconf", {"compose"}),
        ("typer", {"cli"}),
    ],
)
def test_a_library_has_one_door(library: str, doors: set[str]) -> None:
    users = {module for module in BUILT if library in {name.split(".")[0] for name in imports(parse(source(module)))}}
    assert users == doors


@pytest.mark.parametrize("module", LIGHT)
def test_what_a_config_error_needs_loads_nothing_heavy(module: str) -> None:
    assert not imports_on_loading(parse(source(module))) & HEAVY


@pytest.mark.parametrize("module", RE_EXPORTS)
def test_a_package_only_re_exports(module: str) -> None:
    docstring, *statements = parse(SOURCES[module]).body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(statement, ast.Import | ast.ImportFrom) for statement in statements)


@pytest.mark.parametrize("module", BUILT)
def test_a_file_stays_short(module: str) -> None:
    assert len(source(module).read_text().splitlines()) <= LONGER.get(module, MAX_LINES)


@pytest.mark.parametrize("module", BUILT)
def test_no_function_is_over_sixty_lines(module: str) -> None:
    functions = [node for node in ast.walk(parse(source(module))) if isinstance(node, ast.FunctionDef)]
    long = {node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 60}
    assert not long


@pytest.mark.parametrize("module", BUILT)
def test_no_config_value_reaches_code_by_name(module: str) -> None:
    """No `_target_`, no import by string, no eval: a config file must not be able to run code."""
    names = {node.id for node in ast.walk(parse(source(module))) if isinstance(node, ast.Name)}
    texts = {node.value for node in ast.walk(parse(source(module))) if isinstance(node, ast.Constant)}
    assert not names & {"eval", "exec", "__import__", "import_module", "instantiate", "import_string"}
    assert "_target_" not in texts


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["config", "model=mlp"], ["options", "model"], ["train", "trainer.max_epochs=0", "optimizr=adam"]],
)
def test_help_config_and_mistakes_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    script = (
        "import atexit, sys\n"
        f"heavy = {sorted(HEAVY)}\n"
        "atexit.register(lambda: print('loaded', [name for name in heavy if name in sys.modules]))\n"
        "from pipeline.cli import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(PACKAGE.parent)}
    )
    assert done.stdout.splitlines()[-1] == "loaded []", done.stderr
