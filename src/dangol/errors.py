"""Every error dangol raises on purpose, with its exit code and HTTP status.

    DangolError
    ├── UsageError           the request cannot be understood          exit 2, HTTP 400
    │   ├── BadRule          the cleanse file cannot be run             exit 2, HTTP 400
    │   └── BadFile          an input file cannot be read               exit 2, HTTP 400
    ├── NotFound             the named thing does not exist             exit 1, HTTP 404
    │   └── UnknownCustomer  no customer has this id                    exit 1, HTTP 404
    ├── TooLarge             a request is over a stated limit           exit 1, HTTP 413
    ├── Busy                 the engine asks the sender to slow down    exit 1, HTTP 429
    ├── FolderInUse          another writer holds the data folder       exit 1, HTTP 409
    ├── FolderTooNew         a newer version wrote the data folder      exit 1, HTTP 409
    ├── FolderDamaged        committed data cannot be read back         exit 1, HTTP 500
    ├── StoreFailed          the disk refused a commit                  exit 1, HTTP 503
    ├── FetchFailed          a download did not finish                  exit 1, HTTP 502
    └── FitRefused           a model failed its own checks              exit 1, HTTP 422

A message is one line: what happened, to what, and what to do next. Where the next step depends on how
dangol is called (UnknownCustomer), the message leaves it out and each face adds its own.
"""

__all__ = [
    "BadFile",
    "BadRule",
    "Busy",
    "DangolError",
    "FetchFailed",
    "FitRefused",
    "FolderDamaged",
    "FolderInUse",
    "FolderTooNew",
    "NotFound",
    "StoreFailed",
    "TooLarge",
    "UnknownCustomer",
    "UsageError",
]


class DangolError(Exception):
    """The root of every error raised on purpose."""

    exit_code = 1
    http_status = 500


class UsageError(DangolError):
    """The request cannot be understood as it stands."""

    exit_code = 2
    http_status = 400


class BadRule(UsageError):
    """The cleanse file is not valid, or uses what Stream Analytics or the embedded engine cannot run."""


class BadFile(UsageError):
    """An input file is missing, of an unknown kind, damaged, or lacks a column."""


class NotFound(DangolError):
    """The customer, model or other named thing does not exist."""

    http_status = 404


class UnknownCustomer(NotFound):
    """No customer has this id, or it was erased."""


class TooLarge(DangolError):
    """A request is larger than the limit that the message states."""

    http_status = 413


class Busy(DangolError):
    """The engine has as much waiting as it may hold; send again after `retry_after` seconds."""

    http_status = 429

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class FolderInUse(DangolError):
    """Another process writes to the data folder."""

    http_status = 409


class FolderTooNew(DangolError):
    """The data folder was written by a newer version."""

    http_status = 409


class FolderDamaged(DangolError):
    """Committed data is missing or does not read back as it was written."""


class StoreFailed(DangolError):
    """A commit could not be made durable; nothing of it was acknowledged."""

    http_status = 503


class FetchFailed(DangolError):
    """A download did not finish."""

    http_status = 502


class FitRefused(DangolError):
    """A fitted model failed its own checks and was not saved."""

    http_status = 422
