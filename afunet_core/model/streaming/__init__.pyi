from .stream import (
    stream as stream,
)
