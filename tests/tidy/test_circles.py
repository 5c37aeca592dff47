"""The check of circles between files of a room."""

from scripts import check_circles

A = "// A.\nvoid link_a(void) {\n    link_b();\n}\n"
B = "// B.\nvoid link_b(void) {\n    // link_a() is not called here.\n}\n"
B_BACK = "// B.\nvoid link_b(void) {\n    link_a();\n}\n"
C = "// C.\nvoid space_c(void) {\n    link_a();\n}\n"
ALLOWS = "# Title\n\n## Circles\n- link/a.c, link/b.c: they are one.\n\n## Next\n"


def test_calls_in_one_direction_are_no_circle() -> None:
    assert check_circles.violations({"link/a.c": A, "link/b.c": B}, "") == []


def test_a_circle_is_told_with_its_calls() -> None:
    found = check_circles.violations({"link/a.c": A, "link/b.c": B_BACK}, "")
    assert len(found) == 1
    assert "link/a.c calls link_b of link/b.c" in found[0]
    assert "link/b.c calls link_a of link/a.c" in found[0]


def test_a_longer_circle_is_found_and_every_circle_is_told() -> None:
    texts = {
        "link/a.c": A,
        "link/b.c": "// B.\nvoid link_b(void) {\n    link_c();\n}\n",
        "link/c.c": "// C.\nvoid link_c(void) {\n    link_a();\n}\n",
        "slab/x.c": "// X.\nvoid slab_x(void) {\n    slab_y();\n}\n",
        "slab/y.c": "// Y.\nvoid slab_y(void) {\n    slab_x();\n}\n",
    }
    assert len(check_circles.violations(texts, "")) == 2


def test_rooms_are_the_business_of_the_layers() -> None:
    graph = check_circles.call_graph({"link/a.c": A, "link/b.c": B, "space/c.c": C})
    assert graph["space/c.c"] == {}


def test_parts_of_a_room_are_one_room() -> None:
    texts = {"proto/text/a.c": A, "proto/b.c": B_BACK}
    assert len(check_circles.violations(texts, "")) == 1


def test_functions_of_a_file_alone_are_nobody_elses() -> None:
    own = "// B.\nstatic void link_b(void) {\n    link_a();\n}\n" + "void link_d(void) {\n}\n"
    assert check_circles.violations({"link/a.c": A, "link/b.c": own}, "") == []


def test_what_the_readme_allows_is_allowed_until_it_is_no_circle_any_more() -> None:
    assert check_circles.violations({"link/a.c": A, "link/b.c": B_BACK}, ALLOWS) == []
    gone = check_circles.violations({"link/a.c": A, "link/b.c": B}, ALLOWS)
    assert gone == ["csrc/README.md:1: link/a.c, link/b.c are no circle any more: remove the line"]
