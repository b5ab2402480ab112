"""What tidy.py needs to know of C++ text: code without comments, function sizes, coroutines.

Not a parser: it relies on the project's formatting (clang-format, no macros that open braces).
"""
import re

_RAW_STRING = re.compile(r'R"([^()\\ ]{0,16})\(')
_CONTROL = {"if", "for", "while", "switch", "catch", "return", "sizeof", "alignof", "decltype"}


def _blanks(text):
    return re.sub(r"[^\n]", " ", text)


def _end_of_quoted(text, start, quote):
    """The position after the closing `quote` of the literal that opens at `start`."""
    position = start + 1
    while position < len(text) and text[position] not in (quote, "\n"):
        position += 2 if text[position] == "\\" else 1
    return min(position + 1, len(text))


def blank(text):
    """`text` with comments and the insides of literals as blanks; line breaks and columns stay."""
    out, position = [], 0
    while position < len(text):
        two = text[position : position + 2]
        raw = _RAW_STRING.match(text, position)
        if two == "//":
            end = text.find("\n", position)
            end = len(text) if end < 0 else end
            out.append(_blanks(text[position:end]))
        elif two == "/*":
            end = text.find("*/", position + 2)
            end = len(text) if end < 0 else end + 2
            out.append(_blanks(text[position:end]))
        elif raw:
            close = f'){raw[1]}"'
            end = text.find(close, raw.end())
            end = len(text) if end < 0 else end + len(close)
            out.append('""' + _blanks(text[position + 2 : end]))
        elif text[position] == '"':
            end = _end_of_quoted(text, position, '"')
            out.append('"' + _blanks(text[position + 1 : end - 1]) + '"')
        elif text[position] == "'" and not (position and text[position - 1].isalnum()):
            # After a letter or digit it separates the digits of a number.
            end = _end_of_quoted(text, position, "'")
            out.append("'" + _blanks(text[position + 1 : end - 1]) + "'")
        else:
            end = position + 1
            out.append(text[position])
        position = end
    return "".join(out)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def matching(code, start):
    """The position after the bracket that closes the one at `start`."""
    pairs = {"(": ")", "{": "}", "[": "]"}
    opening, closing = code[start], pairs[code[start]]
    depth = 0
    for position in range(start, len(code)):
        if code[position] == opening:
            depth += 1
        elif code[position] == closing:
            depth -= 1
            if depth == 0:
                return position + 1
    return len(code)


def _function_name(header):
    """The name a brace after `header` would define, or None if it opens no function."""
    if "(" not in header:
        return None
    flat = re.sub(r"\btemplate\s*<[^{}]*?>(?=\s*(?:requires|\w|\[))", " ", header)
    test = re.search(r"\b(?:TEST|TEST_F|TEST_P|TYPED_TEST)\s*\(\s*(\w+)\s*,\s*(\w+)", flat)
    if test:
        return f"{test[1]}.{test[2]}"
    if re.match(r"\s*(class|struct|union|enum)\b[\w\s:<>,]*?(\bfinal\b\s*)?(:(?!:)|$)", flat):
        return None
    name = re.search(r"([~\w:]+|operator\s*[^\w\s(]+|operator\s*\(\))\s*\(", flat)
    if name is None or name[1].split("::")[-1] in _CONTROL:
        return None
    if re.search(r"(^|[^=!<>])=\s*$", flat) or re.search(
        r"\b(class|struct|union|enum|namespace)\s+\w+\s*$", flat
    ):
        return None
    return name[1]


def functions(code):
    """(name, first line, last line) of each function body in blanked `code`.

    Lambdas count with the function they stand in.
    """
    found = []
    header_start, position = 0, 0
    while position < len(code):
        char = code[position]
        if char in ";}":
            header_start = position + 1
        elif char == "#" and code[:position].rpartition("\n")[2].strip() == "":
            end = code.find("\n", position)
            while end > 0 and code[end - 1] == "\\":
                end = code.find("\n", end + 1)
            position = header_start = len(code) if end < 0 else end
        elif char == "(":
            position = matching(code, position) - 1
        elif char == "{":
            header = code[header_start:position]
            in_initialisers = re.search(r"\)\s*(noexcept\s*)?:[^:]", header) and re.search(
                r"[\w>]$", header
            )
            name = None if in_initialisers else _function_name(header)
            if in_initialisers:
                position = matching(code, position) - 1
            elif name:
                end = matching(code, position)
                first = line_of(code, header_start + len(header) - len(header.lstrip()))
                found.append((name, first, line_of(code, end - 1)))
                position, header_start = end - 1, end
            else:
                header_start = position + 1
        position += 1
    return found


def _statements(code):
    """(position, text) of the pieces between semicolons and braces."""
    start = 0
    for mark in re.finditer(r"[;{}]", code):
        yield start, code[start : mark.start()]
        start = mark.end()
    yield start, code[start:]


def _lambdas(code):
    """(position, text from introducer to the end of the body) of each lambda."""
    for intro in re.finditer(r"(?<![\w\])\[])\s*(\[)(?!\[)", code):
        start = intro.start(1)
        if (
            re.search(r"\b(delete|return)\s*$", code[:start])
            and code[start + 1] == "]"
            and "delete" in code[max(0, start - 8) : start]
        ):
            continue
        after = matching(code, start)
        rest = re.match(r"\s*", code[after:]).end() + after
        if code[rest : rest + 1] == "(":
            rest = matching(code, rest)
        tail = re.match(r"[\s\w:<>,&*\-\x00]*", code[rest:]).end() + rest
        if code[tail : tail + 1] == "{":
            yield start, code[start : matching(code, tail)]


_AWAIT_RULES = (
    (
        re.compile(r"\b[A-Z][A-Z0-9_]{3,}\s*\([^;{}]*\bco_await\b"),
        "co_await inside a macro's arguments: put its result into a named local first",
    ),
    (
        re.compile(r"(?:[\w>]|=\s?|\(\s*|,\s*|\breturn\s?)\{[^;{}]*\bco_await\b"),
        "co_await inside braces: put its result into a named local first",
    ),
    # io::WaitLimit is plain pointers and numbers: nothing in it is destroyed, which goes wrong.
    (
        re.compile(
            r"\bco_await\b(?![^;{}]*Wait\w*\(\s*(?:io::)?(?:WaitLimit)?\{)"
            r"[^;{}]*[(,]\s*[\w:]*\{\s*\."
        ),
        "an aggregate temporary as a coroutine's argument: name it and move it",
    ),
)


def _conditions(code):
    """(start, end) of the parentheses after if, while, switch and for."""
    for found in re.finditer(r"\b(?:if|while|switch|for)\s*(?:constexpr\s*)?\(", code):
        yield found.end() - 1, matching(code, found.end() - 1)


def coroutine_findings(code):
    """(position, message) of each breach of docs/STYLE.md's coroutine rules in blanked `code`."""
    for start, end in _conditions(code):
        if re.search(r"\bco_await\b", code[start:end]):
            yield start, "co_await inside a condition: put its result into a named local first"
        code = code[:start] + _blanks(code[start:end]) + code[end:]
    for pattern, message in _AWAIT_RULES:
        for found in pattern.finditer(code):
            # A block's brace stands apart from what precedes it, and its line ends there.
            if "{" in found[0] and re.match(r"[\w>]\{\s*\n", found[0]):
                continue
            yield found.start(), message
    for start, statement in _statements(code):
        awaits = [found.start() for found in re.finditer(r"(?<!operator )\bco_await\b", statement)]
        if not awaits:
            continue
        position = start + awaits[0]
        if len(awaits) > 1:
            yield position, "two co_await in one statement"
        if re.search(r"\s(&&|\|\||\?)\s", statement):
            yield position, "co_await beside &&, || or ?: in one statement"
        before = statement[: awaits[0]].rstrip()
        if before.endswith((",", "(")):
            yield position, "co_await as an argument: put its result into a named local first"
    for position, text in _lambdas(code):
        if re.search(r"\bco_(await|return|yield)\b", text) or re.match(
            r"\[[^{]*->\s*(io::)?Task<", text
        ):
            yield position, "a lambda as a coroutine: its captures die first; use a named function"
