"""The data room: reading, cleaning and splitting corpora, and the sample corpus."""

from __future__ import annotations

from emolib.data.clean import clean_corpus
from emolib.data.clean_settings import RULES, CleanSettings
from emolib.data.conversations import ConversationCorpus, load_conversations
from emolib.data.corpus import Corpus, load_split
from emolib.data.flaws import FlawedCorpus, plant_flaws
from emolib.data.label_issues import LabelIssues, find_label_issues
from emolib.data.labels import LabelRules, parse_label_rules
from emolib.data.report import CleanReport
from emolib.data.sample import neutral_sentences, sample_corpus, sample_path

__all__ = [
    "RULES",
    "CleanReport",
    "CleanSettings",
    "ConversationCorpus",
    "Corpus",
    "FlawedCorpus",
    "LabelIssues",
    "LabelRules",
    "clean_corpus",
    "find_label_issues",
    "load_conversations",
    "load_split",
    "neutral_sentences",
    "parse_label_rules",
    "plant_flaws",
    "sample_corpus",
    "sample_path",
]
