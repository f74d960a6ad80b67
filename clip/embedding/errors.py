"""Errors of the batch job.

InvalidInput
├── BadSource       what the job is to read cannot be read, or is not what it was said to be
└── BadSample       one sample cannot be embedded; it goes to the list of rejects and the job goes on
PolylensError
└── Incomplete      some units could not be done, or the check found something wrong
"""

from ...errors import InvalidInput, PolylensError


class BadSource(InvalidInput):
    """The source of a job cannot be read, or is not what it was said to be."""


class BadSample(InvalidInput):
    """One sample cannot be embedded; the message is its reason in the list of rejects."""


class Incomplete(PolylensError):
    """Some units could not be done, or the check of an output found something wrong."""
