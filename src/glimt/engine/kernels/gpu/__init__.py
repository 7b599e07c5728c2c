"""Triton kernels for NVIDIA GPUs: one file a subject, `backend.py` joins them to a set of kernels.

Imported only where a GPU runs the model, and by tests that interpret or compile the programs.
"""
