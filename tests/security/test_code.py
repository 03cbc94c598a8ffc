"""What the code never calls: nothing unpickles, evaluates text, or loads a model around its one door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("spaces", "pipelines", "search", "results")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
UNPICKLERS = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle", "pdb"}
CALLS = {
    "eval",
    "exec",
    "compile",
    "os.system",
    "os.popen",
    "torch.load",
    "torch.save",
    "torch.hub.load",
    "torch.jit.load",
    "pd.read_pickle",
    "pandas.read_pickle",
    "pd.read_hdf",
    "np.fromfile",
    "yaml.unsafe_load",
    "yaml.full_load",
    "yaml.load_all",
    "yaml.unsafe_load_all",
    "ray.cloudpickle.loads",
}
ONE_DOOR = {"pipelines/checkpoint.py"}
"""Where `transformers` loads anything."""


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def faults(text: str, path: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (f"imports {name}" for name in names if name.partition(".")[0] in UNPICKLERS)
        if not isinstance(node, ast.Call):
            continue
        called, options = dotted(node.func), {k.arg: k.value for k in node.keywords}
        if called in CALLS:
            yield f"calls {called}"
        if called == "yaml.load" and [dotted(a) for a in node.args[1:]] != ["_StrictLoader"]:
            yield "calls yaml.load with another loader"
        if called.endswith(".from_pretrained") and path not in ONE_DOOR:
            yield f"calls {called} itself"
        for option, harmless in (("allow_pickle", False), ("shell", False), ("weights_only", True)):
            value = options.get(option)
            if value is not None and not (isinstance(value, ast.Constant) and value.value is harmless):
                yield f"{called} with {option}"
        trusted = options.get("trust_remote_code")
        if isinstance(trusted, ast.Constant) and trusted.value is not False:
            yield f"{called} trusts remote code by itself"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_unpickles_or_evaluates(path: Path) -> None:
    assert list(faults(path.read_text(), str(path.relative_to(ROOT)))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(f)",
        "np.load(f, allow_pickle=True)",
        "np.load(f, allow_pickle=flag)",
        "yaml.load(t, yaml.Loader)",
        "yaml.load(t)",
        "subprocess.run(c, shell=True)",
        "eval(text)",
        "AutoModel.from_pretrained(x)",
        "f(trust_remote_code=True)",
        "f(trust_remote_code=None)",
        "pd.read_pickle(x)",
    ],
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    assert list(faults(line, "spaces/x.py"))
