"""The generated corpus: a pure function of a seed, in English and Chinese.

Knows seven skills and how conversations are made of them. Knows nothing of tokens or training.
"""
