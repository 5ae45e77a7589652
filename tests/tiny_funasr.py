"""Tiny random FunASR models, a folder each, that the real AutoModel loads: contract tests need no weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILTERS = 80
STACKED = 7 * FILTERS
TOKENS = ["<blank>", "<s>", "</s>", *"今天气很好我高兴你来了", "hel@@", "lo", "world", "<unk>"]
SENSEVOICE_TAGS = ["zh", "en", "yue", "ja", "ko", "nospeech", "HAPPY", "SAD", "ANGRY", "NEUTRAL", "FEARFUL"]
SENSEVOICE_TAGS += ["DISGUSTED", "SURPRISED", "EMO_UNKNOWN", "Speech", "BGM", "Laughter", "withitn", "woitn"]

NO_DROPOUT = {"dropout_rate": 0.0, "positional_dropout_rate": 0.0, "attention_dropout_rate": 0.0}
ENCODER = {
    "output_size": 32,
    "attention_heads": 2,
    "linear_units": 64,
    "num_blocks": 2,
    "input_layer": "pe",
    "pos_enc_class": "SinusoidalPositionEncoder",
    "normalize_before": True,
    "kernel_size": 11,
    "sanm_shfit": 0,
    "selfattention_layer_type": "sanm",
    **NO_DROPOUT,
}
DECODER = {
    "attention_heads": 2,
    "linear_units": 64,
    "num_blocks": 2,
    "att_layer_num": 2,
    "kernel_size": 11,
    "sanm_shfit": 0,
    "dropout_rate": 0.0,
    "positional_dropout_rate": 0.0,
    "self_attention_dropout_rate": 0.0,
    "src_attention_dropout_rate": 0.0,
}
FRONT_END = {
    "fs": 16_000,
    "window": "hamming",
    "n_mels": FILTERS,
    "frame_length": 25,
    "frame_shift": 10,
    "dither": 0.0,  # with the default no two outputs are alike
    "lfr_m": 7,
    "lfr_n": 6,
}
CHARACTERS = {
    "tokenizer": "CharTokenizer",
    "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
}


def paraformer(folder: Path) -> Path:
    """Whole clips to Chinese and English tokens."""
    return _build(folder, _paraformer("Paraformer", "SANMEncoder", ENCODER, DECODER, "WavFrontend"), _characters)


def streaming_paraformer(folder: Path) -> Path:
    """Chunks of 600 ms to tokens."""
    encoder = ENCODER | {
        "input_layer": "pe_online",
        "chunk_size": [12, 15],
        "stride": [8, 10],
        "pad_left": [0, 0],
        "encoder_att_look_back_factor": [4, 4],
        "decoder_att_look_back_factor": [1, 1],
    }
    decoder = DECODER | {"sanm_shfit": 5}
    config = _paraformer("ParaformerStreaming", "SANMEncoderChunkOpt", encoder, decoder, "WavFrontendOnline")
    return _build(folder, config, _characters)


def sensevoice(folder: Path) -> Path:
    """Whole clips to tags and pieces."""
    config = {
        "model": "SenseVoiceSmall",
        "model_conf": {"length_normalized_loss": True, "sos": 1, "eos": 2, "ignore_id": -1},
        "encoder": "SenseVoiceEncoderSmall",
        "encoder_conf": ENCODER | {"tp_blocks": 2},
        "frontend": "WavFrontend",
        "frontend_conf": FRONT_END,
        "tokenizer": "SentencepiecesTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True, "bpemodel": None},
        "ctc_conf": {"dropout_rate": 0.0, "ctc_type": "builtin", "reduce": True, "ignore_nan_grad": True},
    }
    return _build(folder, config, _pieces)


def fsmn_vad(folder: Path) -> Path:
    """Clips to stretches of speech."""
    config = {
        "model": "FsmnVADStreaming",
        "model_conf": {
            "sample_rate": 16_000,
            "detect_mode": 1,
            "snr_mode": 0,
            "max_end_silence_time": 800,
            "max_start_silence_time": 3000,
            "do_start_point_detection": True,
            "do_end_point_detection": True,
            "window_size_ms": 200,
            "sil_to_speech_time_thres": 150,
            "speech_to_sil_time_thres": 150,
            "speech_2_noise_ratio": 1.0,
            "do_extend": 1,
            "lookback_time_start_point": 200,
            "lookahead_time_end_point": 100,
            "max_single_segment_time": 60_000,
            "snr_thres": -100.0,
            "noise_frame_num_used_for_snr": 100,
            "decibel_thres": -100.0,
            "speech_noise_thres": 0.6,
            "fe_prior_thres": 0.0001,
            "silence_pdf_num": 1,
            "sil_pdf_ids": [0],
            "speech_noise_thresh_low": -0.1,
            "speech_noise_thresh_high": 0.3,
            "output_frame_probs": False,
            "frame_in_ms": 10,
            "frame_length_ms": 25,
        },
        "encoder": "FSMN",
        "encoder_conf": {
            "input_dim": 5 * FILTERS,
            "input_affine_dim": 16,
            "fsmn_layers": 2,
            "linear_dim": 16,
            "proj_dim": 16,
            "lorder": 20,
            "rorder": 0,
            "lstride": 1,
            "rstride": 0,
            "output_affine_dim": 16,
            "output_dim": 8,
        },
        "frontend": "WavFrontendOnline",
        "frontend_conf": FRONT_END | {"lfr_m": 5, "lfr_n": 1},
    }
    return _build(folder, config, lambda folder: _statistics(folder, 5 * FILTERS))


def punctuation(folder: Path) -> Path:
    """Text to text with punctuation."""
    config = {
        "model": "CTTransformer",
        "model_conf": {
            "ignore_id": 0,
            "embed_unit": 32,
            "att_unit": 32,
            "dropout_rate": 0.0,
            "punc_list": ["<unk>", "_", "，", "。", "？", "、"],
            "punc_weight": [1.0] * 6,
            "sentence_end_id": 3,
        },
        "encoder": "SANMEncoder",
        "encoder_conf": ENCODER | {"input_size": 32, "padding_idx": 0},
        **CHARACTERS,
    }
    return _build(folder, config, _token_list)


def _paraformer(model: str, encoder: str, encoder_conf: dict, decoder_conf: dict, front_end: str) -> dict[str, Any]:
    return {
        "model": model,
        "model_conf": {
            "ctc_weight": 0.0,
            "lsm_weight": 0.1,
            "length_normalized_loss": True,
            "predictor_weight": 1.0,
            "predictor_bias": 1,
            "sampling_ratio": 0.75,
        },
        "encoder": encoder,
        "encoder_conf": encoder_conf,
        "decoder": "ParaformerSANMDecoder",
        "decoder_conf": decoder_conf,
        "predictor": "CifPredictorV2",
        "predictor_conf": {"idim": 32, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45},
        "frontend": front_end,
        "frontend_conf": FRONT_END,
        **CHARACTERS,
    }


def _build(folder: Path, config: dict[str, Any], add_files: Callable[[Path], None]) -> Path:
    """Write the folder, let FunASR make the model of it, and save its random weights."""
    import torch
    import yaml
    from funasr import AutoModel

    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8")
    add_files(folder)
    torch.save({}, folder / "model.pt")
    torch.manual_seed(0)
    model, _ = AutoModel.build_model(model=str(folder), device="cpu", disable_update=True, log_level="ERROR")
    torch.save(model.state_dict(), folder / "model.pt")
    return folder


def _characters(folder: Path) -> None:
    _token_list(folder)
    _statistics(folder, STACKED)


def _token_list(folder: Path) -> None:
    (folder / "tokens.json").write_text(json.dumps(TOKENS, ensure_ascii=False), encoding="utf-8")


def _statistics(folder: Path, size: int) -> None:
    """Kaldi's mean and variance normalisation: shift by -8, scale by 0.2."""
    shift, scale = (" ".join([value] * size) for value in ("-8.0", "0.2"))
    (folder / "am.mvn").write_text(
        f"<Nnet>\n<Splice> {size} {size}\n[ 0 ]\n<AddShift> {size} {size}\n<LearnRateCoef> 0 [ {shift} ]\n"
        f"<Rescale> {size} {size}\n<LearnRateCoef> 0 [ {scale} ]\n</Nnet>\n"
    )


def _pieces(folder: Path) -> None:
    import sentencepiece

    _statistics(folder, STACKED)
    text = folder / "text.txt"
    text.write_text("the weather is good today and so are we\n" * 40 + "今天 天气 很好\n" * 40, encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "bpe"),
        vocab_size=60,
        model_type="bpe",
        user_defined_symbols=[f"<|{tag}|>" for tag in SENSEVOICE_TAGS],
        hard_vocab_limit=False,
        minloglevel=2,
    )
    text.unlink()
    (folder / "bpe.vocab").unlink()
