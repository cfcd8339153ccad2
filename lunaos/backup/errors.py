"""Why a backup was not made, or not restored; in each case nothing has changed."""


class BackupError(Exception):
    """Said in words for whoever typed the command."""


class BackupDamaged(BackupError):
    """It is not what was written."""
