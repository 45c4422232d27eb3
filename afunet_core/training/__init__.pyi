from .config import TrainingConfig as TrainingConfig
from .config import learning_rate as learning_rate
from .config import load_config as load_config
from .config import shipped_recipes as shipped_recipes
from .loop import TrainingObjective as TrainingObjective
from .loop import train as train
