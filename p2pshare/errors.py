"""The one tree of errors; a class docstring is the sentence that a person reads.

Rule 1: the docstring says what happened, whether the data is safe, and what to do.
Rule 2: errors about our own side (`LocalError`) and errors about what others sent (`RemoteError`) differ in type.
Rule 3: library errors are translated where the library is called; nothing else leaves this tree.
Rule 4: "not for me" and "broken" are different errors.
"""

from typing import ClassVar


class P2PShareError(Exception):
    """Something went wrong. Your vault is as it was."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str = "") -> None:
        """Keep `what`, the particular fact (already free of secrets), for the sentence."""
        super().__init__(what)
        self.what = what

    @property
    def code(self) -> str:
        """The class name in kebab case: the stable word that programs match on."""
        name = type(self).__name__
        return "".join(f"-{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))

    @property
    def advice(self) -> str:
        """The class's sentence, on one line."""
        return " ".join((type(self).__doc__ or "").split())

    def __str__(self) -> str:
        return f"{self.what}: {self.advice}" if self.what else self.advice


# --- our own side -----------------------------------------------------------------------------------------


class LocalError(P2PShareError):
    """This computer could not do it. Your vault is as it was."""


class UsageError(LocalError):
    """The command was not understood. Nothing was changed. Add --help to see how it is used."""

    exit_code = 2


class Locked(LocalError):
    """The vault did not open with what was given. Nothing was changed; try again, or use your recovery sheet."""

    exit_code = 3


class NoVault(LocalError):
    """There is no vault here. Nothing was changed. Make one with `p2pshare setup`, or check --vault."""

    exit_code = 4


class NotFound(LocalError):
    """There is nothing by that name in this vault. Nothing was changed. List what there is with `ls`."""

    exit_code = 4


class Ambiguous(LocalError):
    """More than one thing begins like that. Nothing was changed. Give more of the ID."""

    exit_code = 2


class AlreadyExists(LocalError):
    """It is there already, and was not touched. Choose another place or name."""


class Damaged(LocalError):
    """Stored data is not what was written. Undamaged scans can still be read; run `p2pshare check --read-data`."""

    exit_code = 5


class DamagedVault(Damaged):
    """A key file of the vault is damaged. Do not delete anything; restore that file from a copy of the vault."""


class DamagedDatabase(Damaged):
    """The vault's database is damaged. The images in the packs are not touched; keep the folder as it is."""


class DamagedPack(Damaged):
    """A pack file is damaged or missing. Other scans can be read; whoever sent or received this scan may hold it."""


class VaultBusy(LocalError):
    """Another p2pshare is using the vault for this. Nothing was changed. Try again when it has finished."""


class EngineTaken(LocalError):
    """Another p2pshare already sends and receives for this vault. Nothing was changed; that one goes on working."""


class DiskTrouble(LocalError):
    """The disk refused. What was stored before is safe; nothing was half-kept. Check the space and the disk."""


class MediumTrouble(DiskTrouble):
    """The disc or folder it is on could not be read. It was not stored; what was stored before is safe."""


class WorkersFailed(LocalError):
    """The sandboxed readers could not be started. Nothing was stored. Run `p2pshare check`, then try again."""


class Unreachable(LocalError):
    """It is queued, and nothing is lost. It goes on as soon as the other computer answers."""

    exit_code = 6


class CannotListen(LocalError):
    """This computer does not let p2pshare listen there. Nothing is lost; choose another address or port."""


class PolicyRefusal(LocalError):
    """A safety rule says no. Nothing was sent or changed."""

    exit_code = 8


class NotVerified(PolicyRefusal):
    """This person is not verified, so nothing was sent. Compare the eight words, then `p2pshare person verify`."""


class PersonBlocked(PolicyRefusal):
    """This person is blocked, so nothing was sent."""


class KeyChanged(PolicyRefusal):
    """The card has another key than the one known for this person. Nothing was changed; verify them anew."""


class WordsDiffer(PolicyRefusal):
    """The words are not the same on both sides. The person stays unverified; get the card anew, from the person."""


class NeedsInput(LocalError):
    """An answer is needed and there is nobody to ask. Nothing was changed. Give it as an option; see --help."""

    exit_code = 9


class NotConfirmed(NeedsInput):
    """What was typed is not what was asked for, so nothing was changed. Run it again to go on; --yes does not ask."""


class Interrupted(LocalError):
    """It was interrupted. What was stored is safe; the same command goes on where it stopped."""

    exit_code = 130


class Fault(LocalError):
    """This is a fault in p2pshare itself. What was stored is safe. Please report it; -v shows where it happened."""


# --- what others sent -------------------------------------------------------------------------------------


class RemoteError(P2PShareError):
    """What came from outside was refused. Nothing of it was kept; your vault is as it was."""


class Malformed(RemoteError):
    """It does not have the form that was agreed on. Nothing of it was kept; ask for it again."""

    exit_code = 5


class TooLarge(RemoteError):
    """It claims to be larger than p2pshare accepts. Nothing of it was kept."""

    exit_code = 5


class Unsupported(RemoteError):
    """It is of a version that this p2pshare does not know. Nothing of it was kept; update p2pshare on both sides."""


class Forged(RemoteError):
    """A signature or seal does not fit. Nothing of it was kept; the sender may not be who they seem."""

    exit_code = 5


class NotForMe(RemoteError):
    """It is sealed to somebody else. Nothing of it was kept."""


class Replayed(RemoteError):
    """It was sent before, or is older than what is known. Nothing was changed."""


class Forked(RemoteError):
    """The other computer contradicts what it said before. Both versions are kept and shown."""

    exit_code = 5


class ProtocolViolation(RemoteError):
    """The other computer broke the rules of the exchange. The connection was closed; what was stored is safe."""


class WrongChunk(RemoteError):
    """A piece of data is not the one that was promised. It was thrown away and is asked for again."""

    exit_code = 5


class ShareCorrupt(RemoteError):
    """What was sent does not open as its sender promised. It was refused; ask the sender to share it anew."""

    exit_code = 5


class StrangerRefused(RemoteError):
    """Somebody who is not in the list of people knocked. They got no answer."""


# --- files that come in -----------------------------------------------------------------------------------


class Unreadable(RemoteError):
    """The file could not be read as DICOM. It was not stored; --keep-unreadable keeps it as it is."""


class NotDicom(Unreadable):
    """It is not a DICOM file. It was not stored; --keep-unreadable keeps it as it is."""


class Truncated(Unreadable):
    """The file ends too early. It was not stored as a scan; copy it from the disc again, or --keep-unreadable."""


class Bomb(Unreadable):
    """It would unpack to far more than it should. It was not unpacked."""


class TooDeep(Unreadable):
    """Its parts are nested deeper than any real file. It was not stored."""


class BadIdentity(Unreadable):
    """It lacks a valid identifier. It was not stored as a scan; --keep-unreadable keeps it as it is."""


class ReaderDied(Unreadable):
    """Reading it ended the sandboxed reader. It was not stored; other files were not affected."""
