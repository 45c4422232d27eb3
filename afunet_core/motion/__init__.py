"""Motion between frames: consistency, ghost maps, optical flow, motion compensation."""
