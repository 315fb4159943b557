"""Loads models (base, adapter, 4-bit, GGUF), lets them answer, and asks for log-likelihoods."""
