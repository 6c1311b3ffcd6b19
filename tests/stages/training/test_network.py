"""The interface that an address belongs to."""

import psutil

from descant.stages.training.network import interface_of


def test_address_is_found_on_its_interface() -> None:
    assert interface_of("127.0.0.1") == "lo"
    for name, addresses in psutil.net_if_addrs().items():
        for found in addresses:
            if found.family.name == "AF_INET":
                assert interface_of(found.address) == name


def test_address_of_another_machine_has_none() -> None:
    assert interface_of("203.0.113.1") is None
