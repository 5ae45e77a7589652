"""`emolib clean`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from emolib.cli.console import say
from emolib.cli.options import Options, argument, command, option
from emolib.data.clean_settings import RULES, CleanSettings
from emolib.emotions import VOCABULARIES

__all__ = ["clean"]


@dataclass(frozen=True, kw_only=True)
class CleanOptions:
    """What is cleaned and where it goes, and settings that are written in another form here."""

    source: tuple[str, ...] = argument(
        "text;label, CSV, TSV, JSON lines or Parquet files, gzip of each, or dair-ai/emotion"
    )
    out: Path = option("folder for the splits and the report")
    skip: tuple[str, ...] = option("rules to leave out (default: none; report.json names them)", (), metavar="RULE")
    shares: tuple[float, float] = option(
        "shares of undivided sources that become validation and test",
        (CleanSettings.validation_share, CleanSettings.test_share),
        metavar=("VALIDATION", "TEST"),
    )
    labels: str | None = option(
        "the labels: urgent,calm,…, or carer for the six emotions (default: found in the corpus)", None, metavar="NAMES"
    )
    vocabulary: str | None = option(
        f"what names and numbers of the source are: {', '.join(VOCABULARIES)} (default: found)", None, metavar="NAME"
    )
    map: str | None = option(
        "labels as written that mean others: happy=joy,sad=sadness, or a file of such lines (default: none)",
        None,
        metavar="WRITTEN=LABEL",
    )
    label_names: str | None = option(
        "names of numeric labels from 0 on, sadness,joy,… (default: found and checked)", None, metavar="NAMES"
    )
    labels_per_text: str | None = option("one or several (default: found)", None, choices=("one", "several"))
    label_issues: bool = option("rank suspicious labels of the training split", False)


@command(
    CleanOptions,
    Options(
        CleanSettings,
        skip=("rules", "label_rules", "validation_share", "test_share"),
        flags={"near_threshold": ("--near",)},
    ),
)
def clean(options: CleanOptions, settings: CleanSettings) -> None:
    """Clean a corpus."""
    from emolib.data import clean_corpus, find_label_issues, load_split, parse_label_rules

    unknown = [rule for rule in options.skip if rule not in RULES]
    validation, test = options.shares
    settings = replace(
        settings,
        rules=(*(rule for rule in RULES if rule not in options.skip), *unknown),
        validation_share=validation,
        test_share=test,
        label_rules=parse_label_rules(
            options.labels,
            vocabulary=options.vocabulary,
            mapping=options.map,
            label_names=options.label_names,
            multi_label=None if options.labels_per_text is None else options.labels_per_text == "several",
        ),
    )
    print(clean_corpus(options.source, options.out, settings, progress=say).table())
    if options.label_issues:
        say("ranking labels")
        issues = find_label_issues(load_split(options.out, "train"), settings.seed)
        issues.write(options.out / "label_issues.csv")
        print(issues.table())
