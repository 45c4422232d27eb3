from .options import (
    MergeOptions as MergeOptions,
)
from .pipeline import (
    merge as merge,
)
from .result import (
    MergeResult as MergeResult,
)
