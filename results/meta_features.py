"""Columns of the `datasets` table that say what a dataset is like; pipelines/meta_features.py fills them.

Null in rows from before there were any, in those of imported trials, and where a feature has no meaning. Each
comment ends with what the feature costs, on a CPU.
"""

import pyarrow as pa

STR, INT, FLOAT, BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()

_TEXT = "; milliseconds"
_TOLD = "null where the tokenizer does not tell"
_CACHED = "; milliseconds, from the teacher's cached outputs"
_PASS = "; seconds, the checkpoint's pass over at most 1,000 rows"

META_FEATURES: tuple[tuple[str, pa.DataType, str], ...] = (
    ("pair", BOOL, "whether an example is two texts" + _TEXT),
    ("label_entropy", FLOAT, "bits of a train label: a class, a word's tag; of several labels a row the mean "
     "over labels; null for scores and spans" + _TEXT),
    # At most 2,000 examples of train and unlabelled text, both texts of a pair taken together.
    ("characters_mean", FLOAT, "mean characters of an example" + _TEXT),
    ("characters_p95", FLOAT, "95th percentile of characters of an example" + _TEXT),
    ("words_mean", FLOAT, "mean words (runs of letters, digits, underscores) of an example" + _TEXT),
    ("words_p95", FLOAT, "95th percentile of words of an example" + _TEXT),
    ("tokens_mean", FLOAT, "mean tokens of a whole example, special ones included" + _TEXT),
    ("tokens_p95", FLOAT, "95th percentile of tokens of a whole example" + _TEXT),
    ("cut_share", FLOAT, "share of examples of more tokens than max_length" + _TEXT),
    ("vocabulary", INT, "different words, without case, of at most 2,000 examples" + _TEXT),
    ("type_token_ratio", FLOAT, "expected different words among 1,000 drawn ones, by 1,000; null where there "
     "are fewer" + _TEXT),
    ("tokens_per_word", FLOAT, f"mean tokens that a word is cut into; {_TOLD}" + _TEXT),
    ("split_word_share", FLOAT, f"share of words that are cut into several tokens; {_TOLD}" + _TEXT),
    ("unknown_token_share", FLOAT, "share of tokens that stand for what the tokenizer lacks" + _TEXT),
    ("teacher_confidence", FLOAT, "mean largest probability on validation: of a row's class, of each of a "
     "row's labels, of a word's tag; null for scores and spans" + _CACHED),
    ("teacher_agreement", FLOAT, "share of validation rows (of tags: words) where the teacher says what the "
     "labels say; null for scores" + _CACHED),
    ("teacher_train_agreement", FLOAT, "the same on train, from which a fine-tuned teacher learned"
     + _CACHED),
    ("teacher_train_score", FLOAT, "the teacher's metric on train, from which a fine-tuned teacher learned"
     + _CACHED),
    ("probe_score", FLOAT, "validation metric (at most 400 rows) of ridge regression, on at most 600 train "
     "rows, from mean last states of the teacher before fine-tuning; null for spans and tags" + _PASS),
    ("mean_embedding", STR, "mean of those states over the train rows, JSON list" + _PASS
     + ", the same as for probe_score"),
    ("embedding_checkpoint", STR, "fingerprint of the checkpoint that probe_score and mean_embedding are of: "
     "embeddings compare where it is equal" + _TEXT),
    ("small_student_score", FLOAT, "validation metric (at most 400 rows) of a BERT student of 2 layers x 128 "
     "after 60 steps of 16 on train's labels, without a teacher; 1 to 3 seconds"),
)  # fmt: skip
