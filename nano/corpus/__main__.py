"""`python -m nano.corpus`: look at the corpus, or write some of it to a file.

Knows only how to print; the corpus itself is generated while training.
"""

from __future__ import annotations

import argparse

from nano.corpus.mixture import training
from nano.corpus.rendering import segments


def main() -> None:
    """Print conversations, with what the model must write between ⟦ and ⟧."""
    parser = argparse.ArgumentParser(description="Print conversations of the training corpus.")
    parser.add_argument("--seed", type=int, default=47)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--count", type=int, default=20)
    options = parser.parse_args()
    for conversation in training(options.seed, options.start, options.count):
        print(f"--- {conversation.skill} {conversation.language} thinking={conversation.thinking}")
        print("".join(f"⟦{text}⟧" if learned else text for text, learned in segments(conversation)))


if __name__ == "__main__":
    main()
