from .exposure import (
    Exposure as Exposure,
)
from .exposure import (
    parse_exposure as parse_exposure,
)
from .exposure import (
    relative_exposures as relative_exposures,
)
from .exposure_list import (
    ExposureList as ExposureList,
)
from .exposure_list import (
    read_exposure_list as read_exposure_list,
)
from .exr_parts import (
    ImagePart as ImagePart,
)
from .exr_parts import (
    read_parts as read_parts,
)
from .formats import (
    RAW_SUFFIXES as RAW_SUFFIXES,
)
from .formats import (
    READABLE as READABLE,
)
from .formats import (
    WRITABLE as WRITABLE,
)
from .formats import (
    natural_key as natural_key,
)
from .microscope import (
    PixelSize as PixelSize,
)
from .photograph import (
    Photograph as Photograph,
)
from .photograph import (
    read_photograph as read_photograph,
)
from .raw import (
    read_raw as read_raw,
)
from .read import (
    ImageFile as ImageFile,
)
from .read import (
    read_exposure as read_exposure,
)
from .read import (
    read_image as read_image,
)
from .stack import (
    write_stack as write_stack,
)
from .write import (
    write_image as write_image,
)
