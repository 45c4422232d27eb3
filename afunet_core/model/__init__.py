"""The AFUNet network: configuration, modules, checkpoints and bounded-memory execution."""
