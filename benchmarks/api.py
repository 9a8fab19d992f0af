"""What one request of API v1 does in place of others, over HTTP on the running stack, call by call in turn.

- GraphQL's list of 100 tasks, each with its assignee, against the route's own list of them
- a batch of 20 reads against the same reads one by one
- a change of a record, from its answer to the answer of a client that waits for changes
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

from benchmarks.bench_tenant import read_stack
from benchmarks.figures import told
from benchmarks.runs import Api

GRAPHQL_GOAL = 1.5
BATCH_GOAL = 0.6
CHANGE_GOAL_SECONDS = 0.3
TENANT = "acme"
WAIT_SECONDS = 20
_LIST = "{ tasks(limit: 100) { edges { node { id title status priority assignee { id name } } } } }"


def in_turn(rounds: int, *calls: Callable[[], None]) -> list[float]:
    """The median seconds of each call."""
    seconds: list[list[float]] = [[] for _ in calls]
    for number in range(rounds + 2):
        for place, call in enumerate(calls):
            started = time.perf_counter()
            call()
            if number > 1:  # before that functions and connections are cold
                seconds[place].append(time.perf_counter() - started)
    return [median(each) for each in seconds]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    api = Api(read_stack())
    api.session.headers["x-tenant-id"] = TENANT

    def get(path: str) -> Any:
        answer = api.session.get(f"{api.url}/api/v1/{path}")
        answer.raise_for_status()
        return answer.json()

    def post(path: str, body: Any) -> Any:
        answer = api.session.post(f"{api.url}/api/v1/{path}", json=body)
        answer.raise_for_status()
        return answer.json()

    graphql, listed = in_turn(rounds, lambda: post("graphql", {"query": _LIST}), lambda: get("tasks?limit=100"))
    told("GraphQL, 100 tasks with assignees, by their list", graphql, listed, GRAPHQL_GOAL, unit="ms")

    ids = [task["id"] for task in get("tasks?limit=20")["data"]]
    parts = [{"id": f"p{n}", "method": "GET", "path": f"/tasks/{each}"} for n, each in enumerate(ids)]

    def one_by_one() -> None:
        for each in ids:
            get(f"tasks/{each}")

    batch, single = in_turn(rounds, lambda: post("batch", {"requests": parts}), one_by_one)
    told("batch of 20 reads, by the reads one by one", batch, single, BATCH_GOAL, unit="ms")

    changes(api, rounds, get, ids[0])


def changes(api: Api, rounds: int, get: Callable[[str], Any], task: str) -> None:
    """Change a record while another client waits."""
    waiting = Api(read_stack())
    waiting.session.headers["x-tenant-id"] = TENANT
    cursor = get("stream/tasks")["cursor"]
    seconds: list[float] = []
    with ThreadPoolExecutor(1) as pool:
        for number in range(rounds):
            url = f"{api.url}/api/v1/stream/tasks?after={cursor}&wait={WAIT_SECONDS}"
            answer = pool.submit(lambda url=url: (waiting.session.get(url).json(), time.perf_counter()))
            time.sleep(0.4)
            api.session.patch(f"{api.url}/api/v1/tasks/{task}", json={"title": f"Change {number}"}).raise_for_status()
            changed = time.perf_counter()
            found, seen = answer.result()
            cursor = found["cursor"]
            seconds.append(max(0.0, seen - changed))
    worst = sorted(seconds)[-1]
    print(
        f"a change, to who waits for it: median {median(seconds) * 1000:.0f} ms, longest {worst * 1000:.0f} ms "
        f"(goal: median ≤ {CHANGE_GOAL_SECONDS * 1000:.0f} ms) "
        f"{'met' if median(seconds) <= CHANGE_GOAL_SECONDS else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
