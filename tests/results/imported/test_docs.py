"""The worked table of the documentation is imported as it stands there."""

import re
from pathlib import Path

from distiller.results.imported import parse_mapping, read_import, read_table
from distiller.results.imported.mapping import StageColumn, TableMapping

DOCS = Path(__file__).parents[3] / "docs" / "import.md"


def block(kind):
    return re.search(rf"```{kind}\n(.*?)```", DOCS.read_text(), re.DOTALL).group(1)


def test_the_worked_table(tmp_path):
    (tmp_path / "trials.csv").write_text(block("csv"))
    found = read_import(read_table(tmp_path / "trials.csv"), parse_mapping(block("yaml"), "mapping.yaml"))
    assert found.sweep == "augmentations"
    assert found.datasets == ["sst-2", "trec"]
    assert found.status == {"completed": 4, "stopped": 1, "failed": 1}
    assert found.rows.trials.column("fidelity").to_pylist() == [1.0, 1.0, 0.2, 1.0, 1.0, 0.1]
    assert (
        "stages.training.momentum: asked only where optimizer is sgd, found from empty cells" in found.notes
    )
    assert found.design.columns() == [
        "augmentation_method", "augmentation_strength", "augmentation_mix_alpha",
        "training_optimizer", "training_momentum", "training_lr",
    ]  # fmt: skip


def test_every_key_is_documented():
    text = DOCS.read_text()
    for name, field in (*TableMapping.model_fields.items(), *StageColumn.model_fields.items()):
        assert re.search(rf"`{field.alias or name}\b", text), name
