from .align import homographies as homographies
from .frames import Registration as Registration
from .frames import align_frame as align_frame
from .frames import common_area as common_area
from .frames import covered_areas as covered_areas
from .frames import estimate_homography as estimate_homography
from .frames import register as register
from .frames import unseen_content as unseen_content
