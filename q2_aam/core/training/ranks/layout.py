"""How many ranks a run is to have, and on how many hosts (torch-free)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

DEVICES, HOSTS, MEET_AT = "Q2_AAM_DEVICES", "Q2_AAM_HOSTS", "Q2_AAM_MEET_AT"
MOST = 4096


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
    """

    devices: int | None = None
    hosts: int = 1
    meet_at: str | None = None

    def __post_init__(self):
        for name, n in ((DEVICES, self.devices), (HOSTS, self.hosts)):
            if n is not None and not 1 <= n <= MOST:
                raise ValueError(f"{name} is {n}; give a whole number from 1 to {MOST}.")
        if self.meet_at is not None and not re.fullmatch(r"\S+:\d{1,5}", self.meet_at):
            raise ValueError(
                f"{MEET_AT} is '{self.meet_at}'; give the name or address of the first host and a "
                "free port on it, such as node1:29400."
            )
        if self.hosts > 1 and self.meet_at is None:
            raise ValueError(
                f"{HOSTS} is {self.hosts}, but {MEET_AT} is not set; set it to the name or address "
                "of the first host and a free port on it, such as node1:29400."
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Layout":
        """Read environment variables; one that is empty is as one that is not set.

        Raises
        ------
        ValueError
            If one cannot be used; the message says what to give.
        """
        devices, hosts = (_whole_number(environment, name) for name in (DEVICES, HOSTS))
        return cls(devices, 1 if hosts is None else hosts, environment.get(MEET_AT) or None)


ONE_HOST = Layout()


def _whole_number(environment: Mapping[str, str], name: str) -> int | None:
    given = environment.get(name, "").strip()
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and 1 <= int(given) <= MOST):
        raise ValueError(
            f"{name} is '{given}'; give a whole number from 1 to {MOST}, or unset it."
        )
    return int(given)
