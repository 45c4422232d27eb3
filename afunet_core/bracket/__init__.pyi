from .bracket import (
    Bracket as Bracket,
)
