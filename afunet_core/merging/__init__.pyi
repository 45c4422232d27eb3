from .pipeline import (
    METHODS as METHODS,
)
from .pipeline import (
    MergeResult as MergeResult,
)
from .pipeline import (
    merge as merge,
)
