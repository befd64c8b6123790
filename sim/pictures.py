"""The picture of a run: drawn by golden.visualise, which knows no simulator."""

from golden.visualise import Scan, class_activation_map, draw, logit_difference, probability

__all__ = ["Scan", "class_activation_map", "draw", "logit_difference", "probability"]
