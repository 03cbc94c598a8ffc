"""A user's own parts before the contract: what is right is let in, what is wrong is said in one line."""

from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from distiller.pipelines.augment.methods import METHODS
from distiller.pipelines.objectives import OBJECTIVES
from distiller.pipelines.own import adopt_own_parts
from distiller.pipelines.prediction import SOFT
from distiller.spaces import own
from distiller.spaces.config import STAGES
from distiller.spaces.errors import InputError

LOSS = '''
from typing import Annotated, Literal

import torch
from pydantic import Field

from distiller.pipelines.prediction import mse
from distiller.spaces.choice import Choice
from distiller.spaces.prediction import HardWeight


class Mine(Choice):
    """Squared difference of logits, with settings of its own."""

    loss: Literal["mine"] = "mine"
    hard_weight: HardWeight = 0.5
    margin: Annotated[float, Field(ge=0, le=9)] = 0.0
    power: Annotated[int, Field(ge=0, le=3)] = 0
    form: Literal["plain", "doubled"] = "plain"
    halved: bool = False

    @staticmethod
    def function(student, teacher, seen, margin, power, form, halved):
        value = mse(student, teacher, seen) * (1 + margin) * 2**power
        value = 2 * value if form == "doubled" else value
        return value / 2 if halved else value
'''


@pytest.fixture
def registries() -> Iterator[None]:
    """All registries, as they were once the test is over."""
    stages = dict(STAGES)
    tables: list[dict[str, object]] = [OBJECTIVES, SOFT, METHODS]  # type: ignore[list-item]
    before = [dict(table) for table in tables]
    yield
    for name, stage in stages.items():
        if STAGES[name] is not stage:
            own._replace(name, stage)
    for table, kept in zip(tables, before, strict=True):
        table.clear()
        table.update(kept)


def test_the_example_in_the_docs_is_a_part(tmp_path: Path) -> None:
    doc = inspect.getdoc(own)
    assert doc is not None
    lines = doc.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("    "))
    past = next(i for i, line in enumerate(lines) if i > first and line and not line.startswith("    "))
    (tmp_path / "mine.py").write_text(textwrap.dedent("\n".join(lines[first:past])))
    use = f"""
from pathlib import Path
import torch
from distiller.pipelines.objectives import OBJECTIVES
from distiller.pipelines.own import adopt_own_parts
from distiller.spaces.own import load_parts

load_parts(["mine.py"], Path({str(tmp_path)!r}))
assert adopt_own_parts() == ["huber"]
x, y = torch.randn(4, 8), torch.randn(4, 8)
found = OBJECTIVES["huber"].loss(x, y, None, delta=torch.tensor(0.7))
torch.testing.assert_close(found, torch.nn.functional.huber_loss(x, y, delta=0.7))
"""
    done = subprocess.run([sys.executable, "-c", use], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def adopted(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "mine.py").write_text(text)
    own.load_parts(["mine.py"], tmp_path)
    return adopt_own_parts()


@pytest.mark.usefixtures("registries")
def test_settings_that_start_at_0_are_let_in(tmp_path: Path) -> None:
    assert adopted(tmp_path, LOSS) == ["mine"]


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("(1 + margin)", "1", "prediction loss 'mine': margin changes nothing"),
        ("2**power", "1", "prediction loss 'mine': power changes nothing"),
        ("2 * value if", "value if", "prediction loss 'mine': form changes nothing"),
        ("value / 2 if", "value if", "prediction loss 'mine': halved changes nothing"),
        ("2 * value if", "-value if", "prediction loss 'mine' with form doubled: is not least"),
        ("value / 2 if", "value.sqrt() if", "prediction loss 'mine' with halved True: not finite"),
        ("halved):", "half):", "prediction loss 'mine': raises TypeError: "),
    ],
)
@pytest.mark.usefixtures("registries")
def test_a_wrong_loss_is_said_once(tmp_path: Path, right: str, wrong: str, says: str) -> None:
    with pytest.raises(InputError) as refused:
        adopted(tmp_path, LOSS.replace(right, wrong))
    assert str(refused.value).startswith(f"parts: {says}")
    assert str(refused.value).count("prediction loss") == 1
    assert "\n" not in str(refused.value)
