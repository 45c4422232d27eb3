from .hdr import (
    DecibelLoss as DecibelLoss,
)
from .hdr import (
    FourierL1Loss as FourierL1Loss,
)
from .hdr import (
    HDRLoss as HDRLoss,
)
from .hdr import (
    MuL1Loss as MuL1Loss,
)
from .hdr import (
    RadianceLoss as RadianceLoss,
)
from .hdr import (
    VGGPerceptualLoss as VGGPerceptualLoss,
)
from .hdr import (
    decibel_loss as decibel_loss,
)
from .hdr import (
    fourier_l1_loss as fourier_l1_loss,
)
from .hdr import (
    mu_l1_loss as mu_l1_loss,
)
from .hdr import (
    perceptual_loss as perceptual_loss,
)
from .hdr import (
    radiance_loss as radiance_loss,
)
