"""A page that is rewritten while it is sent, packed or not."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from clickmw.scanner import Scanner

#: The host's own level is not known; 5 costs half of 6 and gives 98 % of it.
GZIP_LEVEL = 5


class Stream:
    """A page that is rewritten while it is sent; after a failure its bytes pass unchanged."""

    def __init__(self, scanner: Scanner, note_fault: Callable[[Exception], None]) -> None:
        self._scanner: Scanner | None = scanner
        self._note_fault = note_fault

    def feed(self, chunk: bytes) -> bytes:
        """Return what can be sent now."""
        if self._scanner is None or not chunk:
            return chunk
        try:
            return self._scanner.feed(chunk)
        except Exception as error:
            self._note_fault(error)
            scanner, self._scanner = self._scanner, None
            return scanner.unsent()

    def close(self) -> bytes:
        """Return what was held back."""
        return self._scanner.close() if self._scanner else b""


class GzipStream:
    """A packed page that is unpacked, rewritten and packed again while it is sent.

    What only says it is gzip passes; what is damaged or cut off ends without an end, so that its
    reader notices.
    """

    def __init__(self, page: Stream, note_fault: Callable[[Exception], None]) -> None:
        self._page = page
        self._note_fault = note_fault
        self._inflate = zlib.decompressobj(31)
        self._deflate = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
        self._packed = b""  # all there was before the first byte of the page
        self._begun = self._broken = False

    def feed(self, chunk: bytes) -> bytes:
        """Return what can be sent now."""
        if self._broken:
            return b"" if self._begun else chunk
        if not self._begun:
            self._packed += chunk
        try:
            page = self._unpacked(chunk)
        except zlib.error as error:
            self._note_fault(error)
            self._broken = True
            return b"" if self._begun else self._packed
        if not page:
            return b""
        self._begun = True
        page = self._page.feed(page)
        return self._deflate.compress(page) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def close(self) -> bytes:
        """Return what was held back."""
        if not self._begun:
            return b"" if self._broken else self._packed
        is_complete = self._inflate.eof and not self._broken
        end = zlib.Z_FINISH if is_complete else zlib.Z_SYNC_FLUSH
        return self._deflate.compress(self._page.close()) + self._deflate.flush(end)

    def _unpacked(self, chunk: bytes) -> bytes:
        """Return the page in *chunk*, member after member; browsers ignore what is none."""
        pages = []
        while chunk and not (self._inflate.eof and not chunk.startswith(b"\x1f")):
            if self._inflate.eof:
                self._inflate = zlib.decompressobj(31)
            pages.append(self._inflate.decompress(chunk))
            chunk = self._inflate.unused_data
        return b"".join(pages)
