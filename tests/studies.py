"""Small real studies: CT images as a scanner would write them, each with pixels of its own."""

import itertools
import secrets
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

_numbers = itertools.count(1)


def make_study(
    folder: Path, instances: int = 3, rows: int = 16, columns: int = 16, *, study: str = "", **elements: object
) -> list[Path]:
    """Write a small CT study to `folder`, one file for each image; `elements` are set on every image by keyword."""
    folder.mkdir(parents=True, exist_ok=True)
    study = study or fresh_uid()
    series = fresh_uid()
    return [
        make_ct(
            folder / f"image{number}.dcm", rows, columns,
            StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=number, **elements,
        )
        for number in range(1, instances + 1)
    ]  # fmt: skip


def make_ct(path: Path, rows: int = 16, columns: int = 16, **elements: object) -> Path:
    """Write one CT image with pixels of its own to `path`."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    given = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": fresh_uid(), "StudyInstanceUID": fresh_uid(),
        "SeriesInstanceUID": fresh_uid(), "PatientName": "Doe^Jane", "PatientID": "4711",
        "PatientBirthDate": "19700101", "StudyDate": "20240115", "StudyDescription": "CT Chest", "Modality": "CT",
        "SeriesDescription": "axial", "SeriesNumber": 1, "InstanceNumber": 1, "InstitutionName": "St Elsewhere",
        **elements,
    }  # fmt: skip
    for keyword, value in given.items():
        setattr(ds, keyword, value)
    meta.MediaStorageSOPInstanceUID = given["SOPInstanceUID"]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    if "PixelData" not in given:
        ds.PixelData = np.random.default_rng(next(_numbers)).integers(0, 4096, rows * columns, np.uint16).tobytes()
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    return path


def fresh_uid() -> str:
    """A UID that nothing else here has (PS3.5 §B.2)."""
    return f"2.25.{secrets.randbits(120)}"
