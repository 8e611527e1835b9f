"""Apply a plan: a narrower network of the user's own class, and the proof that it is right."""

from widthwise.shrinking.optimizer import carry_optimizer
from widthwise.shrinking.proof import Proof, prove
from widthwise.shrinking.saved import load, save
from widthwise.shrinking.slicing import shrink

__all__ = ["Proof", "carry_optimizer", "load", "prove", "save", "shrink"]
