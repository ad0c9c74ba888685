"""Point clouds in the exact bytes of each format, written here by hand and by nothing of ours."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

POINTS = np.array(
    [[1.0, 2.0, 3.0], [-4.5, 0.25, 1.125], [10.5, -20.75, 0.5], [0.001, 0.002, -0.003]]
)
INTENSITY = np.array([0.5, 7.0, 100.0, 255.0])
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [51, 102, 204]])
US_FOOT_M = 1200 / 3937


def ply_head(form: str, count: int | str = 4, more: str = "") -> bytes:
    return (
        f"ply\nformat {form} 1.0\ncomment by hand\nobj_info none\nelement vertex {count}\n"
        "property float x\nproperty float y\nproperty double z\nproperty float intensity\n"
        f"property uchar red\nproperty uchar green\nproperty uchar blue\n{more}end_header\n"
    ).encode()


FACES = "element face 1\nproperty list uchar int vertex_indices\n"


def ply_binary(path: Path, order: str, points: np.ndarray = POINTS) -> Path:
    name = "little" if order == "<" else "big"
    rows = b"".join(
        struct.pack(f"{order}ffdfBBB", *xyz, light, *colour)
        for xyz, light, colour in zip(points, INTENSITY, COLOURS, strict=True)
    )
    head = ply_head(f"binary_{name}_endian", len(points), FACES)
    path.write_bytes(head + rows + struct.pack(f"{order}Biii", 3, 0, 1, 2))
    return path


def ply_ascii(path: Path, points: np.ndarray = POINTS) -> Path:
    rows = "".join(
        f"{x} {y} {z} {light} {r} {g} {b}\n"
        for (x, y, z), light, (r, g, b) in zip(points, INTENSITY, COLOURS, strict=True)
    )
    path.write_bytes(ply_head("ascii", len(points), FACES) + rows.encode() + b"3 0 1 2\n")
    return path


def packed_rgb() -> np.ndarray:
    return (COLOURS << np.array([16, 8, 0])).sum(1).astype(np.uint32)


def pcd_head(data: str, count: int | str = 4, viewpoint: str = "0 0 0 1 0 0 0") -> bytes:
    return (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z _ intensity rgb\n"
        "SIZE 4 4 4 1 4 4\nTYPE F F F U F F\nCOUNT 1 1 1 4 1 1\n"
        f"WIDTH {count}\nHEIGHT 1\nVIEWPOINT {viewpoint}\nPOINTS {count}\nDATA {data}\n"
    ).encode()


def pcd_ascii(path: Path, points: np.ndarray = POINTS) -> Path:
    rgb = packed_rgb().view(np.float32)
    rows = "".join(
        f"{x} {y} {z} 0 0 0 0 {light} {float(bits)!r}\n"
        for (x, y, z), light, bits in zip(points, INTENSITY, rgb, strict=True)
    )
    path.write_bytes(pcd_head("ascii", len(points)) + rows.encode())
    return path


def pcd_binary(path: Path, points: np.ndarray = POINTS, viewpoint: str = "0 0 0 1 0 0 0") -> Path:
    rows = b"".join(
        struct.pack("<fff4xfI", *xyz, light, int(bits))
        for xyz, light, bits in zip(points, INTENSITY, packed_rgb(), strict=True)
    )
    path.write_bytes(pcd_head("binary", len(points), viewpoint) + rows)
    return path


def pcd_compressed(path: Path) -> Path:
    """Field after field; the filling is one zero and a reference into itself, as LZF has it."""
    fields = [POINTS[:, axis].astype("<f4").tobytes() for axis in range(3)]
    after = INTENSITY.astype("<f4").tobytes() + packed_rgb().tobytes()
    filling = bytes([0, 0]) + bytes([(7 << 5), 15 - 7 - 2, 0])  # 15 more from one byte back
    packed = literal(b"".join(fields)) + filling + literal(after)
    size = 4 * (12 + 4 + 4 + 4)
    head = pcd_head("binary_compressed")
    path.write_bytes(head + struct.pack("<II", len(packed), size) + packed)
    return path


def literal(data: bytes) -> bytes:
    parts = [data[at : at + 32] for at in range(0, len(data), 32)]
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


def bare(path: Path, points: np.ndarray, *more: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.column_stack([points, *more]).astype("<f4").tobytes())
    return path


def geo_keys(keys: Sequence[tuple[int, int]]) -> bytes:
    words = [1, 1, 0, len(keys)]
    for key, value in keys:
        words += [key, 0, 1, value]
    return struct.pack(f"<{len(words)}H", *words)


def record(number: int, content: bytes) -> bytes:
    return struct.pack("<H16sHH32s", 0, b"LASF_Projection", number, len(content), b"") + content


def las(
    path: Path,
    points: np.ndarray,
    records: Sequence[bytes] = (),
    scale: float = 0.001,
    offset: Sequence[float] = (0.0, 0.0, 0.0),
    count: int | None = None,
) -> Path:
    """LAS 1.2, point format 2 (intensity and colours), coordinates in the file's own unit."""
    steps = np.rint((points - np.array(offset)) / scale).astype(np.int64)
    start = 227 + sum(len(part) for part in records)
    head = struct.pack(
        "<4sHH16sBB32s32sHHHIIBHI5I", b"LASF", 0, 0, bytes(16), 1, 2, b"", b"by hand", 1, 2026,
        227, start, len(records), 2, 26, len(points) if count is None else count, *[0] * 5,
    )  # fmt: skip
    head += struct.pack("<3d3d", *[scale] * 3, *offset)
    head += struct.pack("<6d", *np.stack([points.max(0), points.min(0)], 1).reshape(-1))
    rows = b"".join(
        struct.pack("<iiiHBBbBHHHH", *(int(v) for v in xyz), int(light), 0, 0, 0, 0, 0, *colour)
        for xyz, light, colour in zip(steps, INTENSITY, (COLOURS * 257).tolist(), strict=True)
    )
    path.write_bytes(head + b"".join(records) + rows)
    return path


def copc(path: Path, wkt: str) -> Path:
    """COPC of one node: LAZ 1.4 whose first record is ``copc``; laspy packs the points."""
    import laspy
    from laspy.vlrs.known import WktCoordinateSystemVlr
    from laspy.vlrs.vlr import VLR

    header = laspy.LasHeader(version="1.4", point_format=7)
    header.scales = np.full(3, 0.001)
    info = struct.pack("<5d2Q2d88x", 0, 0, 0, 32, 1, 0, 0, 0, 0)
    header.vlrs.append(VLR("copc", 1, "", info))
    header.vlrs.append(WktCoordinateSystemVlr(wkt))
    data = laspy.LasData(header)
    data.x, data.y, data.z = POINTS.T
    data.write(str(path))
    assert path.read_bytes()[377:381] == b"copc"
    return path
