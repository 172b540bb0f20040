"""What a command fails with. ``cli`` alone turns it into a line on stderr and an exit status."""


class Failure(Exception):
    """The command cannot do what it was asked; the message is one line for a person."""

    exit_status = 1


class Refused(Failure):
    """What was asked makes no sense here: for this server, this machine or these files."""


class WrongUsage(Failure):
    """The arguments are understood one by one, but not together."""

    exit_status = 2
