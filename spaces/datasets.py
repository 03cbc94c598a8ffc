"""How a sweep names a dataset: `datasets: {name: {...}}`.

    trec:    {builtin: trec, train_rows: 1000, rest_as_unlabeled: true}
    reviews: {train: data/*.csv.gz, unlabeled: raw.jsonl, text: body, label: stars}
    sst2:    {load_dataset: glue, config: sst2, text: sentence, label: label, metric: accuracy}
    sts:     {train: package:mypackage/data/sts.parquet, text: [a, b], score: similarity}

Relative paths are relative to the file that names them; `package:NAME/inside/file` lies inside an installed
package, which is never imported. Reading the data is the business of `distiller.pipelines.data`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

TaskKind = Literal["classification", "regression"]
Builtin = Literal["trec", "tweets", "amazon", "sms", "nyt", "movies"]
BUILTIN_KINDS: dict[str, TaskKind] = {
    "trec": "classification",
    "tweets": "regression",
    "amazon": "regression",
    "sms": "classification",
    "nyt": "regression",
    "movies": "regression",
}
Metric = Literal["matthews", "accuracy", "macro_f1", "binary_f1", "pearson", "spearman", "negative_rmse"]
KIND_METRICS: dict[TaskKind, tuple[Metric, ...]] = {  # the first is the default
    "classification": ("matthews", "accuracy", "macro_f1", "binary_f1"),
    "regression": ("pearson", "spearman", "negative_rmse"),
}


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
        None, description="CSV, TSV, JSONL, JSON (text formats also .gz), Parquet; globs"
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

    text: TextColumns | None = Field(None, description="one text column, or two for pairs")
    label: Name | None = Field(None, description="class column: names or whole numbers")
    score: Name | None = Field(None, description="number column: regression")
    metric: Metric | None = Field(None, description="default: matthews, pearson for regression")

    train_rows: int | None = Field(None, ge=2, description="labelled rows kept, stratified by class")
    rest_as_unlabeled: bool = Field(False, description="the rest of train becomes transfer text")
    validation_rows: int | None = Field(None, ge=2)
    test_rows: int | None = Field(None, ge=2)
    data_seed: int = Field(0, ge=0, description="draws the train_rows")
    max_length: int = Field(128, ge=4, description="tokens")

    @property
    def kind(self) -> TaskKind:
        """Classification or regression."""
        if self.builtin is not None:
            return BUILTIN_KINDS[self.builtin]
        return "classification" if self.label is not None else "regression"

    @property
    def text_columns(self) -> tuple[str, ...]:
        """One column, or two for pairs."""
        return self.text or ("text",)

    @property
    def target_column(self) -> str:
        """The column of classes or scores."""
        return self.label or self.score or "target"

    @property
    def headline(self) -> Metric:
        """The metric that `score` reports: higher is better."""
        return self.metric or KIND_METRICS[self.kind][0]

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = [key for key in ("builtin", "train", "load_dataset") if getattr(self, key) is not None]
        if len(sources) != 1:
            found = " and ".join(sources) or "none"
            raise ValueError(f"has {found} as its source; give exactly one of builtin, train, load_dataset")
        allowed = {
            "builtin": (),
            "train": ("validation", "test", "unlabeled", "text", "label", "score"),
            "load_dataset": ("config", "revision", "data_files", "splits", "text", "label", "score"),
        }
        for key in sorted({key for keys in allowed.values() for key in keys} - set(allowed[sources[0]])):
            if key in self.model_fields_set and getattr(self, key) is not None:
                raise ValueError(f"{key} does not go with {sources[0]}; remove {key}")
        return self

    @model_validator(mode="after")
    def _columns(self) -> Self:
        if self.builtin is None:
            if self.text is None:
                raise ValueError("names no text column; add `text: column` or `text: [first, second]`")
            if (self.label is None) == (self.score is None):
                given = "neither label nor score" if self.label is None else "both label and score"
                raise ValueError(
                    f"has {given}; give exactly one: `label: column` (classes) or `score: column` (numbers)"
                )
        if self.metric is not None and self.metric not in KIND_METRICS[self.kind]:
            choices = ", ".join(KIND_METRICS[self.kind])
            raise ValueError(f"metric {self.metric} does not measure {self.kind}; choose one of {choices}")
        return self

    @model_validator(mode="after")
    def _rows(self) -> Self:
        for split in ("validation", "test"):
            if getattr(self, split) is not None and getattr(self, f"{split}_rows") is not None:
                raise ValueError(f"{split}_rows holds rows out of train, but {split} names files; remove one")
        if self.rest_as_unlabeled and self.train_rows is None:
            raise ValueError("rest_as_unlabeled needs train_rows; add train_rows or remove rest_as_unlabeled")
        return self
