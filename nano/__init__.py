"""How the shipped model glimt/nano was made: corpus, tokenizer, network, training, export, evaluation.

Knows torch and the file layout of a GLM-4.7-Flash checkpoint. Knows nothing of the serving engine:
`nano.evaluate` talks to it over HTTP like any other client.
"""
