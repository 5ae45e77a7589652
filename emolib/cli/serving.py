"""`emolib export`, `emolib serve-llm` and `emolib serve-tts`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from emolib.cli.options import Options, argument, command, given, option, option_of
from emolib.emotions import DEFAULT_EMOTION_MODEL
from emolib.errors import UsageError
from emolib.export.serving import DEFAULT_OPTIONS
from emolib.llama.server import LlamaServerOptions
from emolib.stack import COMPANION

__all__ = ["export", "serve_llm", "serve_tts"]

_LLM_PORT = 8081
_TTS = "emolib.tts.server:serve"


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is exported, in which form, and where to."""

    run: Path = argument("a run folder, or a bundled adapter")
    out: Path = option("folder for the files")
    quant: tuple[str, ...] | None = option_of("emolib.export.gguf:export_gguf", "quants", "f16, q8_0, q4_k_m …")
    merged: bool = option("one GGUF file (default: yes)", False)
    adapter: bool = option("base and LoRA in two GGUF files", False)
    safetensors: bool = option("merged, for vLLM", False)
    verify: int = option("compare with torch on N texts; 0 = no comparison", 0)
    data: str | None = option("corpus whose texts --verify takes (default: the sample corpus)", None, metavar="CORPUS")


@command(ExportOptions)
def export(options: ExportOptions) -> None:
    """Export a run."""
    from emolib.export import export_gguf, export_safetensors, verify_export

    if options.merged + options.adapter + options.safetensors > 1:
        raise UsageError("--merged, --adapter and --safetensors are three forms; choose one of them")
    if options.safetensors:
        if options.quant or options.verify:
            raise UsageError("--quant and --verify are for GGUF files; leave them out, or leave out --safetensors")
        print(export_safetensors(options.run, options.out))
        return
    form: Literal["merged", "adapter"] = "adapter" if options.adapter else "merged"
    manifest = export_gguf(options.run, options.out, **given(quants=options.quant), form=form)
    if options.verify:
        manifest = verify_export(options.run, options.out, options.data, texts=options.verify)
    print(manifest.table())


@dataclass(frozen=True, kw_only=True)
class ServeLlmOptions:
    """What is served."""

    model: Path | None = option("a base GGUF file (default: the embedded chat model)", None)
    adapter: tuple[str, ...] = option(
        "everyday, carer, companion, runs or LoRA GGUF files", (DEFAULT_EMOTION_MODEL, COMPANION)
    )


@command(
    ServeLlmOptions,
    Options(
        LlamaServerOptions,
        base=replace(DEFAULT_OPTIONS, port=_LLM_PORT),
        skip=("slot_tokens", "adapter_scale", "remembered_mib"),
    ),
)
def serve_llm(options: ServeLlmOptions, server: LlamaServerOptions) -> None:
    """Serve chat and emotion."""
    from emolib.export import serve_llm

    serve_llm(options.model, options.adapter, server)


@dataclass(frozen=True, kw_only=True)
class ServeTtsOptions:
    """Where the speech service listens and what speaks."""

    host: str | None = option_of(_TTS, "host", "address to bind", metavar="ADDRESS")
    port: int | None = option_of(_TTS, "port", "port to bind; 0 = a free one")
    engine: Literal["auto", "piper", "fish", "espeak-ng"] | None = option_of(
        _TTS, "engine", "what speaks; auto = the best that is there, fish = the server at $EMOLIB_FISH_URL"
    )
    api_key: str | None = option(
        "key that clients must send; needed beyond localhost", None, environment="EMOLIB_TTS_API_KEY", metavar="KEY"
    )
    references: Path | None = option("folder for uploaded reference clips (default: in the cache)", None)


@command(ServeTtsOptions)
def serve_tts(options: ServeTtsOptions) -> None:
    """Serve speech."""
    from emolib.tts import serve

    serve(**given(**vars(options)))
