"""Denoising: what a photograph showed before noise was added."""
