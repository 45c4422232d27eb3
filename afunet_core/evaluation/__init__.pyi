from .evaluator import (
    Sample as Sample,
)
from .evaluator import (
    baseline_methods as baseline_methods,
)
from .evaluator import (
    dataset_samples as dataset_samples,
)
from .evaluator import (
    evaluate as evaluate,
)
from .evaluator import (
    fusion_radiance as fusion_radiance,
)
from .evaluator import (
    merge_method as merge_method,
)
from .evaluator import (
    synthetic_samples as synthetic_samples,
)
