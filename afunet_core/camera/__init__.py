"""What a camera does to light before it is stored: response curve, saturation, black level, noise, drift."""
