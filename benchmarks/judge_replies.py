"""Reads a hundred thousand random strings as a judge's replies, and counts what came of them.

    python benchmarks/judge_replies.py

Not one may raise, and each is a level from 1 to 5 or an outcome that says why there is none. Strings are made of what verdicts are
made of, and of everything else; tests/test_judge_replies.py reads the first few thousand, and the corpus written by hand.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter

from medsafe_train.judges import reading

STRINGS = 100_000
PIECES = ("score", "SCORE", ":", " ", "\n", "{", "}", '"', "4", "5", "0", ".", "/", "[", "]", "```", "json", "reason", ",", "\\u0000",
          "é", "😀", "\ud800", "\u2028", "\x00", "<|", "|>", "null", "true", "-", "e9", "**", "_", "#", "I can't", "out of")  # fmt: skip


def noise(seed: int) -> str:
    """A random string, the same for a seed."""
    chance = random.Random(seed)
    return "".join(
        chance.choice(PIECES) if chance.random() < 0.9 else chr(chance.randrange(0x110000))
        for _ in range(chance.randrange(30))
    )


def main() -> None:
    """Reads them all and prints the counts."""
    start, found = time.perf_counter(), Counter[str]()
    for seed in range(STRINGS):
        read = reading.read(noise(seed), "stop" if seed % 3 else "length", "SCORE: 4" if seed % 5 else "")
        if (read.level in (1, 2, 3, 4, 5)) != (read.outcome is None):
            sys.exit(f"seed {seed}: {read}")
        found[read.outcome or f"level {read.level}"] += 1
    print(f"{STRINGS:,} strings, no exception, in {time.perf_counter() - start:.1f} s: {dict(found.most_common())}")


if __name__ == "__main__":
    main()
