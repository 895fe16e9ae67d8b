"""A program of its own: reads the matrix of one h5ad file and writes it to stdout. Run by `safe.read_h5ad`, never imported.

The HDF5 library can loop for ever or take gigabytes on a damaged file (2 of 1000 files with flipped bits did), so it runs apart, under
limits of time and memory. stdout: one line of JSON {"ids": [...], "shape": [rows, columns]}, then the matrix as float32, row by row.

Format: AnnData (anndata.readthedocs.io, "On-disk format"): `X` dense, or a CSR group of data, indices and indptr; row names in the
column of `obs` that its attribute `_index` names.
"""

import json
import sys

BLOCK = 8 * 2**20  # bytes of rows written at once


def limit(seconds: int, megabytes: int) -> None:
    """No more processor time and memory than that from here on, where the system can say so."""
    try:
        import resource
    except ImportError:  # Windows: the parent's clock is the only limit
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (until, until + 1))
    if sys.platform == "linux":
        with open("/proc/self/statm") as sizes:  # noqa: PTH123
            pages = int(sizes.read().split()[0])
        most = pages * resource.getpagesize() + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def texts(column):
    """Texts of an h5 string column, plain or nullable. Raises: ValueError on anything else."""
    if hasattr(column, "keys"):
        column = column["values"]
    if column.ndim != 1:
        raise ValueError("the row names must be one column")
    return [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in column[()].tolist()]


def dense(matrix, rows, columns, numpy):
    step = max(1, BLOCK // (4 * columns))
    if matrix.chunks:
        step = max(step // matrix.chunks[0] * matrix.chunks[0], min(matrix.chunks[0], rows))
    for start in range(0, rows, step):
        yield numpy.asarray(matrix[start : start + step], dtype=numpy.float32)


def sparse(group, rows, columns, numpy):
    ends = group["indptr"][()].astype(numpy.int64)
    indices, data = group["indices"], group["data"]
    good = len(ends) == rows + 1 and ends[0] == 0 and ends[-1] == len(indices) == len(data) and (numpy.diff(ends) >= 0).all()
    if not good or indices.ndim != 1 or data.ndim != 1:
        raise ValueError("indptr, indices and data of X do not fit each other")
    step = max(1, BLOCK // (4 * columns))
    for start in range(0, rows, step):
        bounds = ends[start : start + step + 1]
        block = numpy.zeros((len(bounds) - 1, columns), dtype=numpy.float32)
        where = indices[bounds[0] : bounds[-1]].astype(numpy.int64)
        if len(where) and not 0 <= where.min() <= where.max() < columns:
            raise ValueError("an index of X is beyond its columns")
        block[numpy.repeat(numpy.arange(len(block)), numpy.diff(bounds)), where] = data[bounds[0] : bounds[-1]]
        yield block


def main(path: str, seconds: int, megabytes: int, most_bytes: int) -> None:
    import h5py
    import numpy

    limit(seconds, megabytes)
    with h5py.File(path, "r") as file:
        for name in ("X", "obs"):
            if name not in file:
                raise ValueError(f"it has no {name}; an h5ad file has X and obs")
        obs, matrix = file["obs"], file["X"]
        if not hasattr(obs, "keys"):
            raise ValueError("its obs is a table of an old anndata; open it with a newer anndata and write it again")
        index = obs.attrs.get("_index", "_index")
        ids = texts(obs[index.decode("utf-8") if isinstance(index, bytes) else str(index)])
        is_sparse = hasattr(matrix, "keys")
        kind = matrix.attrs.get("encoding-type", "csr_matrix") if is_sparse else "array"
        if is_sparse and (kind.decode("utf-8") if isinstance(kind, bytes) else kind) != "csr_matrix":
            raise ValueError(f"X is a {kind}; write it again dense or as csr_matrix")
        stored = matrix["data"] if is_sparse else matrix
        shape = [int(size) for size in (matrix.attrs["shape"] if is_sparse else matrix.shape)]
        if len(shape) != 2 or shape[0] != len(ids) or min(shape) < 1:
            raise ValueError(f"X has shape {shape}, obs has {len(ids)} rows")
        if stored.dtype.kind not in "biuf":
            raise ValueError("X must hold numbers")
        if 4 * shape[0] * shape[1] > most_bytes:
            raise ValueError(f"X of shape {shape} is too large for a file of this size")
        out = sys.stdout.buffer
        out.write(json.dumps({"ids": ids, "shape": shape}).encode() + b"\n")
        with numpy.errstate(over="ignore", invalid="ignore"):
            for block in (sparse if is_sparse else dense)(matrix, shape[0], shape[1], numpy):
                out.write(block.tobytes())
        out.flush()


if __name__ == "__main__":
    try:
        main(sys.argv[1], *map(int, sys.argv[2:5]))
    except Exception as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}", file=sys.stderr)
        sys.exit(3)
