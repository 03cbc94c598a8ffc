"""How a sweep names a dataset: `datasets: {name: {...}}`.

    trec:    {builtin: trec, train_rows: 1000, rest_as_unlabeled: true}
    reviews: {train: data/*.csv.gz, unlabeled: raw.jsonl, text: body, label: stars}
    sst2:    {load_dataset: glue, config: sst2, text: sentence, label: label, metric: accuracy}
    sts:     {train: package:mypackage/data/sts.parquet, text: [a, b], score: similarity}
    topics:  {train: posts.csv, text: body, labels: tags, label_separator: "|"}
    squad:   {task: qa, train: train-v1.1.json, validation: dev-v1.1.json, max_length: 384}
    conll:   {task: token_classification, train: eng.train.conll, validation: eng.testa.conll}

The columns say what is predicted: `label` (classes), `score` (a number), `labels` (any number of names a
row, or one 0/1 column for each), `question`, `context` and `answers` (a span of the context), `tokens` and
`tags` (a tag for each word). `task` may say it too, and alone suffices where the columns have these names.

`train_rows: [500, 2000]` stands for one dataset of each size, named NAME-500 and NAME-2000: the same rows
held out, the smaller part of the larger.

Relative paths are relative to the file that names them; `package:NAME/inside/file` lies inside an installed
package, which is never imported. Reading the data is the business of `distiller.pipelines.data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

TaskKind = Literal["classification", "regression", "multi_label", "qa", "token_classification"]
Builtin = Literal["trec", "tweets", "amazon", "sms", "nyt", "movies"]
BUILTIN_KINDS: dict[str, TaskKind] = {
    "trec": "classification",
    "tweets": "regression",
    "amazon": "regression",
    "sms": "classification",
    "nyt": "regression",
    "movies": "regression",
}
Metric = Literal[
    "matthews",
    "accuracy",
    "macro_f1",
    "binary_f1",
    "pearson",
    "spearman",
    "negative_rmse",
    "micro_f1",
    "subset_accuracy",
    "f1",
    "exact_match",
    "entity_f1",
    "entity_precision",
    "entity_recall",
    "strict_entity_f1",
]
KIND_METRICS: dict[TaskKind, tuple[Metric, ...]] = {  # the first is the default
    "classification": ("matthews", "accuracy", "macro_f1", "binary_f1"),
    "regression": ("pearson", "spearman", "negative_rmse"),
    "multi_label": ("micro_f1", "macro_f1", "subset_accuracy"),
    "qa": ("f1", "exact_match"),
    "token_classification": ("entity_f1", "entity_precision", "entity_recall", "strict_entity_f1"),
}
KIND_COLUMNS: dict[TaskKind, tuple[str, ...]] = {
    "classification": ("text", "label"),
    "regression": ("text", "score"),
    "multi_label": ("text", "labels", "label_separator"),
    "qa": ("question", "context", "answers", "window_overlap"),
    "token_classification": ("tokens", "tags"),
}
"""The keys that say where a row of each kind of task stands."""
COLUMN_KEYS = tuple(dict.fromkeys(key for keys in KIND_COLUMNS.values() for key in keys))
TARGET_KEYS: dict[str, TaskKind] = {
    "label": "classification",
    "score": "regression",
    "labels": "multi_label",
    "answers": "qa",
    "tags": "token_classification",
}
SHORTEST_WINDOW = 32
"""Tokens of question and context that a span can be looked for in."""


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Name = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Name, ...], BeforeValidator(_listed), Field(min_length=1)]
TextColumns = Annotated[tuple[Name, ...], BeforeValidator(_listed), Field(min_length=1, max_length=2)]


class SplitNames(BaseModel):
    """The source's own names of the splits; null means that it is not used.

    A `validation`, `test` or `unlabeled` that is not mentioned is used where the source has it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: Name = "train"
    validation: Name | None = "validation"
    test: Name | None = "test"
    unlabeled: Name | None = "unlabeled"


class DatasetConfig(BaseModel):
    """One dataset: exactly one source (`builtin`, `train` files or `load_dataset`), its columns, its rows.

    Where the source has no validation or test, `validation_rows` and `test_rows` are held out of train; left
    out, a tenth of train each, 2 to 5,000 rows (builtins: 500). The held-out rows depend on the texts alone,
    not on `data_seed`: what was trained under another seed has not seen them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    builtin: Builtin | None = None
    train: Names | None = Field(
        None, description="CSV, TSV, JSONL, JSON (text formats also .gz), Parquet, SQuAD, CoNLL; globs"
    )
    validation: Names | None = None
    test: Names | None = None
    unlabeled: Names | None = Field(None, description="transfer text: the teacher labels it")
    load_dataset: Name | None = Field(
        None, description="first argument of datasets.load_dataset, or a folder"
    )
    config: Name | None = Field(None, description="name of the hub dataset's configuration")
    revision: Name | None = None
    data_files: dict[Name, Names] | None = Field(
        None, description="for load_dataset: json, csv, parquet, text"
    )
    splits: SplitNames = SplitNames()

    task: TaskKind | None = Field(None, description="what is predicted, where the columns do not say it")
    text: TextColumns | None = Field(None, description="one text column, or two for pairs")
    label: Name | None = Field(None, description="class column: names or whole numbers")
    score: Name | None = Field(None, description="number column: regression")
    labels: Names | None = Field(None, description="column with a list of labels, or 0/1 columns")
    label_separator: Name | None = Field(None, description="what stands between the labels of a text cell")
    question: Name | None = Field(None, description="qa: default `question`")
    context: Name | None = Field(None, description="qa: default `context`")
    answers: Name | None = Field(None, description="qa: {text: [...], answer_start: [...]}")
    tokens: Name | None = Field(None, description="token classification: list of words, default `tokens`")
    tags: Name | None = Field(None, description="token classification: a tag for each word, default `tags`")
    metric: Metric | None = Field(None, description="default: the first of the task's kind")

    train_rows: int | None = Field(None, ge=2, description="labelled rows kept, stratified; in sweeps a list")
    rest_as_unlabeled: bool = Field(False, description="the rest of train becomes transfer text")
    validation_rows: int | None = Field(None, ge=2)
    test_rows: int | None = Field(None, ge=2)
    data_seed: int = Field(0, ge=0, description="draws the train_rows")
    max_length: int = Field(128, ge=4, description="tokens")
    window_overlap: int | None = Field(
        None, ge=0, description="qa: tokens that two windows of a long context share, default max_length / 3"
    )

    @property
    def kind(self) -> TaskKind:
        """What is predicted: `task`, or what the columns say."""
        if self.builtin is not None:
            return BUILTIN_KINDS[self.builtin]
        if self.task is not None:
            return self.task
        return next(kind for key, kind in TARGET_KEYS.items() if getattr(self, key) is not None)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """One column, or two for pairs; the question's and the context's; the words'."""
        if self.kind == "qa":
            return self.question or "question", self.context or "context"
        if self.kind == "token_classification":
            return (self.tokens or "tokens",)
        return self.text or ("text",)

    @property
    def target_columns(self) -> tuple[str, ...]:
        """The column of classes, scores, label lists, answers or tags; several 0/1 columns of labels."""
        if self.kind == "qa":
            return (self.answers or "answers",)
        if self.kind == "token_classification":
            return (self.tags or "tags",)
        return self.labels or (self.label or self.score or "target",)

    @property
    def headline(self) -> Metric:
        """The metric that `score` reports: higher is better."""
        return self.metric or KIND_METRICS[self.kind][0]

    @property
    def overlap(self) -> int:
        """Tokens of the context that neighbouring windows share."""
        return self.max_length // 3 if self.window_overlap is None else self.window_overlap

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = [key for key in ("builtin", "train", "load_dataset") if getattr(self, key) is not None]
        if len(sources) != 1:
            found = " and ".join(sources) or "none"
            raise ValueError(f"has {found} as its source; give exactly one of builtin, train, load_dataset")
        columns = ("task", *COLUMN_KEYS)
        allowed = {
            "builtin": (),
            "train": ("validation", "test", "unlabeled", *columns),
            "load_dataset": ("config", "revision", "data_files", "splits", *columns),
        }
        for key in dict.fromkeys(key for keys in allowed.values() for key in keys):
            if key in allowed[sources[0]]:
                continue
            if key in self.model_fields_set and getattr(self, key) is not None:
                raise ValueError(f"{key} does not go with {sources[0]}; remove {key}")
        return self

    @model_validator(mode="after")
    def _columns(self) -> Self:
        if self.builtin is None:
            self._one_target()
            for key in COLUMN_KEYS:
                if getattr(self, key) is not None and key not in KIND_COLUMNS[self.kind]:
                    raise ValueError(f"{key} does not go with {self.kind}; remove {key}")
            if "text" in KIND_COLUMNS[self.kind] and self.text is None:
                raise ValueError("names no text column; add `text: column` or `text: [first, second]`")
            if self.label_separator is not None and len(self.labels or ()) > 1:
                raise ValueError("label_separator is for one column of labels, not several; remove it")
        if self.metric is not None and self.metric not in KIND_METRICS[self.kind]:
            choices = ", ".join(KIND_METRICS[self.kind])
            raise ValueError(f"metric {self.metric} does not measure {self.kind}; choose one of {choices}")
        return self

    def _one_target(self) -> None:
        named = [key for key in TARGET_KEYS if getattr(self, key) is not None]
        by_default = self.task in ("qa", "token_classification")
        if len(named) == 1 or (not named and by_default):
            return
        if not named and self.task is None:
            problem = "neither label nor score"
        else:
            problem = " and ".join(named) or f"no column of what {self.task} predicts"
            problem = f"both {problem}" if len(named) == 2 else problem
        raise ValueError(
            f"has {problem}; give exactly one: `label: column` (classes), `score: column` (numbers), "
            "`labels: column` (several labels a row), or `task: qa` or `task: token_classification`"
        )

    @model_validator(mode="after")
    def _rows(self) -> Self:
        for split in ("validation", "test"):
            if getattr(self, split) is not None and getattr(self, f"{split}_rows") is not None:
                raise ValueError(f"{split}_rows holds rows out of train, but {split} names files; remove one")
        if self.rest_as_unlabeled and self.train_rows is None:
            raise ValueError("rest_as_unlabeled needs train_rows; add train_rows or remove rest_as_unlabeled")
        return self

    @model_validator(mode="after")
    def _windows(self) -> Self:
        if self.kind == "qa":
            if self.max_length < SHORTEST_WINDOW:
                raise ValueError(
                    f"max_length {self.max_length} leaves a qa no context; give {SHORTEST_WINDOW} or more"
                )
            if self.overlap > self.max_length // 3:
                raise ValueError(
                    f"window_overlap {self.window_overlap} is more than a third of max_length; "
                    f"give at most {self.max_length // 3}"
                )
        return self


def one_dataset_a_size(written: Mapping[str, Any]) -> dict[str, Any]:
    """A sweep as written, with each dataset of several `train_rows` replaced by one of each size.

    NAME with `train_rows: [500, 2000]` becomes NAME-500 and NAME-2000, in its place; `space_for: NAME`
    becomes theirs, unless they are named there themselves.

    Raises:
        ValueError: a size is no whole number of at least 2, comes twice, or its name is taken.
    """
    datasets, spaces = written.get("datasets"), written.get("space_for")
    if not isinstance(datasets, Mapping):
        return dict(written)
    expanded: dict[str, Any] = {}
    sized: dict[str, list[str]] = {}
    for name, dataset in datasets.items():
        sizes = dataset.get("train_rows") if isinstance(dataset, Mapping) else None
        if not isinstance(sizes, (list, tuple)):
            expanded[name] = dataset
            continue
        place = f"datasets.{name}.train_rows"
        if not sizes or any(
            isinstance(size, bool) or not isinstance(size, int) or size < 2 for size in sizes
        ):
            raise ValueError(f"{place}: {list(sizes)} is no list of sizes; write whole numbers of at least 2")
        if len(set(sizes)) < len(sizes):
            raise ValueError(f"{place}: {list(sizes)} names a size twice; write each size once")
        sized[name] = [f"{name}-{size}" for size in sizes]
        for size, own in zip(sizes, sized[name], strict=True):
            if own in datasets:
                raise ValueError(
                    f"{place}: {size} makes a dataset {own!r}, which is there already; rename it"
                )
            expanded[own] = {**dataset, "train_rows": size}
    result = {**written, "datasets": expanded}
    if isinstance(spaces, Mapping) and sized:
        shared = {own: spaces[name] for name, names in sized.items() if name in spaces for own in names}
        result["space_for"] = shared | {name: space for name, space in spaces.items() if name not in sized}
    return result
