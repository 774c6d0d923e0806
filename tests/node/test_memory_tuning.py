import subprocess
import sys

PROGRAM = """if True:
    import gc
    import resource
    import sys
    from collections import deque
    from coregateway.node.memory_tuning import settle

    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(40):
            pieces = [b"x" * 126_000 for _ in range(50)]
            del pieces
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    class Circle:
        left = most = 0

        def __init__(self):
            self.own = self

        def __del__(self):
            Circle.left -= 1

    def leave_circles():
        living = deque(maxlen=3000)  # long enough to grow old
        for _ in range(400_000):
            living.append(Circle())
            Circle.left += 1
            Circle.most = max(Circle.most, Circle.left)

    if sys.argv[1] == "settled":
        settle()
    faults()
    leave_circles()
    print(faults(), gc.get_freeze_count(), Circle.most)
"""


def figures(state: str) -> tuple[int, int, int]:
    """Page faults of 40 large bodies, objects that are collected no more, and how many of those wait to be
    collected at most which have left others that they belong to, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, state], capture_output=True, text=True, check=True, timeout=60
    )
    faults, frozen, left = map(int, done.stdout.split())
    return faults, frozen, left


def test_a_settled_process_keeps_what_it_frees_and_collects_only_what_is_new() -> None:
    faults, frozen, left = figures("settled")
    assert faults < 200
    assert frozen > 1000
    before = figures("as it was")
    assert before[0] > 1000
    assert left < 40_000 < 50_000 < before[2]
