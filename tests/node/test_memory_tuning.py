import subprocess
import sys

PROGRAM = """if True:
    import gc
    import resource
    import sys
    from coregateway.node.memory_tuning import settle

    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(40):
            pieces = [b"x" * 126_000 for _ in range(50)]
            del pieces
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    if sys.argv[1] == "settled":
        settle()
    faults()
    print(faults(), gc.get_freeze_count())
"""


def figures(state: str) -> tuple[int, int]:
    """Page faults of 40 large bodies, and objects that are collected no more, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, state], capture_output=True, text=True, check=True, timeout=60
    )
    faults, frozen = done.stdout.split()
    return int(faults), int(frozen)


def test_a_settled_process_keeps_what_it_frees_and_collects_only_what_is_new() -> None:
    faults, frozen = figures("settled")
    assert faults < 200
    assert frozen > 1000
    assert figures("as it was")[0] > 1000
