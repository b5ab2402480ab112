"""Clusters of real processes, and clients that write and read on whatever happens to them."""
import random
import threading
import time

import h2client
import harness
from h2client import field, first
from history import History

CATCH_UP_S = 30
MAINTENANCE = "/etcdserverpb.Maintenance/"
REGISTERS = 4
PAGE_KEYS = 1000
# etcd adds a member only when the links of the others have been up for 5 s.
HEALTHY_S = 5.5

# Snapshots and the loss of old entries come soon.
SMALL_LOG = [
    "--snapshot-count",
    "200",
    "--snapshot-catchup-entries",
    "50",
    "--experimental-wal-segment-bytes",
    "262144",
    "--max-request-bytes",
    "20480",
]


class Member(harness.Node):
    """One member; its cluster sets initial_cluster before it starts."""

    def __init__(self, directory, name, **options):
        super().__init__(directory / name, **options)
        self.name = name

    def connect(self, timeout=5.0):
        with self.inside():
            return h2client.Connection(self.client_port, timeout=timeout)

    def call(self, path, body=b"", timeout=10):
        """One call on a connection of its own."""
        with self.connect(timeout=timeout) as connection:
            return connection.call(path, body, timeout=timeout)

    def status(self):
        """What it says of itself, or None."""
        try:
            reply = self.call(MAINTENANCE + "Status", timeout=2)
        except (h2client.Closed, OSError):
            return None
        if reply.status != 0:
            return None
        return {
            "id": first(first(reply.response, 1, b""), 2, 0),
            "leader": first(reply.response, 4, 0),
            "term": first(reply.response, 6, 0),
            "applied": first(reply.response, 7, 0),
        }

    def id(self):
        return harness.wait_until(self.status, 10, f"{self.name} tells its id")["id"]

    def hex_id(self):
        return f"{self.id():x}"

    def everything(self):
        """(pairs, revision) of its own state, without asking the others."""
        pairs, revision, start = [], 0, b"\0"
        with self.connect(timeout=20) as connection:
            while True:
                reply = connection.range(
                    start, b"\0", limit=PAGE_KEYS, revision=revision, serializable=True
                )
                if reply.status != 0:
                    raise AssertionError(f"{self.name}: {reply!r}")
                page = h2client.pairs_of(reply.response)
                pairs += page
                revision = revision or h2client.revision_of(reply.response)
                if len(page) < PAGE_KEYS:
                    return pairs, revision
                start = page[-1][0] + b"\0"

    def last_words(self, timeout):
        """The last errors of a member that ends by itself."""
        harness.wait_until(lambda: not self.alive(), timeout, f"{self.name} ends")
        errors = [line for line in self.log_text().splitlines() if '"level":"error"' in line]
        return "\n".join(errors[-2:])


class Cluster:
    def __init__(self, test, size=3, extra=(), token="e2e", member_type=Member, **options):
        self.test = test
        self.extra = ["--initial-cluster-token", token, *extra]
        self.member_type = member_type
        self.options = options
        self.members = []
        for number in range(1, size + 1):
            self.new_member(f"m{number}")
        for member in self.members:
            member.initial_cluster = self.initial_cluster()

    def new_member(self, name, **options):
        member = self.member_type(
            self.test.directory, name, extra=self.extra, **{**self.options, **options}
        )
        self.members.append(self.test.adopt(member))
        return member

    def initial_cluster(self):
        return ",".join(f"{member.name}={member.peer_url}" for member in self.members)

    def joining(self, name, **options):
        """A member to be started once `member add` has been done; that is the caller's."""
        member = self.new_member(name, **options)
        member.initial_cluster = self.initial_cluster()
        member.extra = [*self.extra, "--initial-cluster-state", "existing"]
        return member

    def start(self):
        for member in self.members:
            member.spawn()
        for member in self.members:
            member.wait_serving()
        return self

    def alive(self):
        return [member for member in self.members if member.alive()]

    def endpoints(self):
        return ",".join(member.endpoint for member in self.members)

    def leader(self, among=None, timeout=20):
        """The member that a majority of `among` follows and that says itself it leads."""
        among = among or self.alive()

        def find():
            seen = {member: member.status() for member in among}
            for member, status in seen.items():
                if status is None or status["id"] != status["leader"]:
                    continue
                same = [s for s in seen.values() if s and s["leader"] == status["id"]]
                if len(same) * 2 > len(among) and status["term"] == max(s["term"] for s in same):
                    return member
            return None

        return harness.wait_until(find, timeout, "one leader that the others follow")

    def followers(self):
        leader = self.leader()
        return [member for member in self.alive() if member is not leader]

    def wait_equal(self, members=None, timeout=CATCH_UP_S):
        """Until they all have applied the same; gives the state."""
        members = members or self.alive()

        def same_index():
            statuses = [member.status() for member in members]
            return None not in statuses and len({status["applied"] for status in statuses}) == 1

        def same():
            states = [member.everything() for member in members]
            return states[0] if all(state == states[0] for state in states) else None

        harness.wait_until(same_index, timeout, "all members have applied the same")
        return harness.wait_until(same, timeout, "all members hold the same")

    def check(self, history, members=None):
        """The history is explained, and nothing acknowledged is missing from any member."""
        history.check()
        members = members or self.alive()
        self.wait_equal(members)
        for member in members:
            pairs, revision = member.everything()
            history.check_state(pairs, revision, member.name)


class Client(threading.Thread):
    """Writes and reads over one member; goes to the next when that one fails. Each of its writes
    has a value of its own, four fifths of them a key of their own."""

    def __init__(self, number, members, history, call_timeout, value_bytes):
        super().__init__(daemon=True)
        self.number, self.members, self.history = number, members, history
        self.call_timeout, self.value_bytes = call_timeout, value_bytes
        self.random = random.Random(number)
        self.at = number % len(members)
        self.stopping = threading.Event()
        self.count = 0
        self.refusals = {}
        self.problem = None

    def run(self):
        try:
            while not self.stopping.is_set():
                self.serve()
        except Exception as error:  # shown by Load.stop
            self.problem = f"client {self.number}: {type(error).__name__}: {error}"

    def serve(self):
        """Calls over one connection until it fails."""
        try:
            with self.members[self.at].connect(timeout=self.call_timeout) as connection:
                while not self.stopping.is_set():
                    self.step(connection)
        except (h2client.Closed, OSError):  # TimeoutError is one
            self.at = (self.at + 1) % len(self.members)
            self.stopping.wait(0.01)

    def step(self, connection):
        self.count += 1
        value = (b"%d.%d" % (self.number, self.count)).ljust(self.value_bytes, b".")
        register = b"register/%d" % self.random.randrange(REGISTERS)
        choice = self.random.random()
        if choice < 0.25:
            op = self.history.begin("get", register)
            reply = connection.range(register)
            if reply.status == 0:
                found = h2client.pairs_of(reply.response)
                _, value, mod_revision = found[0] if found else (None, None, 0)
                revision = h2client.revision_of(reply.response)
                return self.history.get_done(op, revision, mod_revision, value)
        else:
            key = register if choice < 0.4 else b"key/%d/%07d" % (self.number, self.count)
            op = self.history.begin("put", key, value)
            reply = connection.put(key, value)
            if reply.status == 0:
                return self.history.put_done(op, h2client.revision_of(reply.response))
        self.refusals[reply.message] = self.refusals.get(reply.message, 0) + 1
        self.at = (self.at + 1) % len(self.members)
        raise h2client.Closed("refused")


class Load:
    """Several clients spread over members, until the with block ends."""

    def __init__(self, members, clients=6, call_timeout=3.0, value_bytes=0):
        self.history = History()
        self.clients = [
            Client(number, list(members), self.history, call_timeout, value_bytes)
            for number in range(clients)
        ]

    def __enter__(self):
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *failure):
        for client in self.clients:
            client.stopping.set()
        for client in self.clients:
            client.join(30)
        problems = [client.problem for client in self.clients if client.problem]
        problems += [f"client {c.number} hangs" for c in self.clients if c.is_alive()]
        if problems and failure[0] is None:
            raise AssertionError("; ".join(problems))

    def wait_written(self, more, timeout=20):
        """Until so many more writes are acknowledged."""
        target = len(self.history.acknowledged()) + more
        harness.wait_until(
            lambda: len(self.history.acknowledged()) >= target,
            timeout,
            f"{more} more writes (refused: {self.refusals()})",
        )

    def wait_written_after(self, moment, timeout=20):
        """Until a write that began after `moment` is acknowledged: seconds from it to that."""

        def found():
            done = [op.end for op in self.history.acknowledged() if op.begin > moment]
            return min(done) - moment if done else None

        return harness.wait_until(found, timeout, f"a new write (refused: {self.refusals()})")

    def refusals(self):
        total = {}
        for client in self.clients:
            for message, count in client.refusals.items():
                total[message] = total.get(message, 0) + count
        return total


def metric(node, name):
    """The sum over a metric's labels."""
    lines = node.http_get("/metrics")[1].decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split()[0] == name)


def tell(text):
    print(text, flush=True)


def move_leader_request(member_id):
    return field(1, member_id)
