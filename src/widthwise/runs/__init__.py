"""Run folders: everything a run leaves behind, readable by people and by other programs."""

from widthwise.runs.folder import RunFolder
from widthwise.runs.reading import read_config, read_json, read_metrics
from widthwise.runs.writing import write_file, write_json, write_model

__all__ = ["RunFolder", "read_config", "read_json", "read_metrics", "write_file", "write_json", "write_model"]
