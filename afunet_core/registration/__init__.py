"""Registration of hand-held frames: homographies, residual parallax, alignment of a bracket."""
