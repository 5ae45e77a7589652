"""Write emolib/dialogue/distress/han.json: how common Chinese characters are simplified, and how they sound.

    pip install opencc-purepy pypinyin
    python -m benchmarks._distress_tables

The characters are level 1 of GB 2312 (3,755). Traditional forms come from OpenCC (Apache-2.0), readings from pypinyin
(MIT), one reading per character, without tones.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from importlib.resources import files
from pathlib import Path

from emolib.dialogue.distress.normalise import HAN_TABLE

# Forms in daily use that OpenCC leaves alone, because each is right in some other word.
_VARIANTS = ("著着", "妳你", "祂他", "裏里", "裡里", "牠它", "甚什", "麼么", "幹干", "後后")


def main() -> int:
    from pypinyin import lazy_pinyin

    common = [bytes([high, low]).decode("gb2312", "ignore") for high in range(0xB0, 0xD8) for low in range(0xA1, 0xFF)]
    common = [character for character in common if character]
    sounds: dict[str, str] = defaultdict(str)
    for character in common:
        sounds[_folded(lazy_pinyin(character)[0])] += character
    table = {"simplified": _simplified(set(common)), "sounds": dict(sorted(sounds.items()))}
    Path(HAN_TABLE).write_text(json.dumps(table, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    return 0


def _folded(syllable: str) -> str:
    """Fold the sounds that dialects and hurried typing confuse: zh/z, ch/c, sh/s, and -ng/-n."""
    for whole, part in (("zh", "z"), ("ch", "c"), ("sh", "s")):
        syllable = part + syllable.removeprefix(whole) if syllable.startswith(whole) else syllable
    return syllable.removesuffix("g") if syllable.endswith(("ang", "eng", "ing")) else syllable


def _simplified(common: set[str]) -> str:
    """Pairs of a traditional character that Big5 has and its simplified one, without a space between."""
    pairs = list(_VARIANTS)
    for line in (files("opencc_purepy") / "dicts" / "TSCharacters.txt").read_text(encoding="utf-8").splitlines():
        traditional, simplified = line.split("\t")[0], line.split("\t")[1].split(" ")[0]
        if simplified in common and simplified != traditional and _in_big5_level_1(traditional):
            pairs.append(traditional + simplified)
    return "".join(pairs)


def _in_big5_level_1(character: str) -> bool:
    try:
        return character.encode("big5")[0] < 0xC9
    except UnicodeEncodeError:
        return False


if __name__ == "__main__":
    sys.exit(main())
