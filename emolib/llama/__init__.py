"""llama.cpp: GGUF files, what its own tools do with them, and its server."""
