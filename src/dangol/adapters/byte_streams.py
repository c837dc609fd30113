"""Opens a file for reading front to back, gzipped or not, and says how much of it has been read."""

from __future__ import annotations

import codecs
import io
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from dangol.errors import BadFile

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["FileBytes", "Utf8Bytes"]


class FileBytes:
    """The bytes of a file, unpacked if its name ends in .gz."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = pa.OSFile(str(path))
        packed = path.suffix.lower() == ".gz"
        self._stream = pa.CompressedInputStream(self._file, "gzip") if packed else self._file

    @property
    def done(self) -> int:
        """How many bytes of the file, as it lies on the disk, have been read."""
        return int(self._file.tell())

    def read(self, most: int) -> bytes:
        """Return the next bytes, none at the end."""
        try:
            return bytes(self._stream.read(most))
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            message = (
                f"{self._path} breaks off or is damaged behind byte {self.done} ({reason}): get it again"
            )
            raise BadFile(message) from error

    def skip(self, count: int) -> None:
        """Move on by `count` bytes."""
        while count > 0:
            piece = self.read(min(count, 1 << 22))
            if not piece:
                message = f"{self._path} is shorter than what was read of it before: it is another file now"
                raise BadFile(message)
            count -= len(piece)


class Utf8Bytes(io.RawIOBase):
    """The text of a file in any encoding, as UTF-8 bytes without a byte order mark."""

    def __init__(self, path: Path, encoding: str) -> None:
        super().__init__()
        try:
            name = codecs.lookup(encoding).name
        except LookupError as error:
            message = f"{encoding!r} is no known encoding: use for example utf-8, latin-1 or cp949"
            raise BadFile(message) from error
        self._path = path
        self._bytes = FileBytes(path)
        self._encoding = "utf-8-sig" if name == "utf-8" else name
        self._decoder = codecs.getincrementaldecoder(self._encoding)()
        self._rest = b""
        self._seen = 0

    @property
    def done(self) -> int:
        """How many bytes of the file, as it lies on the disk, have been read."""
        return self._bytes.done

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, into: Buffer, /) -> int:
        """Fill `into` as far as the next piece of the file goes; 0 only at the end."""
        view = memoryview(into)
        while not self._rest:
            piece = self._bytes.read(len(view))
            self._rest = self._decode(piece).encode()
            if not piece:
                break
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _decode(self, piece: bytes) -> str:
        try:
            text = self._decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            place = f"near byte {self._seen + error.start}"
            message = (
                f"{self._path} is not {self._encoding.removesuffix('-sig')} {place}: name its encoding, "
                "for example --encoding latin-1 (UCI's and many older CSV files) or cp949"
            )
            raise BadFile(message) from error
        self._seen += len(piece)
        return text
