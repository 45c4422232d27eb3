"""Properties of a camera: noise, response curve, black level, exposure drift."""
