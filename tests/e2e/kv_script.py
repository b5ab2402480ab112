"""The commands both servers are given by etcdctl, in order. Each is (arguments, standard input).
What they print, on both streams, and their exit status must be equal, after normalise() took out
what may differ.

Left out on purpose, since the versions differ (3.4 is what Debian has, MetaStore follows 3.6):
- `endpoint status` as a table, and the version, sizes and raft indexes in it: compared as JSON,
  without those fields;
- reading exactly a tombstone's revision after a compaction at it, which 3.4.34 changed.
"""
import re

LONG_VALUE = "v" * 100_000

# Inputs of `etcdctl txn`: compares, then the success branch, then the failure branch.
TXN_CREATE = 'create("txn/a") = "0"\n\nput txn/a one\nget txn/a\n\nget txn/a\n\n'
TXN_VALUE = (
    'value("txn/a") = "one"\nversion("txn/a") > "0"\n\n'
    "put txn/a two\nput txn/b new\n\nget txn/a\n\n"
)
TXN_VALUE_LESS = 'value("txn/a") < "zzz"\n\nget txn/a\n\nget txn/b\n\n'
TXN_VALUE_NOT_EQUAL = 'value("txn/none") != "x"\n\nput txn/wrong 1\n\nget --prefix txn/\n\n'
TXN_MOD = 'mod("txn/b") > "1"\n\ndel txn/b\nget --prefix txn/\n\n\n'
TXN_MOD_FALSE = 'mod("txn/a") < "2"\n\nput txn/x 1\n\nput txn/y 1\ndel --prefix txn/none\n\n'
TXN_VERSION_EQUAL = (
    'version("txn/a") = "2"\n\nput txn/a three\nget txn/a\ndel txn/y\nget txn/y\n\n\n'
)
TXN_EMPTY_COMPARE = "\nput txn/free 1\n\nput txn/never 1\n\n"
TXN_NOTHING = 'create("txn/a") = "0"\n\nput txn/no 1\n\n\n'
TXN_READ_ONLY = "\nget txn/a\nget --prefix txn/ --keys-only\n\n\n"
TXN_DUPLICATE = "\nput txn/dup 1\nput txn/dup 2\n\n\n"
TXN_PUT_AND_DELETE = "\nput txn/dup 1\ndel txn/dup\n\n\n"
TXN_OVERLAP = "\nput txn/dup 1\ndel --prefix txn/\n\n\n"
TXN_DUPLICATE_OTHER_BRANCH = "\nget txn/a\n\nput txn/dup 1\nput txn/dup 2\n\n"
TXN_TOO_MANY = "\n" + "".join(f"put many/{i:03} x\n" for i in range(129)) + "\n\n"
TXN_AT_LIMIT = "\n" + "".join(f"put many/{i:03} x\n" for i in range(128)) + "\n\n"
TXN_FUTURE = "\nget txn/a --rev=100000\n\n\n"
TXN_EMPTY_KEY = '\nput "" 1\n\n\n'


def _puts():
    out = [
        (("put", f"list/{name}", value), None)
        for name, value in (
            ("b", "5"),
            ("a", "3"),
            ("c", "1"),
            ("e", "2"),
            ("d", "4"),
            ("a/1", "x"),
            ("a/2", "y"),
        )
    ]
    return out + [
        (("put", "list/b", "6"), None),
        (("put", "list/b", "0"), None),
        (("put", "list/d", "9"), None),
    ]


def _reads():
    plain = [
        ("get", "list/a"),
        ("get", "list/none"),
        ("get", "--prefix", "list/"),
        ("get", "--from-key", "list/c"),
        ("get", "list/a", "list/c"),
        ("get", "list/c", "list/a"),
        ("get", "list/a", "list/a"),
        ("get", "--prefix", ""),
        ("get", "--from-key", ""),
        ("get", "--prefix", "list/a/"),
        ("get", "--prefix", "list/", "--keys-only"),
        ("get", "--prefix", "list/", "--count-only", "-w", "fields"),
        ("get", "--prefix", "list/", "--count-only", "-w", "json"),
        ("get", "list/a", "--print-value-only"),
        ("get", "--prefix", "list/", "--print-value-only"),
        ("get", "--prefix", "none/", "-w", "json"),
        ("get", "list/b", "--rev=2"),
        ("get", "list/b", "--rev=9"),
        ("get", "list/b", "--rev=10"),
        ("get", "list/a", "--rev=2"),
        ("get", "--prefix", "list/", "--rev=5"),
        ("get", "--prefix", "list/", "--rev=5", "--limit=2", "-w", "json"),
        ("get", "list/b", "--rev=100000"),
        ("get", "list/b", "--rev=-1"),
        ("get", "list/b", "--consistency=s"),
        ("get", "list/b", "--consistency=l"),
        ("get", "list/b", "-w", "json"),
        ("get", "list/b", "-w", "fields"),
        ("get", "list/b", "--hex"),
        ("get", "--prefix", "list/", "-w", "json"),
        ("get", "--prefix", "--limit=0", "list/"),
        ("get", "--prefix", "--limit=100", "list/", "-w", "json"),
        ("get", "list/a", "--limit=1", "-w", "json"),
        ("get", "--prefix", "--from-key", "list/"),
    ]
    plain += [("get", "--prefix", "list/", f"--limit={n}", "-w", "json") for n in (1, 2, 3, 7)]
    plain += [
        ("get", "--from-key", start, "--limit=2", "-w", "json")
        for start in ("list/a", "list/a0", "list/c", "z")
    ]
    for target in ("KEY", "VERSION", "CREATE", "MODIFY", "VALUE"):
        plain += [
            ("get", "--prefix", "list/", f"--sort-by={target}", f"--order={order}", *unique(target))
            for order in ("ASCEND", "DESCEND")
        ]
    plain += [
        (
            "get",
            "--prefix",
            "list/",
            "--sort-by=CREATE",
            "--order=DESCEND",
            "--limit=3",
            "-w",
            "json",
        ),
        ("get", "--prefix", "list/", "--sort-by=MODIFY", "--limit=3", "-w", "json"),
        ("get", "--prefix", "list/", "--sort-by=VALUE", "--limit=2", "--keys-only"),
        ("get", "--prefix", "list/", "--order=DESCEND"),
        ("get", "--prefix", "list/", "--sort-by=BOGUS"),
    ]
    return [(arguments, None) for arguments in plain]


def unique(target):
    """Ties of an unstable sort may come in any order: of VERSION only the count is compared."""
    return ("--count-only", "-w", "fields") if target == "VERSION" else ()


def _changes():
    return [
        (("put", "k1", "v1"), None),
        (("put", "k1", "v2", "--prev-kv"), None),
        (("put", "k1", "v1", "-w", "json"), None),
        (("put", "k1", "v3", "--prev-kv", "-w", "json"), None),
        (("put", "k1", "--ignore-value"), None),
        (("put", "none", "--ignore-value"), None),
        (("put", "k1", "v4", "--ignore-lease"), None),
        (("put", "none", "x", "--ignore-lease"), None),
        (("put", "k1", "v", "--lease=1234"), None),
        (("put", "k1"), "from standard input"),
        (("get", "k1"), None),
        (("put", "", "x"), None),
        (("put", "k2", ""), None),
        (("get", "k2", "-w", "json"), None),
        (("put", "k3", "x", "--prev-kv"), None),
        (("put", "long"), LONG_VALUE),
        (("get", "long"), None),
        (("put", "sp ace", "a b\tc"), None),
        (("get", "sp ace"), None),
        (("put", "uni/ключ", "значение"), None),
        (("get", "--prefix", "uni/"), None),
        (("get", "uni/ключ", "-w", "json"), None),
        (("put", "--", "-dash", "-value"), None),
        (("get", "--", "-dash"), None),
        (("del", "none"), None),
        (("del", "none", "-w", "json"), None),
        (("del", "k2"), None),
        (("get", "k2"), None),
        (("del", "k1", "--prev-kv"), None),
        (("put", "k1", "again", "-w", "json"), None),
        (("get", "k1", "-w", "json"), None),
        (("del", ""), None),
        (("get", ""), None),
        (("del", "--prefix", "list/a", "--prev-kv"), None),
        (("del", "list/b", "list/d", "-w", "json"), None),
        (("del", "list/d", "list/b"), None),
        (("get", "--prefix", "list/"), None),
        (("del", "--from-key", "list/d", "--prev-kv", "-w", "json"), None),
        (("get", "--prefix", "", "--keys-only"), None),
        (("put",), None),
        (("get",), None),
        (("del",), None),
        (("put", "big"), "x" * 1_600_000),
        (("get", "big", "-w", "json"), None),
    ]


def _transactions():
    inputs = (
        TXN_CREATE,
        TXN_CREATE,
        TXN_VALUE,
        TXN_VALUE,
        TXN_VALUE_LESS,
        TXN_VALUE_NOT_EQUAL,
        TXN_MOD,
        TXN_MOD_FALSE,
        TXN_VERSION_EQUAL,
        TXN_EMPTY_COMPARE,
        TXN_NOTHING,
        TXN_READ_ONLY,
        TXN_DUPLICATE,
        TXN_PUT_AND_DELETE,
        TXN_OVERLAP,
        TXN_DUPLICATE_OTHER_BRANCH,
        TXN_TOO_MANY,
        TXN_AT_LIMIT,
        TXN_FUTURE,
        TXN_EMPTY_KEY,
    )
    out = []
    for text in inputs:
        out.append((("txn", "-w", "json"), text))
        out.append((("get", "--prefix", "txn/", "-w", "json"), None))
    return out + [
        (("txn",), TXN_READ_ONLY),
        (("txn", "-i"), TXN_READ_ONLY),
        (("txn",), TXN_CREATE),
        (("txn",), "garbage\n\n\n\n"),
        (("get", "--prefix", "many/", "--count-only", "-w", "fields"), None),
    ]


def _compactions():
    return [
        (("compaction", "5"), None),
        (("get", "--prefix", "", "--rev=4"), None),
        (("get", "list/b", "--rev=5"), None),
        (("get", "list/b", "--rev=6"), None),
        (("compaction", "5"), None),
        (("compaction", "3"), None),
        (("compaction", "100000"), None),
        (("compaction", "20", "--physical"), None),
        (("get", "k1", "--rev=19"), None),
        (("get", "--prefix", "", "--rev=21", "--keys-only"), None),
        (("compaction",), None),
        (("compaction", "x"), None),
        (("get", "k1", "-w", "json"), None),
        (("put", "after", "1", "-w", "json"), None),
    ]


def _cluster():
    return [
        (("member", "list"), None),
        (("member", "list", "-w", "json"), None),
        (("member", "list", "-w", "fields"), None),
        (("endpoint", "status", "-w", "json"), None),
        (("endpoint", "health"), None),
        (("endpoint", "health", "-w", "json"), None),
    ]


def commands():
    return (
        _cluster() + _puts() + _reads() + _changes() + _transactions() + _compactions() + _cluster()
    )


# JSON fields that may differ: terms and indexes count what a server does internally, sizes and
# versions are its own.
_FIELDS = re.compile(r'("(?:raft_term|raftTerm|raftIndex|raftAppliedIndex|version)":)("[^"]*"|\d+)')
_NEWER = re.compile(
    r',"(?:storageVersion|dbSizeQuota|downgradeInfo|dbSize|dbSizeInUse)":'
    r'(?:"[^"]*"|[\d_]+|\{[^}]*\})'
)
_FIELDS_TEXT = re.compile(r'("RaftTerm" : )\d+')
_TOOK = re.compile(r"took = [0-9.a-zµ]+|\"took\":\"[^\"]*\"|[0-9.]+(?:ms|µs|s)\b")
_TIME = re.compile(r'"ts":"[^"]*"|\d{4}-\d\d-\d\dT[0-9:.]+Z')

_CLIENT = re.compile(r"client-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def normalise(arguments, text):
    """`text` of a command without what may differ. `arguments` decides: data is left alone."""
    text = _CLIENT.sub("client-<id>", _TIME.sub("<time>", text))
    if "health" in arguments:
        return _TOOK.sub("<took>", text)
    # `version` of a key is data, that of a server is not.
    if "status" in arguments:
        return _NEWER.sub("", _FIELDS.sub(r"\1_", text))
    return _FIELDS_TEXT.sub(r"\1_", re.sub(r'("raft_term":)\d+', r"\1_", text))
