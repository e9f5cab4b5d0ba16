"""Options: read a configs.yaml, stack its blocks and the user's flags, check every value.

A configs.yaml is the only home of an option. Its block `defaults` holds every key; the default
gives the type, the comment behind it what is allowed and what it does:

    lr: 4e-5  # [>0] learning rate

Out comes an elements.Config. A value that does not fit is a ValueError of one line, wherever it
came from. No JAX here.
"""

import dataclasses
import difflib
import pathlib
import re
from typing import Any

import elements
from ruamel.yaml import YAML, YAMLError

COMMENTED = re.compile(r'( *)([\w.]+):(.*?)(?: +# (?:\[(.*?)\](?: |$))?(.*))?')
NUMBER = r'-?[\d.]+(?:e-?\d+)?'
RANGE = re.compile(f'({NUMBER})\\.\\.({NUMBER})')
BOUND = re.compile(f'(>=|<=|>|<)({NUMBER})')
# As on a command line; Python would also take digits of other scripts, blanks and underscores.
NUMERAL = re.compile(r'[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf)', re.ASCII | re.IGNORECASE)
NAMES = {bool: 'True or False', int: 'a whole number', float: 'a number', str: 'a printable text'}
# What NumPy and JAX can hold.
HIGHEST = {int: 2**63 - 1, float: 3.4e38}


@dataclasses.dataclass(frozen=True)
class Option:
    """One key of `defaults`: what it is, which values it takes and what it does."""

    key: str
    default: Any
    allowed: str
    help: str

    def __post_init__(self):
        assert self.convert(self.default) == self.default, self

    @property
    def kind(self) -> type:
        """Type of the value, of its elements for a list."""
        return type(self.default[0] if isinstance(self.default, tuple) else self.default)

    def describe(self) -> str:
        """What is allowed, in words."""
        text = NAMES[self.kind]
        if self.allowed and self.kind is str:
            text = self.allowed
        elif self.allowed:
            text += f' {self.allowed}'
        return f'a list, each {text}' if isinstance(self.default, tuple) else text

    def convert(self, value: Any) -> Any:
        """Value in the option's type; ValueError if it has another or is not allowed."""
        try:
            if isinstance(self.default, tuple):
                return tuple(self._element(x) for x in _elements(value))
            return self._element(value)
        except OverflowError:
            raise ValueError(
                f'{self.key}: got {value!r}, allowed is {self.describe()} of at most '
                f'{HIGHEST[self.kind]:.2g}'
            ) from None
        except (ValueError, TypeError):
            raise ValueError(f'{self.key}: got {value!r}, allowed is {self.describe()}') from None

    def _element(self, value):
        value = _cast(value, self.kind)
        if self.allowed and not _holds(value, self.allowed):
            raise ValueError(value)
        if self.kind in HIGHEST and abs(value) > HIGHEST[self.kind] and value != self.default:
            raise OverflowError(value)
        return value


class Schema:
    """The options and blocks of one configs.yaml."""

    def __init__(self, filename: str | pathlib.Path):
        self.filename = pathlib.Path(filename)
        self.blocks = _read(self.filename)
        named = self.blocks.pop('allowed', {})
        defaults = _flatten(self.blocks.pop('defaults'))
        comments = _comments(self.filename.read_text(), 'defaults')
        self.sections = {k: text for k, (_, text) in comments.items() if k not in defaults}
        self.options = {}
        for key, value in defaults.items():
            allowed, text = comments[key]
            value = tuple(value) if isinstance(value, list) else value
            self.options[key] = Option(key, value, named.get(allowed, allowed), text)

    def resolve(self, blocks: list[str] = (), flags: dict[str, Any] | None = None):
        """Config of the defaults, changed by blocks from left to right and then by flags.

        A block is a name in the file, or the path of a saved config.yaml. Keys with characters
        that no name has are regular expressions for whole keys.
        """
        values = {k: option.default for k, option in self.options.items()}
        for name in blocks:
            changes = self._block(name)
            try:
                values.update(self._changes(changes))
            except ValueError as e:
                raise ValueError(f'{e} (in block {name})') from None
        values.update(self._changes(flags or {}))
        return elements.Config(values)

    def _block(self, name):
        if name in self.blocks:
            return self.blocks[name]
        if name.isprintable() and name.endswith(('.yaml', '.yml')):
            return _read(pathlib.Path(name))
        raise ValueError(
            f'configs: unknown block {name!r}{nearest(name, self.blocks)}, '
            f'allowed are {", ".join(self.blocks)} or the path of a config.yaml'
        )

    def _changes(self, mapping):
        changes = {}
        for name, value in _flatten(mapping).items():
            for key in self.match(name):
                changes[key] = self.options[key].convert(value)
        return changes

    def match(self, name: str) -> list[str]:
        """Keys that a key or regular expression stands for; ValueError if there is none."""
        if name in self.options:
            return [name]
        inside = [k for k in self.options if k.startswith(f'{name}.')]
        if inside:
            raise ValueError(f'{name}: is a section, allowed are {", ".join(inside)}')
        if not elements.Config.IS_PATTERN.match(name):
            raise ValueError(f'{name}: unknown option{nearest(name, [*self.options, "configs"])}')
        try:
            keys = [k for k in self.options if re.fullmatch(name, k)]
        except re.error as e:
            raise ValueError(f'{name}: not a regular expression, {e}') from None
        if not keys:
            raise ValueError(f'{name}: matches no option')
        return keys


def nearest(name: str, names) -> str:
    """The phrase `, did you mean ...?` if something is near; also found by its last part."""
    name, last = name.lower(), {}
    for key in names:
        last.setdefault(key.rsplit('.', 1)[-1], []).append(key)
    found = last.get(name, [])[:3]
    found = found or difflib.get_close_matches(name, names, 1)
    if not found:
        found = difflib.get_close_matches(name.rsplit('.', 1)[-1], last, 1)
        found = [key for part in found for key in last[part][:3]]
    return f', did you mean {" or ".join(found)}?' if found else ''


def save(config: elements.Config, filename: pathlib.Path) -> None:
    """Write as YAML, whole or not at all."""
    yaml = YAML(typ='safe')
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    part = filename.with_name(filename.name + '.part')
    with part.open('w') as f:
        yaml.dump(dict(config), f)
    part.replace(filename)


def load(filename: pathlib.Path) -> dict[str, Any]:
    """Values of a saved config by key, as they stand there, also of another version."""
    values = _flatten(_read(filename))
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def _read(filename):
    try:
        result = YAML(typ='safe').load(filename.expanduser().read_text())
        if isinstance(result, dict):
            _flatten(result)  # Fails if a mapping holds itself.
    except OSError as e:
        raise ValueError(f'{filename}: cannot be read, {e.strerror}') from None
    except RuntimeError as e:
        raise ValueError(f'{filename}: cannot be read, {e}') from None
    except (YAMLError, UnicodeDecodeError) as e:
        raise ValueError(f'{filename}: is not YAML, {e}') from None
    if not isinstance(result, dict):
        raise ValueError(f'{filename}: is not a mapping of keys to values')
    return result


def _flatten(mapping):
    """Nested mappings to dotted keys; the dot before or after a regular expression is escaped."""
    result = {}
    for key, value in mapping.items():
        if not isinstance(value, dict):
            result[str(key)] = value
            continue
        for inner, leaf in _flatten(value).items():
            pattern = any(map(elements.Config.IS_PATTERN.match, (str(key), inner)))
            result[f'{key}\\.{inner}' if pattern else f'{key}.{inner}'] = leaf
    return result


def _comments(text, block):
    """Key to (allowed, explanation) of every line of a block, sections included."""
    result, path, inside = {}, [], False
    for line in text.splitlines():
        match = COMMENTED.fullmatch(line)
        if not match:
            continue
        indent, name, _, allowed, comment = match.groups()
        depth = len(indent) // 2
        inside = name == block if depth == 0 else inside
        if inside and depth:
            path = [*path[: depth - 1], name]
            result['.'.join(path)] = (allowed or '', comment or '')
    return result


def _elements(value):
    if isinstance(value, str):
        value = [value]
    if len(value) == 1 and isinstance(value[0], str):
        value = value[0].split(',')
    if not value:
        raise ValueError(value)
    return value


def _cast(value, kind):
    """Value in another type, if it says the same there: '1e6' is an int, 1.5 and True are not."""
    if kind is bool and isinstance(value, str):
        value = {'true': True, 'false': False}.get(value.lower())
    elif kind in (int, float) and not isinstance(value, bool):
        value = _number(value, kind)
    # Not isinstance, since True is an int as well.
    if type(value) is not kind:
        raise TypeError(value)
    if kind is str and not value.isprintable():
        raise ValueError(value)
    return value


def _number(value, kind):
    if isinstance(value, str):
        if not NUMERAL.fullmatch(value):
            raise ValueError(value)
        # An integer as it stands, also where a float has too few digits.
        value = int(value) if value.lstrip('+-').isdigit() else float(value)
    number = kind(value)
    if number != value:
        raise ValueError(value)  # A fraction, or not a number.
    return number


def _holds(value, allowed):
    if isinstance(value, str):
        return re.fullmatch(allowed, value) is not None
    match = RANGE.fullmatch(allowed)
    if match:
        return float(match[1]) <= value <= float(match[2])
    return all(_bounded(value, *BOUND.fullmatch(part).groups()) for part in allowed.split())


def _bounded(value, sign, bound):
    bound = float(bound)
    return {
        '>=': value >= bound,
        '<=': value <= bound,
        '>': value > bound,
        '<': value < bound,
    }[sign]
