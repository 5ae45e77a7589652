"""One command, `emolib`, thin over the library: each sub-command parses its options and calls one function."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import emolib
from emolib.emotions import DEFAULT_EMOTION_MODEL, EMOTIONS
from emolib.errors import EmolibError, UsageError

if TYPE_CHECKING:
    from emolib.finetune import TrainSettings

__all__ = ["main"]

Handler = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `emolib` and return its exit code: 0, 1 for a failure, 2 for bad use."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A line is there when it is written, in a pipe and in a log too: the address of a server, say.
        sys.stdout.reconfigure(line_buffering=True)
    try:
        return options.handler(options)
    except EmolibError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("stopped; what was finished is kept, and the same command goes on from there", 1)
    except BrokenPipeError:
        # The reader of our output has gone (`emolib … | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _fail("no space left on the disk; free some and run the same command again", 1)


def _fail(message: str, exit_code: int) -> int:
    sys.stdout.flush()
    print(f"emolib: {message}", file=sys.stderr)
    return exit_code


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="emolib", description="Teach a language model to hear emotion in words, and talk to it."
    )
    parser.add_argument("--version", action="version", version=f"emolib {emolib.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (
        _add_clean,
        _add_plan,
        _add_train,
        _add_plot,
        _add_evaluate,
        _add_classify,
        _add_export,
        _add_talk,
        _add_chat,
        _add_serve_llm,
        _add_serve_tts,
        _add_voice,
        _add_mic,
        _add_demo,
        _add_doctor,
    ):
        add(commands)
    return parser


def _command(commands: Any, name: str, handler: Handler, summary: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(handler=handler)
    return parser


# --- clean ---------------------------------------------------------------------------------------


def _add_clean(commands: Any) -> None:
    parser = _command(commands, "clean", _clean, "Clean a corpus and report what was found in it.")
    parser.add_argument(
        "source", nargs="+", help="text;label, CSV, TSV, JSON lines or Parquet files, gzip of each, or dair-ai/emotion"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the splits and the report")
    parser.add_argument("--conflicts", default="drop", help="equal texts with two labels: drop, majority, soft")
    parser.add_argument("--skip", nargs="+", default=[], metavar="RULE", help="rules to leave out (see report.json)")
    parser.add_argument("--near", type=float, default=0.9, help="similarity of near-duplicates (default %(default)s)")
    parser.add_argument("--max-tokens", type=int, default=1900, help="longest text in tokens (default %(default)s)")
    parser.add_argument("--tokenizer", default="smollm2-135m", help="whose tokens (default %(default)s)")
    parser.add_argument(
        "--shares", type=float, nargs=2, default=(0.1, 0.1), metavar=("VALIDATION", "TEST"), help="of undivided sources"
    )
    parser.add_argument("--seed", type=int, default=3407, help="of the division (default %(default)s)")
    parser.add_argument("--text-column", help="column of the texts (default: found by its name)")
    parser.add_argument("--label-column", help="column of the labels (default: found by its name)")
    parser.add_argument("--label-names", help="names of numeric labels from 0 on: sadness,joy,… (default: checked)")
    parser.add_argument("--arrow", action="store_true", help="write a datasets folder (Arrow) too")
    parser.add_argument("--label-issues", action="store_true", help="rank suspicious labels of the training split")


def _clean(options: argparse.Namespace) -> int:
    from emolib.data import RULES, CleanSettings, clean_corpus, find_label_issues, load_split, parse_label_names

    unknown = [rule for rule in options.skip if rule not in RULES]
    settings = CleanSettings(
        rules=tuple(rule for rule in RULES if rule not in options.skip) + tuple(unknown),
        conflicts=options.conflicts,
        near_threshold=options.near,
        max_tokens=options.max_tokens,
        tokenizer=options.tokenizer,
        validation_share=options.shares[0],
        test_share=options.shares[1],
        seed=options.seed,
        text_column=options.text_column,
        label_column=options.label_column,
        label_names=parse_label_names(options.label_names) if options.label_names else None,
        arrow=options.arrow,
    )
    print(clean_corpus(options.source, options.out, settings, progress=_say).table())
    if options.label_issues:
        _say("ranking labels")
        issues = find_label_issues(load_split(options.out, "train"), settings.seed)
        issues.write(options.out / "label_issues.csv")
        print(issues.table())
    return 0


def _say(stage: str) -> None:
    """Progress on standard error, so that standard output holds the result alone."""
    print(f"  {stage} …", file=sys.stderr, flush=True)


# --- train ---------------------------------------------------------------------------------------


def _add_train(commands: Any) -> None:
    parser = _command(commands, "train", _train, "Fine-tune a base model with LoRA.")
    _add_task(parser)
    parser.add_argument(
        "--data",
        required=True,
        help="a folder made by `emolib clean`, or a corpus file; for chat a JSON lines file of conversations",
    )
    parser.add_argument("--out", type=Path, required=True, help="the run folder")
    parser.add_argument("--validation", help="corpus for the evaluation meanwhile (default: held out of --data)")
    _add_preset(parser)
    parser.add_argument("--steps", type=int, help="optimiser steps (default 60, for chat the preset's; -1 = epochs)")
    parser.add_argument("--model", help="base model: a name, a folder, or a hub id (default: the preset's)")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="any other setting, such as learning_rate=5e-4"
    )
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on with a run that was stopped (default), or start it afresh",
    )


def _add_task(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--task", choices=("classify", "chat"), help="what is taught: emotions, or replies (default: the preset's)"
    )


def _add_preset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset", default="auto", help="auto (by the hardware), paper, colab-t4, laptop-2060, cpu, companion (chat)"
    )


def _training_settings(options: argparse.Namespace, changes: dict[str, Any]) -> TrainSettings:
    """The preset with `changes`, and with the task and the model that the command line names."""
    from emolib.finetune import preset

    named = {"task": options.task, "base_model": options.model}
    return preset(options.preset, **{**changes, **{name: value for name, value in named.items() if value}})


def _train(options: argparse.Namespace) -> int:
    from emolib.finetune import get_task, parse_settings, train

    changes = parse_settings(options.set)
    settings = _training_settings(options, changes)
    if "max_steps" not in changes:
        default = get_task(settings.task).default_steps
        settings = settings.replace(max_steps=default if options.steps is None else options.steps)
    print(settings.table())
    run = train(options.data, options.out, settings, validation=options.validation, resume=options.resume)
    print(run.summary())
    return 0


# --- plan ----------------------------------------------------------------------------------------


def _add_plan(commands: Any) -> None:
    parser = _command(commands, "plan", _plan, "Say what a training needs, before any weights are loaded.")
    _add_task(parser)
    _add_preset(parser)
    parser.add_argument("--model", help="base model: a name, or a folder with a config.json (default: the preset's)")
    parser.add_argument("--data", help="what `emolib train --data` takes, for its number of rows")
    parser.add_argument("--rows", type=int, help="rows to train on (default 16000, CARER's; for chat 1200)")
    parser.add_argument(
        "--tokens", type=int, help="tokens of the longest row, prompt and response included (default 128; for chat 256)"
    )
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="any other setting")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _plan(options: argparse.Namespace) -> int:
    from emolib.finetune import get_task, parse_settings, plan

    settings = _training_settings(options, parse_settings(options.set))
    rows = get_task(settings.task).count_rows(options.data) if options.data else options.rows
    found = plan(settings, rows=rows, tokens=options.tokens)
    if options.json:
        _print_json(found.as_dict())
    else:
        print(found.table())
    return 0


# --- plot ----------------------------------------------------------------------------------------


def _add_plot(commands: Any) -> None:
    parser = _command(commands, "plot", _plot, "Draw the curves of a run.")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("others", type=Path, nargs="*", help="runs whose curves stand beside the first one's")
    parser.add_argument("--out", type=Path, default=Path("figures"), help="folder for the figures")


def _plot(options: argparse.Namespace) -> int:
    from emolib.plots import plot_run

    for path in plot_run(options.run, options.out, *options.others):
        print(path)
    return 0


# --- evaluate ------------------------------------------------------------------------------------


def _add_evaluate(commands: Any) -> None:
    parser = _command(commands, "evaluate", _evaluate, "Judge a run by strict exact match, beside its base model.")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--data", help="a corpus file, or a folder made by `emolib clean`")
    parser.add_argument(
        "--dialogue", action="store_true", help="how well it still holds a conversation, merged and switched off"
    )
    parser.add_argument("--calibrate-on", help="corpus to fit the temperature on (default: the folder's validation)")
    parser.add_argument("--baseline-on", help="corpus to train a linear model on, to stand beside the others")
    parser.add_argument("--against", type=Path, help="another run, judged on the same data, to compare with")
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def _evaluate(options: argparse.Namespace) -> int:
    from emolib.evaluate import compare_runs, evaluate_run, measure_continuity

    if not options.data and not options.dialogue:
        raise UsageError("say what to judge: --data CORPUS, --dialogue, or both")
    found: dict[str, Any] = {}
    if options.data:
        found["metrics"] = evaluate_run(
            options.run, options.data, calibrate_on=options.calibrate_on, baseline_on=options.baseline_on
        )
    if options.against:
        found["against"] = compare_runs(options.run, options.against)
    if options.dialogue:
        found["dialogue"] = measure_continuity(options.run)
    if options.json:
        parts = {name: part.as_dict() for name, part in found.items()}
        _print_json({**parts.pop("metrics", {}), **parts})
    else:
        print("\n\n".join(part.table() for part in found.values()))
    return 0


# --- classify ------------------------------------------------------------------------------------


def _add_classify(commands: Any) -> None:
    parser = _command(commands, "classify", _classify, "Classify texts: standard input, or a file of any size.")
    parser.add_argument(
        "--model",
        default=DEFAULT_EMOTION_MODEL,
        help="everyday, carer, a run folder, an adapter, a GGUF file or a llama-server's URL (default %(default)s)",
    )
    parser.add_argument("--adapter", help="the LoRA GGUF that goes on a base GGUF")
    parser.add_argument("--in", dest="source", type=Path, help="texts a line, or JSON lines (.jsonl), or .gz of either")
    parser.add_argument("--out", type=Path, help="folder for the parts; a job that was stopped goes on there")
    parser.add_argument("--part-rows", type=int, default=10_000, help="rows in a part (default %(default)s)")


def _classify(options: argparse.Namespace) -> int:
    from emolib.classify import EmotionClassifier, prediction

    if (options.source is None) != (options.out is None):
        raise UsageError("--in FILE and --out FOLDER go together; without them standard input is classified")
    classifier = EmotionClassifier.load(options.model, adapter=options.adapter)
    if options.source:
        return _classify_file(options, classifier)
    for text, scores in classifier.classify_lines(sys.stdin):
        print(json.dumps({"text": text, **prediction(text, scores)}, ensure_ascii=False))
    return 0


def _classify_file(options: argparse.Namespace, classifier: Any) -> int:
    from tqdm import tqdm

    from emolib.classify import classify_file

    with tqdm(desc="classify", unit=" rows") as bar:
        summary = classify_file(
            options.source,
            options.out,
            classifier,
            part_rows=options.part_rows,
            progress=lambda rows: bar.update(rows - bar.n),
        )
    print(summary.table())
    return 0


# --- export --------------------------------------------------------------------------------------


def _add_export(commands: Any) -> None:
    parser = _command(commands, "export", _export, "Write a run as GGUF files for llama.cpp, or as safetensors.")
    parser.add_argument("run", type=Path, help="a run folder, or a bundled adapter")
    parser.add_argument("--quant", nargs="+", help="f16, q8_0, q4_k_m … (default q8_0)")
    parser.add_argument("--out", type=Path, required=True, help="folder for what is made")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--merged", dest="form", action="store_const", const="merged", help="one file (the default)")
    form.add_argument("--adapter", dest="form", action="store_const", const="adapter", help="base and LoRA apart")
    form.add_argument(
        "--safetensors",
        dest="form",
        action="store_const",
        const="safetensors",
        help="merged, for vLLM",
    )
    parser.set_defaults(form="merged")
    parser.add_argument("--verify", type=int, metavar="N", default=0, help="compare with torch on N texts")
    parser.add_argument("--data", help="corpus whose texts --verify takes (default: the sample corpus)")


def _export(options: argparse.Namespace) -> int:
    from emolib.export import export_gguf, export_safetensors, verify_export

    if options.form == "safetensors":
        if options.quant or options.verify:
            raise UsageError("--quant and --verify are for GGUF files; leave them out, or leave out --safetensors")
        print(export_safetensors(options.run, options.out))
        return 0
    manifest = export_gguf(options.run, options.out, options.quant or ["q8_0"], form=options.form)
    if options.verify:
        manifest = verify_export(options.run, options.out, options.data, texts=options.verify)
    print(manifest.table())
    return 0


# --- talk ----------------------------------------------------------------------------------------


def _add_talk(commands: Any) -> None:
    parser = _command(commands, "talk", _talk, "Answer what is spoken, in a voice that fits its emotion.")
    parser.add_argument(
        "--in", dest="recordings", type=Path, nargs="+", default=[],
        help="recordings: WAV, FLAC, MP3 …; more than one are a conversation (default: the microphone)",
    )  # fmt: skip
    parser.add_argument("--out", dest="answer", type=Path, help="the WAV of the answers (default: the loudspeaker)")
    parser.add_argument("--paced", action="store_true", help="hear recordings in real time, as a microphone would")
    parser.add_argument("--half-duplex", action="store_true", help="nobody can interrupt: for an open loudspeaker")
    _add_stack_options(parser)
    parser.add_argument("--json", action="store_true", help="print each turn as JSON")
    parser.add_argument("--history", type=Path, metavar="FILE", help="go on from this conversation and save it there")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write the turns with their stages as JSON lines")


def _talk(options: argparse.Namespace) -> int:
    from emolib.dialogue import History, hold_conversation, latency_table, write_trace

    stack = _stack(options)
    history = History.load(options.history) if options.history else History()

    def show(turn: Any) -> None:
        if options.json:
            _print_json(turn.as_dict())
        else:
            print(turn.table(), end="\n\n")

    turns = hold_conversation(
        options.recordings, options.answer, stack, paced=options.paced, half_duplex=options.half_duplex,
        history=history, on_turn=show, ready=_say,
    )  # fmt: skip
    if options.history:
        history.save(options.history)
    if options.trace:
        write_trace(turns, options.trace)
    print(latency_table(turns), file=sys.stderr)
    return 0


def _add_stack_options(parser: argparse.ArgumentParser, skipped: Sequence[str] = ()) -> None:
    """Add an option for each field of `Stack`, and --stack."""
    from emolib.stack import NAMED_STACKS, Stack

    parser.add_argument(
        "--stack", default="embedded", metavar="NAME|FILE",
        help=f"what it runs on: {', '.join(NAMED_STACKS)}, or a TOML file (default %(default)s)",
    )  # fmt: skip
    for entry in dataclasses.fields(Stack):
        if entry.name in skipped:
            continue
        names = [f"--{entry.name.replace('_', '-')}", *(["--model"] if entry.name == "emotion" else [])]
        kind = {"action": argparse.BooleanOptionalAction} if entry.default is False else {"metavar": "NAME"}
        parser.add_argument(*names, dest=entry.name, default=None, help=entry.metadata["help"], **kind)


def _stack(options: argparse.Namespace) -> Any:
    """Return the stack that the options say."""
    from emolib.stack import Stack

    named = {entry.name: getattr(options, entry.name, None) for entry in dataclasses.fields(Stack)}
    return Stack.load(options.stack).with_changes(**{name: value for name, value in named.items() if value is not None})


# --- chat ----------------------------------------------------------------------------------------


def _add_chat(commands: Any) -> None:
    parser = _command(commands, "chat", _chat, "Chat in text, with the emotion of each line beside it.")
    _add_stack_options(parser, skipped=("recognizer", "voice_emotion", "speech", "voice"))
    parser.add_argument("--history", type=Path, metavar="FILE", help="go on from this conversation and save it there")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write the turns with their stages as JSON lines")
    parser.add_argument("--json", action="store_true", help="print each turn as JSON, and nothing else")
    parser.add_argument("--stats", action="store_true", help="show time to first token and tokens per second")


def _chat(options: argparse.Namespace) -> int:
    from emolib.dialogue import TextChat, write_trace
    from emolib.stack import open_stack

    stack = _stack(options)
    if options.history:
        from emolib.dialogue import History

        History.load(options.history)  # says what is wrong with it before models are loaded
    with open_stack(stack, spoken=False) as engines:
        print(f"emotion: {stack.emotion}; replies: {engines.reply_model.name}", file=sys.stderr)
        chat = TextChat(engines, options.history, options.stats)
        if options.json:
            chat.write, chat.on_turn = (
                (lambda text: None),
                (lambda turn: print(json.dumps(turn.as_dict(), ensure_ascii=False))),
            )
        turns = chat.run(sys.stdin)
    if options.trace:
        write_trace(turns, options.trace)
    return 0


# --- serve-llm -----------------------------------------------------------------------------------


def _add_serve_llm(commands: Any) -> None:
    parser = _command(commands, "serve-llm", _serve_llm, "Serve chat and emotion from one model, on llama.cpp.")
    parser.add_argument("--model", type=Path, help="a base GGUF file (default: the embedded chat model)")
    parser.add_argument(
        "--adapter", nargs="+", default=[DEFAULT_EMOTION_MODEL], help="everyday, carer, run folders or LoRA GGUF files"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default %(default)s)")
    parser.add_argument("--port", type=int, default=8081, help="port to bind (default %(default)s; 0 = a free one)")
    parser.add_argument(
        "--api-key",
        default=os.environ.get("EMOLIB_LLAMA_KEY"),
        help="key that clients must send; needed beyond localhost (default: $EMOLIB_LLAMA_KEY)",
    )
    parser.add_argument("--slots", type=int, default=4, help="requests at once (default %(default)s)")
    parser.add_argument("--threads", type=int, help="cores to compute on (default: all but one, at most 4)")


def _serve_llm(options: argparse.Namespace) -> int:
    from emolib.export import serve_llm
    from emolib.llama.server import LlamaServerOptions, thread_budget

    how = LlamaServerOptions(
        host=options.host,
        port=options.port,
        slots=options.slots,
        threads=options.threads or thread_budget(),
        api_key=options.api_key,
    )
    serve_llm(options.model, options.adapter, how)
    return 0


# --- serve-tts -----------------------------------------------------------------------------------


def _add_serve_tts(commands: Any) -> None:
    parser = _command(commands, "serve-tts", _serve_tts, "Serve speech synthesis over HTTP.")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port to bind (default %(default)s; 0 = a free one)")
    parser.add_argument(
        "--engine",
        default="auto",
        choices=["auto", "piper", "fish", "espeak-ng"],
        help="what speaks; fish is the server at $EMOLIB_FISH_URL (default: the best that is there)",
    )
    parser.add_argument(
        "--api-key",
        default=os.environ.get("EMOLIB_TTS_API_KEY"),
        help="key that clients must send; needed beyond localhost (default: $EMOLIB_TTS_API_KEY)",
    )
    parser.add_argument("--references", type=Path, help="folder for uploaded reference clips (default: in the cache)")


def _serve_tts(options: argparse.Namespace) -> int:
    from emolib.tts import serve

    serve(
        options.host,
        options.port,
        engine=options.engine,
        api_key=options.api_key,
        references=options.references,
    )
    return 0


# --- voice ---------------------------------------------------------------------------------------


def _add_voice(commands: Any) -> None:
    parser = _command(commands, "voice", _voice_list, "Keep reference clips of voices (voiceprints).")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add = _command(actions, "add", _voice_add, "Add a reference clip of 3 to 30 s to a voice.")
    add.add_argument("name", help="the voice; it is made where it is new")
    add.add_argument("clip", type=Path, nargs="?", help="a recording (default: record the microphone)")
    add.add_argument("--text", default="", help="what is said in it (default: what the recogniser hears)")
    add.add_argument("--emotion", choices=EMOTIONS, help="the emotion it is spoken with (default: none)")
    add.add_argument("--seconds", type=float, default=10.0, help="length of a new recording (default %(default)s)")
    _command(actions, "list", _voice_list, "List the voices and their clips.")
    for action, handler, summary in (
        ("play", _voice_play, "Play the reference clip of a voice."),
        ("remove", _voice_remove, "Delete a voice."),
    ):
        _command(actions, action, handler, summary).add_argument("name", help="the voice")
    actions.choices["play"].add_argument("--emotion", choices=EMOTIONS, help="the clip for this emotion")


def _voice_add(options: argparse.Namespace) -> int:
    from emolib.audio import read_audio
    from emolib.speech import WhisperRecognizer
    from emolib.tts import VoiceLibrary, add_voice_clip

    if options.clip is None:
        from emolib.tts.audition import record

        print(f"speak now, for {options.seconds:g} s …")
        clip = record(options.seconds)
    else:
        clip = read_audio(options.clip)
    added = add_voice_clip(
        VoiceLibrary(), options.name, clip, WhisperRecognizer(), text=options.text, emotion=options.emotion
    )
    print(f"{options.name}: {added.seconds:.1f} s for {added.emotion or 'any emotion'}: {added.text}")
    return 0


def _voice_list(options: argparse.Namespace) -> int:
    from emolib.tts import VoiceLibrary

    print(VoiceLibrary().table())
    return 0


def _voice_play(options: argparse.Namespace) -> int:
    from emolib.tts import VoiceLibrary
    from emolib.tts.audition import play

    for clip in VoiceLibrary().open(options.name).sounds(options.emotion):
        play(clip)
    return 0


def _voice_remove(options: argparse.Namespace) -> int:
    from emolib.tts import VoiceLibrary

    VoiceLibrary().remove(options.name)
    print(f"{options.name} is removed")
    return 0


# --- mic -----------------------------------------------------------------------------------------


def _add_mic(commands: Any) -> None:
    parser = _command(commands, "mic", _mic, "Measure the room and show what the microphone hears.")
    parser.add_argument("--in", dest="file", type=Path, help="a recording instead of the microphone")
    parser.add_argument("--device", help="number or name of the microphone (default: the system's)")
    parser.add_argument("--backend", choices=["sounddevice", "pyaudio"], default="sounddevice", help="what records")
    parser.add_argument("--calibrate", type=float, default=1.5, help="seconds of silence at the start (default 1.5)")
    parser.add_argument("--seconds", type=float, help="stop after so many (default: until Ctrl-C)")
    parser.add_argument("--save", type=Path, help="folder for the utterances as WAV files")


def _mic(options: argparse.Namespace) -> int:
    from emolib.speech.monitor import monitor, open_source

    source = open_source(options.file, options.device, options.backend)
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(source):
        monitor(source, sys.stdout, calibration_s=options.calibrate, seconds=options.seconds, save_to=options.save)
    return 0


# --- demo ----------------------------------------------------------------------------------------


def _add_demo(commands: Any) -> None:
    parser = _command(commands, "demo", _demo, "Do all of it on the sample corpus and write a report.")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder (default %(default)s)")


def _demo(options: argparse.Namespace) -> int:
    from emolib.demo import run_demo

    run_demo(options.out)
    return 0


# --- doctor --------------------------------------------------------------------------------------


def _add_doctor(commands: Any) -> None:
    parser = _command(commands, "doctor", _doctor, "Show what is found on this machine, and what each stage uses.")
    parser.add_argument(
        "--stack", metavar="NAME|FILE", help="look part by part at what a stack needs: paper, embedded …"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def _doctor(options: argparse.Namespace) -> int:
    from emolib.doctor import examine, examine_stack
    from emolib.stack import Stack

    findings = examine_stack(Stack.load(options.stack)) if options.stack else examine()
    if options.json:
        _print_json(findings.as_dict())
    else:
        print(findings.table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
