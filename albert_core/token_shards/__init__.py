"""Text files as a folder of tokens that is mapped into memory; see docs/data.md for the format."""

from albert_core.token_shards.folder import open_folder
from albert_core.token_shards.prepare import prepare

__all__ = ["open_folder", "prepare"]
