"""Columns of arrays as an `.npz` file: a zip with a checksum for each array, and never a pickle."""

import io
import zipfile

import numpy as np


class Pieces(list):
    """What is written to it, one piece after the other, without a copy."""

    def write(self, data):
        self.append(data)
        return memoryview(data).nbytes

    def flush(self):
        pass


def pack(columns: dict) -> Pieces:
    """A zip file of arrays, as `np.savez` would write it."""
    pieces = Pieces()
    with zipfile.ZipFile(pieces, 'w', zipfile.ZIP_STORED) as archive:
        for key, column in columns.items():
            header = io.BytesIO()
            fields = np.lib.format.header_data_from_array_1_0(column)
            np.lib.format.write_array_header_1_0(header, fields)
            with archive.open(f'{key}.npy', 'w', force_zip64=True) as file:
                file.write(header.getvalue())
                file.write(column.reshape(-1).view(np.uint8).data)
    return pieces


def read(path) -> dict:
    """Arrays of a zip file, by key. Every kind of damage is a ValueError or an OSError."""
    columns = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                # The whole member is read first, as this checks it against its checksum.
                data = io.BytesIO(archive.read(member))
                array = np.lib.format.read_array(data, allow_pickle=False)
                columns[member.removesuffix('.npy')] = array
    except OSError:
        raise
    except Exception as e:
        # A damaged zip file raises a dozen kinds of errors, NotImplementedError among them.
        raise ValueError(f'damaged, {describe(e)}') from e
    return columns


def describe(error: Exception) -> str:
    """An error in one line."""
    text = getattr(error, 'strerror', None) or str(error) or type(error).__name__
    return ' '.join(text.split())
