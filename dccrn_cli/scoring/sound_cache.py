"""Cache of the decoded files of a task."""

from __future__ import annotations

from pathlib import Path

from dccrn_cli.audio.decode import Sound, read_sound
from dccrn_cli.errors import AudioError, DccrnError


class SoundCache:
    """Reads each of a few files once, remembering failures."""

    def __init__(self) -> None:
        self._sounds: dict[Path, Sound | str] = {}

    def get(self, path: Path) -> Sound:
        """Decode a file, or return it from the cache.

        Raises:
            AudioError: the file cannot be read; the message omits the path.
        """
        if path not in self._sounds:
            try:
                self._sounds[path] = read_sound(path)
            except DccrnError as error:
                self._sounds[path] = error.message
            except Exception as error:
                self._sounds[path] = f"{type(error).__name__}: {error}"
        found = self._sounds[path]
        if isinstance(found, str):
            raise AudioError(found)
        return found
