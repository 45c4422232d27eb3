"""The parts of the widget's view. None of them computes anything."""
