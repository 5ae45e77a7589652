"""Judging a run: the fine-tuned model and its base on the same texts, in one load of the model."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emolib.classify.classifier import softmax
from emolib.errors import InputError, ModelError, UsageError
from emolib.evaluate import scores
from emolib.evaluate.model_scores import ModelScores
from emolib.evaluate.multi_label import MultiLabelScores, fit_thresholds, label_matrix
from emolib.evaluate.tables import metrics_table
from emolib.files import write_json, write_text
from emolib.finetune.run_folder import RunFolder
from emolib.labels import CARER, LabelSet
from emolib.plots import confusion_matrix, label_scores, learning_curve, reliability

if TYPE_CHECKING:
    from emolib.data import Corpus
    from emolib.emotion_model import EmotionModel
    from emolib.evaluate.baselines import Baseline
    from emolib.evaluate.decoding import Answers

__all__ = ["Metrics", "calibrate_run", "evaluate_model", "evaluate_run"]

#: Rows of a validation set that the temperature is fitted on.
_CALIBRATION_ROWS = 500
#: Rows that the thresholds of a multi-label model are fitted on: the rarest label is to occur among them.
_THRESHOLD_ROWS = 6000
_BATCH_TOKENS = {"cpu": 2048, "cuda": 8192}


@dataclass(frozen=True)
class Metrics:
    """A model beside its base on the same rows.

    `run` and `baseline` are their scores, `baselines` those of simpler models by name, if they were asked for;
    `encoder_missing` says why the sentence encoder is not among them, and `few_shot` has their learning curves.
    `judged` are the row numbers of the corpus that were judged, and `rows` is its size. `ceiling` is the best accuracy
    that the corpus's own conflicts allow.
    """

    run: ModelScores | MultiLabelScores
    baseline: ModelScores | MultiLabelScores
    judged: Sequence[int]
    rows: int
    ceiling: float
    data: dict[str, Any]
    seconds: float
    baselines: Mapping[str, ModelScores | MultiLabelScores] = field(default_factory=dict)
    encoder_missing: str | None = None
    few_shot: Sequence[Mapping[str, Any]] = ()
    labels: LabelSet = CARER

    @property
    def partial(self) -> bool:
        """True if the evaluation was stopped before the last row."""
        return len(self.judged) < self.rows

    @cached_property
    def comparison(self) -> scores.Comparison:
        """McNemar's test of the run (first) against its base (second)."""
        return scores.mcnemar(self.run.right, self.baseline.right)

    def as_dict(self) -> dict[str, Any]:
        """Everything, as in metrics.json: the run's figures on top, the base's under `baseline`."""
        result = {
            **self.run.as_dict(),
            "partial": self.partial,
            "rows": self.rows,
            "data": self.data,
            "labels": self.labels.as_dict(),
            "conflict_ceiling": round(self.ceiling, 4),
            "baseline": self.baseline.as_dict(),
            "mcnemar_against_baseline": self.comparison.as_dict(),
            "seconds": round(self.seconds, 1),
        }
        if self.baselines:
            result["baselines"] = {name: found.as_dict() for name, found in self.baselines.items()}
        if self.encoder_missing:
            result["encoder_missing"] = self.encoder_missing
        if self.few_shot:
            result["few_shot"] = list(self.few_shot)
        return result

    def table(self) -> str:
        """The figures as Markdown tables."""
        return metrics_table(self.as_dict())


def evaluate_run(
    run: str | Path,
    data: str | Path | Corpus,
    *,
    calibrate_on: str | Path | Corpus | None = None,
    baseline_on: str | Path | Corpus | None = None,
    encoder: str | None = None,
    few_shot: int | None = None,
    max_new_tokens: int = 8,
) -> Metrics:
    """Judge the run folder `run` on `data`: a corpus file, a cleaned folder (its test split) or a `Corpus`.

    Writes metrics.json, metrics.md, predictions.json and figures into the run folder. `calibrate_on` is a corpus that
    the temperature is fitted on first; a cleaned folder's validation split serves without being named. `baseline_on`
    is the corpus that the baselines are trained on: TF-IDF with logistic regression, and logistic regression on the
    vectors of a sentence encoder. `encoder` is its folder or hub id, "auto" for multilingual-e5-small if it can be had,
    or None for TF-IDF alone. `few_shot` adds their learning curves up to so many rows per label. An
    interruption keeps the rows that were judged, marks the files as partial, and goes on as KeyboardInterrupt.
    """
    from emolib.data import load_split
    from emolib.emotion_model import find_adapter, load_emotion_model

    folder = RunFolder.open(run)
    labels = find_adapter(folder.path).labels
    corpus = load_split(data, "test", labels=labels)
    validation = calibrate_on or _validation_of(data)
    held_out = load_split(validation, "validation", labels=labels) if validation else None
    train = load_split(baseline_on, "train", labels=labels) if baseline_on else None
    if few_shot is not None:
        _check_few_shot(train, few_shot)
    if train is None and encoder not in (None, "auto"):
        raise UsageError("--encoder needs rows to train its baseline on: name them with --baseline-on CORPUS")
    # What cannot be had is said before minutes of judging.
    on_encoder, encoder_missing = _encoder_baseline(encoder if train is not None else None)
    loaded = load_emotion_model(folder.path)
    if held_out is not None:
        loaded = _calibrate(loaded, held_out)
    metrics = evaluate_model(loaded, corpus, max_new_tokens=max_new_tokens)
    if train is not None:
        metrics = dataclasses.replace(
            _with_baselines(metrics, on_encoder, train, corpus, held_out, few_shot), encoder_missing=encoder_missing
        )
    write_json(folder.metrics_path, metrics.as_dict())
    write_text(folder.metrics_path.with_suffix(".md"), metrics.table() + "\n")
    _write_predictions(folder.path / "predictions.json", metrics)
    charts = [label_scores] if labels.multi_label else [confusion_matrix, reliability]
    if metrics.few_shot:
        charts.append(learning_curve)
    for chart in charts:
        chart(metrics.as_dict()).save(folder.figures)
    if metrics.partial:
        raise KeyboardInterrupt
    return metrics


def evaluate_model(loaded: EmotionModel, corpus: Corpus, *, max_new_tokens: int = 8) -> Metrics:
    """Judge a loaded model with its adapter on and off on `corpus`; the text goes through each once.

    The corpus has the model's own labels. Answers are greedy and free, bounded by `max_new_tokens`. Stopped by Ctrl-C,
    it returns what was judged. InputError for an empty corpus.
    """
    if not len(corpus):
        raise InputError(f"{corpus.name} holds no rows to judge; name a corpus with texts and labels")
    start = time.perf_counter()
    judged, run, baseline = _judge(loaded, corpus.texts, max_new_tokens)
    texts = [corpus.texts[row] for row in judged]
    gold = [corpus.labels[row] for row in judged]
    source = loaded.source
    return Metrics(
        run=_scores(source.labels, gold, run, source.temperature, source.thresholds),
        baseline=_scores(source.labels, gold, baseline),
        labels=source.labels,
        judged=judged,
        rows=len(corpus),
        ceiling=scores.conflict_ceiling(texts, gold),
        data={"name": corpus.name, "sha256": corpus.sha256},
        seconds=time.perf_counter() - start,
    )


def _scores(
    labels: LabelSet,
    gold: Sequence[str],
    answers: Answers,
    temperature: float = 1.0,
    thresholds: tuple[float, ...] = (),
) -> ModelScores | MultiLabelScores:
    if labels.multi_label:
        return MultiLabelScores(gold, answers.generated, answers.label_logits, labels, temperature, thresholds)
    return ModelScores(gold, answers.generated, answers.label_logits, temperature, labels)


def calibrate_run(run: str | Path, data: str | Path | Corpus) -> float:
    """Fit the temperature of the run's adapter on `data`, save it in its emolib.json, and return it.

    Of a multi-label run the thresholds are fitted, and the temperature stays as it is.
    """
    from emolib.data import load_split
    from emolib.emotion_model import load_emotion_model

    loaded = load_emotion_model(RunFolder.open(run).path)
    corpus = load_split(data, "validation", labels=loaded.source.labels)
    return _calibrate(loaded, corpus).source.temperature


def _calibrate(loaded: EmotionModel, corpus: Corpus) -> EmotionModel:
    from emolib.classify.torch_scorer import TorchScorer
    from emolib.emotion_model import write_notes

    labels = loaded.source.labels
    most = _THRESHOLD_ROWS if labels.multi_label else _CALIBRATION_ROWS
    rows = random.Random(0).sample(range(len(corpus)), min(most, len(corpus)))
    logits = TorchScorer.of(loaded).label_logits([corpus.texts[row] for row in rows])
    gold = [corpus.labels[row] for row in rows]
    if labels.multi_label:
        probabilities = softmax(logits / loaded.source.temperature)
        fitted: dict[str, Any] = {"thresholds": fit_thresholds(probabilities, label_matrix(gold, labels))}
    else:
        ids = np.array([labels.index(label) for label in gold])
        fitted = {"temperature": round(scores.fit_temperature(logits, ids), 4)}
    fitted_on = {"name": corpus.name, "sha256": corpus.sha256, "rows": len(rows)}
    write_notes(loaded.source.adapter, **fitted, **{f"{next(iter(fitted))}_fitted_on": fitted_on})
    return dataclasses.replace(loaded, source=dataclasses.replace(loaded.source, **fitted))


def _validation_of(data: str | Path | Corpus) -> Path | None:
    if not isinstance(data, (str, Path)):
        return None
    folder = Path(data)
    both = all((folder / f"{split}.jsonl").is_file() for split in ("validation", "test"))
    return folder if both else None


def _judge(loaded: EmotionModel, texts: Sequence[str], max_new_tokens: int) -> tuple[list[int], Answers, Answers]:
    """The rows that were judged in order, and the answers of the run and of its base to each."""
    import torch
    from tqdm import tqdm

    from emolib.classify.torch_scorer import length_batches
    from emolib.evaluate.decoding import Answers, answer_batch
    from emolib.prompting.prefix import run_prefix

    encoder = loaded.encoder
    suffixes = [encoder.suffix_ids(text) for text in texts]
    batches = list(length_batches([len(ids) for ids in suffixes], _BATCH_TOKENS.get(loaded.model.device.type, 4096)))
    # In random order, so that an interrupted evaluation has judged long texts as well as short ones.
    random.Random(0).shuffle(batches)
    contexts = (contextlib.nullcontext, loaded.without_adapter)
    done: list[int] = []
    found: tuple[list[Answers], list[Answers]] = ([], [])
    bar = tqdm(total=len(texts), desc="evaluate", unit=" texts", smoothing=0.05)
    with torch.inference_mode(), bar, contextlib.suppress(KeyboardInterrupt):
        prefixes = []
        for context in contexts:
            with context():
                prefixes.append(run_prefix(loaded.model, encoder.prefix_ids))
        for rows in batches:
            answers = []
            for context, prefix in zip(contexts, prefixes, strict=True):
                with context():
                    batch = [suffixes[row] for row in rows]
                    answers.append(answer_batch(loaded.model, encoder, prefix, batch, max_new_tokens=max_new_tokens))
            for kept, answer in zip(found, answers, strict=True):
                kept.append(answer)
            done.extend(rows)
            bar.update(len(rows))
    if not done:
        raise KeyboardInterrupt
    order = sorted(range(len(done)), key=done.__getitem__)
    return sorted(done), *(Answers.joined(batches).take(order) for batches in found)


def _with_baselines(
    metrics: Metrics,
    on_encoder: Baseline | None,
    train: Corpus,
    corpus: Corpus,
    held_out: Corpus | None,
    few_shot: int | None,
) -> Metrics:
    from emolib.evaluate.baselines import TFIDF, baseline_scores
    from emolib.evaluate.few_shot import few_shot_curves

    texts = [corpus.texts[row] for row in metrics.judged]
    chosen = [TFIDF, on_encoder] if on_encoder else [TFIDF]
    found = {one.name: baseline_scores(one, train, texts, metrics.run.gold, held_out) for one in chosen}
    curves = few_shot_curves(chosen, train, texts, metrics.run.gold, few_shot) if few_shot else []
    return dataclasses.replace(metrics, baselines=found, few_shot=curves)


def _check_few_shot(train: Corpus | None, shots: int) -> None:
    from emolib.evaluate.few_shot import check_shots

    if train is None:
        raise UsageError("--few-shot needs rows to draw from: name them with --baseline-on CORPUS")
    check_shots(train, shots)


def _encoder_baseline(encoder: str | None) -> tuple[Baseline | None, str | None]:
    """Return the baseline on a sentence encoder, or why there is none. An encoder that is named must be there."""
    from emolib.encoder import DEFAULT_ENCODER, load_encoder
    from emolib.evaluate.baselines import encoder_baseline

    if encoder is None:
        return None, None
    try:
        return encoder_baseline(load_encoder(DEFAULT_ENCODER if encoder == "auto" else encoder)), None
    except ModelError as error:
        if encoder != "auto":
            raise
        return None, str(error)


def _write_predictions(path: Path, metrics: Metrics) -> None:
    write_json(
        path,
        {
            "data": metrics.data,
            "partial": metrics.partial,
            "rows": list(metrics.judged),
            "gold": list(metrics.run.gold),
            "generated": list(metrics.run.generated),
            "baseline_generated": list(metrics.baseline.generated),
            "labels": metrics.labels.as_dict(),
            **_predicted(metrics),
        },
    )


def _predicted(metrics: Metrics) -> dict[str, list[str]]:
    """Return the sets of labels that the texts of a multi-label corpus got."""
    if not isinstance(metrics.run, MultiLabelScores):
        return {}
    names = np.array(metrics.labels.names)
    return {"predicted": [metrics.labels.joined(names[row]) for row in metrics.run.predicted]}
