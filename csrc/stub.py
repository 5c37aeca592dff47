"""Writes the stub of the core's module, by which type checkers know the functions and constants.

A pointer, array or structure is Any: the interpreter checks these when they are passed. Names, the
number of arguments, numbers and what comes back are checked before anything runs.
"""

import keyword
import re

from pycparser import c_ast, c_parser

_DEFINE = re.compile(r"^#\s*define\s+(\w+)\s+\S+[ \t]*$", re.M)
_LINE_DIRECTIVE = re.compile(r"^#[^\n]*$", re.M)
_STANDARD_TYPE = re.compile(r"\b\w+_t\b")
_HEAD = '''\
"""The module of the C core, for type checkers: csrc/stub.py makes it from the interface headers."""

from typing import Any, Final

class Lib:
'''
_TAIL = """
ffi: Any
lib: Lib
"""
_FLOATS = {"float", "double"}


def stub_text(cdef_text: str) -> str:
    """The whole stub for declarations in cffi's grammar (csrc/cdef.py)."""
    constants = _DEFINE.findall(cdef_text)
    declarations = _LINE_DIRECTIVE.sub("", cdef_text).replace("...;", "")
    typedefs: dict[str, c_ast.Node] = {}
    functions: list[str] = []
    for node in c_parser.CParser().parse(_standard_types(declarations) + declarations).ext:
        if isinstance(node, c_ast.Typedef):
            typedefs[node.name] = node.type
        elif isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.FuncDecl):
            functions.append(_method(node.name, node.type, typedefs))
        constants += _enumerators(node)
    lines = [*(f"    {name}: Final[int]" for name in constants), *functions]
    return _HEAD + "\n".join(lines or ["    pass"]) + "\n" + _TAIL


def _standard_types(declarations: str) -> str:
    """Stands for the headers of C, whose types cffi knows."""
    names = sorted(set(_STANDARD_TYPE.findall(declarations)))
    own = set(re.findall(r"\btypedef\b[^;]*\b(\w+)\s*;", declarations))
    return "typedef _Bool bool;" + "".join(f"typedef long {n};" for n in names if n not in own)


def _enumerators(node: c_ast.Node) -> list[str]:
    """The constants of every enum in a declaration."""
    found: list[str] = []
    if isinstance(node, c_ast.Enumerator):
        found.append(node.name)
    for _, child in node.children():
        found += _enumerators(child)
    return found


def _method(name: str, function: c_ast.FuncDecl, typedefs: dict[str, c_ast.Node]) -> str:
    words = ["_lib"]
    for number, parameter in enumerate(function.args.params if function.args else []):
        if isinstance(parameter, c_ast.EllipsisParam):
            words.append("/, *rest: Any")
            break
        kind = _python_type(parameter.type, typedefs)
        if kind == "None":
            # The one word (void).
            continue
        label = parameter.name or f"argument_{number}"
        label = f"{label}_" if keyword.iskeyword(label) else label
        # 0 and 1 are truth values to C.
        words.append(f"{label}: {'int' if kind == 'bool' else kind}")
    if not words[-1].startswith("/"):
        words.append("/")
    return f"    def {name}({', '.join(words)}) -> {_python_type(function.type, typedefs)}: ..."


def _python_type(node: c_ast.Node, typedefs: dict[str, c_ast.Node]) -> str:
    """What a value of the C type is in Python."""
    if not isinstance(node, c_ast.TypeDecl):
        return "Any"
    if isinstance(node.type, c_ast.Enum):
        return "int"
    if not isinstance(node.type, c_ast.IdentifierType):
        return "Any"
    names = node.type.names
    if names[0] in typedefs and names != ["bool"]:
        return _python_type(typedefs[names[0]], typedefs)
    if names in (["bool"], ["_Bool"]):
        return "bool"
    if names == ["void"]:
        return "None"
    if names == ["char"]:
        return "bytes"
    return "float" if _FLOATS & set(names) else "int"
