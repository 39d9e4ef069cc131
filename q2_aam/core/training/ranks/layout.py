"""How many ranks a run is to have, and on how many hosts (torch-free)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

DEVICES, HOSTS, MEET_AT = "Q2_AAM_DEVICES", "Q2_AAM_HOSTS", "Q2_AAM_MEET_AT"
WAIT = "Q2_AAM_WAIT"
MOST, LONGEST = 4096, 7 * 24 * 3600


@dataclass(frozen=True)
class Layout:
    """Where the ranks of a run are to be: facts about the machine, which no model depends on.

    Parameters
    ----------
    devices : int, optional
        Ranks on each host: GPUs, or shares of the processor. By default all GPUs that the process
        may see, up to one for each sample of a mini-batch; on a processor, one.
    hosts : int
        How many hosts take part.
    meet_at : str, optional
        ``host:port`` of the first host, where the others find it; needed for several.
    wait : int
        Seconds that hosts wait for each other at most, at the start and in training.
    """

    devices: int | None = None
    hosts: int = 1
    meet_at: str | None = None
    wait: int = 600

    def __post_init__(self):
        limited = (
            (DEVICES, self.devices, MOST),
            (HOSTS, self.hosts, MOST),
            (WAIT, self.wait, LONGEST),
        )
        for name, n, most in limited:
            if n is not None and not 1 <= n <= most:
                raise ValueError(f"{name} is {n}; give a whole number from 1 to {most}.")
        if self.meet_at is not None and not re.fullmatch(r"\S+:\d{1,5}", self.meet_at):
            raise ValueError(
                f"{MEET_AT} is '{self.meet_at}'; give the name or address of the first host and a "
                "free port on it, such as node1:29400."
            )
        if self.hosts > 1 and self.meet_at is None:
            raise ValueError(
                f"{HOSTS} is {self.hosts}, but {MEET_AT} is not set; set it to the name or "
                "address of the first host and a free port on it, such as node1:29400."
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Layout":
        """Read environment variables; one that is empty is as one that is not set.

        Raises
        ------
        ValueError
            If one cannot be used; the message says what to give.
        """
        devices = _whole_number(environment, DEVICES, None)
        hosts = _whole_number(environment, HOSTS, cls.hosts)
        wait = _whole_number(environment, WAIT, cls.wait, LONGEST)
        return cls(devices, hosts, environment.get(MEET_AT, "").strip() or None, wait)


ONE_HOST = Layout()


def _whole_number(environment: Mapping[str, str], name: str, default, most: int = MOST):
    given = environment.get(name, "").strip()
    if not given:
        return default
    if not (given.isascii() and given.isdigit() and 1 <= int(given) <= most):
        raise ValueError(
            f"{name} is '{given}'; give a whole number from 1 to {most}, or unset it."
        )
    return int(given)
