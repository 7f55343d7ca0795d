"""The rules of the house: which way imports go, what an import may do, what a source or the repository may hold.

Each rule is one test that lists every fault. Where a rule reads sources, a second test shows that it sees faults.
"""

import ast
import functools
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import visim_models

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("visim_models", "hub", "demo", "lab", "benchmarks")

# What `from visim_models import ...` offers, and nothing else: an export that is forgotten or slips in fails here.
PUBLIC_NAMES = {
    "CAR_CLASSES",
    "CIFAR10_CLASSES",
    "CarClassifier",
    "CarFeatureExtractor",
    "Cifar10Classifier",
    "GalleryAbout",
    "TimmBackbone",
    "ConfigurationError",
    "ConvolutionalAutoencoder",
    "DataError",
    "EngineError",
    "Decoder",
    "Encoder",
    "Gallery",
    "GalleryError",
    "GalleryMismatchError",
    "ImageDecodeError",
    "ImageHostError",
    "ImageProcessor",
    "ImageSource",
    "ImageSourceError",
    "ImageStore",
    "Match",
    "MatchProbability",
    "Network",
    "MissingExtraError",
    "OODVerdict",
    "OutOfDistributionDetector",
    "OutputError",
    "QueryError",
    "RepoFolder",
    "RepositoryError",
    "SearchIndex",
    "SimilarityResult",
    "VisimError",
    "VisualSimilarity",
    "WeightsError",
    "decode_image",
}

# demo -> hub -> visim_models, never back; lab and benchmarks may use all three, and nothing uses them.
# The demo only turns results into components, so it does no maths.
FORBIDDEN_IMPORTS = {
    "visim_models": {"hub", "demo", "lab", "benchmarks", "gradio", "gradio_client", "spaces", "torchvision", "scipy"},
    "hub": {"demo", "lab", "benchmarks", "gradio", "spaces"},
    "demo": {"lab", "benchmarks", "torch", "torchvision", "numpy", "scipy", "math"},
    "lab": {"benchmarks", "gradio", "gradio_client", "spaces"},
    "benchmarks": {"lab"},
}
MAY_IMPORT_TORCH = "visim_models.models"
# These find the bundled repos by `hub.locate`, never by a path.
KNOW_NO_BUNDLED_FOLDER = {"visim_models", "lab", "demo"}
PATH_INTO_PRETRAINED = re.compile(r"(?:^|[/\\])pretrained(?:[/\\]|$)")
IMPORTERS = {"import_module", "__import__", "find_spec", "run_module", "load_module"}
# The articles' way of keeping features, in a temporary folder of the benchmark's own: the baseline that is measured.
UNSAFE_BASELINES = {"benchmarks.article": ["torch.save() writes a pickle"] * 2}
PICKLING_MODULES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
PICKLING_METHODS = {"read_pickle", "to_pickle"}

MAX_MODULE_LINES = 500
MAX_WHEEL_MODULES = 85
# The tree of the design. `__init__.py` and py.typed are beside them.
WHEEL_TREE = {
    "errors.py", "images", "sources", "processing.py", "models", "onnx_network.py", "gallery.py", "search",
    "measurements.py", "ood.py", "pipeline.py", "galleries", "cleaning", "repo_folder", "cli",
}  # fmt: skip
PHOTOGRAPHS = {".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".avif"}
PICKLES = {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib"}
MACHINE_PATH = re.compile(r"(?<![\w.:/~$})])(?:/(?:home|root|Users|work|mnt|opt|tmp)/\w|[A-Z]:\\\w)")

SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports_of(tree: ast.Module) -> Iterator[str]:
    """Dotted names of all that is imported, inside functions too; of `from a import b`, "a" and "a.b"."""
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_packages(tree: ast.Module) -> set[str]:
    return {name.partition(".")[0] for name in imports_of(tree)}


def imports_by_string(tree: ast.Module) -> Iterator[str]:
    """The top-level names that are imported by a string; "?" where the string begins with a variable."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in IMPORTERS:
            name = node.args[0] if node.args else ast.Constant("")
            first = name.values[0] if isinstance(name, ast.JoinedStr) and name.values else name
            is_text = isinstance(first, ast.Constant) and isinstance(first.value, str)
            yield str(first.value).partition(".")[0] if is_text else "?"


def paths_into_pretrained(tree: ast.Module) -> list[str]:
    """The texts of a source, docstrings aside, that are a path into the folder of bundled repos or a part of one."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    prose = {
        id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and is_prose(node.body[:1])
    }
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [text.value for text in texts if id(text) not in prose and PATH_INTO_PRETRAINED.search(text.value)]


def is_prose(statements: list[ast.stmt]) -> bool:
    return bool(statements) and isinstance(statements[0], ast.Expr) and isinstance(statements[0].value, ast.Constant)


def unsafe_call(call: ast.Call) -> str | None:
    """What is wrong with a call that could run code out of a file or a string, or None."""
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if isinstance(call.func, ast.Name) and call.func.id in {"eval", "exec", "compile", "__import__"}:
        return f"{call.func.id}()"
    called = ast.unparse(call.func)
    if called == "torch.save":
        return "torch.save() writes a pickle"
    if called == "torch.load" and ast.unparse(keywords.get("weights_only", ast.Constant(None))) != "True":
        return "torch.load() without weights_only=True"
    if "allow_pickle" in keywords and ast.unparse(keywords["allow_pickle"]) != "False":
        return "allow_pickle"
    if isinstance(call.func, ast.Attribute) and call.func.attr in PICKLING_METHODS:
        return called
    return None


def pickling_faults(tree: ast.Module) -> list[str]:
    """Pickling imports and unsafe calls of a source, in one list."""
    faults = [f"imports {name}" for name in sorted(imported_packages(tree) & PICKLING_MODULES)]
    calls = (unsafe_call(node) for node in ast.walk(tree) if isinstance(node, ast.Call))
    return faults + [fault for fault in calls if fault]


def bound_names(tree: ast.Module, *, with_imports: bool) -> set[str]:
    """The names that the top level of a module binds; what `__init__` imports from elsewhere counts as its own."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.ImportFrom) and with_imports:
            names.update(alias.asname or alias.name for alias in node.names)
    return names


def import_graph(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Module -> the modules of `trees` that it imports."""
    return {name: ({*imports_of(tree)} & trees.keys()) - {name} for name, tree in trees.items()}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that reach each other."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        reached[start], waiting = set(), [start]
        while waiting:
            new = graph[waiting.pop()] - reached[start]
            reached[start] |= new
            waiting += new
    found = {frozenset(other for other in reached[name] if name in reached[other]) for name in graph}
    return sorted(sorted(group) for group in found if group)


def repository_files() -> list[Path]:
    """Every file that git tracks, or would track at the next `git add`."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return sorted(path for name in set(listing.split("\0")) if name and (path := ROOT / name).is_file())


def test_pytest_collects_every_test_file(tmp_path: Path) -> None:
    """pytest leaves out folders called build, dist and others: it is asked for its files, which are not imported."""
    report = tmp_path / "collected.txt"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n0", "-p", "tests.collection_probe"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
        env={**os.environ, "COLLECTION_REPORT": str(report)},
    )  # fmt: skip
    assert report.exists(), done.stdout + done.stderr
    collected = set(report.read_text(encoding="utf-8").split("\n")) - {""}
    with_tests = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("*.py")
        if any(isinstance(node, ast.FunctionDef) and node.name.startswith("test_") for node in ast.walk(parsed(path)))
    }
    assert with_tests - collected == set()
    assert len(with_tests) > 50


def test_imports_go_one_way() -> None:
    faults = []
    for path in SOURCES:
        name, package = module_name(path), path.relative_to(ROOT).parts[0]
        found = imported_packages(parsed(path)) & FORBIDDEN_IMPORTS[package]
        if package == "visim_models" and not f"{name}.".startswith(f"{MAY_IMPORT_TORCH}."):
            found |= imported_packages(parsed(path)) & {"torch", "timm"}
        # An import by string and a path into the folder of another package are imports, too.
        named = set(imports_by_string(parsed(path))) - {package}
        found |= named & (
            FORBIDDEN_IMPORTS[package] | ({*PACKAGES, "?"} if package in ("visim_models", "lab") else set())
        )
        if package in KNOW_NO_BUNDLED_FOLDER:
            found |= set(paths_into_pretrained(parsed(path)))
        faults += [(name, each) for each in sorted(found)]
    assert faults == []
    assert {module_name(path).partition(".")[0] for path in SOURCES} == set(PACKAGES)


def test_there_is_no_circle_of_imports() -> None:
    assert circles(import_graph({module_name(path): parsed(path) for path in SOURCES})) == []


def test_the_guard_against_circles_sees_one_inside_a_function() -> None:
    sources = {"a": "import b", "b": "def f():\n    from c import g", "c": "from a import h", "d": "import a"}
    assert circles(import_graph({name: ast.parse(source) for name, source in sources.items()})) == [["a", "b", "c"]]


def test_importing_the_library_imports_no_torch() -> None:
    program = (
        "import sys, visim_models\n"
        "from visim_models import Gallery, ImageProcessor, OutOfDistributionDetector, VisualSimilarity\n"
        "print(sorted({'torch', 'timm', 'gradio', 'pymilvus', 'onnxruntime', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("importlib.import_module('hub.locate')", ["hub"]),
        ("import_module(f'hub.{name}')", ["hub"]),
        ("import_module(f'{package}.locate')", ["?"]),
        ("import_module(name)", ["?"]),
        ("__import__('lab')", ["lab"]),
        ("importlib.util.find_spec('timm')", ["timm"]),
        ("runpy.run_module('demo.app')", ["demo"]),
        ("import hub", []),
        ("module.run('hub')", []),
    ],
)
def test_the_guard_against_imports_by_string_sees(source: str, named: list[str]) -> None:
    assert list(imports_by_string(ast.parse(source))) == named


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("FOLDER = 'hub/pretrained'", 1),
        ("FOLDER = Path(__file__).parents[1] / 'hub' / 'pretrained'", 1),
        ("open(f'{root}/hub/pretrained/{name}')", 1),
        ("model.save_pretrained('mine')", 0),
        ("def f():\n    'Reads hub/pretrained/ and no other folder.'", 0),
    ],
)
def test_the_guard_against_paths_into_pretrained_sees(source: str, count: int) -> None:
    assert len(paths_into_pretrained(ast.parse(source))) == count


def test_no_pickle_and_no_code_from_strings() -> None:
    found = {module_name(path): pickling_faults(parsed(path)) for path in SOURCES}
    assert {name: faults for name, faults in found.items() if faults} == UNSAFE_BASELINES


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("import pickle", 1),
        ("from dill import loads", 1),
        ("eval(text)", 1),
        ("exec(text)", 1),
        ("torch.load(path)", 1),
        ("torch.load(path, weights_only=False)", 1),
        ("torch.save(state, path)", 1),
        ("np.load(path, allow_pickle=True)", 1),
        ("pd.read_pickle(path)", 1),
        ("model.eval()", 0),
        ("re.compile(text)", 0),
        ("torch.load(path, weights_only=True)", 0),
        ("np.load(path)", 0),
    ],
)
def test_the_guard_against_pickle_sees(source: str, count: int) -> None:
    assert len(pickling_faults(ast.parse(source))) == count


def test_modules_are_documented_short_and_say_what_is_public() -> None:
    faults = []
    for path in SOURCES:
        tree, name = parsed(path), module_name(path)
        names = bound_names(tree, with_imports=path.stem == "__init__")
        is_private = any(part.startswith("_") for part in name.split("."))
        checks = {
            "has no docstring": ast.get_docstring(tree),
            f"has over {MAX_MODULE_LINES} lines": len(path.read_text(encoding="utf-8").splitlines())
            <= MAX_MODULE_LINES,
            "is called utils": "utils" not in name.split("."),
            "has no __all__": is_private or "__all__" in names or all(each.startswith("_") for each in names),
        }
        faults += [(name, fault) for fault, is_right in checks.items() if not is_right]
    assert faults == []


def test_the_wheel_has_the_tree_of_the_design() -> None:
    wheel = ROOT / "visim_models"
    entries = {path.name for path in wheel.iterdir() if path.name not in ("__init__.py", "__pycache__", "py.typed")}
    assert entries - WHEEL_TREE == set()
    assert len(list(wheel.rglob("*.py"))) <= MAX_WHEEL_MODULES


def test_public_names_of_the_library() -> None:
    assert set(visim_models.__all__) == PUBLIC_NAMES
    assert len(visim_models.__all__) == len(PUBLIC_NAMES)
    assert [name for name in visim_models.__all__ if not hasattr(visim_models, name)] == []


FAULTY = {
    "printing": "print('hello')",
    "seeding": "import torch; torch.manual_seed(1)",
    "connecting": "import socket; socket.create_connection(('127.0.0.1', 9), timeout=1)",
    "limiting": "import PIL.Image; PIL.Image.MAX_IMAGE_PIXELS = None",
    "quiet": "x = 1",
}


def test_importing_does_nothing_else(tmp_path: Path) -> None:
    """Each module is imported without the others in memory; modules with faults show that the probe sees them."""
    (tmp_path / "faulty").mkdir()
    for name, source in FAULTY.items():
        (tmp_path / "faulty" / f"{name}.py").write_text(source, encoding="utf-8")
    names = [*(module_name(path) for path in SOURCES), *(f"faulty.{name}" for name in FAULTY)]
    arguments = [json.dumps(each) for each in ([str(ROOT), str(tmp_path)], [*PACKAGES, "faulty"], names)]
    process = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "import_probe.py"), *arguments, str(tmp_path / "report.json")],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    found: dict[str, list[str]] = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert found.pop("faulty.printing") == ["prints 'hello\\n'"]
    assert found.pop("faulty.seeding") == ["changes torch's random state", "changes torch's seed"]
    assert any(fault.startswith("triggers socket.") for fault in found.pop("faulty.connecting"))
    assert found.pop("faulty.limiting") == ["changes Pillow's pixel limit"]
    assert found == {name: [] for name in names if name in found}


def test_no_photograph_and_no_pickle_in_the_repository() -> None:
    files = repository_files()
    assert Path(__file__).resolve() in files
    assert [path for path in files if path.suffix.lower() in PHOTOGRAPHS | PICKLES] == []


def test_no_path_of_one_machine_in_the_repository() -> None:
    found = []
    for path in repository_files():
        content = path.read_bytes()
        if b"\0" not in content:
            found += [(path.name, match.group()) for match in MACHINE_PATH.finditer(content.decode("utf-8"))]
    assert found == []


def test_the_library_and_the_demo_ask_for_the_same_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    demo = {line for line in lines if line and not line.startswith("#")}
    library = set(project["dependencies"])
    assert library < demo
    assert {re.split(r"\W", line)[0] for line in demo - library} == {
        "gradio",
        "pillow",
        "torch",
        "torchvision",
    }  # pillow-heif
