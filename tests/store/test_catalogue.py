"""The catalogue of event types: each is declared once, and only what keeps to its declaration is emitted."""

import pytest

from penstock.store.catalogue import Catalogue, EventType, UndeclaredEvent

CHANGED = EventType(name="shop.order.changed", description="An order has another state.", aggregate="order")


def test_a_type_is_declared_once_and_found_by_its_name():
    catalogue = Catalogue()
    catalogue.declare(CHANGED)
    assert catalogue.of("shop.order.changed") is CHANGED
    with pytest.raises(ValueError, match=r"shop\.order\.changed is declared twice"):
        catalogue.declare(CHANGED)
    with pytest.raises(UndeclaredEvent, match=r"shop\.order\.lost is not declared by any component"):
        catalogue.of("shop.order.lost")


def test_what_is_emitted_keeps_to_its_declaration_once_the_catalogue_is_complete():
    catalogue = Catalogue()
    catalogue.declare(CHANGED)
    catalogue.check("shop.order.lost", "order/1", 1)
    catalogue.complete = True
    catalogue.check("shop.order.changed", "order/1", 1)
    for name, aggregate, version, why in (
        ("shop.order.lost", "order/1", 1, "is not declared by any component"),
        ("shop.order.changed", "basket/1", 1, "is declared for order/… in version 1, and emitted for basket/1"),
        ("shop.order.changed", "order/1", 2, "in version 1, and emitted for order/1 in version 2"),
    ):
        with pytest.raises(UndeclaredEvent) as refused:
            catalogue.check(name, aggregate, version)
        assert why in str(refused.value)


def test_a_payload_of_an_unknown_type_stays_as_it_is():
    catalogue = Catalogue()
    payload = {"state": "paid"}
    assert catalogue.present("shop.order.changed", payload, 7) == payload
    catalogue.declare(CHANGED)
    assert catalogue.present("shop.order.changed", payload, 1) == payload
