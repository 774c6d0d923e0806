"""The command that shows that nothing is lost or counted twice; a run of some use takes longer."""

import subprocess
import sys

from tests.node.running_node import ROOT


def test_the_count_of_lines_and_requests_holds_when_a_worker_is_killed() -> None:
    module = "tests.observability.metrics.counting"
    command = [sys.executable, "-m", module, "--requests", "3000", "--kills", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "1 workers killed, 1 started again" in done.stdout
