"""What a plan finds of the stage's checkpoints without their weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import MarianMTModel

from distiller.pipelines.augment.checkpoints import check_checkpoints
from distiller.pipelines.augment.translation import Translator
from distiller.spaces.augmentation import BackTranslation, Contextual
from distiller.spaces.errors import InputError
from tests.pipelines.conftest import CPU

MASKED = r"^here\.contextual\.checkpoint: "


@pytest.fixture
def folder(checkpoints: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoints, tmp_path / "own"))


def test_models_of_their_kind_pass_with_their_weights(folder: Path) -> None:
    check_checkpoints(Contextual(checkpoint="./masked"), folder, "here")
    both = BackTranslation(there="./there", back="./back")
    check_checkpoints(both, folder, "here")
    Translator(str(folder / "there"), "here", CPU)


def test_pickled_weights_are_refused_with_the_way_to_convert_them(folder: Path) -> None:
    model = MarianMTModel.from_pretrained(folder / "there")
    torch.save(model.state_dict(), folder / "there" / "pytorch_model.bin")
    (folder / "there" / "model.safetensors").unlink()
    said = r"^here\.back_translation\.there: .*as a pickle \(pytorch_model.bin\).*AutoModelForSeq2SeqLM"
    with pytest.raises(InputError, match=said):
        check_checkpoints(BackTranslation(there="./there", back="./back"), folder, "here")
    with pytest.raises(InputError, match="as a pickle"):
        Translator(str(folder / "there"), "here", CPU)


def test_shards_are_weights(folder: Path) -> None:
    model = MarianMTModel.from_pretrained(folder / "there")
    (folder / "there" / "model.safetensors").unlink()
    model.save_pretrained(folder / "there", max_shard_size="10KB")
    assert (folder / "there" / "model.safetensors.index.json").exists()
    check_checkpoints(BackTranslation(there="./there", back="./back"), folder, "here")


def test_models_of_another_kind_are_refused(folder: Path) -> None:
    with pytest.raises(
        InputError, match=MASKED + r".* is no masked language model, but of type marian; name"
    ):
        check_checkpoints(Contextual(checkpoint="./there"), folder, "here")
    with pytest.raises(
        InputError,
        match=r"^here\.back_translation\.back: .* is no sequence-to-sequence model, but of type bert; name",
    ):
        check_checkpoints(BackTranslation(there="./there", back="./masked"), folder, "here")


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "masked" / "model.safetensors").unlink()
    with pytest.raises(
        InputError, match=MASKED + r".* holds no weights \(model.safetensors or .*; copy them"
    ):
        check_checkpoints(Contextual(checkpoint="./masked"), folder, "here")
    (folder / "there" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"^here\.back_translation\.there: .* holds no weights"):
        check_checkpoints(BackTranslation(there="./there", back="./back"), folder, "here")
