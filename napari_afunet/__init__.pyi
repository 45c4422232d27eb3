from .api import merge_layers as merge_layers
