"""What several tests use."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
WRONG = ROOT / "tests" / "testing" / "wrong"
