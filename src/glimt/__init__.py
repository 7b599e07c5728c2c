"""Glimt: an engine for GLM-4.7-Flash and a gateway for the GLM-4.7 family, in one package.

Importing this package does nothing heavy: torch is loaded only inside the engine's worker process.
"""

__version__ = "0.1.0"
