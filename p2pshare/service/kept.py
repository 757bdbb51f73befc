"""Files kept as they are: what could not be read as DICOM but must not be lost."""

from p2pshare.model.dicom import DicomRecord
from p2pshare.model.ids import Uid
from p2pshare.store.studies import KEPT_FILES


def kept_record(why: str) -> DicomRecord:
    """The record under which a kept file is filed: one scan of its own, never a UID."""
    return DicomRecord(
        study_uid=Uid(KEPT_FILES), series_uid=Uid(KEPT_FILES), sop_uid=Uid(""), sop_class="", transfer_syntax="",
        patient_name="", patient_id="", birth_date="", sex="", study_date="", study_time="",
        study_description="Files kept as they are", accession="", institution="", modality="",
        series_description="", series_number=None, body_part="", instance_number=None, frames=0, rows=0, columns=0,
        bits_allocated=0, encapsulated=False, warnings=(why,) if why else (),
    )  # fmt: skip
