# What vulture takes for unused and is not, each with its reason. Not run by anything.

_.mailbox  # Card: a field of the format, for relays (docs/format.md §7)
wire_bytes  # Desk.sent in model/ports.py: a Protocol's parameter, used by those who implement it

# Handlers of commands: cli/parser.py names them in text, so that each is imported only when it runs.
completion
demo
import_files
ls
recover
change_passphrase
set_person
setup
show
unblock
welcome

_.usage  # argparse.ArgumentParser: printed at the head of the help

_.reading_validation_mode  # pydicom.config: read by pydicom
_._create_connection  # aiohttp.BaseConnector: called by aiohttp
_.num_tickets  # ssl.SSLContext: read by OpenSSL
_.memory_pids  # Workers: who measures memory adds these processes up (tests, bench)
_.rekey  # Database: the last step of a change of generation, which no command begins yet
read_newest  # snapshots: the way back from a lost database, which no command goes yet
