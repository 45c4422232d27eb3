"""The shipped models (safetensors) and their cards."""
