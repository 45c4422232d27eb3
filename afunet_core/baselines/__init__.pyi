from .mertens import (
    fuse_frames as fuse_frames,
)
from .weighted import (
    SATURATION_FADE as SATURATION_FADE,
)
from .weighted import (
    ExposureStack as ExposureStack,
)
from .weighted import (
    exposure_fusion as exposure_fusion,
)
from .weighted import (
    merge_frames as merge_frames,
)
from .weighted import (
    merge_weights as merge_weights,
)
from .weighted import (
    reference_only as reference_only,
)
from .weighted import (
    weighted_merge as weighted_merge,
)
