"""Synthetic clips rendered from photographs: cut-outs that move over other photographs.

The idea is that of Li et al., "Self-Supervised Tracking via Target-Aware Data Synthesis" (Crop-
Transform-Paste, arXiv:2106.10900); the ranges of motion were measured on real clips.
"""
