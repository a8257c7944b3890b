"""Row 22: `railcar serve` handed bombs: what is small as it is sent and large once it is opened."""

from __future__ import annotations

import gzip
import json
import random
import struct
import zlib
from pathlib import Path

from benchmarks.harness.load import BackgroundLoad, LoadGenerator, Question, build_question
from benchmarks.reliability import served
from benchmarks.reliability.run import Outcome
from benchmarks.reliability.serving import MemoryWatch
from benchmarks.reliability.serving_abuse import list_files

CAP_MB = 1024
"""What a server of a small model may take of memory, whatever it is sent: 32 MiB a body, 256 MiB of them in work."""


def measure_bombs(folder: Path, trials: int | None, chance: random.Random) -> Outcome:
    """Row 22: files and bodies that are small as they are sent and large once they are opened, four at once, while a
    client asks what is right. Each is refused in words, and memory stays below the cap."""
    bombs = list_bombs()
    bombs = bombs if trials is None else chance.sample(bombs, trials)
    failures, most, longest = [], (0.0, ""), (0.0, "")
    with served.serve([f"image={served.find_run('image')}"], folder / "log") as server:
        generator = LoadGenerator(server.port, served.build_questions(server.port, "image"), timeout_s=90)
        waits: list[float] = []
        generator.watch = lambda answer, _: waits.append(answer.seconds)
        load = BackgroundLoad(generator, clients=1)
        for name, question in bombs:
            memory, n_before = MemoryWatch(server), len(waits)
            found = LoadGenerator(server.port, iter([question] * 4), timeout_s=60).run(60, clients=4)
            peak = memory.end()
            most, longest = max(most, (peak, name)), max(longest, (max(waits[n_before:], default=0.0), name))
            statuses = {one.status for one in found.answers}
            if not statuses <= {400, 413, 415, 429, 503} or peak > CAP_MB:
                failures.append(f"{name}: {peak:.0f} MB, {found.problems()}")
        others = load.end()
        failures += [] if server.process.poll() is None else [f"it ended: {server.said()[-500:]}"]
    failures += [f"other requests: {others.problems()}"] if others.wrong() else []
    note = f"peak {most[0]:.0f} MB of {CAP_MB} ({most[1]}); others waited {longest[0]:.1f} s at most ({longest[1]})"
    return Outcome(max(len(bombs) - len(failures), 0), len(bombs), note, failures)


def list_bombs() -> list[tuple[str, Question]]:
    """Names and requests."""

    def post(body: bytes, kind: str = "application/json", path: str = "/predict", **headers: str) -> Question:
        return build_question(path, body, kind, headers={name.replace("_", "-"): one for name, one in headers.items()})

    wide = b'{"inputs": [' + b"0," * (15 << 20) + b"0]}"
    zeros = squeeze_zeros(1 << 30, "gzip")
    deep = 2_000_000
    return [
        ("PNG of 30000x30000, gray", post(build_png(30_000, 30_000), "image/png")),
        ("PNG of 30000x30000, 16 bits of colour", post(build_png(30_000, 30_000, 16, 2), "image/png")),
        ("PNG of 2147483647x2147483647", post(build_png(2**31 - 1, 2**31 - 1, rows=100), "image/png")),
        ("PNG with 1 GB in a text", post(build_png(16, 16, text=1 << 30), "image/png")),
        ("GIF of 65535x65535", post(_set_size(list_files()[3][1], 6, "<HH", 65535, 65535), "image/gif")),
        ("BMP of 100000x100000", post(_set_size(list_files()[9][1], 18, "<ii", 100_000, 100_000), "image/bmp")),
        ("JPEG of 65500x65500", post(_set_jpeg_size(list_files()[4][1], 65500, 65500), "image/jpeg")),
        (
            "a form of 100 PNGs of 9000x9000",
            post(_build_form(build_png(9000, 9000), 100), "multipart/form-data; boundary=edge"),
        ),
        ("gzip body of 1 GB of JSON", post(zeros, Content_Encoding="gzip")),
        ("gzip in gzip", post(gzip.compress(zeros), Content_Encoding="gzip, gzip")),
        ("deflate body of 1 GB", post(squeeze_zeros(1 << 30), Content_Encoding="deflate")),
        ("JSON 2,000,000 deep", post(b'{"input": ' + b"[" * deep + b"]" * deep + b"}")),
        ("JSON objects 2,000,000 deep", post(b'{"a":' * deep + b"1" + b"}" * deep)),
        ("JSON of 15,000,000 zeros", post(wide)),
        ("JSON of empty lists", post(b'{"inputs": [' + b"[]," * (10 << 20) + b"[]]}")),
        ("JSON of empty objects", post(b'{"inputs": [' + b"{}," * (10 << 20) + b"{}]}")),
        (
            "the same for TensorFlow Serving",
            post(wide.replace(b"inputs", b"instances"), path="/v1/models/image:predict"),
        ),
        ("a number of 30 MB", post(b'{"input": ' + b"9" * (30 << 20) + b"}")),
        ("a key of 30 MB", post(b'{"' + b"k" * (30 << 20) + b'": 1}')),
        ("base64 of a large PNG", post(_build_base64(build_png(30_000, 30_000)))),
        ("a body larger than the limit", post(b" " * (40 << 20))),
    ]


def build_png(
    width: int, height: int, bits: int = 8, kind: int = 0, *, rows: int | None = None, text: int = 0
) -> bytes:
    """All zeros; `rows` of them only when given, `text` bytes in a compressed text."""
    row = (width * bits * {0: 1, 2: 3}[kind] + 7) // 8 + 1
    data = squeeze_zeros((rows or height) * min(row, 1 << 20))
    chunks = [_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))]
    if text:
        chunks.append(_chunk(b"zTXt", b"Comment\0\0" + squeeze_zeros(text)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def squeeze_zeros(n: int, form: str = "zlib") -> bytes:
    """`n` zero bytes as zlib or gzip has them: the same compressed block again and again."""
    size = 1 << 20
    count, rest = divmod(n, size)
    body = _squeeze_block(size) * count + (_squeeze_block(rest) if rest else b"") + b"\x03\x00"
    if form == "zlib":
        return b"\x78\x9c" + body + struct.pack(">I", (n % 65521) << 16 | 1)
    check, block = 0, bytes(size)
    for _ in range(count):
        check = zlib.crc32(block, check)
    check = zlib.crc32(bytes(rest), check)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + body + struct.pack("<II", check, n % 2**32)


def _squeeze_block(n: int) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    return squeeze.compress(bytes(n)) + squeeze.flush(zlib.Z_FULL_FLUSH)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _set_size(content: bytes, at: int, form: str, *sizes: int) -> bytes:
    packed = struct.pack(form, *sizes)
    return content[:at] + packed + content[at + len(packed) :]


def _set_jpeg_size(content: bytes, height: int, width: int) -> bytes:
    at = next(content.index(mark) for mark in (b"\xff\xc0", b"\xff\xc2") if mark in content)
    return _set_size(content, at + 5, ">HH", height, width)


def _build_form(content: bytes, n: int) -> bytes:
    head = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    return b"".join(head + content + b"\r\n" for _ in range(n)) + b"--edge--\r\n"


def _build_base64(content: bytes) -> bytes:
    import base64

    return json.dumps({"input": {"b64": base64.b64encode(content).decode()}}).encode()
