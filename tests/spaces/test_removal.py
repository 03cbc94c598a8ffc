"""What leaves a space by path: in every slot, by name, and never so much that nothing is left."""

from __future__ import annotations

import numpy as np
import pytest

from distiller.spaces.errors import InputError
from distiller.spaces.narrowing import parse_space, write_space
from distiller.spaces.removal import values_at, without


def test_a_value_leaves_every_choice_that_has_it():
    space = parse_space({})
    less, gone = without(space, "intermediate.*.representation", "tokens")
    assert "intermediate.mse.representation tokens" in gone
    assert "intermediate.cka.representation tokens" in gone
    assert not any("rkd" in name or "pkd" in name for name in gone)
    rng = np.random.default_rng(0)
    drawn = [less.sample(rng).intermediate[0] for _ in range(200)]
    assert {getattr(term, "representation", "cls") for term in drawn} == {"cls", "mean"}
    before = {d.path: d.prior for d in space.questions()}
    after = {d.path: d.prior for d in less.questions()}
    changed = {path for path in before if before[path] != after.get(path)}
    assert changed == {name.removesuffix(" tokens") for name in gone}
    assert without(less, "intermediate.*.representation", "tokens") == (less, [])


def test_choices_leave_in_all_slots_and_inside_choices():
    written = {"intermediate": {"slots": [["none", "mse", "attention"], ["pkd", "attention"]]}}
    less, gone = without(parse_space(written), "intermediate.attention")
    assert gone == ["intermediate.attention", "intermediate.2.attention"]
    assert [list(node.choices) for node in less.stages["intermediate"]] == [["none", "mse"], ["pkd"]]
    less, gone = without(less, "intermediate.*.mapping.emd")
    assert gone == ["intermediate.mse.mapping.emd", "intermediate.2.pkd.mapping.emd"]
    assert "emd" not in write_space(less)["intermediate"]["slots"][0]["mse"]["mapping"]
    assert "skip" in write_space(less)["intermediate"]["slots"][0]["mse"]["mapping"]


def test_a_choice_without_a_value_left_leaves_too():
    space = parse_space({"intermediate": {"none": None, "mse": {"representation": "tokens"}}})
    less, gone = without(space, "intermediate.*.representation", "tokens")
    assert gone == ["intermediate.mse"]
    assert list(write_space(less)["intermediate"]) == ["none"]


def test_nothing_left_is_refused():
    space = parse_space({"augmentation": {"slots": ["none", "mixup"]}})
    with pytest.raises(InputError) as caught:
        without(space, "augmentation.mixup")
    assert str(caught.value) == (
        "space.augmentation.2: nothing is left without augmentation.2.mixup; allow another choice"
    )


def test_paths_that_lead_nowhere_change_nothing():
    space = parse_space({"augmentation": "none", "intermediate": "none"})
    for path, value in (("augmentation.mixup", None), ("intermediate.*.representation", "tokens")):
        less, gone = without(space, path, value)
        assert (less, gone) == (space, [])


def test_values_of_ranges():
    space = parse_space({"student": {"svd": {"layers": {"integers": [2, 5]}}}})
    assert values_at(space, "student.*.layers") == [2, 3, 4, 5]
    less, gone = without(space, "student.svd.layers", 3)
    assert gone == ["student.svd.layers 3"]
    assert values_at(less, "student.*.layers") == [2, 4, 5]
    same, gone = without(space, "prediction.*.hard_weight", 0.5)
    assert (same, gone) == (space, [])
    assert values_at(space, "student.pretrained.checkpoint") == []
    both = parse_space({"student": ["teacher_layers", {"pretrained": {"checkpoint": ["a", "b"]}}]})
    assert values_at(both, "student.pretrained.checkpoint") == ["a", "b"]


def test_what_is_left_is_a_space_like_any_other():
    less, _ = without(parse_space({}), "intermediate.*.representation", "tokens")
    assert parse_space(write_space(less)) == less
