"""Checkpoints that would run code: pickled weights, weights by another name, modules of their own."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from distiller.pipelines.data import load_dataset
from distiller.pipelines.pretrained import load_origin
from distiller.pipelines.teacher import prepare_teacher
from distiller.search.checkpoints import teacher_config
from distiller.spaces.errors import InputError
from distiller.spaces.student import Pretrained
from distiller.spaces.sweep import SweepConfig, TeacherConfig
from tests.pipelines.conftest import CPU, save_rows, save_teacher

INDEX = "model.safetensors.index.json"


@pytest.fixture
def dataset(tmp_path: Path) -> Any:
    return load_dataset("animals", save_rows(tmp_path / "rows"), tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_teacher(tmp_path / "it's a teacher")


def said(folder: Path, dataset: Any, **written: Any) -> str:
    """The one line with which a teacher is refused."""
    config = TeacherConfig(model=str(folder), **written)
    with pytest.raises(InputError) as refused:
        prepare_teacher("t", config, dataset, folder.parent / "cache", folder.parent, 24, CPU)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("teachers.t.model: ")
    return str(refused.value)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth"])
def test_pickled_weights_are_not_read(
    folder: Path, dataset: Any, payload: bytes, mark: Path, name: str
) -> None:
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(payload)
    for written in ({}, {"fine_tune": True}):
        line = said(folder, dataset, **written)
        assert f"({name})" in line
        assert "convert it once: `import transformers; m = transformers.AutoModelForSequence" in line
    with pytest.raises(InputError, match="as a pickle"):
        load_origin(Pretrained(checkpoint=str(folder)), folder.parent, dataset.task, 24)
    sweep = SweepConfig.model_validate(
        {"name": "s", "datasets": {"x": {"builtin": "trec"}}, "teachers": {"t": {"model": str(folder)}}}
    )
    with pytest.raises(InputError, match=r"^teachers\.t\.model: .* as a pickle"):
        teacher_config(sweep, "t", folder.parent)  # as `plan` finds it


def test_what_is_said_about_converting_works(folder: Path, dataset: Any) -> None:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    line = said(folder, dataset)
    exec(line.split("`")[1], {})
    config = TeacherConfig(model=str(folder))
    found = prepare_teacher("t", config, dataset, folder.parent / "cache", folder.parent, 24, CPU)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(found.model.state_dict()[name], value)


@pytest.mark.parametrize("shard", ["evil.bin", "../e.safetensors", "/e.safetensors", "a\\b.safetensors", 3])
def test_an_index_that_names_other_files(
    folder: Path, dataset: Any, payload: bytes, mark: Path, shard: Any
) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "evil.bin").write_bytes(payload)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": {"w": shard}}))
    assert "which is no safetensors file of its folder" in said(folder, dataset)
    (folder / INDEX).write_text("[]")
    assert "is no index of shards" in said(folder, dataset)


def edit(folder: Path, **more: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


def test_a_config_that_names_a_pickle(folder: Path, dataset: Any, payload: bytes, mark: Path) -> None:
    (folder / "adapter_model.bin").write_bytes(payload)
    edit(folder, transformers_weights="adapter_model.bin")
    assert "takes its weights from 'adapter_model.bin'" in said(folder, dataset)


def test_a_config_that_asks_for_code_of_the_hub(folder: Path, dataset: Any) -> None:
    edit(folder, attn_implementation="someone/kernel")
    assert "attention code from the hub (someone/kernel)" in said(folder, dataset)


CODE = """
import os, sys
from transformers import BertConfig, BertForSequenceClassification
os.makedirs({mark!r}, exist_ok=True)

class OwnConfig(BertConfig):
    model_type = "of-their-own"

class OwnModel(BertForSequenceClassification):
    config_class = OwnConfig
"""


@pytest.fixture
def with_code(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A checkpoint that needs a module of its own, and the mark that the module leaves."""
    mark = tmp_path / "code ran"
    (folder / "own_model.py").write_text(CODE.format(mark=str(mark)))
    names = {"AutoConfig": "OwnConfig", "AutoModelForSequenceClassification": "OwnModel"}
    edit(folder, model_type="of-their-own", auto_map={k: f"own_model.{v}" for k, v in names.items()})
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a person was asked"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    return folder, mark


def test_code_of_a_checkpoint_is_not_run(with_code: tuple[Path, Path], dataset: Any) -> None:
    folder, mark = with_code
    for written in ({}, {"fine_tune": True}):
        line = said(folder, dataset, **written)
        assert "comes with code of its own, which is not run" in line
        assert "trust_remote_code: true" in line
    with pytest.raises(InputError, match="code of its own, which is not run; name another checkpoint"):
        load_origin(Pretrained(checkpoint=str(folder)), folder.parent, dataset.task, 24)
    assert not mark.exists()


def test_code_that_is_trusted_by_name_runs(with_code: tuple[Path, Path], dataset: Any) -> None:
    folder, mark = with_code
    config = TeacherConfig(model=str(folder), trust_remote_code=True)
    found = prepare_teacher("t", config, dataset, folder.parent / "cache", folder.parent, 24, CPU)
    assert mark.exists()
    assert type(found.model).__name__ == "OwnModel"
    before = found.fingerprint
    with (folder / "own_model.py").open("a") as file:
        file.write("# another\n")
    again = prepare_teacher("t", config, dataset, folder.parent / "cache", folder.parent, 24, CPU)
    assert again.fingerprint != before  # what the code makes of the same weights may be something else


def test_rows_say_whose_code_ran() -> None:
    written = {
        "name": "s",
        "datasets": {"x": {"builtin": "trec"}},
        "teachers": {"a": {"model": "m", "trust_remote_code": True, "revision": "abc"}, "b": {"model": "n"}},
    }
    said = SweepConfig.model_validate(written).trusted_code
    assert said == {"trust_remote_code of a": "m@abc"}


def test_a_pickle_is_what_torch_would_run(payload: bytes, tmp_path: Path, mark: Path) -> None:
    """The attack is one: with another reader, code runs."""
    assert pickle.loads(payload) is None
    assert mark.exists()
    mark.rmdir()
