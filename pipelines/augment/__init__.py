"""Augmentation of texts: a method a file, each from the original text and one generator per row.

A word-level method (`random`, `synonym`, `embedding`, `contextual`) takes words of which some are protected
and says what became of each; `back_translation` takes whole texts. Mixtures of embeddings (`mixup`) are
made in `distiller.pipelines.streams`.
"""
