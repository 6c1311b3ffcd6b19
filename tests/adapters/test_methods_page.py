from tests.golden.methods_page import PAGE, methods_page


def test_page_of_methods_is_what_the_specs_say() -> None:
    assert PAGE.read_text("utf-8") == methods_page(), "write it anew: make methods"
