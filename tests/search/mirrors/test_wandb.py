"""Weights & Biases runs, offline; what a run holds is read back from its transaction log."""

from __future__ import annotations

import pytest

pytest.importorskip("wandb", reason="pip install 'kd-distiller[wandb]'")


pytestmark = pytest.mark.filterwarnings("ignore")  # its own, of packages that it draws in
