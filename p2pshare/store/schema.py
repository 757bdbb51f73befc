"""The database's tables, as numbered migrations: what a vault knows, in one place.

Rule 1: a migration that was released is never edited; a change is a new one at the end.
Rule 2: times are seconds since 1970; ids are blobs; text from outside is stored as decoded, unsanitised.
Rule 3: only numbers, ids and text that a person sees are here; images are in packs.
"""

from typing import Final

_FIRST: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- which process sends and receives: every engine write checks the term
CREATE TABLE engine (
    one INTEGER PRIMARY KEY CHECK (one = 1), term INTEGER NOT NULL, pid INTEGER NOT NULL,
    address TEXT NOT NULL, since INTEGER NOT NULL
) STRICT;
INSERT INTO engine VALUES (1, 0, 0, '', 0);

-- scans
CREATE TABLE study (
    study INTEGER PRIMARY KEY, study_uid TEXT NOT NULL UNIQUE, scan BLOB NOT NULL UNIQUE,
    patient_name TEXT NOT NULL, patient_id TEXT NOT NULL, birth_date TEXT NOT NULL, sex TEXT NOT NULL,
    study_date TEXT NOT NULL, study_time TEXT NOT NULL, description TEXT NOT NULL, accession TEXT NOT NULL,
    institution TEXT NOT NULL, modalities TEXT NOT NULL, body_parts TEXT NOT NULL,
    series INTEGER NOT NULL, instances INTEGER NOT NULL, bytes INTEGER NOT NULL, conflicts INTEGER NOT NULL,
    patients INTEGER NOT NULL, added INTEGER NOT NULL
) STRICT;
CREATE INDEX study_by_date ON study (study_date DESC, study);
CREATE TABLE series (
    series INTEGER PRIMARY KEY, study INTEGER NOT NULL REFERENCES study ON DELETE CASCADE,
    series_uid TEXT NOT NULL, modality TEXT NOT NULL, description TEXT NOT NULL, number INTEGER,
    body_part TEXT NOT NULL, UNIQUE (study, series_uid)
) STRICT;
CREATE VIRTUAL TABLE study_text USING fts5 (
    text, tokenize = "unicode61 remove_diacritics 2", prefix = '2 3'
);
INSERT INTO study_text (study_text, rank) VALUES ('secure-delete', 1);

-- what is stored
CREATE TABLE pack (
    pack INTEGER PRIMARY KEY, pack_id BLOB NOT NULL UNIQUE, generation INTEGER NOT NULL, scope INTEGER NOT NULL,
    size INTEGER NOT NULL, study_uid TEXT, share BLOB
) STRICT;
CREATE INDEX pack_by_study ON pack (study_uid);
CREATE INDEX pack_by_share ON pack (share);
CREATE TABLE object (
    object INTEGER PRIMARY KEY, object_id BLOB NOT NULL UNIQUE, commitment BLOB NOT NULL, key BLOB,
    size INTEGER NOT NULL, sha256 BLOB, kind TEXT NOT NULL
) STRICT;
CREATE INDEX object_by_sha256 ON object (sha256);
CREATE TABLE chunk (
    object INTEGER NOT NULL REFERENCES object ON DELETE CASCADE, number INTEGER NOT NULL,
    pack INTEGER NOT NULL REFERENCES pack ON DELETE CASCADE, offset INTEGER NOT NULL, length INTEGER NOT NULL,
    digest BLOB NOT NULL, PRIMARY KEY (object, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX chunk_by_pack ON chunk (pack);
CREATE TABLE instance (
    instance INTEGER PRIMARY KEY, study INTEGER NOT NULL REFERENCES study ON DELETE CASCADE,
    series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
    object INTEGER NOT NULL UNIQUE REFERENCES object ON DELETE CASCADE,
    sop_uid TEXT NOT NULL, sop_class TEXT NOT NULL, transfer_syntax TEXT NOT NULL, number INTEGER,
    frames INTEGER NOT NULL, rows INTEGER NOT NULL, columns INTEGER NOT NULL, patient TEXT NOT NULL,
    conflict INTEGER NOT NULL, warnings TEXT NOT NULL, file_name TEXT NOT NULL,
    share BLOB -- the share that brought it; NULL for what was imported here
) STRICT;
CREATE INDEX instance_by_share ON instance (share);
CREATE INDEX instance_by_sop ON instance (sop_uid);
CREATE INDEX instance_by_study ON instance (study, series, number);
-- files that need not be read again while all five fields are as they were
CREATE TABLE seen_file (
    file_system TEXT NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, object INTEGER NOT NULL REFERENCES object ON DELETE CASCADE,
    PRIMARY KEY (file_system, inode)
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_file_by_object ON seen_file (object);
-- pack files whose removal was decided but may not have been finished
CREATE TABLE doomed_pack (pack_id BLOB PRIMARY KEY, why TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- people
CREATE TABLE person (
    person BLOB PRIMARY KEY, public BLOB NOT NULL, name TEXT NOT NULL, card BLOB NOT NULL,
    card_number INTEGER NOT NULL, words TEXT NOT NULL, verified INTEGER, blocked INTEGER, address TEXT,
    added INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE device (
    device BLOB PRIMARY KEY, person BLOB NOT NULL REFERENCES person ON DELETE CASCADE, public BLOB NOT NULL,
    prekey BLOB NOT NULL, prekey_number INTEGER NOT NULL, knock BLOB NOT NULL, addresses TEXT NOT NULL,
    last_seen INTEGER, trouble TEXT NOT NULL, next_try INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX device_by_person ON device (person);
CREATE TABLE prekey (
    number INTEGER PRIMARY KEY, prekey BLOB NOT NULL, secret BLOB NOT NULL, created INTEGER NOT NULL,
    superseded INTEGER
) STRICT;

-- feeds: what I wrote to whom, what others wrote to me, and what each acknowledged
CREATE TABLE feed_out (person BLOB PRIMARY KEY, epoch BLOB NOT NULL, number INTEGER NOT NULL, hash BLOB NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE TABLE letter_out (
    person BLOB NOT NULL, epoch BLOB NOT NULL, number INTEGER NOT NULL, hash BLOB NOT NULL, kind TEXT NOT NULL,
    share BLOB, letter BLOB NOT NULL, written INTEGER NOT NULL, refused TEXT, PRIMARY KEY (person, epoch, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE feed_ack (
    device BLOB NOT NULL, epoch BLOB NOT NULL, number INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (device, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE feed_in (
    device BLOB NOT NULL, epoch BLOB NOT NULL, number INTEGER NOT NULL, hash BLOB NOT NULL, started INTEGER NOT NULL,
    forked INTEGER NOT NULL, PRIMARY KEY (device, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE letter_in (
    device BLOB NOT NULL, epoch BLOB NOT NULL, number INTEGER NOT NULL, hash BLOB NOT NULL, letter BLOB NOT NULL,
    received INTEGER NOT NULL, refused TEXT, PRIMARY KEY (device, epoch, number, hash)
) STRICT, WITHOUT ROWID;
CREATE TABLE receipt_in (
    device BLOB PRIMARY KEY, counter INTEGER NOT NULL, receipt BLOB NOT NULL, received INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE receipt_out (device BLOB PRIMARY KEY, counter INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- shares, both ways
CREATE TABLE share (
    share BLOB NOT NULL, direction TEXT NOT NULL, person BLOB NOT NULL, device BLOB, state TEXT NOT NULL,
    why TEXT NOT NULL, question TEXT NOT NULL, scans BLOB NOT NULL, letter BLOB NOT NULL, layout BLOB NOT NULL,
    keyring BLOB NOT NULL, base BLOB, objects INTEGER NOT NULL, chunks_total INTEGER NOT NULL,
    chunks_done INTEGER NOT NULL, stored_bytes INTEGER NOT NULL, wire_bytes INTEGER NOT NULL, expires INTEGER,
    created INTEGER NOT NULL, changed INTEGER NOT NULL, receipt BLOB, PRIMARY KEY (share, direction)
) STRICT, WITHOUT ROWID;
CREATE INDEX share_by_person ON share (person, direction, state);
CREATE TABLE share_object (
    share BLOB NOT NULL, direction TEXT NOT NULL, object_id BLOB NOT NULL, scan INTEGER NOT NULL,
    PRIMARY KEY (share, direction, object_id),
    FOREIGN KEY (share, direction) REFERENCES share ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX share_object_by_object ON share_object (object_id);

-- the log that a person can read; each entry's hash covers the one before
CREATE TABLE log (
    number INTEGER PRIMARY KEY, time INTEGER NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL,
    hash BLOB NOT NULL, signature BLOB
) STRICT;
"""

MIGRATIONS: Final[tuple[str, ...]] = (_FIRST,)
