"""Small frozen values with slots, as dataclasses make them, but without compiling code for each.

Everything that is loaded before the first worker starts uses these: `dataclasses` takes half a
millisecond a class. Defaults, equality, hash, patterns and repr() work in the same way.
"""

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, dataclass_transform

T = TypeVar("T")
R = TypeVar("R", bound="Record")


class Declared:
    """What a field is declared with: its default, and more that is to be known of the field."""

    __slots__ = ("about", "default")

    def __init__(self, default: object, about: object) -> None:
        """Both are borrowed."""
        self.default = default
        self.about = about


def _annotated_in(body: dict[str, Any]) -> tuple[str, ...]:
    """The names that a class body annotates, in their order."""
    if "__annotations__" in body:
        return tuple(body["__annotations__"])
    # From Python 3.14 on there is a function that gives them; 1 asks for values.
    annotate = body.get("__annotate_func__")
    return tuple(annotate(1)) if annotate else ()


@dataclass_transform(frozen_default=True)
class _RecordType(type):
    """Turns what is annotated in a class body into slots, behind those of the class it extends."""

    __match_args__: tuple[str, ...]
    _defaults: dict[str, Any]
    _about: dict[str, Any]
    # Sets each field, in their order.
    _setters: tuple[Callable[[object, object], None], ...]

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> "_RecordType":
        defaults: dict[str, Any] = {}
        about: dict[str, Any] = {}
        names: tuple[str, ...] = ()
        for base in bases:
            names += getattr(base, "__match_args__", ())
            defaults |= getattr(base, "_defaults", {})
            about |= getattr(base, "_about", {})
        own = _annotated_in(body)
        for field in own:
            # A slot and a value in the class cannot have the same name.
            if field in body:
                value = body.pop(field)
                if isinstance(value, Declared):
                    about[field] = value.about
                    value = value.default
                defaults[field] = value
        body |= {"__slots__": own, "_defaults": defaults, "_about": about}
        body["__match_args__"] = names + own
        made = super().__new__(cls, name, bases, body)
        made._setters = tuple([getattr(made, field).__set__ for field in made.__match_args__])
        return made


class Record(metaclass=_RecordType):
    """A value whose fields are what its class body annotates; nobody can change it."""

    def __init__(self, *values: Any, **named: Any) -> None:
        """Takes the fields in order or by name; those with a default may be left out."""
        kind = type(self)
        given = len(values)
        # Not strict: the rest has names or defaults.
        for set_field, value in zip(kind._setters, values, strict=False):
            set_field(self, value)
        if given == len(kind._setters) and not named:
            return
        names, defaults = kind.__match_args__, kind._defaults
        if given > len(names):
            raise TypeError(f"{kind.__name__} has {len(names)} fields, not {given}")
        for name, set_field in zip(names[given:], kind._setters[given:], strict=True):
            if name in named:
                set_field(self, named.pop(name))
            elif name in defaults:
                set_field(self, defaults[name])
            else:
                raise TypeError(f"{kind.__name__} wants {name}")
        if named:
            raise TypeError(f"{kind.__name__} has no room for {', '.join(named)}")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return _values(self) == _values(other)

    def __hash__(self) -> int:
        return hash(_values(self))

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in type(self).__match_args__)
        return f"{type(self).__qualname__}({', '.join(shown)})"


def declared(default: T, about: object) -> T:
    """Declares a field in a class body with its default, and something to be known of it."""
    made: Any = Declared(default, about)
    # Type checkers see the default, as with dataclasses.field().
    shown: T = made
    return shown


def replace(made: R, **changes: Any) -> R:
    """The same value with other fields."""
    return type(made)(**{name: getattr(made, name) for name in type(made).__match_args__} | changes)


def defaults_of(kind: type[Record]) -> dict[str, Any]:
    """The defaults of those fields that have one, by name."""
    return kind._defaults


def about(kind: type[Record]) -> dict[str, Any]:
    """What is to be known of fields, by name."""
    return kind._about


def _values(record: Record) -> tuple[Any, ...]:
    return tuple([getattr(record, name) for name in type(record).__match_args__])
