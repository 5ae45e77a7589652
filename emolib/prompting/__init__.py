"""Prompts: templates, their tokens, and the prefix that all prompts share. Training and inference both use them."""
