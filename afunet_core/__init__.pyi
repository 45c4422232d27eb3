from . import (
    baselines as baselines,
)
from . import (
    bracket as bracket,
)
from . import (
    data as data,
)
from . import (
    errors as errors,
)
from . import (
    evaluation as evaluation,
)
from . import (
    inspection as inspection,
)
from . import (
    io as io,
)
from . import (
    losses as losses,
)
from . import (
    merging as merging,
)
from . import (
    metrics as metrics,
)
from . import (
    model as model,
)
from . import (
    radiometry as radiometry,
)
from . import (
    registration as registration,
)
from . import (
    tonemap as tonemap,
)
from . import (
    training as training,
)
from .bracket.bracket import (
    Bracket as Bracket,
)
from .errors import (
    AFUNetError as AFUNetError,
)
from .errors import (
    ArgumentError as ArgumentError,
)
from .errors import (
    BracketError as BracketError,
)
from .errors import (
    CheckpointError as CheckpointError,
)
from .errors import (
    ExposureError as ExposureError,
)
from .errors import (
    ImageFileError as ImageFileError,
)
from .errors import (
    MergeCancelled as MergeCancelled,
)
from .errors import (
    ShapeError as ShapeError,
)
from .errors import (
    TensorTypeError as TensorTypeError,
)
from .io.read import (
    read_image as read_image,
)
from .io.write import (
    write_image as write_image,
)
from .losses.hdr import (
    HDRLoss as HDRLoss,
)
from .merging.pipeline import (
    merge as merge,
)
from .merging.result import (
    MergeResult as MergeResult,
)
from .metrics import (
    psnr as psnr,
)
from .metrics import (
    psnr_linear as psnr_linear,
)
from .metrics import (
    psnr_mu as psnr_mu,
)
from .metrics import (
    ssim as ssim,
)
from .metrics import (
    ssim_mu as ssim_mu,
)
from .model.afunet import (
    AFUNet as AFUNet,
)
from .model.afunet import (
    StageState as StageState,
)
from .model.checkpoint import (
    load_model as load_model,
)
from .model.checkpoint import (
    save_model as save_model,
)
from .model.config import (
    AFUNetConfig as AFUNetConfig,
)
from .radiometry import (
    Encode as Encode,
)
from .radiometry import (
    Expose as Expose,
)
from .radiometry import (
    InverseMuLaw as InverseMuLaw,
)
from .radiometry import (
    Linearize as Linearize,
)
from .radiometry import (
    MuLaw as MuLaw,
)
from .radiometry import (
    ToRadiance as ToRadiance,
)
from .radiometry import (
    encode as encode,
)
from .radiometry import (
    expose as expose,
)
from .radiometry import (
    inverse_mu_law as inverse_mu_law,
)
from .radiometry import (
    linearize as linearize,
)
from .radiometry import (
    mu_law as mu_law,
)
from .radiometry import (
    network_input as network_input,
)
from .radiometry import (
    to_radiance as to_radiance,
)
from .tonemap import (
    ToneMap as ToneMap,
)
from .tonemap import (
    tone_map as tone_map,
)

__version__: str
