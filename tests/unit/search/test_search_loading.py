"""Nobody who waits for a proposal waits for an import."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.search.proposer import Proposer, load_samplers
load_samplers()
loaded = set(sys.modules)
spec = TuningJobSpec.model_validate({
    "objective": {"metric": "loss"},
    "axis": {"total": 1},
    "parameters": [{"name": "lr", "type": "Float", "min": 0.1, "max": 1}],
    "search": {"algorithm": sys.argv[1]},
})
proposer = Proposer(spec.parameters, spec.search)
for number in range(20):
    proposer.add_proposed(number, proposer.propose(number=number))
    proposer.tell(number, value=1.0, state="completed")
proposer.propose(number=20)
print(*sorted(set(sys.modules) - loaded))
"""


def test_what_is_loaded_ahead_is_all_that_proposals_need() -> None:
    for algorithm in ("TPE", "CMAES"):
        answer = subprocess.run(
            [sys.executable, "-c", PROGRAM, algorithm], capture_output=True, text=True, check=True, timeout=60
        )
        assert answer.stdout.split() == []
