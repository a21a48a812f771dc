"""``python -m tuning_operator.cli`` is the same as ``tuning``."""

from tuning_operator.cli.main import main

main()
