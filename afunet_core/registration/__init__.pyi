from .align import align_frame as align_frame
from .align import common_area as common_area
from .frames import Registration as Registration
from .frames import register as register
