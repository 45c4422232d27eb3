from .brackets import KINDS as KINDS
from .brackets import Synthesizer as Synthesizer
from .brackets import SyntheticBatch as SyntheticBatch
from .brackets import validation_brackets as validation_brackets
from .config import SynthesisConfig as SynthesisConfig
