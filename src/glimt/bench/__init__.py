"""The load generator: how fast a server answers, seen from outside.

Speaks to any server with OpenAI's chat endpoint; knows nothing of the engine behind it.
"""
