"""Views: which texts they hold, what they may depend on, which of them a policy draws; kept on disk."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distiller.pipelines.augment import methods
from distiller.pipelines.augment.methods import METHODS
from distiller.pipelines.augment.rows import Row, row_generator
from distiller.pipelines.augment.sources import Sources
from distiller.pipelines.tokens import training_batches
from distiller.pipelines.views import (
    ORIGINAL,
    View,
    draws_of,
    edited_rows,
    materialise,
    passes_of,
    views_of,
)
from distiller.spaces.augmentation import (
    BackTranslation,
    Contextual,
    EmbeddingNeighbours,
    Mixup,
    RandomWords,
    Synonyms,
)
from distiller.spaces.choice import Choice
from distiller.spaces.config import PipelineConfig
from distiller.spaces.errors import InputError
from tests.pipelines.augment.conftest import TEXTS, save_masked, save_translator, tiny_sources

TEXT = st.text(max_size=60)
STRENGTH = st.sampled_from([0.01, 0.1, 0.3, 0.5])
COSTLY: list[Choice] = [
    EmbeddingNeighbours(strength=0.3, neighbours=4),
    Contextual(checkpoint="masked", strength=0.3),
    BackTranslation(there="there", back="back"),
]
ALL: list[Choice] = [RandomWords(strength=0.3), Synonyms(strength=0.5), *COSTLY]
ENGLISH = ("A good film has a terrible story", "the actor can abandon a happy life")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints and a cache that all tests of this module may fill."""
    found = tmp_path_factory.mktemp('it\'s a "views" folder')
    save_masked(found / "masked")
    save_translator(found / "there", 1)
    save_translator(found / "back", 2)
    return found


@pytest.fixture(scope="module")
def sources(folder: Path) -> Sources:
    return tiny_sources(folder)


def texts_of(choice: Choice) -> list[str]:
    return [*(ENGLISH if isinstance(choice, Synonyms) else TEXTS)]


def random_view(strength: float, seed: int = 0, number: int = 1) -> View:
    return View(RandomWords(strength=strength), seed, number)


@settings(deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=6), STRENGTH, st.integers(0, 5), st.integers(1, 3))
def test_a_row_depends_on_its_own_text_alone(
    sources: Sources, texts: list[str], strength: float, seed: int, number: int
) -> None:
    view = random_view(strength, seed, number)
    together, _ = materialise(texts, None, view, sources)
    assert together == [materialise([text], None, view, sources)[0][0] for text in texts]
    backwards, _ = materialise(texts[::-1], None, view, sources)
    assert backwards == together[::-1]
    first, second = materialise(texts, texts[::-1], view, sources)
    assert first == together
    assert second == materialise([""] * len(texts), texts[::-1], view, sources)[1]
    for text, new in zip(texts, together, strict=True):
        assert (len(text.split()) < 2) == (new == text)


def test_views_differ_by_seed_round_and_side(sources: Sources) -> None:
    text = " ".join(f"w{i}" for i in range(40))
    views = [random_view(0.3, seed, number) for seed in (0, 1) for number in (1, 2)]
    assert len({materialise([text], None, view, sources)[0][0] for view in views}) == 4
    assert len({view.key for view in views}) == 4
    first, second = materialise([text], [text], views[0], sources)
    assert second is not None
    assert first != second
    assert materialise([text], ["x"], random_view(0.3, number=0), sources) == ([text], ["x"])
    assert ORIGINAL.key == View(RandomWords(), 7, 0).key == "original"
    assert views[0].key == "random-0.3-seed0-round1"


def test_views_are_shared_by_choices_that_draw_more_of_them() -> None:
    one, more = RandomWords(strength=0.3), RandomWords(strength=0.3, copies=4, redraw=2)
    assert View(one, 0, 1) == View(more, 0, 1)
    assert View(Contextual(checkpoint="a/b"), 0, 1).key != View(Contextual(checkpoint="a/c"), 0, 1).key
    keys = {View(choice, 0, 1).key for choice in ALL}
    assert len(keys) == len(ALL)
    assert not any(set(key) & set("/\\ :") for key in keys)


def test_all_three_operations_occur(sources: Sources) -> None:
    texts = [f"a{i} b c d e f g h" for i in range(300)]
    edited, _ = materialise(texts, None, random_view(0.2), sources)
    counts = Counter(len(text.split()) for text in edited)
    assert set(counts) == {6, 8, 10}
    assert min(counts.values()) > 70


@pytest.mark.parametrize("choice", ALL, ids=lambda choice: choice.method)
def test_rounds_start_from_the_original(choice: Any, sources: Sources) -> None:
    """What a round holds does not change with the rounds that were drawn before it."""
    texts = texts_of(choice)
    later, _ = materialise(texts, None, View(choice, 0, 2), sources)
    first, _ = materialise(texts, None, View(choice, 0, 1), sources)
    assert first != later
    assert first != texts
    assert materialise(texts, None, View(choice, 0, 2), sources)[0] == later
    if choice.method != "back_translation":
        rows = [Row.of(text) for text in texts]
        edited = edited_rows(rows, View(choice, 0, 2), "a", sources)
        assert [" ".join(word for word, _ in row) for row in edited] == later
        for row, new in zip(rows, edited, strict=True):
            # Every word that was not put in for another stands in the original, at its origin.
            kept = [word for word, origin in new if origin is not None and word == row.words[origin]]
            assert len(kept) >= len(row.words) * (0.4 if choice.method != "synonym" else 0.3)


@pytest.mark.parametrize("choice", ALL, ids=lambda choice: choice.method)
def test_sides_rows_and_order(choice: Any, sources: Sources) -> None:
    texts, view = texts_of(choice), View(choice, 0, 1)
    first, second = materialise(texts, texts[::-1], view, sources)
    assert second is not None
    assert second[::-1] != first
    assert materialise(texts[::-1], None, view, sources)[0] == first[::-1]
    assert materialise([*texts, *texts], None, view, sources)[0] == first * 2
    assert materialise([], None, view, sources) == ([], None)


def test_words_that_carry_labels(sources: Sources) -> None:
    row = Row(("w1", "w2", "w3", "w4", "w5"), (False, True, True, False, False))
    for choice in (RandomWords(strength=0.5), EmbeddingNeighbours(strength=0.5), COSTLY[1]):
        for number in range(1, 8):
            (edited,) = edited_rows([row], View(choice, 0, number), "a", sources)
            at = [place for place, (_, origin) in enumerate(edited) if origin in (1, 2)]
            assert at[1] == at[0] + 1
            assert edited[at[0]] == ("w2", 1)
            assert edited[at[1]] == ("w3", 2)
    assert edited_rows([row], ORIGINAL, "a", sources) == [row.unchanged()]
    with pytest.raises(ValueError, match="back_translation takes whole texts"):
        edited_rows([row], View(COSTLY[2], 0, 1), "a", sources)


PROGRAM = """
import sys, pathlib, torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
from tests.pipelines.test_views import ALL, texts_of
from tests.pipelines.augment.conftest import tiny_sources
from distiller.pipelines.views import View, materialise
folder = pathlib.Path(sys.argv[1])
for choice in ALL:
    texts = texts_of(choice)
    print(ascii(materialise(texts, texts, View(choice, 3, 2), tiny_sources(folder, folder / sys.argv[3]))))
"""


@pytest.mark.slow
def test_the_same_in_every_process(folder: Path, sources: Sources) -> None:
    other = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(Path(__file__).parents[2]), "another cache"],
        env=os.environ | {"PYTHONHASHSEED": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    here = [materialise(texts_of(c), texts_of(c), View(c, 3, 2), sources) for c in ALL]
    assert other.stdout == "".join(f"{texts!a}\n" for texts in here)


@pytest.mark.parametrize(
    ("view", "said"),
    [
        ((Mixup(), 0, 1), "no text augmentation 'mixup'"),
        ((RandomWords(), 0, -1), "negative"),
    ],
)
def test_impossible_views(view: tuple[Choice, int, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        View(*view)


def broken(choice: Any, sources: Sources) -> Any:
    raise AssertionError("computed again")


def barred(monkeypatch: pytest.MonkeyPatch) -> None:
    """No method may be run any more."""
    for name, method in METHODS.items():
        part = "rewriter" if isinstance(method, methods.TextMethod) else "editor"
        monkeypatch.setitem(METHODS, name, type(method)(**{**vars(method), part: broken}))


@pytest.mark.parametrize("choice", COSTLY, ids=lambda choice: choice.method)
def test_costly_texts_are_made_once_per_node(
    choice: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, _ = materialise(TEXTS, TEXTS[::-1], View(choice, 0, 1), tiny_sources(folder, tmp_path / "other"))
    mine = tiny_sources(folder, tmp_path / "cache")
    assert materialise(TEXTS, TEXTS[::-1], View(choice, 0, 1), mine)[0] == fresh
    barred(monkeypatch)
    again = tiny_sources(folder, tmp_path / "cache")
    assert materialise(TEXTS, TEXTS[::-1], View(choice, 0, 1), again)[0] == fresh
    others: list[tuple[Any, View, Sources]] = [
        (TEXTS, View(choice, 0, 2), again),
        (TEXTS, View(choice, 1, 1), again),
        (TEXTS[1:], View(choice, 0, 1), again),
        (TEXTS, View(choice.model_copy(update=another(choice)), 0, 1), again),
    ]
    if choice.method == "embedding":
        others.append((TEXTS, View(choice, 0, 1), tiny_sources(folder, tmp_path / "cache", seed=1)))
    for texts, view, where in others:
        with pytest.raises(AssertionError, match="computed again"):
            materialise(texts, None, view, where)


def another(choice: Any) -> dict[str, Any]:
    return {"strength": 0.4} if hasattr(choice, "strength") else {"top_p": 0.5}


def test_other_weights_under_the_same_name_give_other_texts(tmp_path: Path) -> None:
    view = View(Contextual(checkpoint="./masked", strength=0.5), 0, 1)
    save_masked(tmp_path / "masked")
    first, _ = materialise(TEXTS, None, view, tiny_sources(tmp_path))
    save_masked(tmp_path / "masked", seed=1)
    second, _ = materialise(TEXTS, None, view, tiny_sources(tmp_path))
    assert first != second
    with pytest.raises(InputError, match=r"^space.augmentation.contextual.checkpoint: no folder .*missing"):
        materialise(TEXTS, None, View(Contextual(checkpoint="./missing"), 0, 1), tiny_sources(tmp_path))


def test_a_killed_writer_leaves_nothing_that_is_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    def killed(*arguments: Any) -> Any:
        raise KilledError

    view, mine = View(COSTLY[1], 0, 1), tiny_sources(folder, tmp_path)
    expected, _ = materialise(TEXTS, None, view, tiny_sources(folder, tmp_path / "other"))
    with monkeypatch.context() as patch:
        patch.setattr("distiller.pipelines.content._finish", killed)
        patch.setattr("shutil.rmtree", lambda *arguments, **options: None)  # no time to clean up
        with pytest.raises(KilledError):
            materialise(TEXTS, None, view, mine)
    (part,) = [path for path in (tmp_path / "texts").iterdir() if path.suffix == ".part"]
    assert (part / "texts.json").exists()
    assert materialise(TEXTS, None, view, mine)[0] == expected
    (kept,) = [path for path in (tmp_path / "texts").iterdir() if path.is_dir()]
    (kept / "texts.json").write_text("[[")  # torn afterwards: its size tells
    assert materialise(TEXTS, None, view, mine)[0] == expected


def policy(*slots: Choice) -> Any:
    return PipelineConfig.model_validate({"augmentation": [slot.model_dump() for slot in slots]}).augmentation


def test_redrawn_copies_are_further_rounds() -> None:
    assert [v.round for v in views_of(policy(RandomWords(copies=2)), 9)] == [0, 1, 2]
    redrawn = policy(RandomWords(copies=2, redraw=3), Mixup(), Synonyms(copies=1, redraw=1))
    found = [(v.method, v.round) for v in views_of(redrawn, 7)]
    expected = [("none", 0), *(("random", n) for n in range(1, 7)), *(("synonym", n) for n in range(1, 8))]
    assert found == expected
    assert views_of(policy(Mixup()), 7) == [ORIGINAL]


def test_equal_slots_draw_further_rounds() -> None:
    """Each copy is one of its own, whatever stands between; what a slot alone draws keeps its name."""
    one, two, other = RandomWords(), RandomWords(copies=2), RandomWords(strength=0.3)
    repeated = views_of(policy(two, other, one))
    assert [v.round for v in repeated] == [0, 1, 2, 1, 3]
    assert len({v.key for v in repeated}) == 5
    alone = [v.key for v in views_of(policy(RandomWords(copies=3)))]
    assert [v.key for v in repeated if v.parameters != View(other, 0, 1).parameters] == alone
    draws = draws_of(policy(one, RandomWords(redraw=2)), 4)
    assert [v.round for v in draws.views] == [0, 1, 2, 3]
    assert draws.slots == ((1, 1, 0), (2, 1, 2))
    counts = Counter(draws.views_in(np.arange(3000), np.zeros(3000, int)).tolist())
    assert set(counts) == {0, 1, 2}


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=3),
    st.integers(0, 40),
    st.integers(1, 12),
)
def test_every_pass_is_in_turn_and_every_generation_new(
    slots: list[tuple[int, int]], row: int, passes: int
) -> None:
    """Against a loop: turns go through the original and all copies; a redraw replaces the copies."""
    choices = [
        RandomWords(strength=0.1 * (i + 1), copies=copies, redraw=redraw)
        for i, (copies, redraw) in enumerate(slots)
    ]
    draws = draws_of(policy(*choices), passes)
    rounds = np.arange(passes)
    found = [draws.views[v] for v in draws.views_in(np.full(passes, row), rounds)]
    cycle: list[tuple[int, int] | None] = [None]
    cycle += [(slot, copy) for slot, (copies, _) in enumerate(slots) for copy in range(1, copies + 1)]
    start = row * 2654435761 // 128 % len(cycle)
    for number, view in enumerate(found):
        turn = cycle[(start + number) % len(cycle)]
        if turn is None:
            assert view == ORIGINAL
            continue
        slot, copy = turn
        copies, redraw = slots[slot]
        generation = number // redraw if redraw else 0
        assert view == View(choices[slot], 0, generation * copies + copy)


@pytest.mark.parametrize("rows", [1, 7, 30, 31, 64, 200])
@pytest.mark.parametrize("batch_size", [4, 30, 50])
@pytest.mark.parametrize("steps", [1, 9, 60])
def test_no_row_comes_more_often_than_the_passes_say(rows: int, batch_size: int, steps: int) -> None:
    batches = itertools.islice(training_batches(np.arange(1, rows + 1), batch_size, 0), steps)
    most = max(int(rounds.max()) for _, rounds in batches)
    assert most + 1 <= passes_of(steps, batch_size, rows)
    if steps * batch_size >= 2 * rows and steps < 50:  # later windows are shuffled
        assert most + 2 >= passes_of(steps, batch_size, rows)


def test_a_generator_depends_on_text_and_key() -> None:
    assert row_generator("a", 1).random() != row_generator("b", 1).random()
    assert row_generator("a", 1).random() != row_generator("a", 2).random()
