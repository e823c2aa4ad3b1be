"""The words of a run's rows, computed by the emulator and held against whole tensors. Imports JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from bitrow.contract.encoding import Kind
from bitrow.errors import BitrowError
from bitrow.model_file import Model
from bitrow.ops.fxp import pack
from bitrow.outputs import split
from bitrow.pipeline.check import Checked, WrittenRows, checked_rows
from bitrow.pipeline.schedule import Schedule
from bitrow.vectors.bit_views import to_words
from bitrow.vectors.trace.streams import DLOGITS, IMAGES, StreamRecord, streams

StreamWords = dict[str, np.ndarray]  # by stream, [images, rows, words] of its encoding's dtype


class ComputedWords(NamedTuple):
    """Every stream's words, and how much of them was compared with whole tensors."""

    words: StreamWords
    checked: Checked


def computed_words(found: Schedule, model: Model) -> ComputedWords:
    """The words of every stream of a run on the model's samples, one for each image (SPEC.md V6).

    Raises:
        BitrowError: the model is not of the run's network or has another number of samples; a row that differs from
            the whole-tensor model, naming it.
    """
    samples = model.samples
    many = 0 if samples is None else len(samples.images)
    if samples is None or model.network != found.flow.network or many != found.images:
        raise BitrowError(
            f"model: found {model.network.name} with {many} samples, "
            f"expected the run's {found.flow.network.name} with {found.images}"
        )
    training = found.flow.training
    dlogits = jnp.asarray(samples.dlogits) if training else None
    checked, written = checked_rows(found, model.params, jnp.asarray(samples.images), dlogits)
    given = {IMAGES: samples.images}
    if training:
        parts = split(model.network, samples.dlogits)
        given |= {f"{DLOGITS}.{name}": np.asarray(part) for name, part in parts.items()}
    return ComputedWords({one.name: _words(one, written, given) for one in streams(found)}, checked)


def _words(stream: StreamRecord, written: list[WrittenRows], given: Mapping[str, np.ndarray]) -> np.ndarray:
    if stream.name in given:
        return to_words(given[stream.name]).reshape(stream.shape)
    words = np.zeros(stream.shape, stream.words_as.dtype)
    for one in written:
        if one.held.key == stream.name:
            rows = np.asarray(pack(jnp.asarray(one.rows))) if stream.encoding is Kind.PACKED else one.rows
            number = [one.held.written(row) for row in one.row.tolist()]
            words[one.image, number] = to_words(rows)[:, 0]  # of a row that several tasks add to, the last
    return words
